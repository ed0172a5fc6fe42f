//! The host's own way in: somebody asks on an open line and hears the answer as it comes.

use tokio::sync::watch;

use super::Turns;
use crate::config::CHAT_CHANNEL;
use crate::conversation::Heard;
use crate::message::{Message, Scope, Sender};
use crate::store::StoreError;

/// An open line.
#[derive(Debug)]
pub struct Talking {
    pub message_id: String,
    /// Dropping it tells the turn that nobody waits any more.
    pub heard: watch::Receiver<Heard>,
}

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("this door is closed; open it by `chat:` in the configuration")]
    Closed,
    #[error("the host is shutting down; ask again")]
    Draining,
    #[error("the question could not be stored; ask again")]
    NotStored(#[source] StoreError),
    #[error("another question was asked under this id; choose a new one for each question")]
    IdTaken,
}

impl Turns {
    /// Stores what a person asks and opens a line to its turn.
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
        let message = self.own_message(message_id.clone(), person, session_id, query);
        let stored = self.store_messages(channel, vec![message], request_id, None).await;
        stored.map_err(not_stored)?;
        Ok(Talking { message_id, heard })
    }

    /// What a person asks on the host's own door. Sessions of different people are different.
    pub(super) fn own_message(&self, id: String, person: &str, session_id: &str, query: String) -> Message {
        Message {
            id,
            conversation: conversation_of(person, session_id),
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
        }
    }
}

pub(super) fn conversation_of(person: &str, session_id: &str) -> String {
    format!("{person}/{session_id}")
}

pub(super) fn not_stored(error: StoreError) -> Refused {
    tracing::error!(error = %error, "a question could not be stored");
    Refused::NotStored(error)
}
