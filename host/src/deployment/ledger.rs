//! Where it is written down what shall serve: in the store, which the nodes share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::wanted::Wanted;
use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// No plugin's memory has this name: theirs begin otherwise.
const SPACE: &str = "deployments";
/// Counts the changes of all plugins; no plugin has such a name.
const CHANGES: &str = ":changes";

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
        let Some(bytes) = self.store.get(SPACE, self.clock.now(), plugin).await? else { return Ok(None) };
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
        self.store.set(SPACE, now, plugin, &bytes, None).await
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

/// A source's name may be longer than a key; no plugin has such a name.
fn key_of(source: &str) -> String {
    format!(":source:{}", hex::encode(Sha256::digest(source)))
}
