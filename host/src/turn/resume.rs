//! A question that may be asked again: who comes back with the same id finds the turn that there is.
//!
//! The message's id is made of the person and the person's own id for the question, so that the inbox keeps the
//! turn unique, also across restarts. Such a turn runs to its end whether anybody listens or not, and its answer
//! is kept as long as every finished message; only `stop` takes it back. It does not know what a line is made of.

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use super::talk::{Place, conversation_of, not_stored};
use super::{Channel, Refused, Turns};
use crate::config::CHAT_CHANNEL;
use crate::conversation::{self, Account, End, Heard};
use crate::message::{Message, Reply, Trouble, TroubleKind};
use crate::store::{Outcome, StoreError};

/// What a person asks, perhaps not for the first time.
#[derive(Debug)]
pub struct Asked<'a> {
    pub person: &'a str,
    /// The person's own, one for each question.
    pub id: &'a str,
    /// None: a new one, or that of the question's first time.
    pub session_id: Option<&'a str>,
    pub query: String,
    pub request_id: &'a str,
    /// The token's own id.
    pub key: Option<&'a str>,
}

/// A question's turn, found or begun.
#[derive(Debug)]
pub struct Resumed {
    pub message_id: String,
    pub session_id: String,
    pub standing: Standing,
}

#[derive(Debug)]
pub enum Standing {
    /// Stored just now, or before.
    UnderWay {
        heard: watch::Receiver<Heard>,
        is_new: bool,
        /// None for a turn that was there already: coming back is not limited.
        place: Option<Place>,
    },
    Over(End),
}

impl Turns {
    /// Stores the question and listens to its turn, or finds the turn of the same question.
    pub async fn resume(&self, asked: Asked<'_>) -> Result<Resumed, Refused> {
        let channel = self.channels.get(CHAT_CHANNEL).ok_or(Refused::Closed)?;
        if self.drain.draining() {
            return Err(Refused::Draining);
        }
        let Asked { person, id, session_id, query, request_id, key } = asked;
        let message_id = message_id(person, id);
        let known = self.store.message(&channel.name, &message_id).await.map_err(not_stored)?;
        let place = match known {
            Some(_) => None,
            None => Some(self.place(&channel.name, person, key).await?),
        };
        let heard = self.listeners.listen((channel.name.clone(), message_id.clone()));
        let new_session = session_id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let conversation = conversation_of(person, &new_session);
        let message = Message::direct(message_id.clone(), conversation, person, query.clone());
        let message = Message { sent_at_ms: Some(self.clock.now()), ..conversation::outliving_line(message) };
        let stored = self.store_messages(channel, vec![message], request_id, None).await;
        if stored.map_err(not_stored)? == "new" {
            let standing = Standing::UnderWay { heard, is_new: true, place };
            return Ok(Resumed { message_id, session_id: new_session, standing });
        }
        let first = self.store.message(&channel.name, &message_id).await.map_err(not_stored)?;
        let session_id = first.and_then(|first| session_of_same(&first, person, session_id, &query));
        let session_id = session_id.ok_or(Refused::IdTaken)?;
        let standing = match self.came_of(channel, &message_id).await.map_err(not_stored)? {
            Some(end) => Standing::Over(end),
            None => Standing::UnderWay { heard, is_new: false, place: None },
        };
        Ok(Resumed { message_id, session_id, standing })
    }

    /// Takes a person's question back, unless it is answered by now; none if there is no such question.
    pub async fn stop(&self, person: &str, id: &str) -> Result<Option<Resumed>, Refused> {
        let channel = self.channels.get(CHAT_CHANNEL).ok_or(Refused::Closed)?;
        let message_id = message_id(person, id);
        let asked = self.store.message(&channel.name, &message_id).await.map_err(not_stored)?;
        let Some(asked) = asked else { return Ok(None) };
        self.withdraw(channel, std::slice::from_ref(&message_id)).await.map_err(not_stored)?;
        let end = self.came_of(channel, &message_id).await.map_err(not_stored)?.unwrap_or(End::Withdrawn);
        let session_id = session_of(&asked, person).to_owned();
        Ok(Some(Resumed { message_id, session_id, standing: Standing::Over(end) }))
    }

    /// How the turn ended; none while it goes on.
    async fn came_of(&self, channel: &Channel, message_id: &str) -> Result<Option<End>, StoreError> {
        let outcome = self.store.outcome(&channel.name, message_id).await?;
        Ok(match outcome {
            Some(Outcome::Answered(reply)) => Some(said(reply)),
            Some(Outcome::Withdrawn) => Some(End::Withdrawn),
            Some(Outcome::Dead) => Some(failed("the question found no answer".to_owned())),
            Some(Outcome::Pending) | None => None,
        })
    }
}

/// A stored answer; what it took is not stored with it.
fn said(reply: Reply) -> End {
    if conversation::is_apology(&reply) {
        return failed(reply.text);
    }
    End::Said { reply, account: Account::default() }
}

fn failed(sentence: String) -> End {
    End::Failed { trouble: Trouble::new(TroubleKind::Unavailable, sentence.clone()), sentence }
}

/// A UUID of version 8 (RFC 9562 §5.8) that no other person's id leads to.
pub(super) fn message_id(person: &str, id: &str) -> String {
    let digest = Sha256::digest(format!("{} {person}{id}", person.len()));
    let bytes = digest[..16].try_into().expect("a SHA-256 digest has more than 16 bytes");
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// The session that the question was asked in, if it is the same question.
fn session_of_same(first: &Message, person: &str, session_id: Option<&str>, query: &str) -> Option<String> {
    let is_same_session = session_id.is_none_or(|id| first.conversation == conversation_of(person, id));
    (is_same_session && first.text == query).then(|| session_of(first, person).to_owned())
}

fn session_of<'a>(message: &'a Message, person: &str) -> &'a str {
    let session = message.conversation.strip_prefix(person).and_then(|rest| rest.strip_prefix('/'));
    session.unwrap_or(&message.conversation)
}
