//! A plugin's small memory, kept in the store under a space of the channel's and the plugin's own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::plugin::services::{Memory, MemoryError};
use crate::store::{Store, StoreError};

#[derive(Debug)]
pub struct StoredMemory {
    space: String,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl StoredMemory {
    pub fn new(channel: &str, plugin: &str, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { space: format!("plugin:{channel}/{plugin}"), store, clock }
    }

    /// What the host keeps for a channel's connection, beside what the plugin keeps itself.
    pub fn of_connection(channel: &str, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { space: format!("connection:{channel}"), store, clock }
    }
}

#[async_trait]
impl Memory for StoredMemory {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        Ok(self.store.get(&self.space, self.clock.now(), key).await?)
    }

    async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), MemoryError> {
        Ok(self.store.set(&self.space, self.clock.now(), key, value, ttl).await?)
    }

    async fn delete(&self, key: &str) -> Result<(), MemoryError> {
        Ok(self.store.delete(&self.space, key).await?)
    }

    async fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, MemoryError> {
        Ok(self.store.increment(&self.space, self.clock.now(), key, by, ttl).await?)
    }
}

impl From<StoreError> for MemoryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => Self::TooLarge,
            StoreError::Quota { .. } => Self::Quota,
            _ => Self::Unavailable,
        }
    }
}
