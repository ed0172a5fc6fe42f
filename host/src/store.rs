//! What must outlive the process: the inbox, the outbox, histories, plugin memories, minted tokens.
//!
//! The trait is what the stages need; `sqlite` keeps it on one node, `redis` for several, `ephemeral` in the memory of
//! the process. It does not know HTTP, plugins or models, and it takes the time from its caller so that a test can
//! step it.
//!
//! A turn's row goes `received → generating → answered → delivering → delivered | dead | withdrawn`.
//! A claim is a lease on the oldest unfinished turn of a conversation, so that turns of one conversation
//! run one after another. Each write of a claimed turn carries the claim's fence: who lost the lease
//! changes nothing.

pub mod allowance;
pub mod ephemeral;
mod letter;
pub mod oversight;
pub mod redis;
pub mod sqlite;
pub mod vault;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use allowance::{Allowance, Verdict};
pub use oversight::Oversight;

use crate::clock::Millis;
use crate::message::{Message, Reply, Utterance};

/// The file of a release; as much as any plugin's file may have.
pub const RELEASE_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, the file cannot be written, or the server does not answer: nothing was stored, or nobody
    /// can tell.
    #[error("the store cannot write: {0}; nothing needs a restart once it can")]
    Unavailable(String),
    /// Another claim holds this turn by now.
    #[error("the lease of this turn is lost: another worker holds it")]
    LeaseLost,
    /// The file is damaged, newer than this binary, or sealed by another key.
    #[error("the store is not usable: {0}")]
    Unusable(String),
    #[error("a value of {bytes} bytes is over the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("this plugin's memory is full: {limit} keys")]
    Quota { limit: usize },
    #[error("the value of this key is not a number: delete the key before counting with it")]
    NotANumber,
}

/// One message on its way into the inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    pub message: Message,
    /// Follows the turn through every log line.
    pub request_id: String,
    /// Somebody waits on the line for the answer: a delivery may not send it before this time.
    pub hold_delivery_until: Option<Millis>,
    /// The answer is settled and nobody is asked: this is said, or nothing if its text is empty.
    pub settled: Option<Reply>,
    /// None: the reply goes back where the message came from.
    pub via: Option<Via>,
    /// Somebody hears the answer on an open line of this process: of several nodes no other claims the turn, for
    /// as long as this one lives.
    pub is_awaited: bool,
    /// It counts as received then, and is claimed then at the earliest; whoever comes behind it in its conversation
    /// waits. None: now.
    pub due_at: Option<Millis>,
}

/// The line of what the host does for itself, without anybody who asked it in a chat: jobs. No channel of the
/// configuration has a `/` in its name.
pub const JOBS: &str = "host/jobs";

/// The way of a reply that goes out through another channel. It stays as it was when the message came in, so that
/// each attempt at the delivery goes the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    pub channel: String,
    /// The conversation there, where it is known by name.
    pub conversation: Option<String>,
    /// That channel's own; empty for its default destination. Sealed at rest as a message's is.
    pub address: Vec<u8>,
}

impl Via {
    /// Where it leads, for operators.
    pub fn name(&self) -> String {
        let conversation = self.conversation.as_ref();
        conversation.map_or_else(|| self.channel.clone(), |name| format!("{} {name}", self.channel))
    }
}

/// The address of a conversation in which nobody writes any more is kept for a year: what goes there without being
/// asked for, such as another channel's replies, finds it.
pub const ADDRESS_KEPT: Duration = Duration::from_hours(365 * 24);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    New,
    /// A row with this channel and message id is there already.
    Duplicate,
}

/// A lease on one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The turn's row, in order of arrival.
    pub turn: i64,
    /// Changes with each claim.
    pub fence: i64,
}

/// How many turns of a channel may be leased at a time, by whichever node. A channel without one has no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub channel: Arc<str>,
    /// With 0 none is.
    pub turns: usize,
}

/// How far a claimed turn had come. A checkpoint is the adapter's own; empty if it has done nothing yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// No answer is stored: ask (again). The checkpoint tells what was shown of an earlier attempt's text.
    Unanswered { checkpoint: Vec<u8> },
    /// The answer is stored: deliver it, from this checkpoint on.
    Answered { reply: Reply, checkpoint: Vec<u8> },
    /// The message was taken back: close what was shown, if anything was, and end the turn.
    Withdrawn { checkpoint: Vec<u8> },
}

impl Progress {
    pub fn checkpoint(&self) -> &[u8] {
        match self {
            Progress::Unanswered { checkpoint }
            | Progress::Answered { checkpoint, .. }
            | Progress::Withdrawn { checkpoint } => checkpoint,
        }
    }
}

/// A turn that this worker may run until the lease ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    pub lease: Lease,
    pub channel: String,
    pub message: Message,
    pub request_id: String,
    pub received_at: Millis,
    /// As it came in.
    pub settled: Option<Reply>,
    /// As it came in.
    pub via: Option<Via>,
    pub progress: Progress,
    /// Claims of this turn so far, this one included.
    pub claims: u32,
    /// Failed attempts of the stage it is in: asking, or delivering.
    pub attempts: u32,
    /// Somebody asked for the answer on the line (`hold_delivery_until`) and takes it there.
    pub is_held: bool,
    /// Something of it may be seen that the checkpoint does not tell of: whoever had it before gave it back with that
    /// word, or died.
    pub may_be_seen: bool,
}

/// A message behind a claimed turn, in its conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    pub message: Message,
    pub received_at: Millis,
    /// The claimed turn answers it too.
    pub is_gathered: bool,
}

/// What is told of a conversation's queue at a time: more nobody asks in one breath.
pub const BEHIND_MAX: usize = 16;

/// Who delivers an answer that was stored just now.
#[must_use = "a held turn is no longer this worker's"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The lease goes on: whoever stored the answer delivers it.
    Due,
    /// Somebody waits on the line. The lease is given back; if nobody took the answer by then, a claim
    /// brings the turn up again.
    Held { until: Millis },
}

/// What came of handing an answer over on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// It ended the turn.
    Done,
    /// Somebody delivers it at this moment.
    Delivering,
    /// There is nothing to end, such as a turn that has ended before.
    Nothing,
}

/// What came of a message, for a platform that asks again.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Pending,
    Answered(Reply),
    Dead,
    Withdrawn,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The platform's ids of what was sent.
    Delivered {
        receipt: Vec<String>,
    },
    Dead {
        reason: String,
    },
    /// The person took the message back, or nobody waits for the answer any more.
    Withdrawn,
}

/// The same, of a turn that ended some time ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedAs {
    Delivered,
    Dead,
    Withdrawn,
}

/// Figures for metrics and readiness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    pub unfinished: u64,
    pub dead: u64,
    /// When the oldest unfinished message came in, or will.
    pub oldest_received_at: Option<Millis>,
}

/// Everything that a node must not forget. All writes are durable when they return, but for `take`.
#[async_trait]
pub trait Store: Oversight + Send + Sync + std::fmt::Debug {
    /// Puts the messages into the inbox in one transaction, in order.
    async fn accept(
        &self,
        channel: &str,
        now: Millis,
        messages: Vec<Incoming>,
    ) -> Result<Vec<Acceptance>, StoreError>;

    /// Ends the unfinished turns of these messages without an answer; tells which there were. One of which something is
    /// or may be seen is `withdrawn` for now, and ended by whoever works on it or by the next claim: what is on its way
    /// comes before the answers behind it. No answer is taken to it. It is due at once, unless it has one that was put
    /// off: a platform may have asked for the pause. An answer of which a part was sent is sent whole.
    async fn withdraw(&self, channel: &str, now: Millis, ids: &[String]) -> Result<Vec<String>, StoreError>;

    /// The machine's clock was set to `now`, ahead or back by so many milliseconds: what is to come moves with it, or a
    /// turn would wait for an hour that was over already, or be claimed twice for one that never was. What was meant
    /// for an hour (`due_at`) stays at it. A store that goes by a clock of its own has nothing to do.
    async fn clock_was_set(&self, _now: Millis, _by: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Leases the next turn that is due: the oldest unfinished one of a conversation that nobody leases.
    /// A turn that was `received` is `generating` by now. Channels at their bound wait.
    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        bounds: &[Bound],
    ) -> Result<Option<Claim>, StoreError>;

    /// Holds the lease for longer.
    async fn renew(&self, lease: Lease, until: Millis) -> Result<(), StoreError>;

    /// What came after a claimed message into its conversation and is unfinished, oldest first: at most
    /// `BEHIND_MAX`, and none from the first on that is settled or held, since that one is not asked. Empty if
    /// the lease is lost.
    async fn behind(&self, lease: Lease) -> Result<Vec<Waiting>, StoreError>;

    /// Lets this turn answer those behind it too: when it ends as delivered or dead they end with it, with its
    /// answer and its receipt; a dead one's name it as their reason. What was gathered before and is not named
    /// now is let go, and so is all of it when the turn ends as withdrawn, is discarded, or claimed again without an
    /// answer. Ids that are not behind it are passed over.
    async fn gather(&self, lease: Lease, ids: &[String]) -> Result<(), StoreError>;

    /// Stores the answer: `answered`. Its delivery is due at once, under the same lease, unless it is held.
    async fn answer(&self, lease: Lease, now: Millis, reply: &Reply) -> Result<Delivery, StoreError>;

    /// Records what a delivery has done so far: `delivering`, also if it was `withdrawn` meanwhile, for which it is too
    /// late. Where there is no answer it records what was shown of it, for the delivery to go on from.
    async fn checkpoint(&self, lease: Lease, now: Millis, checkpoint: &[u8]) -> Result<(), StoreError>;

    /// Gives up the answer to a `withdrawn` message, if there is one: what is recorded from here on is no part of it.
    async fn give_up(&self, lease: Lease) -> Result<(), StoreError>;

    /// Gives the lease back; the turn is due again at `until`. A `failure` counts as a failed attempt. `may_be_seen`
    /// goes to the next claim.
    async fn postpone(
        &self,
        lease: Lease,
        until: Millis,
        failure: Option<&str>,
        may_be_seen: bool,
    ) -> Result<(), StoreError>;

    /// Ends the turn. A delivered one enters the history: `said` are its utterances, oldest first. What was taken back
    /// is no dead letter: it ends as `withdrawn` then.
    async fn finish(
        &self,
        lease: Lease,
        now: Millis,
        ending: &Ending,
        said: &[Utterance],
    ) -> Result<(), StoreError>;

    /// How a message's turn ended; none as long as it is unfinished, or if it is unknown.
    async fn ended(&self, channel: &str, message_id: &str) -> Result<Option<EndedAs>, StoreError>;

    /// Takes an unfinished message out as if it had never come: it comes again by another way. Whoever
    /// works on it has lost the lease. Tells whether there was one.
    async fn discard(&self, channel: &str, message_id: &str) -> Result<bool, StoreError>;

    /// A message as it was taken in, without its address; none if it is unknown.
    async fn message(&self, channel: &str, message_id: &str) -> Result<Option<Message>, StoreError>;

    /// The address of the last message that came into a conversation with one, also when that message is long
    /// deleted: for [`ADDRESS_KEPT`]. None: nobody wrote there.
    async fn address(&self, channel: &str, conversation: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// What came of a message; none if it is unknown.
    async fn outcome(&self, channel: &str, message_id: &str) -> Result<Option<Outcome>, StoreError>;

    /// Whether a message was taken back, perhaps at another node.
    async fn is_taken_back(&self, channel: &str, message_id: &str) -> Result<bool, StoreError> {
        Ok(self.outcome(channel, message_id).await? == Some(Outcome::Withdrawn))
    }

    /// The answer is handed over on the line where it was asked for (`hold_delivery_until`): ends the turn if it is
    /// answered and unfinished, and nobody delivers it. `said` enters the history.
    async fn hand_over(
        &self,
        channel: &str,
        message_id: &str,
        now: Millis,
        said: &[Utterance],
    ) -> Result<HandOver, StoreError>;

    /// A held delivery goes on from this checkpoint, at this time. One that is not held is left alone.
    async fn release_hold(
        &self,
        channel: &str,
        message_id: &str,
        due: Millis,
        checkpoint: &[u8],
    ) -> Result<(), StoreError>;

    /// The last `turns` exchanges of a conversation, oldest first.
    async fn history(
        &self,
        channel: &str,
        conversation: &str,
        turns: u32,
    ) -> Result<Vec<Utterance>, StoreError>;

    /// Forgets a conversation's history; tells whether there was one.
    async fn forget(&self, channel: &str, conversation: &str) -> Result<bool, StoreError>;

    /// When the next turn may be claimed, a leased one at its lease's end; none if there is nothing to do. What a
    /// channel at its bound has is due when one of its turns ends.
    async fn next_due(&self, bounds: &[Bound]) -> Result<Option<Millis>, StoreError>;

    /// Returns when another node has put something in that may be claimed by now, or never. It is a hint, which
    /// may get lost: whoever waits for it looks for himself now and then.
    async fn stirred(&self) {
        std::future::pending().await
    }

    async fn queue(&self) -> Result<Queue, StoreError>;

    /// Deletes finished turns older than `before`, and keys and addresses past their life. Dead letters stay for
    /// [`oversight::DEAD_KEPT`] at least.
    async fn sweep(&self, now: Millis, before: Millis) -> Result<u64, StoreError>;

    /// A plugin's small memory. `space` keeps channels and plugins apart.
    async fn get(&self, space: &str, now: Millis, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    async fn set(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<(), StoreError>;
    async fn delete(&self, space: &str, key: &str) -> Result<(), StoreError>;
    /// Adds to a number in decimal text. Its life is set when it begins; counting does not draw it out.
    async fn increment(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StoreError>;

    /// Takes one of each allowance, or none of any if one of them is used up: what one limit refuses costs
    /// nothing at the others. The keys of one call differ. Each key never grants more than its burst and one
    /// for each interval of any span of time, and a refusal tells the exact time of the next grant.
    ///
    /// This alone need not outlive the process: a store of one node may forget it at a restart, and grants a
    /// burst more then. One that several nodes share keeps it for all of them, in one step on its side, with
    /// keys that expire when their buckets are full; it goes by its own clock and not by `now`, since the
    /// nodes' clocks differ, and returns times of the caller's.
    async fn take(&self, now: Millis, allowances: &[Allowance]) -> Result<Verdict, StoreError>;

    /// Whether the store is one that hands a plugin's releases to other nodes, and has not this one yet. A store of one
    /// node keeps none: its host has the file itself.
    async fn lacks_release(&self, _digest: &str) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Keeps the file of a release for other nodes, until it is dropped.
    async fn keep_release(&self, _digest: &str, _bytes: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    /// What was kept under this digest, for a reader who verifies it; none if nobody left it.
    async fn release(&self, _digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn drop_release(&self, _digest: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
