//! An operator's view of the store, and his acts.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{EphemeralStore, State};
use crate::clock::Millis;
use crate::store::allowance::Used;
use crate::store::oversight::{
    Act, Actor, Chain, DeadLetter, Entry, Oversight, Thread, ThreadMark, TurnRecord, Unfinished,
};
use crate::store::{Acceptance, JOBS, Queue, StoreError};

#[async_trait]
impl Oversight for EphemeralStore {
    async fn queues(&self) -> Result<BTreeMap<String, Queue>, StoreError> {
        Ok(self.state().inbox.queues())
    }

    async fn threads(
        &self,
        channel: Option<&str>,
        after: Option<&ThreadMark>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError> {
        let state = self.state();
        let unfinished =
            |channel: &str, conversation: &str| state.inbox.count_unfinished(channel, conversation);
        let mut threads = state.history.threads(channel, after, unfinished);
        threads.truncate(size(limit));
        Ok(threads)
    }

    async fn unfinished(
        &self,
        channel: &str,
        conversation: &str,
        limit: u32,
    ) -> Result<Vec<Unfinished>, StoreError> {
        Ok(self.state().inbox.unfinished(channel, conversation, size(limit)))
    }

    async fn record(&self, channel: &str, message_id: &str) -> Result<Option<TurnRecord>, StoreError> {
        Ok(self.state().inbox.record(channel, message_id))
    }

    async fn records(
        &self,
        channel: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TurnRecord>, StoreError> {
        let state = self.state();
        let records = state.inbox.records(channel, before.unwrap_or(i64::MAX));
        Ok(records.take(size(limit)).collect())
    }

    async fn dead_letters(
        &self,
        channel: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let state = self.state();
        let letters = state.inbox.dead_letters(channel, before.unwrap_or(i64::MAX));
        Ok(letters.take(size(limit)).collect())
    }

    async fn dead_letter(&self, turn: i64) -> Result<Option<DeadLetter>, StoreError> {
        let state = self.state();
        let latest = state.inbox.dead_letters(None, turn.saturating_add(1)).next();
        Ok(latest.filter(|letter| letter.turn == turn))
    }

    async fn used_allowances(&self, now: Millis, limit: u32) -> Result<Vec<Used>, StoreError> {
        Ok(self.buckets.used(now, size(limit)))
    }

    async fn revoked(&self, now: Millis) -> Result<BTreeMap<String, Millis>, StoreError> {
        let state = self.state();
        let revoked = state.revoked.iter().filter(|(_, until)| **until > now);
        Ok(revoked.map(|(token, until)| (token.clone(), *until)).collect())
    }

    async fn act(&self, now: Millis, act: &Act, actor: &Actor) -> Result<bool, StoreError> {
        let mut state = self.state();
        let is_done = apply(&mut state, now, act);
        if is_done {
            state.audit.append(now, act, actor)?;
        }
        Ok(is_done)
    }

    async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        Ok(self.state().audit.entries(before, size(limit)))
    }

    async fn audit_chain(&self) -> Result<Chain, StoreError> {
        self.state().audit.chain()
    }

    async fn sweep_audit(&self, before: Millis) -> Result<u64, StoreError> {
        Ok(self.state().audit.sweep(before))
    }
}

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn apply(state: &mut State, now: Millis, act: &Act) -> bool {
    match act {
        Act::Say(job) => state.inbox.accept(JOBS, now, (**job).clone()) == Acceptance::New,
        Act::Cancel { job } => state.inbox.withdraw(JOBS, now, job),
        Act::Replay { turn, asks } => state.inbox.revive(*turn, now, *asks),
        Act::Discard { turn } => state.inbox.lay_to_rest(*turn),
        Act::Forget { channel, conversation } => state.history.forget(channel, conversation),
        Act::Revoke { token, until } => {
            state.revoked.retain(|_, until| *until > now);
            let kept = state.revoked.entry(token.clone()).or_default();
            *kept = (*kept).max(*until);
            true
        }
        Act::Read { .. } | Act::Listen { .. } | Act::Deploy { .. } => true,
    }
}
