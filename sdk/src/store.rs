//! A small shared memory of this plugin's own, for cursors and counters. Shared by all nodes.
//!
//! Refused while a request is being received.

use std::time::Duration;

use crate::{fault::Fault, seam};

/// Why the memory did not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Not reachable, or not now.
    Unavailable,
    /// The value is too large.
    TooLarge,
    /// This plugin's share is used up.
    Quota,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable => Self::unavailable("the plugin's store does not answer"),
            StoreError::TooLarge => Self::internal("a value is too large for the plugin's store"),
            StoreError::Quota => Self::internal("the plugin's store is full"),
        }
    }
}

/// The value under `key`.
///
/// # Errors
/// See [`StoreError`], here and below.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    seam::store_get(key)
}

/// Keeps `value` for `ttl`, or until it is deleted.
///
/// # Errors
/// See [`StoreError`].
pub fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), StoreError> {
    seam::store_set(key, value, ttl.map(milliseconds))
}

/// Forgets `key`.
///
/// # Errors
/// See [`StoreError`].
pub fn delete(key: &str) -> Result<(), StoreError> {
    seam::store_delete(key)
}

/// Adds `by` and returns the sum; a missing key counts as zero.
///
/// # Errors
/// See [`StoreError`].
pub fn increment(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, StoreError> {
    seam::store_increment(key, by, ttl.map(milliseconds))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
