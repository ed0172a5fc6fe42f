//! The host's own way in: somebody asks on an open line and hears the answer as it comes.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Turns;
use crate::config::CHAT_CHANNEL;
use crate::conversation::Heard;
use crate::limits::Excess;
use crate::message::{Favour, Message};
use crate::store::StoreError;

/// An open line.
#[derive(Debug)]
pub struct Talking {
    pub message_id: String,
    /// Dropping it tells the turn that nobody waits any more.
    pub heard: watch::Receiver<Heard>,
}

/// Room for one more open line; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    _seat: OwnedSemaphorePermit,
    /// How long whoever sits here may wait for the whole of an answer.
    pub time: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("this door is closed; open it by `chat:` in the configuration")]
    Closed,
    #[error("the host is shutting down; ask again")]
    Draining,
    #[error("too many questions are waiting; ask again in a moment")]
    Crowded,
    #[error(transparent)]
    TooOften(#[from] Excess),
    #[error("the question could not be stored; ask again")]
    NotStored(#[source] StoreError),
    #[error("another question was asked under this id; choose a new one for each question")]
    IdTaken,
}

impl Turns {
    /// Room for a question of this person's, with this token, before it is asked: every limit of the door.
    pub async fn place(&self, channel: &str, person: &str, key: Option<&str>) -> Result<Place, Refused> {
        let channel = self.channels.get(channel).ok_or(Refused::Closed)?;
        let seat = channel.places.clone().try_acquire_owned().map_err(|_| {
            self.limits.count(&channel.name, "queue");
            Refused::Crowded
        })?;
        self.limits.question(&channel.name, person, key).await?;
        Ok(Place { _seat: seat, time: channel.time })
    }

    /// Stores what a person asks and opens a line to its turn.
    pub async fn talk(
        &self,
        person: &str,
        session_id: &str,
        query: String,
        favour: Favour,
        request_id: &str,
    ) -> Result<Talking, Refused> {
        let message_id = uuid::Uuid::now_v7().to_string();
        let message = Message::direct(message_id, conversation_of(person, session_id), person, query);
        let message = Message { favour, ..message };
        self.open_line(CHAT_CHANNEL, message, request_id).await
    }

    /// Stores a message of a channel without an adapter and opens a line to its turn.
    pub async fn open_line(
        &self,
        channel: &str,
        message: Message,
        request_id: &str,
    ) -> Result<Talking, Refused> {
        let channel = self.channels.get(channel).ok_or(Refused::Closed)?;
        if self.drain.draining() {
            return Err(Refused::Draining);
        }
        let message_id = message.id.clone();
        let heard = self.listeners.listen((channel.name.clone(), message_id.clone()));
        let message = Message { sent_at_ms: Some(self.clock.now()), ..message };
        let stored = self.store_messages(channel, vec![message], request_id, None).await;
        stored.map_err(not_stored)?;
        Ok(Talking { message_id, heard })
    }
}

/// Sessions of different people are different.
pub(super) fn conversation_of(person: &str, session_id: &str) -> String {
    format!("{person}/{session_id}")
}

pub(super) fn not_stored(error: StoreError) -> Refused {
    tracing::error!(error = %error, "a question could not be stored");
    Refused::NotStored(error)
}
