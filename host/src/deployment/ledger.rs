//! Where it is written down what shall serve: in the store, which the nodes share.

use std::sync::Arc;

use super::wanted::Wanted;
use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// No plugin's memory has this name: theirs begin otherwise.
const SPACE: &str = "deployments";
/// Counts the changes of all plugins; no plugin has such a name.
const CHANGES: &str = ":changes";

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

    /// How many changes there were so far, by whichever node.
    pub(super) async fn changes(&self) -> Result<i64, StoreError> {
        let count = self.store.get(SPACE, self.clock.now(), CHANGES).await?;
        Ok(count.and_then(|count| std::str::from_utf8(&count).ok()?.parse().ok()).unwrap_or(0))
    }
}
