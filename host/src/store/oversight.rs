//! What an operator sees of a store, and what he changes in it.
//!
//! An act and its audit entry are one commit: there is no way to do the one without the other. The audit is
//! append-only; each entry's hash covers the one before it, so that one that was changed or taken out shows. It
//! does not know roles or HTTP: the console asks who may.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::allowance::Used;
use super::{Incoming, Queue, StoreError, Via};
use crate::clock::Millis;
use crate::message::{Message, Reply};

/// Dead letters are kept for an operator's next month, however soon other finished turns are deleted.
pub const DEAD_KEPT: Duration = Duration::from_hours(30 * 24);

/// Who acts, as the audit remembers him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The token's subject, or its id.
    pub person: String,
    /// The token's id.
    pub token: Option<String>,
    pub role: String,
    pub request_id: String,
    /// The address that he came from.
    pub client: Option<String>,
}

/// What an operator does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A text is handed to a channel's adapter, by a job in the line [`super::JOBS`]. Nothing is done if there is a job
    /// of this id.
    Say(Box<Incoming>),
    /// A job that is not done yet is not to be done.
    Cancel { job: String },
    /// A dead letter is tried once more, as if it had come just now: its stored answer is delivered, or it is asked
    /// again.
    Replay {
        turn: i64,
        /// Also where an answer is stored, which is given up then.
        asks: bool,
    },
    /// A dead letter is done with.
    Discard { turn: i64 },
    /// A conversation's history is deleted.
    Forget { channel: String, conversation: String },
    /// A token counts no more, and is remembered until it would have ended by itself.
    Revoke { token: String, until: Millis },
    /// What people said was shown to him. Changes nothing.
    Read { channel: String, conversation: String },
    /// He listens to what comes in and goes out, of one channel or of all. Changes nothing.
    Listen { bus: String, channel: Option<String> },
    /// Which release of a plugin serves is changed. Changes nothing here: what shall serve is no entry of the audit's.
    Deploy { plugin: String, change: String },
}

impl Act {
    /// The act in a word that stays.
    pub fn name(&self) -> &'static str {
        match self {
            Act::Say(_) => "channel.say",
            Act::Cancel { .. } => "job.cancel",
            Act::Replay { asks: false, .. } => "dead-letter.replay",
            Act::Replay { asks: true, .. } => "dead-letter.ask-again",
            Act::Discard { .. } => "dead-letter.discard",
            Act::Forget { .. } => "conversation.forget",
            Act::Revoke { .. } => "token.revoke",
            Act::Read { .. } => "conversation.read",
            Act::Listen { .. } => "bus.listen",
            Act::Deploy { .. } => "plugin.deploy",
        }
    }

    /// What it was done to.
    pub fn target(&self) -> String {
        match self {
            Act::Say(job) => job.via.as_ref().map_or_else(|| job.message.id.clone(), Via::name),
            Act::Cancel { job } => job.clone(),
            Act::Replay { turn, .. } | Act::Discard { turn } => turn.to_string(),
            Act::Forget { channel, conversation } | Act::Read { channel, conversation } => {
                format!("{channel} {conversation}")
            }
            Act::Revoke { token, .. } => token.clone(),
            Act::Deploy { plugin, change } => format!("{plugin} {change}"),
            Act::Listen { bus, channel } => {
                channel.as_ref().map_or_else(|| bus.clone(), |of| format!("{bus} {of}"))
            }
        }
    }
}

/// One act, written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without a gap.
    pub seq: u64,
    pub at: Millis,
    pub actor: Actor,
    pub act: String,
    pub target: String,
    /// Over this entry and the hash of the one before; hex.
    pub hash: String,
}

/// What a look at the whole audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    Whole {
        entries: u64,
        /// The last entry's number and hash: whoever keeps them elsewhere can tell later that nothing was cut off.
        last: Option<(u64, String)>,
    },
    /// This entry was changed, or the one before it was taken out.
    Broken { seq: u64 },
}

/// A conversation that has a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub channel: String,
    pub conversation: String,
    pub last_at: Millis,
    pub exchanges: u64,
    pub unfinished: u64,
}

/// Where a list of conversations goes on: after the one that it names, in the list's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadMark {
    pub last_at: Millis,
    pub channel: String,
    pub conversation: String,
}

/// A turn that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub turn: i64,
    pub message_id: String,
    /// As in the store's head.
    pub state: String,
    pub received_at: Millis,
    pub due_at: Millis,
    pub claims: u32,
    /// Why the last attempt failed.
    pub reason: Option<String>,
}

/// A turn, whatever became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnRecord {
    pub turn: i64,
    /// Without its address.
    pub message: Message,
    /// The way of its reply, without the address; none if that is back.
    pub via: Option<Via>,
    /// As in the store's head.
    pub state: String,
    pub received_at: Millis,
    pub due_at: Millis,
    pub ended_at: Option<Millis>,
    pub claims: u32,
    /// Why it died, or why the last attempt failed.
    pub reason: Option<String>,
    /// The platform's ids of what was sent.
    pub receipt: Vec<String>,
}

/// A turn that ended without a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    pub turn: i64,
    pub channel: String,
    /// Without its address.
    pub message: Message,
    pub request_id: String,
    pub received_at: Millis,
    pub died_at: Millis,
    pub reason: Option<String>,
    /// What could not be delivered, if there was an answer.
    pub reply: Option<Reply>,
}

/// What operators may see and do.
#[async_trait]
pub trait Oversight {
    /// The queue of each channel that has one.
    async fn queues(&self) -> Result<BTreeMap<String, Queue>, StoreError>;

    /// Conversations with a history, the latest first, of one channel or of all.
    async fn threads(
        &self,
        channel: Option<&str>,
        after: Option<&ThreadMark>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError>;

    /// Turns of a conversation that have not ended, the oldest first.
    async fn unfinished(
        &self,
        channel: &str,
        conversation: &str,
        limit: u32,
    ) -> Result<Vec<Unfinished>, StoreError>;

    /// The turn of a message; none if it is unknown.
    async fn record(&self, channel: &str, message_id: &str) -> Result<Option<TurnRecord>, StoreError>;

    /// All turns of a channel that are kept, the latest first; those before this turn. Not for channels of which a
    /// person asks: their turns are many.
    async fn records(
        &self,
        channel: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TurnRecord>, StoreError>;

    /// Dead letters, the latest first, of one channel or of all; those before this turn.
    async fn dead_letters(
        &self,
        channel: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    async fn dead_letter(&self, turn: i64) -> Result<Option<DeadLetter>, StoreError>;

    /// The allowances of which most is used, the emptiest buckets first.
    async fn used_allowances(&self, now: Millis, limit: u32) -> Result<Vec<Used>, StoreError>;

    /// Tokens that count no more, and until when each is remembered.
    async fn revoked(&self, now: Millis) -> Result<BTreeMap<String, Millis>, StoreError>;

    /// Does it and writes it down, or neither. Tells whether there was something to do it to.
    async fn act(&self, now: Millis, act: &Act, actor: &Actor) -> Result<bool, StoreError>;

    /// Entries of the audit, the latest first; those before this number.
    async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<Entry>, StoreError>;

    /// Looks through all entries that are kept.
    async fn audit_chain(&self) -> Result<Chain, StoreError>;

    /// Deletes entries older than `before`, from the old end. What is left can still be looked through.
    async fn sweep_audit(&self, before: Millis) -> Result<u64, StoreError>;
}
