//! Wall time, behind a trait so that tests and golden requests can hold it still.
//!
//! Deadlines and leases inside a process use tokio's monotonic time; this is for times that outlive it or
//! that somebody else's clock is compared with.

mod date;

use std::time::{SystemTime, UNIX_EPOCH};

pub use date::{from_rfc3339, rfc3339};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// A source of wall time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        fail::fail_point!("clock::ahead", |ms| now + ms.and_then(|ms| ms.parse().ok()).unwrap_or(0_u64));
        now
    }
}

/// A clock that stands still, for golden requests and vectors.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Millis);

impl Clock for FixedClock {
    fn now(&self) -> Millis {
        self.0
    }
}
