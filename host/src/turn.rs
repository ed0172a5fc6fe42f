//! The life of one turn: from a platform's request to the receipt of its answer.
//!
//! ```text
//! http-request → message → turn → prompt → completion → reply → delivery → receipt
//! ```
//! `intake` takes messages in and `dispatch` claims them; `run` below is a claimed turn from top to bottom,
//! with `ask` and `deliver` as its two long steps, and `show` beside the first. Only this module and `app` know more than one stage.

mod ask;
mod behind;
mod deliver;
mod dispatch;
mod failure;
mod inbox;
mod inquire;
mod intake;
mod jobs;
mod patience;
mod pushed;
mod record;
mod resume;
mod show;
mod stale;
mod talk;
mod tell;
mod tenure;
mod trouble;
mod usefulness;
mod way;
mod wishes;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use failure::TurnError;
pub use inbox::{Inbox, NotKept};
pub use jobs::{NotSaid, Put, Say, hour_of};
pub use resume::{Asked, Resumed, Standing};
pub use talk::{Place, Refused, Talking};
pub use tenure::LEASE;
pub use work::NotDone;

use crate::adapter::{Adapter, Speaker};
use crate::bus::Bus;
use crate::clock::{Clock, Millis};
use crate::config::{Meanwhile, ReplyVia, Stale};
use crate::conversation::{self, Account, End, Heard, Key, Listeners};
use crate::drain::Drain;
use crate::limits::Limits;
use crate::message::{Favour, Message, Reply, Sender};
use crate::model::Model;
use crate::pipeline::Stage;
use crate::random::Random;
use crate::store::{Claim, Delivery, Ending, Progress, Store};
use crate::telemetry::Metrics;
use tenure::Tenure;

/// One configured mouth of the bot, wired.
#[derive(Debug)]
pub struct Channel {
    pub name: Arc<str>,
    /// None: the host's own door; whoever asked listens on the line.
    pub adapter: Option<Adapter>,
    pub stages: Vec<Stage>,
    pub model: Option<String>,
    /// Exchanges that a pipeline is shown; with 0 none are kept.
    pub history: u32,
    /// One turn, from its claim to its answer.
    pub time: Duration,
    pub meanwhile: Meanwhile,
    pub stale: Option<Stale>,
    pub reply_via: Option<ReplyVia>,
    /// Turns of this channel at a time, over all nodes.
    pub concurrent: usize,
    /// Those that may still begin here.
    pub permits: Arc<Semaphore>,
    /// Open lines of the host's own door at a time: those whose turns run, and those that wait.
    pub places: Arc<Semaphore>,
}

/// Everything that turns need, put together by `app`.
#[derive(Debug)]
pub struct Turns {
    pub store: Arc<dyn Store>,
    pub inbox: Inbox,
    pub channels: BTreeMap<Arc<str>, Arc<Channel>>,
    pub models: BTreeMap<String, Arc<dyn Model>>,
    /// By a model's name those that are asked instead, in this order, while it cannot answer.
    pub fallbacks: BTreeMap<String, Vec<String>>,
    pub limits: Limits,
    pub listeners: Listeners,
    pub bus: Bus,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    /// Turns at a time, over all channels.
    pub permits: Arc<Semaphore>,
    /// Plugin instances of turns: one takes those of all its stages at once, so that two never wait for each other.
    pub instances: Arc<Semaphore>,
    pub wake: Notify,
    pub running: Running,
    /// Whether the last message could be stored.
    pub stores: AtomicBool,
}

/// Turns that run now, so that a message that is taken back can stop its own, and the next one that before it.
#[derive(Debug)]
pub struct Running {
    turns: Mutex<HashMap<Key, Underway>>,
    unrecorded: record::Unrecorded,
    /// Each time that a turn was left, for good or for now.
    ends: broadcast::Sender<(Key, Ended)>,
}

/// A turn that runs now.
#[derive(Debug, Clone)]
struct Underway {
    conversation: String,
    person: String,
    tenure: Arc<Tenure>,
    /// Its message was taken back.
    cancelled: CancellationToken,
    /// Another message of the person's came, where that stops the answer.
    interrupted: CancellationToken,
}

/// Who is told more ends at a time than this asks the store instead.
const ENDS_KEPT: usize = 1024;

impl Default for Running {
    fn default() -> Self {
        let (turns, unrecorded) = (Mutex::default(), record::Unrecorded::default());
        Self { turns, unrecorded, ends: broadcast::Sender::new(ENDS_KEPT) }
    }
}

impl Running {
    fn enter(&self, channel: &Channel, message: &Message, tenure: Arc<Tenure>) -> Underway {
        let underway = Underway {
            conversation: message.conversation.clone(),
            person: message.sender.id.clone(),
            tenure,
            cancelled: CancellationToken::new(),
            interrupted: CancellationToken::new(),
        };
        let key = (channel.name.clone(), message.id.clone());
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).insert(key, underway.clone());
        underway
    }

    fn leave(&self, key: &Key, ended: Ended) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        // Nobody listens on a server.
        let _ = self.ends.send((key.clone(), ended));
    }

    /// Turns that run now, of one channel or of all.
    pub fn count(&self, channel: Option<&str>) -> usize {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.keys().filter(|(name, _)| channel.is_none_or(|channel| **name == *channel)).count()
    }

    fn tenures(&self) -> Vec<Arc<Tenure>> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.values().map(|underway| underway.tenure.clone()).collect()
    }

    fn cancel(&self, key: &Key) {
        if let Some(underway) = self.turns.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            underway.cancelled.cancel();
        }
    }

    /// Stops what is being answered to this person in this conversation.
    fn interrupt(&self, channel: &str, conversation: &str, person: &str) {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let of_channel = turns.iter().filter(|(key, _)| &*key.0 == channel).map(|(_, underway)| underway);
        for underway in of_channel.filter(|it| it.conversation == conversation && it.person == person) {
            underway.interrupted.cancel();
        }
    }
}

/// A claimed turn and what it runs on.
struct Turn {
    channel: Arc<Channel>,
    /// The channel that says the reply, if it is still there; mostly the same.
    outlet: Option<Arc<Channel>>,
    /// The releases that serve it from its claim to its end, whatever is swapped meanwhile.
    served_by: Served,
    claim: Claim,
    tenure: Arc<Tenure>,
    /// Where those hear it who wait on an open line, if anybody does.
    line: watch::Sender<Heard>,
    /// What a person sees of the reply before it is whole.
    card: show::Card,
    /// There is more to show.
    grown: Notify,
    cancelled: CancellationToken,
    interrupted: CancellationToken,
    /// What waited behind it and is answered with it.
    gathered: Vec<Message>,
    is_stale: bool,
    deadline: Instant,
}

/// Who serves a turn at the platforms.
#[derive(Debug, Default)]
struct Served {
    /// Where the message came from; none at the host's own doors.
    inlet: Option<Speaker>,
    /// Where the reply goes.
    outlet: Option<Speaker>,
}

/// How a claimed turn ended, in a word for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Delivered,
    /// The answer is stored; whoever waits on the line takes it.
    Held,
    Apologised,
    /// Too old to be answered: the person was told so, or nothing was said.
    Stale,
    /// Another message came, and this one's answer stopped.
    Interrupted,
    /// Tried again later, by a claim of its own.
    Retried,
    Dead,
    Withdrawn,
    /// Nothing could be stored: the lease runs out and the turn is claimed again.
    Left,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Ended::Delivered => "delivered",
            Ended::Held => "held",
            Ended::Apologised => "apologised",
            Ended::Stale => "stale",
            Ended::Interrupted => "interrupted",
            Ended::Retried => "retried",
            Ended::Dead => "dead",
            Ended::Withdrawn => "withdrawn",
            Ended::Left => "left",
        }
    }
}

impl From<&Ending> for Ended {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Delivered { .. } => Ended::Delivered,
            Ending::Dead { .. } => Ended::Dead,
            Ending::Withdrawn => Ended::Withdrawn,
        }
    }
}

/// What came of asking.
enum Answer {
    Say { reply: Reply, forget: bool, account: Account },
    Silence,
}

impl Turns {
    /// Whether the last message could be stored.
    pub fn can_store(&self) -> bool {
        self.stores.load(Ordering::Relaxed)
    }

    /// One turn, from its claim to its receipt.
    async fn run(&self, turn: &mut Turn) -> Result<Ended, TurnError> {
        let reply = match turn.claim.progress.clone() {
            Progress::Withdrawn { .. } => return Err(TurnError::Withdrawn),
            _ if turn.outlet.is_none() => return Err(TurnError::NoOutlet),
            Progress::Answered { reply, .. } => reply,
            Progress::Unanswered { .. } => {
                self.enrich_all(turn).await?;
                let (reply, forget, account) = match self.answer_and_show(turn).await? {
                    Answer::Say { reply, forget, account } => (reply, forget, account),
                    Answer::Silence if turn.may_have_card() => (turn.cut_off(), false, Account::default()),
                    Answer::Silence => {
                        return self.end(turn, Ending::Delivered { receipt: Vec::new() }, None).await;
                    }
                };
                let delivery = self.keep(turn, &reply, forget).await?;
                // Questions that failed are no failed deliveries.
                turn.claim.attempts = 0;
                self.tell(turn, End::Said { reply: reply.clone(), account });
                if let Delivery::Held { .. } = delivery {
                    return Ok(Ended::Held);
                }
                reply
            }
        };
        let receipt = self.deliver(turn, &reply).await?;
        self.end(turn, Ending::Delivered { receipt }, Some(&reply)).await
    }

    /// Completes what is asked, and puts it together if it is more than one message.
    async fn enrich_all(&self, turn: &mut Turn) -> Result<(), TurnError> {
        let first = self.enrich(turn, turn.claim.message.clone()).await?;
        let mut others = Vec::with_capacity(turn.gathered.len());
        for message in std::mem::take(&mut turn.gathered) {
            others.push(self.enrich(turn, message).await?);
        }
        turn.claim.message = conversation::in_one_breath(first, others);
        Ok(())
    }

    async fn enrich(&self, turn: &Turn, message: Message) -> Result<Message, TurnError> {
        let is_asked = turn.claim.settled.is_none();
        let Some(adapter) = turn.served_by.inlet.as_ref().filter(|_| is_asked) else { return Ok(message) };
        let enriched = adapter.enrich(message.clone()).await?;
        // What a turn is known by stays as it was stored, or a restart would deliver another one.
        let Message { id, conversation, sender, address, wishes, favour, .. } = message;
        let sender = Sender { id: sender.id, ..enriched.sender };
        Ok(Message { id, conversation, sender, address, wishes, favour, ..enriched })
    }

    /// Stores the answer: from here on a restart delivers without asking again.
    async fn keep(&self, turn: &Turn, reply: &Reply, forget: bool) -> Result<Delivery, TurnError> {
        fail::fail_point!("turn::generating");
        if forget {
            self.store.forget(&turn.claim.channel, &turn.claim.message.conversation).await?;
        }
        let delivery = self.persist(|| self.store.answer(turn.claim.lease, self.clock.now(), reply)).await?;
        fail::fail_point!("turn::answered");
        Ok(delivery)
    }

    /// Ends the turn in the store; what was said enters the history only if it was delivered, and if the
    /// channel ever looks at it.
    async fn end(&self, turn: &Turn, ending: Ending, reply: Option<&Reply>) -> Result<Ended, TurnError> {
        let said = match (&ending, reply) {
            (Ending::Delivered { .. }, Some(reply)) if turn.channel.history > 0 => {
                conversation::exchange(&turn.claim.message, reply)
            }
            _ => Vec::new(),
        };
        self.record_sent(|| self.store.finish(turn.claim.lease, self.clock.now(), &ending, &said)).await?;
        if let (Ending::Delivered { .. }, Some(reply)) = (&ending, reply) {
            self.tell_said(turn, reply);
        }
        if reply.is_none() {
            self.tell(turn, if ending == Ending::Withdrawn { End::Withdrawn } else { End::Silent });
        }
        Ok(Ended::from(&ending))
    }

    /// Speaks to whoever listens on the open line.
    fn tell(&self, turn: &Turn, end: End) {
        turn.line.send_modify(|heard| heard.end = Some(end));
    }
}

impl Turn {
    /// Whether somebody waits on the open line now.
    fn is_heard(&self) -> bool {
        self.line.receiver_count() > 0
    }

    /// Whether its answer is for those on the line alone: nobody could come back for it.
    fn needs_listener(&self) -> bool {
        self.channel.adapter.is_none() && !conversation::outlives_line(&self.claim.message)
    }

    /// Whether a release on trial serves it: with the stable ones the same may go well.
    fn is_on_trial(&self) -> bool {
        let (claim, Served { inlet, outlet }) = (&self.claim, &self.served_by);
        let conversation = &claim.message.conversation;
        inlet.iter().chain(outlet).any(|speaker| speaker.is_candidate)
            || self.channel.stages.iter().any(|stage| stage.is_candidates(conversation, favour(claim)))
    }

    fn key(&self) -> Key {
        (self.channel.name.clone(), self.claim.message.id.clone())
    }

    /// The key that is the same at each attempt of its delivery.
    fn delivery_key(&self) -> String {
        key_of(&format!("{}\0{}", self.claim.channel, self.claim.message.id))
    }

    /// The same of the sentence that tells where it was asked that the delivery failed elsewhere.
    fn excuse_key(&self) -> String {
        key_of(&format!("{}\0{}\0excuse", self.claim.channel, self.claim.message.id))
    }

    fn age(&self, now: Millis) -> Duration {
        Duration::from_millis(now.saturating_sub(self.claim.received_at))
    }
}

/// Claims of a turn that went as it should: one that answers, and one that delivers what nobody fetched.
const CLAIMS_OF_A_SOUND_TURN: u32 = 2;

/// Which release a turn is for. With one that failed the stable release goes on: a bad candidate loses nothing.
fn favour(claim: &Claim) -> Favour {
    if claim.attempts > 0 || claim.claims > CLAIMS_OF_A_SOUND_TURN {
        Favour::Stable
    } else {
        claim.message.favour
    }
}

fn key_of(name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    hex::encode(&digest.as_ref()[..16])
}
