//! The store in the memory of this process: for simulations, and wherever nothing has to outlive the process.
//!
//! Each call is one step that is whole or not at all, as a commit is; several hosts may stand on one of these as
//! nodes do on a shared store. It draws nothing at random and looks at no clock, so that what is done to it in the
//! same order comes to the same. What it keeps is in `inbox`, `history`, `memory` and `audit`, an operator's view in `oversight`. Past retention `sweep`
//! is the only bound on its size.

mod audit;
mod history;
mod inbox;
mod memory;
mod oversight;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Millis;
use crate::message::{Message, Reply, Utterance};
use crate::store::allowance::Buckets;
use crate::store::{
    Acceptance, Allowance, Bound, Claim, Delivery, EndedAs, Ending, HandOver, Incoming, Lease, Outcome,
    Queue, RELEASE_BYTES_MAX, Store, StoreError, Verdict, Waiting,
};

/// A `Store` that ends with the process.
#[derive(Debug, Default)]
pub struct EphemeralStore {
    state: Mutex<State>,
    buckets: Buckets,
}

#[derive(Debug, Default)]
struct State {
    inbox: inbox::Inbox,
    history: history::History,
    memory: memory::Memory,
    audit: audit::Audit,
    /// Files of releases, by their digests.
    releases: BTreeMap<String, Vec<u8>>,
    /// Tokens that count no more, and until when each is remembered.
    revoked: BTreeMap<String, Millis>,
}

impl EphemeralStore {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each step checks before it changes anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for EphemeralStore {
    async fn accept(
        &self,
        channel: &str,
        now: Millis,
        messages: Vec<Incoming>,
    ) -> Result<Vec<Acceptance>, StoreError> {
        let mut state = self.state();
        Ok(messages.into_iter().map(|incoming| state.inbox.accept(channel, now, incoming)).collect())
    }

    async fn withdraw(&self, channel: &str, now: Millis, ids: &[String]) -> Result<Vec<String>, StoreError> {
        let mut state = self.state();
        Ok(ids.iter().filter(|id| state.inbox.withdraw(channel, now, id)).cloned().collect())
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        bounds: &[Bound],
    ) -> Result<Option<Claim>, StoreError> {
        let until = now.saturating_add(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        Ok(self.state().inbox.claim(now, until, bounds))
    }

    async fn renew(&self, lease: Lease, until: Millis) -> Result<(), StoreError> {
        self.state().inbox.renew(lease, until)
    }

    async fn behind(&self, lease: Lease) -> Result<Vec<Waiting>, StoreError> {
        Ok(self.state().inbox.behind(lease))
    }

    async fn gather(&self, lease: Lease, ids: &[String]) -> Result<(), StoreError> {
        self.state().inbox.gather(lease, ids)
    }

    async fn answer(&self, lease: Lease, now: Millis, reply: &Reply) -> Result<Delivery, StoreError> {
        self.state().inbox.answer(lease, now, reply)
    }

    async fn checkpoint(&self, lease: Lease, _now: Millis, checkpoint: &[u8]) -> Result<(), StoreError> {
        self.state().inbox.checkpoint(lease, checkpoint)
    }

    async fn give_up(&self, lease: Lease) -> Result<(), StoreError> {
        self.state().inbox.give_up(lease)
    }

    async fn postpone(
        &self,
        lease: Lease,
        until: Millis,
        failure: Option<&str>,
        may_be_seen: bool,
    ) -> Result<(), StoreError> {
        self.state().inbox.postpone(lease, until, failure, may_be_seen)
    }

    async fn finish(
        &self,
        lease: Lease,
        now: Millis,
        ending: &Ending,
        said: &[Utterance],
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let (channel, conversation) = state.inbox.finish(lease, now, ending)?;
        if matches!(ending, Ending::Delivered { .. }) {
            state.history.append(&channel, &conversation, now, said);
        }
        Ok(())
    }

    async fn ended(&self, channel: &str, message_id: &str) -> Result<Option<EndedAs>, StoreError> {
        Ok(self.state().inbox.ended(channel, message_id))
    }

    async fn discard(&self, channel: &str, message_id: &str) -> Result<bool, StoreError> {
        Ok(self.state().inbox.discard(channel, message_id))
    }

    async fn message(&self, channel: &str, message_id: &str) -> Result<Option<Message>, StoreError> {
        Ok(self.state().inbox.message(channel, message_id))
    }

    async fn address(&self, channel: &str, conversation: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().inbox.address(channel, conversation))
    }

    async fn outcome(&self, channel: &str, message_id: &str) -> Result<Option<Outcome>, StoreError> {
        Ok(self.state().inbox.outcome(channel, message_id))
    }

    async fn hand_over(
        &self,
        channel: &str,
        message_id: &str,
        now: Millis,
        said: &[Utterance],
    ) -> Result<HandOver, StoreError> {
        let mut state = self.state();
        let (outcome, conversation) = state.inbox.hand_over(channel, message_id, now);
        if let Some(conversation) = conversation {
            state.history.append(channel, &conversation, now, said);
        }
        Ok(outcome)
    }

    async fn release_hold(
        &self,
        channel: &str,
        message_id: &str,
        due: Millis,
        checkpoint: &[u8],
    ) -> Result<(), StoreError> {
        self.state().inbox.release_hold(channel, message_id, due, checkpoint);
        Ok(())
    }

    async fn history(
        &self,
        channel: &str,
        conversation: &str,
        turns: u32,
    ) -> Result<Vec<Utterance>, StoreError> {
        Ok(self.state().history.last(channel, conversation, turns))
    }

    async fn forget(&self, channel: &str, conversation: &str) -> Result<bool, StoreError> {
        Ok(self.state().history.forget(channel, conversation))
    }

    async fn next_due(&self, bounds: &[Bound]) -> Result<Option<Millis>, StoreError> {
        Ok(self.state().inbox.next_due(bounds))
    }

    async fn queue(&self) -> Result<Queue, StoreError> {
        Ok(self.state().inbox.queue())
    }

    async fn sweep(&self, now: Millis, before: Millis) -> Result<u64, StoreError> {
        let mut state = self.state();
        Ok(state.inbox.sweep(now, before) + state.memory.sweep(now))
    }

    async fn get(&self, space: &str, now: Millis, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().memory.get(space, now, key).map(<[u8]>::to_vec))
    }

    async fn set(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.state().memory.set(space, now, key, value, ttl)
    }

    async fn delete(&self, space: &str, key: &str) -> Result<(), StoreError> {
        self.state().memory.delete(space, key);
        Ok(())
    }

    async fn increment(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StoreError> {
        self.state().memory.increment(space, now, key, by, ttl)
    }

    async fn take(&self, now: Millis, allowances: &[Allowance]) -> Result<Verdict, StoreError> {
        Ok(self.buckets.take(now, allowances))
    }

    async fn lacks_release(&self, digest: &str) -> Result<bool, StoreError> {
        Ok(!self.state().releases.contains_key(digest))
    }

    async fn keep_release(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() > RELEASE_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: bytes.len(), limit: RELEASE_BYTES_MAX });
        }
        self.state().releases.insert(digest.to_owned(), bytes.to_vec());
        Ok(())
    }

    async fn release(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().releases.get(digest).cloned())
    }

    async fn drop_release(&self, digest: &str) -> Result<(), StoreError> {
        self.state().releases.remove(digest);
        Ok(())
    }
}
