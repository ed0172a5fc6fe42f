//! What was promised to whom, and what came of it: written by those who stand between a host and its world, read by
//! the verdict.
//!
//! It does not know how anything is done. An effect is something that a person sees for the first time. It is open
//! until its turn wrote down that it is out; where a host dies before that, or never hears that it is, a platform
//! without a key may be asked for it once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parlor::message::Reply;
use parlor::store::{Claim, Ending, Lease, Progress};

use super::people::Said;

/// A message by its channel and the platform's id.
pub type Key = (String, String);

/// One start of a host.
pub type Start = u32;

/// What is known of one message.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The number in its text, and in the answers to it.
    pub number: u64,
    pub conversation: String,
    pub text: String,
    /// Its place among all messages that were stored.
    pub accepted: Option<usize>,
    pub is_acknowledged: bool,
    /// The platform was told that the message is taken back.
    pub is_taken_back: bool,
    /// The store was told so before anything of it was seen or on its way.
    pub is_withdrawn_unseen: bool,
    /// And before there was an answer.
    pub is_withdrawn_unanswered: bool,
    /// Requests about it.
    under_way: usize,
    pub answers: Vec<Reply>,
    pub ending: Option<Ending>,
    pub holder: Option<Holder>,
    pub open: Vec<Start>,
    /// How often a platform without a key may show it once more.
    pub doubles: usize,
    /// Shown for the first time: its place among all first sights.
    pub seen: Option<usize>,
    pub times_asked: u64,
    /// It is answered with the message of this number.
    pub with: Option<u64>,
    /// Whole answers that came in responses.
    pub heard: Vec<String>,
    /// The store was told that a response has the answer.
    is_handed_over: bool,
    /// A platform told this start not to come again before that.
    asked_to_wait: Option<(Start, Duration)>,
}

/// Who works on it.
#[derive(Debug, Clone)]
pub struct Holder {
    pub start: Start,
    lease: Lease,
    has_answer: bool,
    renewals_failed: u32,
}

/// A lease that was not renewed as often may have ended under its holder.
const RENEWALS_MISSED: u32 = 2;

#[derive(Debug, Default)]
pub struct Ledger {
    pub told: BTreeMap<Key, Told>,
    leases: BTreeMap<i64, Key>,
    /// Starts that stood still once: others may have taken their turns over.
    still: BTreeSet<Start>,
    accepted: usize,
    seen: usize,
    /// What must never be, as it was noticed.
    pub wrongs: Vec<String>,
}

impl Ledger {
    pub fn accuse(&mut self, wrong: String) {
        self.wrongs.push(wrong);
    }

    pub fn said(&mut self, key: &Key, said: &Said) {
        let Said { number, conversation, text, .. } = said.clone();
        self.told.insert(key.clone(), Told { number, conversation, text, ..Told::default() });
    }

    /// A response brought the whole answer.
    pub fn heard(&mut self, key: &Key, answer: String) {
        self.entry(key).heard.push(answer);
    }

    pub fn handed_over(&mut self, key: &Key) {
        self.entry(key).is_handed_over = true;
    }

    pub fn number(&self, key: &Key) -> u64 {
        self.told.get(key).map_or(0, |told| told.number)
    }

    /// The message with this number in its text.
    pub fn by_number(&self, number: u64) -> Option<(&Key, &Told)> {
        self.told.iter().find(|(_, told)| told.number == number)
    }

    fn entry(&mut self, key: &Key) -> &mut Told {
        self.told.entry(key.clone()).or_default()
    }

    fn of_lease(&mut self, lease: Lease) -> Option<(Key, &mut Told)> {
        let key = self.leases.get(&lease.turn)?.clone();
        let told = self.told.get_mut(&key)?;
        Some((key, told))
    }

    pub fn name(&self, lease: Lease) -> String {
        let key = self.leases.get(&lease.turn);
        key.map_or_else(|| "?".to_owned(), |key| format!("q{}", self.number(key)))
    }

    pub fn accepted(&mut self, key: &Key) {
        self.accepted += 1;
        let place = self.accepted;
        let told = self.entry(key);
        if told.accepted.replace(place).is_some() {
            let number = told.number;
            self.accuse(format!("q{number} was taken in twice"));
        }
    }

    /// A claim that takes a turn over from somebody who could not renew his lease: what he did may be open.
    pub fn claimed(&mut self, claim: &Claim, start: Start) {
        let key = (claim.channel.clone(), claim.message.id.clone());
        self.leases.insert(claim.lease.turn, key.clone());
        let has_missed = |holder: &&Holder| {
            let is_another = holder.start != start;
            is_another && self.still.contains(&holder.start) || holder.renewals_failed >= RENEWALS_MISSED
        };
        let holder = self.told.get(&key).and_then(|told| told.holder.as_ref());
        let missed = holder.filter(has_missed).map(|holder| holder.start);
        let told = self.entry(&key);
        if let Some(missed) = missed {
            told.close_for(missed);
            told.asked_to_wait.take_if(|(waiting, _)| *waiting == missed);
        }
        told.with = None;
        let has_answer = matches!(claim.progress, Progress::Answered { .. });
        told.holder = Some(Holder { start, lease: claim.lease, has_answer, renewals_failed: 0 });
        if told.is_handed_over {
            let number = told.number;
            self.accuse(format!("q{number} goes on though a response brought its answer"));
        }
    }

    /// These are answered with the message of the lease.
    pub fn gathered(&mut self, lease: Lease, ids: &[String]) {
        let Some((key, told)) = self.of_lease(lease) else { return };
        let first = told.number;
        for id in ids {
            self.entry(&(key.0.clone(), id.clone())).with = Some(first);
        }
    }

    pub fn stood_still(&mut self, start: Start) {
        self.still.insert(start);
    }

    pub fn renewed(&mut self, lease: Lease, is_renewed: bool) {
        let Some((_, told)) = self.of_lease(lease) else { return };
        let Some(holder) = told.holder.as_mut().filter(|holder| holder.lease == lease) else { return };
        holder.renewals_failed = if is_renewed { 0 } else { holder.renewals_failed + 1 };
    }

    pub fn answered(&mut self, lease: Lease, reply: &Reply) {
        let Some((_, told)) = self.of_lease(lease) else { return };
        // A write that was done and denied is done again.
        if told.answers.last() != Some(reply) {
            told.answers.push(reply.clone());
        }
        let (number, answers) = (told.number, told.answers.len());
        if answers > 1 {
            self.accuse(format!("q{number} was given another answer after its first"));
        }
    }

    /// What this start did for the turn is written down.
    pub fn recorded(&mut self, lease: Lease, start: Start) {
        if let Some((_, told)) = self.of_lease(lease) {
            told.open.retain(|open| *open != start);
        }
    }

    pub fn ended(&mut self, lease: Lease, start: Start, ending: &Ending) {
        self.recorded(lease, start);
        let Some((_, told)) = self.of_lease(lease) else { return };
        told.ending = Some(ending.clone());
        if let Ending::Dead { reason } = ending
            && reason.is_empty()
        {
            let number = told.number;
            self.accuse(format!("q{number} died without a reason"));
        }
    }

    pub fn withdrawn(&mut self, key: &Key) {
        let told = self.entry(key);
        told.is_withdrawn_unseen = told.seen.is_none() && told.under_way == 0;
        told.is_withdrawn_unanswered = told.answers.is_empty();
    }

    /// A request about this message is under way, and nothing holds it back any more.
    pub fn sends(&mut self, key: &Key) {
        self.entry(key).under_way += 1;
    }

    pub fn has_sent(&mut self, key: &Key) {
        self.entry(key).under_way -= 1;
    }

    /// A question to a model by this start.
    pub fn asked(&mut self, number: u64, start: Start) -> u64 {
        let found = self.told.values_mut().find(|told| told.number == number);
        let Some(told) = found else { return 0 };
        told.times_asked += 1;
        let times = told.times_asked;
        let holder = told.holder.as_ref().filter(|holder| holder.start == start);
        if holder.is_some_and(|holder| holder.has_answer) {
            self.accuse(format!("q{number} was asked again though its answer was stored"));
        }
        times
    }

    /// Something of the reply is seen that was not before.
    pub fn shown(&mut self, key: &Key, start: Start, is_heard: bool) {
        self.seen += 1;
        let place = self.seen;
        let told = self.entry(key);
        if let Some(holder) = told.holder.as_ref().filter(|holder| holder.start != start) {
            let (number, holder) = (told.number, holder.start);
            self.accuse(format!("start {start} answered q{number} though start {holder} has its turn"));
        }
        let told = self.entry(key);
        told.seen.get_or_insert(place);
        match is_heard {
            true => told.open.push(start),
            false => told.doubles += 1,
        }
    }

    /// A platform says not to come again before this age of the world. An update may have asked too often, for which
    /// the last word need not wait: it is another matter, and updates leave room for it.
    pub fn throttled(&mut self, key: &Key, start: Start, until: Duration) {
        let told = self.entry(key);
        told.asked_to_wait = Some((start, until)).filter(|_| !told.answers.is_empty());
    }

    /// A request about this message, at this age of the world.
    pub fn requested(&mut self, key: &Key, age: Duration) {
        let told = self.entry(key);
        let number = told.number;
        if told.asked_to_wait.take().is_some_and(|(_, until)| age < until) {
            self.accuse(format!("the platform of q{number} was asked again before the time that it said"));
        }
    }

    /// What a start did and did not write down may be done once more, and what it heard is forgotten.
    pub fn died(&mut self, start: Start) {
        for told in self.told.values_mut() {
            told.close_for(start);
            told.asked_to_wait.take_if(|(waiting, _)| *waiting == start);
        }
    }
}

impl Told {
    fn close_for(&mut self, start: Start) {
        let open = self.open.len();
        self.open.retain(|other| *other != start);
        self.doubles += open - self.open.len();
    }
}
