//! Messages that one run of a function hands to the next.
//!
//! A function's process may be frozen or ended after each response, and its disk goes with it. There a message is
//! safe once a queue has it, which brings it back to the same binary. The trait is what a turn's intake needs; `sqs`
//! keeps it. It does not know adapters, turns or the store. Next: `function`, where messages come back.

mod parcel;
pub mod sqs;

use async_trait::async_trait;

pub use parcel::{NotOurs, Parcel, Wrapper};

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the queue cannot be reached: {0}")]
    Unreachable(String),
    #[error("the queue refuses the message: {0}")]
    Refused(String),
    #[error("a message of {bytes} bytes is over the queue's limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the message cannot be sealed")]
    Seal,
}

/// A queue that gives each message to one worker at a time, those of one conversation in order, until it is done.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// Durable when it returns. A message that the queue has by now is not put in twice.
    async fn put(&self, parcels: &[Parcel]) -> Result<(), QueueError>;
}
