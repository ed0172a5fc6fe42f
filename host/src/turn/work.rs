//! A message that a queue brings back: run here to its end, or handed back for another run.
//!
//! The store of this process is a scratch pad then: the queue alone remembers. What is not done by the deadline is
//! taken out of the store, so that no later run of this process does it a second time beside the queue's.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::{Ended, Turns};
use crate::conversation::Key;
use crate::queue::Parcel;
use crate::store::{EndedAs, StoreError};

/// Why the queue has to bring a message again.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    #[error("the channel `{0}` is not in the configuration")]
    NoChannel(String),
    #[error("the turn was not done in time")]
    TimedOut,
    #[error("the answer could not be delivered")]
    Dead,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Turns {
    /// Returns once nothing is left to do for this message.
    pub async fn work_off(&self, parcel: Parcel, deadline: Instant) -> Result<(), NotDone> {
        let channel = self.channels.get(parcel.channel.as_str());
        let channel = channel.filter(|channel| channel.adapter.is_some());
        let channel = channel.ok_or(NotDone::NoChannel(parcel.channel))?;
        let key: Key = (channel.name.clone(), parcel.message.id.clone());
        let ends = self.running.ends.subscribe();
        self.store_messages(channel, vec![parcel.message], &parcel.request_id, None).await?;
        match timeout_at(deadline, self.end_of(&key, ends)).await {
            Ok(end) => end,
            Err(_) if self.let_go(&key).await? => Err(NotDone::TimedOut),
            Err(_) => Ok(()),
        }
    }

    /// Waits until the turn of this message has ended.
    pub(super) async fn end_of(
        &self,
        key: &Key,
        mut ends: broadcast::Receiver<(Key, Ended)>,
    ) -> Result<(), NotDone> {
        loop {
            // Asked each time: a repeat may have ended before anybody listened.
            match self.store.ended(&key.0, &key.1).await? {
                Some(EndedAs::Delivered | EndedAs::Withdrawn) => return Ok(()),
                Some(EndedAs::Dead) => return Err(NotDone::Dead),
                None => {}
            }
            loop {
                match ends.recv().await {
                    Ok((ended, _)) if ended != *key => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(NotDone::TimedOut),
                }
            }
        }
    }
}
