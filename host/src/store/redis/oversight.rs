//! An operator's view of a shared store, and his acts.
//!
//! Lists are put together from all partitions. It does not know who may ask; the audit is in `audit`.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::script::Call;
use super::{PARTITIONS_MAX, RedisStore, audit, foreign};
use crate::clock::Millis;
use crate::store::allowance::Used;
use crate::store::letter::read_named;
use crate::store::oversight::{
    Act, Actor, Chain, DeadLetter, Entry, Oversight, Thread, ThreadMark, TurnRecord, Unfinished,
};
use crate::store::{JOBS, Queue, StoreError};

/// A dead row as it lies in Redis.
type Dead = (String, String, String, String, Millis, Millis, Option<String>, Option<String>);
/// A row of any state: what it is, its times and claims, why the last attempt failed, its receipt.
type Recorded = (String, String, String, Millis, Millis, Option<Millis>, u32, Option<String>, Option<String>);
/// A row of a conversation's queue.
type Queued = (String, String, String, Millis, Millis, u32, Option<String>);

/// Between a channel and a conversation.
const BETWEEN: char = '\0';

fn letter(partition: u32, dead: Dead) -> Result<DeadLetter, StoreError> {
    let (seq, channel, message, request_id, received_at, died_at, reason, reply) = dead;
    let reply = reply.map(|reply| serde_json::from_str(&reply)).transpose();
    Ok(DeadLetter {
        turn: turn_of(partition, &seq)?,
        channel,
        message: serde_json::from_str(&message).map_err(|_| foreign())?,
        request_id,
        received_at,
        died_at,
        reason,
        reply: reply.map_err(|_| foreign())?,
    })
}

fn turn_record(partition: u32, row: Recorded) -> Result<TurnRecord, StoreError> {
    let (seq, message, state, received_at, due_at, ended_at, claims, reason, receipt) = row;
    let turn = turn_of(partition, &seq)?;
    let (message, via) = read_named(&message).ok_or_else(foreign)?;
    let receipt = receipt.map(|receipt| serde_json::from_str(&receipt)).transpose().map_err(|_| foreign())?;
    let receipt = receipt.unwrap_or_default();
    Ok(TurnRecord { turn, message, via, state, received_at, due_at, ended_at, claims, reason, receipt })
}

fn turn_of(partition: u32, seq: &str) -> Result<i64, StoreError> {
    Ok(seq.parse::<i64>().map_err(|_| foreign())? * PARTITIONS_MAX + i64::from(partition))
}

/// The highest number in a partition of a turn that comes before.
fn last_before(partition: u32, turn: i64) -> i64 {
    (turn - i64::from(partition) - 1).div_euclid(PARTITIONS_MAX)
}

fn thread(row: (String, Millis, u64, u64)) -> Result<Thread, StoreError> {
    let (place, last_at, exchanges, unfinished) = row;
    let (channel, conversation) = place.split_once(BETWEEN).ok_or_else(foreign)?;
    let (channel, conversation) = (channel.to_owned(), conversation.to_owned());
    Ok(Thread { channel, conversation, last_at, exchanges, unfinished })
}

impl RedisStore {
    /// Where a channel is, or everywhere.
    fn partitions_of(&self, channel: Option<&str>) -> Vec<u32> {
        channel.map_or_else(|| (0..self.partitions).collect(), |channel| vec![self.partition_of(channel)])
    }

    /// What does it, the record first; none if there is no such turn.
    fn call_of(&self, act: &Act, record: String) -> Result<Option<Call>, StoreError> {
        let of_turn = |op, turn| {
            let (partition, seq) = self.place_of(turn)?;
            Some(self.in_partition(op, partition).with(&record).with(seq))
        };
        Ok(Some(match act {
            Act::Say(job) => {
                let call = self.of("take_in_by", JOBS).with(record).with(JOBS);
                self.with_message(call, JOBS, (**job).clone())?
            }
            Act::Cancel { job } => self.of("withdraw_by", JOBS).with(record).with(JOBS).with(job),
            Act::Replay { turn, asks } => {
                let call = of_turn("replay", *turn);
                return Ok(call.map(|call| call.with_number(u8::from(*asks))));
            }
            Act::Discard { turn } => return Ok(of_turn("lay_to_rest", *turn)),
            Act::Forget { channel, conversation } => {
                self.of("forget_by", channel).with(record).with(channel).with(conversation)
            }
            Act::Revoke { token, until } => {
                self.of_audit("revoke").with(record).with(token).with_time(*until)
            }
            Act::Read { channel, .. } => self.of("note", channel).with(record),
            Act::Listen { bus, .. } => self.of("note", bus).with(record),
            Act::Deploy { plugin, .. } => self.of("note", plugin).with(record),
        }))
    }
}

#[async_trait]
impl Oversight for RedisStore {
    async fn queues(&self) -> Result<BTreeMap<String, Queue>, StoreError> {
        let mut queues = self.all_queues().await?;
        queues.retain(|_, queue| *queue != Queue::default());
        Ok(queues)
    }

    async fn threads(
        &self,
        channel: Option<&str>,
        after: Option<&ThreadMark>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError> {
        let last_at = after.map_or_else(String::new, |mark| mark.last_at.to_string());
        let place = after.map_or_else(String::new, |mark| [&*mark.channel, &*mark.conversation].join("\0"));
        let mut threads = Vec::new();
        for partition in self.partitions_of(channel) {
            let call = self.in_partition("threads", partition).with(channel.unwrap_or_default());
            let found: Vec<_> = self.run(call.with(&last_at).with(&place).with_number(limit)).await?;
            threads.extend(found.into_iter().map(thread).collect::<Result<Vec<_>, _>>()?);
        }
        let order = |thread: &Thread| (thread.last_at, thread.channel.clone(), thread.conversation.clone());
        threads.sort_by_key(|thread| std::cmp::Reverse(order(thread)));
        threads.truncate(limit as usize);
        Ok(threads)
    }

    async fn unfinished(
        &self,
        channel: &str,
        conversation: &str,
        limit: u32,
    ) -> Result<Vec<Unfinished>, StoreError> {
        let call = self.of("unfinished", channel).with(channel).with(conversation).with_number(limit);
        let turns: Vec<Queued> = self.run(call).await?;
        let read = |(seq, message_id, state, received_at, due_at, claims, reason): Queued| {
            let turn = turn_of(self.partition_of(channel), &seq)?;
            Ok(Unfinished { turn, message_id, state, received_at, due_at, claims, reason })
        };
        turns.into_iter().map(read).collect()
    }

    async fn record(&self, channel: &str, message_id: &str) -> Result<Option<TurnRecord>, StoreError> {
        let row: Option<Recorded> =
            self.run(self.of("record", channel).with(channel).with(message_id)).await?;
        row.map(|row| turn_record(self.partition_of(channel), row)).transpose()
    }

    async fn records(
        &self,
        channel: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TurnRecord>, StoreError> {
        let partition = self.partition_of(channel);
        let last = before.map_or(i64::MAX, |before| last_before(partition, before));
        let call = self.of("records", channel).with(channel).with(format!("{last:016}")).with_number(limit);
        let rows: Vec<Recorded> = self.run(call).await?;
        rows.into_iter().map(|row| turn_record(partition, row)).collect()
    }

    async fn dead_letters(
        &self,
        channel: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut letters = Vec::new();
        for partition in self.partitions_of(channel) {
            let last = before.map(|before| last_before(partition, before));
            let last = last.map_or_else(|| "+inf".to_owned(), |last| last.to_string());
            let call = self.in_partition("letters", partition).with(channel.unwrap_or_default());
            let found: Vec<Dead> = self.run(call.with(last).with_number(limit)).await?;
            letters.extend(
                found.into_iter().map(|dead| letter(partition, dead)).collect::<Result<Vec<_>, _>>()?,
            );
        }
        letters.sort_by_key(|letter| std::cmp::Reverse(letter.turn));
        letters.truncate(limit as usize);
        Ok(letters)
    }

    async fn dead_letter(&self, turn: i64) -> Result<Option<DeadLetter>, StoreError> {
        let Some((partition, seq)) = self.place_of(turn) else { return Ok(None) };
        let found: Option<Dead> = self.run(self.in_partition("letter", partition).with(seq)).await?;
        found.map(|dead| letter(partition, dead)).transpose()
    }

    async fn used_allowances(&self, now: Millis, limit: u32) -> Result<Vec<Used>, StoreError> {
        let used: Vec<(String, Millis)> =
            self.run(self.of_allowances("used").at(now).with_number(limit)).await?;
        Ok(used.into_iter().map(|(key, full_at)| Used { key, full_at }).collect())
    }

    async fn revoked(&self, now: Millis) -> Result<BTreeMap<String, Millis>, StoreError> {
        let revoked: Vec<(String, Millis)> = self.run(self.of_audit("revoked").at(now)).await?;
        Ok(revoked.into_iter().collect())
    }

    async fn act(&self, now: Millis, act: &Act, actor: &Actor) -> Result<bool, StoreError> {
        let Some(call) = self.call_of(act, audit::record(now, act, actor)?)? else { return Ok(false) };
        if !self.run::<bool>(call.durable().at(now)).await? {
            return Ok(false);
        }
        // It is done and its record is kept; who looks at the audit chains what is not chained now.
        if let Err(error) = self.chain_acts().await {
            tracing::warn!(error = %error, "an act is written down and will be chained later");
        }
        Ok(true)
    }

    async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.audit_entries(before, limit).await
    }

    async fn audit_chain(&self) -> Result<Chain, StoreError> {
        self.look_through_audit().await
    }

    async fn sweep_audit(&self, before: Millis) -> Result<u64, StoreError> {
        self.sweep_old_entries(before).await
    }
}
