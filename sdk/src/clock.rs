//! The time. Stepped in tests.

use crate::seam;

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    seam::now_ms()
}
