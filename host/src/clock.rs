//! Wall time, behind a trait so that tests and golden requests can hold it still.
//!
//! Deadlines and leases inside a process use tokio's monotonic time; this is for times that outlive it or
//! that somebody else's clock is compared with.

mod date;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

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

/// Corrections up to this are no jump: less than any lease or pause.
const DRIFT_MAX: Duration = Duration::from_secs(5);

/// Notices when a clock was set: it then tells of more time than has passed, or of less.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    wall: Millis,
    since: Instant,
}

impl Watch {
    pub fn begin(now: Millis) -> Watch {
        Watch { wall: now, since: Instant::now() }
    }

    /// How much time has passed since, by whichever clock says more: the machine's own may stand still with it, and the
    /// other may be set.
    pub fn elapsed(&self, now: Millis) -> Duration {
        self.since.elapsed().max(Duration::from_millis(now.saturating_sub(self.wall)))
    }

    /// By how many milliseconds the clock was set since this watch began; none if it was not.
    pub fn set_by(&self, now: Millis) -> Option<i64> {
        let passed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let told = now.cast_signed().saturating_sub(self.wall.cast_signed());
        let by = told.saturating_sub(passed);
        (by.unsigned_abs() > DRIFT_MAX.as_millis() as u64).then_some(by)
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
