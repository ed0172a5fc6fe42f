//! Turns: what came in, who works on it, what came of it.
//!
//! A turn's row and its outbox are one value here. Which turns of a conversation are unfinished is kept in order of
//! arrival, and the first of them alone may be claimed: one behind it that is `generating` is gathered into it.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Millis;
use crate::message::{Message, Reply};
use crate::store::oversight::{DEAD_KEPT, DeadLetter, TurnRecord, Unfinished};
use crate::store::{
    ADDRESS_KEPT, Acceptance, BEHIND_MAX, Bound, Claim, Delivery, EndedAs, Ending, HandOver, Incoming, Lease,
    Outcome, Progress, Queue, StoreError, Via, Waiting,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Received,
    Generating,
    Answered,
    Delivering,
    Delivered,
    Dead,
    Withdrawn,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Received => "received",
            State::Generating => "generating",
            State::Answered => "answered",
            State::Delivering => "delivering",
            State::Delivered => "delivered",
            State::Dead => "dead",
            State::Withdrawn => "withdrawn",
        }
    }
}

#[derive(Debug)]
struct Turn {
    channel: String,
    message: Message,
    request_id: String,
    settled: Option<Reply>,
    via: Option<Via>,
    received_at: Millis,
    state: State,
    due_at: Millis,
    lease_until: Option<Millis>,
    fence: i64,
    claims: u32,
    attempts: u32,
    hold_until: Option<Millis>,
    ended_at: Option<Millis>,
    /// Of the last failure, or of its death.
    reason: Option<String>,
    reply: Option<Reply>,
    checkpoint: Vec<u8>,
    /// Something may be seen that the checkpoint does not tell of.
    may_be_seen: bool,
    receipt: Vec<String>,
    is_replayed: bool,
}

impl Turn {
    fn new(channel: &str, now: Millis, incoming: Incoming) -> Turn {
        let Incoming { message, request_id, hold_delivery_until, settled, via, due_at, is_awaited: _ } =
            incoming;
        let due_at = due_at.unwrap_or(now);
        Turn {
            channel: channel.to_owned(),
            message,
            request_id,
            settled,
            via,
            received_at: due_at,
            state: State::Received,
            due_at,
            lease_until: None,
            fence: 0,
            claims: 0,
            attempts: 0,
            hold_until: hold_delivery_until,
            ended_at: None,
            reason: None,
            reply: None,
            checkpoint: Vec::new(),
            may_be_seen: false,
            receipt: Vec::new(),
            is_replayed: false,
        }
    }

    /// When one that was replayed was sent is not told.
    fn told(&self) -> Message {
        let message = self.message.clone();
        Message { sent_at_ms: message.sent_at_ms.filter(|_| !self.is_replayed), ..message }
    }

    fn conversation(&self) -> Conversation {
        (self.channel.clone(), self.message.conversation.clone())
    }

    fn has_answer(&self) -> bool {
        matches!(self.state, State::Answered | State::Delivering)
    }

    /// Something of the reply is out already: the checkpoint tells of it.
    fn has_begun(&self) -> bool {
        !self.checkpoint.is_empty()
    }

    /// When it may be claimed next.
    fn due(&self) -> Millis {
        self.due_at.max(self.lease_until.unwrap_or_default())
    }

    fn progress(&self) -> Progress {
        let checkpoint = self.checkpoint.clone();
        match &self.reply {
            _ if self.state == State::Withdrawn => Progress::Withdrawn { checkpoint },
            None => Progress::Unanswered { checkpoint },
            Some(reply) => Progress::Answered { reply: reply.clone(), checkpoint },
        }
    }

    fn lease(&mut self, turn: i64, until: Millis) -> Claim {
        if self.has_answer() {
            self.hold_until = None;
        }
        if self.state == State::Received {
            self.state = State::Generating;
        }
        self.fence += 1;
        self.claims += 1;
        self.lease_until = Some(until);
        Claim {
            lease: Lease { turn, fence: self.fence },
            channel: self.channel.clone(),
            message: self.told(),
            request_id: self.request_id.clone(),
            received_at: self.received_at,
            settled: self.settled.clone(),
            via: self.via.clone(),
            progress: self.progress(),
            claims: self.claims,
            attempts: self.attempts,
            is_held: self.hold_until.is_some(),
            may_be_seen: std::mem::replace(&mut self.may_be_seen, true),
        }
    }

    /// Whether it is one of those that a queue's figures tell of.
    fn counts(&self) -> bool {
        self.ended_at.is_none() || self.state == State::Dead
    }

    fn count(&self, queue: &mut Queue) {
        if self.ended_at.is_none() {
            queue.unfinished += 1;
            let oldest = queue.oldest_received_at.get_or_insert(self.received_at);
            *oldest = self.received_at.min(*oldest);
        }
        queue.dead += u64::from(self.state == State::Dead);
    }

    fn unfinished(&self, turn: i64) -> Unfinished {
        Unfinished {
            turn,
            message_id: self.message.id.clone(),
            state: self.state.as_str().to_owned(),
            received_at: self.received_at,
            due_at: self.due_at,
            claims: self.claims,
            reason: self.reason.clone(),
        }
    }

    fn record(&self, turn: i64) -> TurnRecord {
        TurnRecord {
            turn,
            message: Message { address: Vec::new(), ..self.message.clone() },
            via: self.via.clone().map(|via| Via { address: Vec::new(), ..via }),
            state: self.state.as_str().to_owned(),
            received_at: self.received_at,
            due_at: self.due_at,
            ended_at: self.ended_at,
            claims: self.claims,
            reason: self.reason.clone(),
            receipt: self.receipt.clone(),
        }
    }

    fn dead_letter(&self, turn: i64) -> Option<DeadLetter> {
        let died_at = self.ended_at.filter(|_| self.state == State::Dead)?;
        Some(DeadLetter {
            turn,
            channel: self.channel.clone(),
            message: Message { address: Vec::new(), ..self.message.clone() },
            request_id: self.request_id.clone(),
            received_at: self.received_at,
            died_at,
            reason: self.reason.clone(),
            reply: self.reply.clone(),
        })
    }

    fn revive(&mut self, now: Millis, asks: bool) {
        if asks {
            (self.reply, self.checkpoint) = (None, Vec::new());
        }
        self.is_replayed = true;
        self.state = match &self.reply {
            Some(_) if self.has_begun() => State::Delivering,
            Some(_) => State::Answered,
            None => State::Received,
        };
        (self.received_at, self.due_at, self.hold_until, self.lease_until) = (now, now, None, None);
        (self.claims, self.attempts, self.reason, self.ended_at) = (0, 0, None, None);
        self.may_be_seen = false;
    }

    fn outcome(&self) -> Outcome {
        match (self.state, &self.reply) {
            (State::Withdrawn, _) => Outcome::Withdrawn,
            // Also of a dead letter: who asks again gets what could not be delivered.
            (_, Some(reply)) => Outcome::Answered(reply.clone()),
            (State::Dead, None) => Outcome::Dead,
            // Delivered without an answer: there was nothing to say.
            (State::Delivered, None) => Outcome::Answered(Reply::default()),
            (_, None) => Outcome::Pending,
        }
    }
}

/// A conversation by its channel and name.
type Conversation = (String, String);

/// What is unfinished in a conversation.
#[derive(Debug, Default)]
struct Line {
    /// The one that may be claimed; none of an empty line.
    head: i64,
    /// In order of arrival.
    turns: BTreeSet<i64>,
}

impl Line {
    fn enter(&mut self, number: i64) {
        self.turns.insert(number);
        if self.turns.len() == 1 {
            self.head = number;
        }
    }

    fn leave(&mut self, number: i64) {
        self.turns.remove(&number);
        if number == self.head {
            self.head = self.turns.first().copied().unwrap_or_default();
        }
    }
}

#[derive(Debug, Default)]
pub struct Inbox {
    /// In order of arrival.
    turns: BTreeMap<i64, Turn>,
    by_id: BTreeMap<(String, String), i64>,
    unfinished: BTreeMap<Conversation, Line>,
    /// The last one of each, and when it came.
    addresses: BTreeMap<Conversation, (Vec<u8>, Millis)>,
    last: i64,
}

impl Inbox {
    pub fn accept(&mut self, channel: &str, now: Millis, incoming: Incoming) -> Acceptance {
        let id = (channel.to_owned(), incoming.message.id.clone());
        if self.by_id.contains_key(&id) {
            return Acceptance::Duplicate;
        }
        self.last += 1;
        let turn = Turn::new(channel, now, incoming);
        self.by_id.insert(id, self.last);
        self.unfinished.entry(turn.conversation()).or_default().enter(self.last);
        if !turn.message.address.is_empty() {
            self.addresses.insert(turn.conversation(), (turn.message.address.clone(), now));
        }
        self.turns.insert(self.last, turn);
        Acceptance::New
    }

    pub fn address(&self, channel: &str, conversation: &str) -> Option<Vec<u8>> {
        let (address, _) = self.addresses.get(&(channel.to_owned(), conversation.to_owned()))?;
        Some(address.clone())
    }

    fn find(&self, channel: &str, id: &str) -> Option<i64> {
        self.by_id.get(&(channel.to_owned(), id.to_owned())).copied()
    }

    fn found(&self, channel: &str, id: &str) -> Option<&Turn> {
        self.turns.get(&self.find(channel, id)?)
    }

    /// A turn that goes on, by its message.
    fn unended(&mut self, channel: &str, id: &str) -> Option<(i64, &mut Turn)> {
        let number = self.find(channel, id)?;
        let turn = self.turns.get_mut(&number)?;
        turn.ended_at.is_none().then_some((number, turn))
    }

    /// Leaves the end of a turn of which something is or may be seen to whoever works on it, or to the next claim. For an
    /// answer that has begun it is too late.
    pub fn withdraw(&mut self, channel: &str, now: Millis, id: &str) -> bool {
        let Some((number, turn)) = self.unended(channel, id) else { return false };
        let has_begun = turn.has_begun();
        if turn.state == State::Withdrawn || has_begun && turn.has_answer() {
            return false;
        }
        if has_begun || turn.may_be_seen {
            turn.due_at = if turn.has_answer() { turn.due_at } else { now };
            (turn.state, turn.attempts) = (State::Withdrawn, 0);
        } else {
            self.let_go(number);
            self.end(number, now, State::Withdrawn);
        }
        true
    }

    fn end(&mut self, number: i64, now: Millis, state: State) {
        let Some(turn) = self.turns.get_mut(&number) else { return };
        (turn.state, turn.lease_until, turn.ended_at) = (state, None, Some(now));
        let conversation = turn.conversation();
        self.leave(&conversation, number);
    }

    fn leave(&mut self, conversation: &Conversation, number: i64) {
        let Some(line) = self.unfinished.get_mut(conversation) else { return };
        line.leave(number);
        if line.turns.is_empty() {
            self.unfinished.remove(conversation);
        }
    }

    /// The turn of each conversation that may be claimed.
    fn heads(&self) -> impl Iterator<Item = (i64, &Turn)> {
        let heads = self.unfinished.values().map(|line| line.head);
        heads.filter_map(|number| Some((number, self.turns.get(&number)?)))
    }

    /// The channels that have as many turns leased, from `now` on, as they may.
    fn full<'b>(&self, now: Millis, bounds: &'b [Bound]) -> Vec<&'b str> {
        let is_leased = |turn: &Turn| turn.lease_until.is_some_and(|until| until > now);
        let leased = |channel: &str| {
            self.heads().filter(|(_, turn)| turn.channel == channel && is_leased(turn)).count()
        };
        let full = bounds.iter().filter(|bound| leased(&bound.channel) >= bound.turns);
        full.map(|bound| &*bound.channel).collect()
    }

    pub fn claim(&mut self, now: Millis, until: Millis, bounds: &[Bound]) -> Option<Claim> {
        let full = self.full(now, bounds);
        let due = self.heads().filter(|(_, turn)| turn.due() <= now && !full.contains(&&*turn.channel));
        let (_, number) = due.map(|(number, turn)| (turn.due_at, number)).min()?;
        let turn = self.turns.get_mut(&number)?;
        let claim = turn.lease(number, until);
        if turn.reply.is_none() {
            self.let_go(number);
        }
        Some(claim)
    }

    /// What is unfinished behind a turn in its conversation.
    fn numbers_behind(&self, number: i64) -> Vec<i64> {
        let conversation = self.turns.get(&number).map(Turn::conversation);
        let unfinished = conversation.and_then(|conversation| self.unfinished.get(&conversation));
        let behind = unfinished.into_iter().flat_map(|line| line.turns.range(number + 1..));
        behind.copied().collect()
    }

    pub fn behind(&mut self, lease: Lease) -> Vec<Waiting> {
        if self.leased(lease).is_err() {
            return Vec::new();
        }
        let numbers = self.numbers_behind(lease.turn).into_iter().take(BEHIND_MAX);
        let turns = numbers.filter_map(|number| self.turns.get(&number));
        let turns = turns.filter(|turn| turn.state != State::Withdrawn);
        let asked = turns.take_while(|turn| turn.settled.is_none() && turn.hold_until.is_none());
        let waiting = |turn: &Turn| Waiting {
            message: turn.told(),
            received_at: turn.received_at,
            is_gathered: turn.state == State::Generating,
        };
        asked.map(waiting).collect()
    }

    pub fn gather(&mut self, lease: Lease, ids: &[String]) -> Result<(), StoreError> {
        self.leased(lease)?;
        self.let_go(lease.turn);
        for number in self.numbers_behind(lease.turn) {
            let Some(turn) = self.turns.get_mut(&number) else { continue };
            if turn.state == State::Received && ids.contains(&turn.message.id) {
                turn.state = State::Generating;
            }
        }
        Ok(())
    }

    /// What this turn answers too: none but a head has gathered anything.
    fn gathered_by(&self, number: i64) -> Vec<i64> {
        let conversation = self.turns.get(&number).map(Turn::conversation);
        let line = conversation.and_then(|conversation| self.unfinished.get(&conversation));
        let Some(line) = line.filter(|line| line.head == number) else { return Vec::new() };
        let is_gathered =
            |number: &i64| self.turns.get(number).is_some_and(|turn| turn.state == State::Generating);
        line.turns.range(number + 1..).copied().filter(is_gathered).collect()
    }

    /// Nothing is gathered by this turn any more.
    fn let_go(&mut self, number: i64) {
        for number in self.gathered_by(number) {
            if let Some(turn) = self.turns.get_mut(&number) {
                turn.state = State::Received;
            }
        }
    }

    /// Ends a turn, and what it answered too the same way.
    fn end_all(&mut self, number: i64, now: Millis, state: State) {
        let gathered = self.gathered_by(number);
        self.end(number, now, state);
        let Some(ended) = self.turns.get(&number) else { return };
        let reason = format!("it was answered with {}, which died", ended.message.id);
        let (reply, receipt) = (ended.reply.clone(), ended.receipt.clone());
        for number in gathered {
            let Some(turn) = self.turns.get_mut(&number) else { continue };
            match state {
                State::Dead => turn.reason = Some(reason.clone()),
                _ => (turn.reply, turn.receipt) = (reply.clone(), receipt.clone()),
            }
            self.end(number, now, state);
        }
    }

    /// The turn of a lease, if it is still the claim's own.
    fn leased(&mut self, lease: Lease) -> Result<&mut Turn, StoreError> {
        let turn = self.turns.get_mut(&lease.turn).filter(|turn| {
            turn.fence == lease.fence && turn.lease_until.is_some() && turn.ended_at.is_none()
        });
        turn.ok_or(StoreError::LeaseLost)
    }

    pub fn renew(&mut self, lease: Lease, until: Millis) -> Result<(), StoreError> {
        self.leased(lease)?.lease_until = Some(until);
        Ok(())
    }

    /// A hold that is over by now is none. A message that was taken back gets no answer.
    pub fn answer(&mut self, lease: Lease, now: Millis, reply: &Reply) -> Result<Delivery, StoreError> {
        let turn = self.leased(lease)?;
        if turn.state == State::Withdrawn {
            return Err(StoreError::LeaseLost);
        }
        (turn.state, turn.attempts, turn.reason) = (State::Answered, 0, None);
        turn.reply = Some(reply.clone());
        turn.hold_until = turn.hold_until.filter(|until| *until > now);
        turn.due_at = turn.hold_until.unwrap_or(now);
        if turn.hold_until.is_some() {
            (turn.lease_until, turn.may_be_seen) = (None, false);
        }
        Ok(turn.hold_until.map_or(Delivery::Due, |until| Delivery::Held { until }))
    }

    /// Before there is an answer, the checkpoint of what was shown so far waits for it.
    pub fn checkpoint(&mut self, lease: Lease, checkpoint: &[u8]) -> Result<(), StoreError> {
        let turn = self.leased(lease)?;
        if turn.reply.is_some() {
            turn.state = State::Delivering;
        }
        turn.checkpoint = checkpoint.to_vec();
        Ok(())
    }

    pub fn give_up(&mut self, lease: Lease) -> Result<(), StoreError> {
        self.leased(lease)?.reply = None;
        Ok(())
    }

    pub fn postpone(
        &mut self,
        lease: Lease,
        until: Millis,
        failure: Option<&str>,
        may_be_seen: bool,
    ) -> Result<(), StoreError> {
        let turn = self.leased(lease)?;
        (turn.lease_until, turn.due_at, turn.may_be_seen) = (None, until, may_be_seen);
        if let Some(failure) = failure {
            turn.attempts += 1;
            turn.reason = Some(failure.to_owned());
        }
        Ok(())
    }

    /// Returns the conversation, by its channel and name.
    pub fn finish(&mut self, lease: Lease, now: Millis, ending: &Ending) -> Result<Conversation, StoreError> {
        let turn = self.leased(lease)?;
        let conversation = turn.conversation();
        let state = match ending {
            Ending::Delivered { receipt } => {
                turn.receipt.clone_from(receipt);
                State::Delivered
            }
            Ending::Dead { reason } => {
                turn.reason = Some(reason.clone());
                if turn.state == State::Withdrawn { State::Withdrawn } else { State::Dead }
            }
            Ending::Withdrawn => State::Withdrawn,
        };
        if state == State::Withdrawn {
            self.let_go(lease.turn);
            self.end(lease.turn, now, state);
        } else {
            self.end_all(lease.turn, now, state);
        }
        Ok(conversation)
    }

    pub fn ended(&self, channel: &str, id: &str) -> Option<EndedAs> {
        let turn = self.found(channel, id).filter(|turn| turn.ended_at.is_some())?;
        Some(match turn.state {
            State::Dead => EndedAs::Dead,
            State::Withdrawn => EndedAs::Withdrawn,
            _ => EndedAs::Delivered,
        })
    }

    pub fn discard(&mut self, channel: &str, id: &str) -> bool {
        let Some((number, turn)) = self.unended(channel, id) else { return false };
        let conversation = turn.conversation();
        self.let_go(number);
        self.leave(&conversation, number);
        self.remove(number);
        true
    }

    fn remove(&mut self, number: i64) {
        if let Some(turn) = self.turns.remove(&number) {
            self.by_id.remove(&(turn.channel, turn.message.id));
        }
    }

    pub fn message(&self, channel: &str, id: &str) -> Option<Message> {
        let turn = self.found(channel, id)?;
        Some(Message { address: Vec::new(), ..turn.message.clone() })
    }

    pub fn outcome(&self, channel: &str, id: &str) -> Option<Outcome> {
        self.found(channel, id).map(Turn::outcome)
    }

    /// Returns the conversation's name if the turn ended by it.
    pub fn hand_over(&mut self, channel: &str, id: &str, now: Millis) -> (HandOver, Option<String>) {
        let answered = self.unended(channel, id).filter(|(_, turn)| turn.has_answer());
        let Some((number, turn)) = answered else { return (HandOver::Nothing, None) };
        if turn.lease_until.is_some_and(|until| until > now) {
            return (HandOver::Delivering, None);
        }
        let conversation = turn.message.conversation.clone();
        self.end_all(number, now, State::Delivered);
        (HandOver::Done, Some(conversation))
    }

    /// A delivery that runs already, or a turn that has ended, is left alone.
    pub fn release_hold(&mut self, channel: &str, id: &str, due: Millis, checkpoint: &[u8]) {
        let held = self.unended(channel, id).filter(|(_, turn)| turn.hold_until.is_some());
        let Some((_, turn)) = held else { return };
        turn.hold_until = Some(due);
        if turn.has_answer() {
            turn.due_at = due;
        }
        turn.checkpoint = checkpoint.to_vec();
    }

    pub fn next_due(&self, bounds: &[Bound]) -> Option<Millis> {
        let full = self.full(0, bounds);
        self.heads().filter(|(_, turn)| !full.contains(&&*turn.channel)).map(|(_, turn)| turn.due()).min()
    }

    pub fn queue(&self) -> Queue {
        let mut queue = Queue::default();
        self.turns.values().for_each(|turn| turn.count(&mut queue));
        queue
    }

    pub fn queues(&self) -> BTreeMap<String, Queue> {
        let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
        for turn in self.turns.values().filter(|turn| turn.counts()) {
            turn.count(queues.entry(turn.channel.clone()).or_default());
        }
        queues
    }

    /// Deletes turns that ended before, and addresses past their life. Dead letters stay longer.
    pub fn sweep(&mut self, now: Millis, before: Millis) -> u64 {
        let dead_before = before.min(now.saturating_sub(DEAD_KEPT.as_millis() as u64));
        let end = |turn: &Turn| if turn.state == State::Dead { dead_before } else { before };
        let ended =
            self.turns.iter().filter(|(_, turn)| turn.ended_at.is_some_and(|ended_at| ended_at < end(turn)));
        let ended: Vec<i64> = ended.map(|(number, _)| *number).collect();
        ended.iter().for_each(|number| self.remove(*number));
        let known = self.addresses.len();
        let address_before = now.saturating_sub(ADDRESS_KEPT.as_millis() as u64);
        self.addresses.retain(|_, (_, at)| *at >= address_before);
        (ended.len() + known - self.addresses.len()) as u64
    }

    pub fn unfinished(&self, channel: &str, conversation: &str, limit: usize) -> Vec<Unfinished> {
        let line = self.unfinished.get(&(channel.to_owned(), conversation.to_owned()));
        let numbers = line.into_iter().flat_map(|line| &line.turns).take(limit);
        numbers.filter_map(|number| Some(self.turns.get(number)?.unfinished(*number))).collect()
    }

    pub fn count_unfinished(&self, channel: &str, conversation: &str) -> u64 {
        let line = self.unfinished.get(&(channel.to_owned(), conversation.to_owned()));
        line.map_or(0, |line| line.turns.len() as u64)
    }

    pub fn record(&self, channel: &str, id: &str) -> Option<TurnRecord> {
        let number = self.find(channel, id)?;
        Some(self.turns.get(&number)?.record(number))
    }

    /// Turns of a channel, the latest first.
    pub fn records<'a>(&'a self, channel: &'a str, before: i64) -> impl Iterator<Item = TurnRecord> + 'a {
        let turns = self.turns.range(..before).rev().filter(move |(_, turn)| turn.channel == channel);
        turns.map(|(number, turn)| turn.record(*number))
    }

    /// Dead letters, the latest first.
    pub fn dead_letters<'a>(
        &'a self,
        channel: Option<&'a str>,
        before: i64,
    ) -> impl Iterator<Item = DeadLetter> + 'a {
        let turns = self.turns.range(..before).rev();
        let turns = turns.filter(move |(_, turn)| channel.is_none_or(|channel| channel == turn.channel));
        turns.filter_map(|(number, turn)| turn.dead_letter(*number))
    }

    /// Makes a dead turn one that is due, from where it stood or from its beginning.
    pub fn revive(&mut self, number: i64, now: Millis, asks: bool) -> bool {
        let dead = self.turns.get_mut(&number).filter(|turn| turn.state == State::Dead);
        let Some(turn) = dead else { return false };
        turn.revive(now, asks);
        let conversation = turn.conversation();
        self.unfinished.entry(conversation).or_default().enter(number);
        true
    }

    /// A dead turn is dead no more, and stays known.
    pub fn lay_to_rest(&mut self, number: i64) -> bool {
        let dead = self.turns.get_mut(&number).filter(|turn| turn.state == State::Dead);
        dead.map(|turn| turn.state = State::Withdrawn).is_some()
    }
}
