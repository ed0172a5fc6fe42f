//! How long to wait before the next attempt: growing, with jitter, and from the start again after a socket that held.

use std::time::Duration;

use crate::message::{Fault, FaultKind};
use crate::random::Random;

const PAUSE_MIN: Duration = Duration::from_millis(500);
/// A platform that is away is asked once a minute.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A socket that lived for so long was a success.
const HELD: Duration = Duration::from_secs(10);

/// Attempts in a row that brought no socket that held.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more of them.
    pub(super) fn next(&mut self, random: &dyn Random) -> Duration {
        let full = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures += 1;
        // Nodes that lost their sockets together do not come back together.
        full / 2 + (full / 2).mul_f64(random.fraction())
    }

    /// The same after a fault, which may say when to come again, or that coming again is of little use.
    pub(super) fn after(&mut self, fault: &Fault, random: &dyn Random) -> Duration {
        let pause = self.next(random);
        let is_vain = matches!(fault.kind, FaultKind::Invalid | FaultKind::Unauthorized | FaultKind::Gone);
        let wanted = if is_vain { PAUSE_MAX } else { Duration::ZERO };
        pause.max(wanted).max(fault.retry_after.unwrap_or_default())
    }

    /// A socket ended that had lived for so long.
    pub(super) fn lived(&mut self, time: Duration) {
        if time >= HELD {
            self.failures = 0;
        }
    }
}
