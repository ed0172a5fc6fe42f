//! Where a message is safe once its platform was told so.

use std::sync::Arc;

use super::{Channel, Turns};
use crate::conversation::Key;
use crate::message::Message;
use crate::queue::{Parcel, Queue, QueueError};
use crate::store::StoreError;

/// What keeps messages between their 2xx and their turn.
#[derive(Debug, Clone)]
pub enum Inbox {
    /// The store, which outlives the process.
    Store,
    /// The process and its store may end after any response; the queue brings messages back.
    Queue(Arc<dyn Queue>),
    /// Nothing: what is asked is answered in the response itself, or not taken.
    Nothing,
}

impl Inbox {
    /// Whether a message that the store has is safe.
    pub(super) fn is_store(&self) -> bool {
        matches!(self, Inbox::Store)
    }
}

/// Why a message is not taken: the platform sends it again.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("a function keeps no message without a queue; set `function.queue`")]
    Nowhere,
    #[error("the answer was not ready in time, and a function keeps nothing after its response")]
    Unfinished,
}

impl Turns {
    /// Stops a turn that this process may not go on with after its response. Tells whether it was unfinished.
    pub(super) async fn let_go(&self, key: &Key) -> Result<bool, StoreError> {
        let was_unfinished = self.store.discard(&key.0, &key.1).await?;
        if was_unfinished {
            self.running.cancel(key);
        }
        Ok(was_unfinished)
    }

    /// Puts messages where they are safe. Returns how they were taken, in a word.
    pub(super) async fn keep_messages(
        &self,
        channel: &Channel,
        messages: Vec<Message>,
        request_id: &str,
    ) -> Result<&'static str, NotKept> {
        match &self.inbox {
            _ if messages.is_empty() => Ok("empty"),
            Inbox::Store => Ok(self.store_messages(channel, messages, request_id, None).await?),
            Inbox::Queue(queue) => {
                let parcel = |message| Parcel {
                    channel: channel.name.to_string(),
                    message,
                    request_id: request_id.to_owned(),
                };
                queue.put(&messages.into_iter().map(parcel).collect::<Vec<_>>()).await?;
                tracing::info!(channel = %channel.name, "message queued");
                Ok("queued")
            }
            Inbox::Nothing => Err(NotKept::Nowhere),
        }
    }
}
