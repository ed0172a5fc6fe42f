//! What tests of the whole host are made of: the real binary, a platform, a model, and time.
//!
//! The platform and the model are fakes behind real sockets that hold the host to what the real ones hold it
//! to. Whatever people say, who they are and every secret has the word [`CANARY`] in it, so that one search
//! finds a leak: each `Host` looks through its own log when it is dropped.

#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
pub mod distinct;
mod feishu;
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
pub mod fickle;
mod gateway;
mod host;
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
pub mod leb128;
mod line;
mod model;
mod platform;
mod requests;
mod slate;
#[cfg(target_os = "linux")]
mod small_disk;
mod warm;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use feishu::{Call, Event, OpenPlatform, Seen};
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use gateway::Gateway;
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use host::{Host, Settings, program};
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use line::Line;
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use model::Model;
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use platform::{APP_KEY, APP_SECRET, Callback, Platform, Way};
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use requests::{Envelope, client, keeping, raw, robot_sign};
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use slate::{Card, Slate};
#[cfg(target_os = "linux")]
#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use small_disk::SmallDisk;

#[allow(unused_imports, reason = "each binary of tests uses its part of what they share")]
pub use warm::{guests, plugins};

/// Stands in all that no log may show.
pub const CANARY: &str = "canary";

/// Far more than any step takes on a busy machine, and far less than a person waits for a hanging test.
pub const PATIENCE: Duration = Duration::from_secs(60);

const GLANCE: Duration = Duration::from_millis(5);

pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Looks until there is something to see.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        tokio::time::sleep(GLANCE).await;
    }
}
