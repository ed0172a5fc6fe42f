//! A turn's lease as this process knows it: how long it surely holds, and whether it is lost.
//!
//! A process may stand still for longer than its lease, such as one that is stopped, or on a machine that is frozen;
//! another worker has the turn then. So nothing goes out under a lease that may have ended: it is renewed first, and
//! that fails where somebody else holds it. It does not know what goes out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Clock, Millis, Watch};
use crate::plugin::services::Fence;
use crate::store::{Lease, Store, StoreError};

/// How long a claim holds without renewal: the time after which another worker may take the turn over.
pub const LEASE: Duration = Duration::from_secs(30);
/// What goes out is on its way for a while, and no two clocks go alike.
const MARGIN: Duration = Duration::from_secs(5);

/// A lease, from its claim on.
#[derive(Debug)]
pub(super) struct Tenure {
    lease: Lease,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Since it was claimed, or last renewed.
    held: Mutex<Watch>,
    is_lost: AtomicBool,
}

impl Tenure {
    /// `asked`: from before the claim.
    pub(super) fn new(lease: Lease, asked: Watch, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { lease, store, clock, held: Mutex::new(asked), is_lost: AtomicBool::new(false) }
    }

    /// Whether another worker was found to have the turn, or the turn to have ended.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let asked = Watch::begin(now);
        let renewed = self.store.renew(self.lease, now + LEASE.as_millis() as Millis).await;
        match renewed {
            Ok(()) => *self.held.lock().unwrap_or_else(PoisonError::into_inner) = asked,
            Err(StoreError::LeaseLost) => self.is_lost.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        renewed
    }

    fn is_sure(&self) -> bool {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.elapsed(self.clock.now()) < LEASE - MARGIN
    }
}

#[async_trait]
impl Fence for Tenure {
    async fn holds(&self) -> bool {
        while !self.is_lost() && !self.is_sure() {
            if let Err(error) = self.renew().await {
                tracing::warn!(error = %error, "nothing goes out: the turn's lease may have ended, and was not renewed");
                return false;
            }
        }
        !self.is_lost()
    }
}
