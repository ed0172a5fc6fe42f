//! The host's own way in: somebody asks on an open line and hears the answer as it comes.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Turns;
use crate::config::CHAT_CHANNEL;
use crate::conversation::Heard;
use crate::limits::Excess;
use crate::message::{Message, Scope, Sender};
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
}

impl Turns {
    /// Room for a question of this person's, with this token, before it is asked: every limit of the door.
    pub async fn place(&self, person: &str, key: Option<&str>) -> Result<Place, Refused> {
        let channel = self.channels.get(CHAT_CHANNEL).ok_or(Refused::Closed)?;
        let seat = channel.places.clone().try_acquire_owned().map_err(|_| {
            self.limits.count(&channel.name, "queue");
            Refused::Crowded
        })?;
        self.limits.question(&channel.name, person, key).await?;
        Ok(Place { _seat: seat, time: channel.time })
    }

    /// Stores what a person asks and opens a line to its turn. Sessions of different people are different.
    pub async fn talk(
        &self,
        person: &str,
        session_id: &str,
        query: String,
        request_id: &str,
    ) -> Result<Talking, Refused> {
        let channel = self.channels.get(CHAT_CHANNEL).ok_or(Refused::Closed)?;
        if self.drain.draining() {
            return Err(Refused::Draining);
        }
        let message_id = uuid::Uuid::now_v7().to_string();
        let heard = self.listeners.listen((channel.name.clone(), message_id.clone()));
        let message = Message {
            id: message_id.clone(),
            conversation: format!("{person}/{session_id}"),
            group: None,
            scope: Scope::Direct,
            sender: Sender { id: person.to_owned(), name: None, extra: Vec::new() },
            addressed: true,
            text: query,
            quoted: None,
            attachments: Vec::new(),
            context: Vec::new(),
            sent_at: Some(self.clock.now()),
            address: Vec::new(),
            extra: Vec::new(),
        };
        let stored = self.store_messages(channel, vec![message], request_id, None).await;
        stored.map_err(|error| {
            tracing::error!(error = %error, "a question could not be stored");
            Refused::NotStored(error)
        })?;
        Ok(Talking { message_id, heard })
    }
}
