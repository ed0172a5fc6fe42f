//! Where it is written down what shall serve: in the store, which the nodes share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::wanted::Wanted;
use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// What is not one plugin's own. No plugin's memory has this name, nor that of `space_of`: theirs begin otherwise.
const SPACE: &str = "deployments";
/// Counts the changes of all plugins.
const CHANGES: &str = ":changes";
/// In a space of each plugin's own: one space holds so many keys, and a host may have more plugins.
const WANTED: &str = "wanted";

/// What a source last brought, so that no node brings it again: a release that was rolled back does not come back by
/// itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Brought {
    /// Of the release.
    pub digest: String,
    /// By which the source tells whether it has something else.
    pub mark: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Ledger {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Ledger {
        Ledger { store, clock }
    }

    /// What is wanted of a plugin; none if it was never installed.
    pub(super) async fn read(&self, plugin: &str) -> Result<Option<Wanted>, StoreError> {
        let Some(bytes) = self.store.get(&space_of(plugin), self.clock.now(), WANTED).await? else {
            return Ok(None);
        };
        let wanted = serde_json::from_slice(&bytes);
        let wanted = wanted.map_err(|error| {
            StoreError::Unusable(format!("what shall serve as `{plugin}` cannot be read: {error}"))
        })?;
        Ok(Some(wanted))
    }

    /// Writes it under the next version.
    pub(super) async fn write(&self, plugin: &str, wanted: &mut Wanted) -> Result<(), StoreError> {
        let now = self.clock.now();
        // Counted first, so that no two changes have one version. Who has seen the count and no entry as new as it
        // looks again.
        wanted.version = self.store.increment(SPACE, now, CHANGES, 1, None).await?;
        let bytes = serde_json::to_vec(wanted).expect("strings and numbers are JSON");
        self.store.set(&space_of(plugin), now, WANTED, &bytes, None).await
    }

    /// What a source last brought, to whichever node.
    pub(super) async fn brought(&self, source: &str) -> Result<Option<Brought>, StoreError> {
        let bytes = self.store.get(SPACE, self.clock.now(), &key_of(source)).await?;
        // Of a version that noted something else: the source is looked at as if for the first time.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(super) async fn note_brought(&self, source: &str, brought: &Brought) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(brought).expect("strings are JSON");
        self.store.set(SPACE, self.clock.now(), &key_of(source), &bytes, None).await
    }

    /// How many changes there were so far, by whichever node.
    pub(super) async fn changes(&self) -> Result<i64, StoreError> {
        let count = self.store.get(SPACE, self.clock.now(), CHANGES).await?;
        Ok(count.and_then(|count| std::str::from_utf8(&count).ok()?.parse().ok()).unwrap_or(0))
    }
}

fn space_of(plugin: &str) -> String {
    format!("deployment:{plugin}")
}

/// A source's name may be longer than a key.
fn key_of(source: &str) -> String {
    format!(":source:{}", hex::encode(Sha256::digest(source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::store::ephemeral::EphemeralStore;

    /// A host with a thousand plugins did not start: all were written into one space, which holds a thousand keys.
    #[tokio::test]
    async fn more_plugins_are_wanted_than_a_space_has_keys() {
        let ledger = Ledger::new(Arc::new(EphemeralStore::default()), Arc::new(FixedClock(0)));
        for number in 0..1100 {
            let mut wanted = Wanted { stable: format!("{number:064}"), ..Wanted::default() };
            ledger.write(&format!("plugin-{number}"), &mut wanted).await.unwrap();
        }
        assert_eq!(ledger.read("plugin-1099").await.unwrap().unwrap().version, 1100);
        assert_eq!(ledger.changes().await.unwrap(), 1100);
    }
}
