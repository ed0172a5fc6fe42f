//! Writing down what a turn came to, also when the store takes nothing for a while.
//!
//! A full disk is freed sooner or later, and this process still knows what it did: an answer that was asked for
//! is not asked for again, and what was sent is not sent again. It does not know what is written.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Turns;
use crate::store::StoreError;

/// Before a write is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// An operator has freed the disk by then, or the turn is left to its lease's end.
const PATIENCE: Duration = Duration::from_secs(600);

/// Space and key of what is written to see whether anything can be.
const PROBE: &str = "probe";

/// Things that were sent and are not recorded yet.
#[derive(Debug, Default)]
pub struct Unrecorded(AtomicUsize);

/// One of them, until it is dropped.
struct Sent<'a>(&'a Unrecorded);

impl Unrecorded {
    fn enter(&self) -> Sent<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Sent(self)
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Turns {
    /// Writes, again and again if the store takes nothing.
    pub(super) async fn persist<T, F>(&self, write: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let until = Instant::now() + PATIENCE;
        let mut is_told = false;
        loop {
            match write().await {
                Err(StoreError::Unavailable(reason)) if Instant::now() < until => {
                    if !is_told {
                        tracing::error!(
                            reason,
                            "what a turn came to cannot be stored yet; it is tried again"
                        );
                    }
                    is_told = true;
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The same for what was sent by now: if it cannot be written down at once, `dispatch` claims nothing until
    /// it is, since that could be this very turn, whose lease nobody could renew meanwhile.
    pub(super) async fn record_sent<T, F>(&self, write: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        match write().await {
            Err(StoreError::Unavailable(_)) => {
                let _sent = self.running.unrecorded.enter();
                self.persist(write).await
            }
            outcome => outcome,
        }
    }

    /// Writes something small if the last write failed, so that readiness comes back without a message: who
    /// asks whether we are ready sends none until we are.
    pub(super) async fn probe_store(&self) {
        if !self.can_store() {
            let probe = self.store.set(PROBE, self.clock.now(), PROBE, b"1", Some(PAUSE)).await;
            self.stores.store(probe.is_ok(), Ordering::Relaxed);
        }
    }

    /// Waits until all that was sent is recorded.
    pub(super) async fn all_recorded(&self) {
        while self.running.unrecorded.0.load(Ordering::SeqCst) > 0 && !self.drain.draining() {
            sleep(PAUSE).await;
        }
    }
}
