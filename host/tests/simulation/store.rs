//! The store as one host reaches it: it may refuse, dawdle, or do a thing and say that it did not; and the host may
//! die before and behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parlor::clock::Millis;
use parlor::message::{Message, Reply, Utterance};
use parlor::store::{
    Acceptance, Allowance, Bound, Claim, Delivery, EndedAs, Ending, HandOver, Incoming, Lease, Outcome,
    Queue, Store, StoreError, Verdict, Waiting,
};

use parlor::store::allowance::Used;
use parlor::store::oversight::{
    Act, Actor, Chain, DeadLetter, Entry, Oversight, Thread, ThreadMark, TurnRecord, Unfinished,
};

use super::ledger::Key;
use super::world::{Commit, Life, World};

#[derive(Debug)]
pub struct ShakyStore {
    pub world: Arc<World>,
    pub life: Life,
}

/// What a host does while it waits for work.
const IDLE: [&str; 2] = ["claim", "next due"];
/// What is no write.
const READS: [&str; 8] = ["behind", "ended", "message", "address", "outcome", "history", "next due", "get"];

fn unavailable(word: &str) -> StoreError {
    StoreError::Unavailable(format!("the simulated store {word}"))
}

impl ShakyStore {
    /// One call. `note` is told what came of it, before anybody else.
    async fn call<T>(
        &self,
        what: &str,
        effect: impl Future<Output = Result<T, StoreError>> + Send,
        note: impl FnOnce(&T) -> Option<String> + Send,
    ) -> Result<T, StoreError> {
        let (world, life) = (&self.world, &self.life);
        let node = life.node;
        let is_idle = IDLE.contains(&what);
        // Who looks for work that is not there dies no other death than one between two turns.
        if !is_idle {
            world.step(life, &format!("{what} before")).await;
        }
        world.awake(life).await;
        if world.strikes("store dawdles", world.weather.store_dawdles) {
            world.pause(1, 3_000).await;
            world.alive(life).await;
        }
        if world.strikes("store refuses", world.weather.store_refuses) {
            if !is_idle {
                world.tell(format!("n{node} {what}: the store refuses"));
            }
            return Err(unavailable("refuses"));
        }
        let commit = if READS.contains(&what) { Commit::Done } else { world.commit().await };
        world.alive(life).await;
        if commit == Commit::Failed {
            return Err(unavailable("does not commit"));
        }
        let outcome = effect.await;
        let told = outcome.as_ref().ok().and_then(note);
        match (&outcome, &told) {
            (Ok(_), Some(told)) => world.tell(format!("n{node} {what} {told}")),
            (Ok(_), None) => {}
            (Err(error), _) => world.tell(format!("n{node} {what}: {error}")),
        }
        if !is_idle || told.is_some() {
            world.step(life, &format!("{what} behind")).await;
        }
        world.awake(life).await;
        let is_denied = commit == Commit::DoneAndDenied;
        if is_denied || world.strikes("store denies what it did", world.weather.store_denies) {
            if !is_idle || told.is_some() {
                world.tell(format!("n{node} {what}: done, and the store denies it"));
            }
            return Err(unavailable("denies"));
        }
        outcome
    }

    async fn leased<T>(
        &self,
        what: &str,
        lease: Lease,
        effect: impl Future<Output = Result<T, StoreError>> + Send,
        note: impl FnOnce(&T) + Send,
    ) -> Result<T, StoreError> {
        let name = self.world.ledger().name(lease);
        let what = format!("{what} {name}");
        self.call(&what, effect, |value| {
            note(value);
            Some(String::new())
        })
        .await
    }

    fn inner(&self) -> &dyn Store {
        &self.world.store
    }

    /// Times are kept by the store's own clock, as a server's are: what a host says is moved.
    fn at(&self, told: Millis) -> Millis {
        self.life.clock.right(told)
    }
}

fn key(channel: &str, id: &str) -> Key {
    (channel.to_owned(), id.to_owned())
}

fn silent<T>(_: &T) -> Option<String> {
    None
}

#[async_trait]
impl Store for ShakyStore {
    async fn accept(
        &self,
        channel: &str,
        now: Millis,
        messages: Vec<Incoming>,
    ) -> Result<Vec<Acceptance>, StoreError> {
        let moved = |incoming: Incoming| {
            let hold_delivery_until = incoming.hold_delivery_until.map(|until| self.at(until));
            let due_at = incoming.due_at.map(|at| self.at(at));
            Incoming { hold_delivery_until, due_at, ..incoming }
        };
        let messages: Vec<Incoming> = messages.into_iter().map(moved).collect();
        let keys: Vec<Key> = messages.iter().map(|incoming| key(channel, &incoming.message.id)).collect();
        self.call("accept", self.inner().accept(channel, self.at(now), messages), |accepted| {
            let mut ledger = self.world.ledger();
            for (key, acceptance) in keys.iter().zip(accepted) {
                if *acceptance == Acceptance::New {
                    ledger.accepted(key);
                }
            }
            let numbers: Vec<_> = keys.iter().map(|key| format!("q{}", ledger.number(key))).collect();
            Some(format!("{} {accepted:?}", numbers.join(" ")))
        })
        .await
    }

    async fn withdraw(&self, channel: &str, now: Millis, ids: &[String]) -> Result<Vec<String>, StoreError> {
        self.call("withdraw", self.inner().withdraw(channel, self.at(now), ids), |withdrawn| {
            let mut ledger = self.world.ledger();
            withdrawn.iter().for_each(|id| ledger.withdrawn(&key(channel, id)));
            let numbers = withdrawn.iter().map(|id| format!("q{}", ledger.number(&key(channel, id))));
            Some(numbers.collect::<Vec<_>>().join(" "))
        })
        .await
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        bounds: &[Bound],
    ) -> Result<Option<Claim>, StoreError> {
        self.call("claim", self.inner().claim(self.at(now), lease, bounds), |claim| {
            let claim = claim.as_ref()?;
            let mut ledger = self.world.ledger();
            ledger.claimed(claim, self.life.start);
            let progress = match &claim.progress {
                parlor::store::Progress::Unanswered { .. } => "unanswered",
                parlor::store::Progress::Answered { .. } => "answered",
                parlor::store::Progress::Withdrawn { .. } => "withdrawn",
            };
            Some(format!("{} {progress}, claim {}", ledger.name(claim.lease), claim.claims))
        })
        .await
    }

    async fn renew(&self, lease: Lease, until: Millis) -> Result<(), StoreError> {
        let renewed = self.leased("renew", lease, self.inner().renew(lease, self.at(until)), |()| ()).await;
        self.world.ledger().renewed(lease, renewed.is_ok());
        renewed
    }

    async fn behind(&self, lease: Lease) -> Result<Vec<Waiting>, StoreError> {
        self.call("behind", self.inner().behind(lease), silent).await
    }

    async fn gather(&self, lease: Lease, ids: &[String]) -> Result<(), StoreError> {
        let note = |(): &()| self.world.ledger().gathered(lease, ids);
        self.leased("gather", lease, self.inner().gather(lease, ids), note).await
    }

    async fn answer(&self, lease: Lease, now: Millis, reply: &Reply) -> Result<Delivery, StoreError> {
        let note = |_: &Delivery| self.world.ledger().answered(lease, reply);
        self.leased("answer", lease, self.inner().answer(lease, self.at(now), reply), note).await
    }

    async fn checkpoint(&self, lease: Lease, now: Millis, checkpoint: &[u8]) -> Result<(), StoreError> {
        let note = |(): &()| self.world.ledger().recorded(lease, self.life.start);
        self.leased("checkpoint", lease, self.inner().checkpoint(lease, self.at(now), checkpoint), note).await
    }

    async fn give_up(&self, lease: Lease) -> Result<(), StoreError> {
        self.leased("give up", lease, self.inner().give_up(lease), |()| ()).await
    }

    async fn postpone(
        &self,
        lease: Lease,
        until: Millis,
        failure: Option<&str>,
        may_be_seen: bool,
    ) -> Result<(), StoreError> {
        let until = self.at(until);
        let pause = until.saturating_sub(parlor::clock::Clock::now(&self.world.clock));
        let what = format!("postpone by {pause} ms ({})", failure.unwrap_or("no failure"));
        self.leased(&what, lease, self.inner().postpone(lease, until, failure, may_be_seen), |()| ()).await
    }

    async fn finish(
        &self,
        lease: Lease,
        now: Millis,
        ending: &Ending,
        said: &[Utterance],
    ) -> Result<(), StoreError> {
        let note = |(): &()| self.world.ledger().ended(lease, self.life.start, ending);
        let what = format!("finish as {ending:?}");
        self.leased(&what, lease, self.inner().finish(lease, self.at(now), ending, said), note).await
    }

    async fn ended(&self, channel: &str, message_id: &str) -> Result<Option<EndedAs>, StoreError> {
        self.call("ended", self.inner().ended(channel, message_id), silent).await
    }

    async fn discard(&self, channel: &str, message_id: &str) -> Result<bool, StoreError> {
        self.call("discard", self.inner().discard(channel, message_id), silent).await
    }

    async fn message(&self, channel: &str, message_id: &str) -> Result<Option<Message>, StoreError> {
        self.call("message", self.inner().message(channel, message_id), silent).await
    }

    async fn address(&self, channel: &str, conversation: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.call("address", self.inner().address(channel, conversation), silent).await
    }

    async fn outcome(&self, channel: &str, message_id: &str) -> Result<Option<Outcome>, StoreError> {
        self.call("outcome", self.inner().outcome(channel, message_id), silent).await
    }

    async fn hand_over(
        &self,
        channel: &str,
        message_id: &str,
        now: Millis,
        said: &[Utterance],
    ) -> Result<HandOver, StoreError> {
        let key = key(channel, message_id);
        let effect = self.inner().hand_over(channel, message_id, self.at(now), said);
        self.call("hand over", effect, |outcome| {
            let mut ledger = self.world.ledger();
            if *outcome == HandOver::Done {
                ledger.handed_over(&key);
            }
            (*outcome != HandOver::Nothing).then(|| format!("q{} {outcome:?}", ledger.number(&key)))
        })
        .await
    }

    async fn release_hold(
        &self,
        channel: &str,
        message_id: &str,
        due: Millis,
        checkpoint: &[u8],
    ) -> Result<(), StoreError> {
        let effect = self.inner().release_hold(channel, message_id, self.at(due), checkpoint);
        self.call("release hold", effect, silent).await
    }

    async fn history(
        &self,
        channel: &str,
        conversation: &str,
        turns: u32,
    ) -> Result<Vec<Utterance>, StoreError> {
        self.call("history", self.inner().history(channel, conversation, turns), silent).await
    }

    async fn forget(&self, channel: &str, conversation: &str) -> Result<bool, StoreError> {
        self.call("forget", self.inner().forget(channel, conversation), silent).await
    }

    async fn next_due(&self, bounds: &[Bound]) -> Result<Option<Millis>, StoreError> {
        let due = self.call("next due", self.inner().next_due(bounds), silent).await?;
        Ok(due.map(|due| self.life.clock.own(due)))
    }

    async fn queue(&self) -> Result<Queue, StoreError> {
        self.inner().queue().await
    }

    async fn sweep(&self, now: Millis, before: Millis) -> Result<u64, StoreError> {
        self.call("sweep", self.inner().sweep(self.at(now), self.at(before)), silent).await
    }

    async fn get(&self, space: &str, now: Millis, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.call("get", self.inner().get(space, self.at(now), key), silent).await
    }

    async fn set(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.call("set", self.inner().set(space, self.at(now), key, value, ttl), silent).await
    }

    async fn delete(&self, space: &str, key: &str) -> Result<(), StoreError> {
        self.call("delete", self.inner().delete(space, key), silent).await
    }

    async fn increment(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StoreError> {
        self.call("increment", self.inner().increment(space, self.at(now), key, by, ttl), silent).await
    }

    async fn take(&self, now: Millis, allowances: &[Allowance]) -> Result<Verdict, StoreError> {
        let verdict = self.call("take", self.inner().take(self.at(now), allowances), silent).await?;
        Ok(match verdict {
            Verdict::Refused { which, again_at } => {
                Verdict::Refused { which, again_at: self.life.clock.own(again_at) }
            }
            Verdict::Granted => Verdict::Granted,
        })
    }
}

/// No operator looks in during a run.
#[async_trait]
impl Oversight for ShakyStore {
    async fn queues(&self) -> Result<BTreeMap<String, Queue>, StoreError> {
        self.inner().queues().await
    }

    async fn threads(
        &self,
        channel: Option<&str>,
        after: Option<&ThreadMark>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError> {
        self.inner().threads(channel, after, limit).await
    }

    async fn unfinished(
        &self,
        channel: &str,
        conversation: &str,
        limit: u32,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.inner().unfinished(channel, conversation, limit).await
    }

    async fn record(&self, channel: &str, message_id: &str) -> Result<Option<TurnRecord>, StoreError> {
        self.inner().record(channel, message_id).await
    }

    async fn records(
        &self,
        channel: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TurnRecord>, StoreError> {
        self.inner().records(channel, before, limit).await
    }

    async fn dead_letters(
        &self,
        channel: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.inner().dead_letters(channel, before, limit).await
    }

    async fn dead_letter(&self, turn: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.inner().dead_letter(turn).await
    }

    async fn used_allowances(&self, now: Millis, limit: u32) -> Result<Vec<Used>, StoreError> {
        self.inner().used_allowances(now, limit).await
    }

    async fn revoked(&self, now: Millis) -> Result<BTreeMap<String, Millis>, StoreError> {
        self.inner().revoked(now).await
    }

    async fn act(&self, now: Millis, act: &Act, actor: &Actor) -> Result<bool, StoreError> {
        self.inner().act(now, act, actor).await
    }

    async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.inner().audit(before, limit).await
    }

    async fn audit_chain(&self) -> Result<Chain, StoreError> {
        self.inner().audit_chain().await
    }

    async fn sweep_audit(&self, before: Millis) -> Result<u64, StoreError> {
        self.inner().sweep_audit(before).await
    }
}
