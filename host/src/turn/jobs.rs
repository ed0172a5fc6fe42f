//! What the host says without having been asked in a chat, at once or later, and what it must not forget to say.
//!
//! A job is a message in a line of the host's own, [`JOBS`], whose answer is settled and goes out through another
//! channel: so it is leased, retried, bounded, recorded, a dead letter and replayed as every turn is. What is said at
//! once waits for what was said before it in that conversation; what is said later waits for its hour, and for nobody.
//! Neither waits for what is being answered there, nor enters the history. It does not know who may say something.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::resume::message_id;
use super::{Channel, Turn, Turns};
use crate::clock::{Millis, rfc3339};
use crate::config::Meanwhile;
use crate::conversation;
use crate::message::{Message, Reply};
use crate::store::oversight::{Act, Actor, TurnRecord};
use crate::store::{Incoming, JOBS, StoreError, Via};

/// Jobs at a time, over all nodes: they wait for platforms alone.
const CONCURRENT: usize = 16;
/// A clock that is off by less makes no "past".
const PAST_MAX: Duration = Duration::from_mins(5);
/// As long as an address is kept in which nobody writes.
const AHEAD_MAX: Duration = crate::store::ADDRESS_KEPT;

/// Where the store ends with the process a turn waits so long for what it has to say beside its reply.
const FROZEN_AFTER: Duration = Duration::from_secs(10);

/// In a job's message: the hour that it is for, RFC 3339.
const AT: &str = "at";

/// What is to be said, and where.
#[derive(Debug)]
pub struct Say<'a> {
    pub channel: &'a str,
    /// None: the adapter's default destination.
    pub conversation: Option<&'a str>,
    /// CommonMark.
    pub text: String,
    /// None: now.
    pub at: Option<Millis>,
    /// The caller's own: with the same one the same is said once.
    pub key: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub struct Put {
    pub job: TurnRecord,
    /// False: it was there by this key.
    pub is_new: bool,
}

/// Why nothing is said.
#[derive(Debug, thiserror::Error)]
pub enum NotSaid {
    #[error("there is no such channel")]
    NoChannel,
    #[error("this channel is a door of the host's own: whoever asks there hears the answer, and nobody else")]
    NoPlatform,
    #[error(
        "nobody has written in this conversation yet, so that its address is not known; write to the bot there once, or \
         leave `conversation` out for the adapter's default destination"
    )]
    UnknownConversation,
    #[error("`at` is past; leave it out to say it now")]
    Past,
    #[error("`at` is more than a year ahead")]
    TooFarAhead,
    #[error("this `Idempotency-Key` was used for something else; take a new one for each thing to say")]
    KeyTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Channel {
    /// The host's own, behind no door.
    pub fn of_jobs() -> Channel {
        Channel {
            name: JOBS.into(),
            adapter: None,
            stages: Vec::new(),
            model: None,
            history: 0,
            time: Duration::from_secs(120),
            meanwhile: Meanwhile::Queue,
            stale: None,
            reply_via: None,
            concurrent: CONCURRENT,
            permits: Arc::new(Semaphore::new(CONCURRENT)),
            places: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Turns {
    /// Puts a job in, with its entry in the audit: durable when it returns.
    pub async fn say(&self, say: Say<'_>, actor: &Actor) -> Result<Put, NotSaid> {
        let id = match say.key {
            Some(key) => message_id(&actor.person, key),
            None => Uuid::now_v7().to_string(),
        };
        // Whoever repeats himself hears of his job, whatever has changed since.
        if let Some(job) = self.job(&id).await? {
            return same(job, &say);
        }
        let job = self.job_of(id.clone(), &say, actor).await?;
        fail::fail_point!("jobs::before_commit");
        let is_new = self.store.act(self.clock.now(), &Act::Say(Box::new(job)), actor).await?;
        fail::fail_point!("jobs::after_commit");
        self.wake.notify_one();
        let job = self.job(&id).await?.ok_or(NotSaid::KeyTaken)?;
        if is_new { Ok(Put { job, is_new }) } else { same(job, &say) }
    }

    async fn job_of(&self, id: String, say: &Say<'_>, actor: &Actor) -> Result<Incoming, NotSaid> {
        let channel = self.channels.get(say.channel).ok_or(NotSaid::NoChannel)?;
        if channel.adapter.is_none() {
            return Err(NotSaid::NoPlatform);
        }
        let now = self.clock.now();
        if let Some(at) = say.at {
            in_time(at, now)?;
        }
        let address = match say.conversation {
            Some(conversation) => {
                let known = self.store.address(say.channel, conversation).await?;
                known.ok_or(NotSaid::UnknownConversation)?
            }
            None => Vec::new(),
        };
        let via = Via {
            channel: say.channel.to_owned(),
            conversation: say.conversation.map(str::to_owned),
            address,
        };
        let line = if say.at.is_some() { id.clone() } else { line_to(&via) };
        let mut message = Message::direct(id, line, &actor.person, say.text.clone());
        message.extra.extend(say.at.map(|at| (AT.to_owned(), rfc3339(at))));
        let reply = conversation::unasked(&say.text);
        Ok(Incoming { due_at: say.at, ..job(message, reply, via, &actor.request_id, now) })
    }

    /// None: there is no such job, or it is long over.
    pub async fn job(&self, id: &str) -> Result<Option<TurnRecord>, StoreError> {
        self.store.record(JOBS, id).await
    }

    /// Takes a job back that is not done; tells whether there was one. What is being said just now may come through.
    pub async fn cancel_job(&self, id: &str, actor: &Actor) -> Result<bool, StoreError> {
        let is_cancelled =
            self.store.act(self.clock.now(), &Act::Cancel { job: id.to_owned() }, actor).await?;
        if is_cancelled {
            self.running.cancel(&(JOBS.into(), id.to_owned()));
        }
        Ok(is_cancelled)
    }

    /// The reply cannot go where it was to go: whoever asked is told so where he asked, by a job, since this turn ends.
    /// The operator has the dead letter.
    pub(super) async fn excuse(&self, turn: &Turn) -> Result<(), StoreError> {
        if turn.channel.adapter.is_none() || turn.claim.via.is_none() {
            return Ok(());
        }
        let asked = &turn.claim.message;
        let via = Via {
            channel: turn.claim.channel.clone(),
            conversation: Some(asked.conversation.clone()),
            address: asked.address.clone(),
        };
        let reply = conversation::apology(asked);
        let message = Message::direct(turn.excuse_key(), line_to(&via), &asked.sender.id, reply.text.clone());
        let job = job(message, reply, via, &turn.claim.request_id, self.clock.now());
        let (key, ends) = ((JOBS.into(), job.message.id.clone()), self.running.ends.subscribe());
        self.persist(|| self.store.accept(JOBS, self.clock.now(), vec![job.clone()])).await?;
        self.wake.notify_one();
        if !self.inbox.is_store() {
            // The process may be frozen once this turn has ended.
            drop(timeout(FROZEN_AFTER, self.end_of(&key, ends)).await);
        }
        Ok(())
    }
}

impl Turn {
    /// Whether nobody asked for what it says.
    pub(super) fn is_job(&self) -> bool {
        self.claim.channel == JOBS
    }
}

/// When a job is for, as its message tells; none if it is for now.
pub fn hour_of(job: &TurnRecord) -> Option<&str> {
    job.message.extra.iter().find(|(name, _)| name == AT).map(|(_, at)| at.as_str())
}

fn job(message: Message, reply: Reply, via: Via, request_id: &str, now: Millis) -> Incoming {
    Incoming {
        message: Message { sent_at_ms: Some(now), ..conversation::outliving_line(message) },
        request_id: request_id.to_owned(),
        hold_delivery_until: None,
        settled: Some(reply),
        via: Some(via),
        is_awaited: false,
        due_at: None,
    }
}

/// What is said to one place at once is said in order.
fn line_to(via: &Via) -> String {
    format!("{}/{}", via.channel, via.conversation.as_deref().unwrap_or_default())
}

fn in_time(at: Millis, now: Millis) -> Result<(), NotSaid> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match at {
        at if at < now.saturating_sub(millis(PAST_MAX)) => Err(NotSaid::Past),
        at if at > now.saturating_add(millis(AHEAD_MAX)) => Err(NotSaid::TooFarAhead),
        _ => Ok(()),
    }
}

fn same(job: TurnRecord, say: &Say<'_>) -> Result<Put, NotSaid> {
    let way = job.via.as_ref().map(|via| (via.channel.as_str(), via.conversation.as_deref()));
    let is_same = way == Some((say.channel, say.conversation))
        && job.message.text == say.text
        && hour_of(&job) == say.at.map(rfc3339).as_deref();
    if is_same { Ok(Put { job, is_new: false }) } else { Err(NotSaid::KeyTaken) }
}
