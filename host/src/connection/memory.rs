//! The adapter's memory: as it is now, as it may be kept, and as it was kept last.
//!
//! A memory is kept once what was heard before it is stored, so that a restart never skips a message that the memory
//! counts as heard; and not more often than it needs to be, since a restart from an older one costs repeats alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::plugin::services::{Memory, MemoryError};

const KEY: &str = "memory";
/// How often it is written.
const KEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// What calls are given.
    pub now: Vec<u8>,
    /// What may be kept.
    safe: Vec<u8>,
    kept: Vec<u8>,
    /// Not written again before then.
    rest_until: Option<Instant>,
}

impl Remembered {
    pub(super) async fn load(memory: &dyn Memory) -> Result<Self, MemoryError> {
        let kept = memory.get(KEY).await?.unwrap_or_default();
        Ok(Self { now: kept.clone(), safe: kept.clone(), kept, rest_until: None })
    }

    /// All that came before this memory is stored.
    pub(super) fn settle(&mut self, memory: Vec<u8>) {
        self.safe = memory;
    }

    /// Back to the last one before which all is stored.
    pub(super) fn revert(&mut self) {
        self.now = self.safe.clone();
    }

    /// When there is something to write.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.safe != self.kept).then(|| self.rest_until.unwrap_or_else(Instant::now))
    }

    /// Writes it.
    pub(super) fn keep(&mut self, memory: &Arc<dyn Memory>) -> BoxFuture<'static, Result<(), MemoryError>> {
        self.rest_until = Some(Instant::now() + KEEP_EVERY);
        self.kept = self.safe.clone();
        let (memory, value) = (memory.clone(), self.safe.clone());
        Box::pin(async move { memory.set(KEY, &value, None).await })
    }

    /// It could not be written.
    pub(super) fn not_kept(&mut self) {
        self.kept.clear();
    }
}
