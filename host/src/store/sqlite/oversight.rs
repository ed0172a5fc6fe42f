//! An operator's view of the file, and his acts.
//!
//! Statements, and their way into a transaction. It does not know who may ask.

use std::collections::BTreeMap;

use async_trait::async_trait;
use ring::hmac;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::{SqliteStore, audit, history, inbox, millis, stamp};
use crate::clock::Millis;
use crate::message::Reply;
use crate::store::allowance::Used;
use crate::store::letter::{Letter, read_named};
use crate::store::oversight::{
    Act, Actor, Chain, DeadLetter, Entry, Oversight, Thread, ThreadMark, TurnRecord, Unfinished,
};
use crate::store::vault::Vault;
use crate::store::{Acceptance, JOBS, Queue, StoreError};

/// What the audit's hashes are keyed with.
pub fn audit_key(vault: &Vault) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &vault.subkey(b"audit"))
}

#[async_trait]
impl Oversight for SqliteStore {
    async fn queues(&self) -> Result<BTreeMap<String, Queue>, StoreError> {
        self.readers.read(queues).await
    }

    async fn threads(
        &self,
        channel: Option<&str>,
        after: Option<&ThreadMark>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError> {
        let (channel, after) = (channel.map(str::to_owned), after.cloned());
        self.readers.read(move |db| threads(db, channel.as_deref(), after.as_ref(), limit)).await
    }

    async fn unfinished(
        &self,
        channel: &str,
        conversation: &str,
        limit: u32,
    ) -> Result<Vec<Unfinished>, StoreError> {
        let (channel, conversation) = (channel.to_owned(), conversation.to_owned());
        self.readers.read(move |db| unfinished(db, &channel, &conversation, limit)).await
    }

    async fn record(&self, channel: &str, message_id: &str) -> Result<Option<TurnRecord>, StoreError> {
        let (channel, message_id) = (channel.to_owned(), message_id.to_owned());
        self.readers.read(move |db| record(db, &channel, &message_id)).await
    }

    async fn records(
        &self,
        channel: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TurnRecord>, StoreError> {
        let channel = channel.to_owned();
        self.readers.read(move |db| records(db, &channel, before, limit)).await
    }

    async fn dead_letters(
        &self,
        channel: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let channel = channel.map(str::to_owned);
        self.readers.read(move |db| dead_letters(db, channel.as_deref(), before, limit)).await
    }

    async fn dead_letter(&self, turn: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.readers.read(move |db| dead_letter(db, turn)).await
    }

    async fn used_allowances(&self, now: Millis, limit: u32) -> Result<Vec<Used>, StoreError> {
        Ok(self.buckets.used(now, usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    async fn revoked(&self, now: Millis) -> Result<BTreeMap<String, Millis>, StoreError> {
        self.readers.read(move |db| revoked(db, now)).await
    }

    async fn act(&self, now: Millis, act: &Act, actor: &Actor) -> Result<bool, StoreError> {
        let job = match act {
            Act::Say(job) => Some(Letter::new(&self.vault, JOBS, (**job).clone())?),
            _ => None,
        };
        let (act, actor, key) = (act.clone(), actor.clone(), self.audit_key.clone());
        let done = move |db: &Connection| {
            let is_done = apply(db, now, &act, job.as_slice())?;
            if is_done {
                audit::append(db, &key, now, &act, &actor)?;
            }
            Ok(is_done)
        };
        self.writer.write(done).await
    }

    async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.readers.read(move |db| audit::entries(db, before, limit)).await
    }

    async fn audit_chain(&self) -> Result<Chain, StoreError> {
        let key = self.audit_key.clone();
        self.readers.read(move |db| audit::chain(db, &key)).await
    }

    async fn sweep_audit(&self, before: Millis) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let swept = self.writer.write(move |db| audit::sweep(db, before)).await?;
            deleted += swept as u64;
            if swept < audit::SWEEP_MAX {
                return Ok(deleted);
            }
        }
    }
}

fn queues(db: &Connection) -> Result<BTreeMap<String, Queue>, StoreError> {
    let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
    let mut open = db.prepare_cached(
        "SELECT channel, count(*), min(received_at) FROM inbox WHERE ended_at IS NULL GROUP BY channel",
    )?;
    for row in open.query_map([], |row| <(String, u32, i64)>::try_from(row))? {
        let (channel, unfinished, oldest) = row?;
        let queue =
            Queue { unfinished: unfinished.into(), dead: 0, oldest_received_at: Some(millis(oldest)) };
        queues.insert(channel, queue);
    }
    let mut dead =
        db.prepare_cached("SELECT channel, count(*) FROM inbox WHERE state = 'dead' GROUP BY channel")?;
    for row in dead.query_map([], |row| <(String, u32)>::try_from(row))? {
        let (channel, dead) = row?;
        queues.entry(channel).or_default().dead = dead.into();
    }
    Ok(queues)
}

fn threads(
    db: &Connection,
    channel: Option<&str>,
    after: Option<&ThreadMark>,
    limit: u32,
) -> Result<Vec<Thread>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT channel, conversation, last_at, exchanges,
           (SELECT count(*) FROM inbox
            WHERE inbox.channel = c.channel AND inbox.conversation = c.conversation AND ended_at IS NULL)
         FROM conversation AS c
         WHERE (:channel IS NULL OR channel = :channel)
           AND (:last_at IS NULL OR (last_at, channel, conversation) < (:last_at, :after, :conversation))
         ORDER BY last_at DESC, channel DESC, conversation DESC LIMIT :limit",
    )?;
    let rows = select.query_map(
        named_params! {
            ":channel": channel, ":limit": limit,
            ":last_at": after.map(|mark| stamp(mark.last_at)),
            ":after": after.map(|mark| mark.channel.as_str()),
            ":conversation": after.map(|mark| mark.conversation.as_str()),
        },
        |row| {
            let (channel, conversation, last_at, exchanges, unfinished) = row.try_into()?;
            let (exchanges, unfinished): (u32, u32) = (exchanges, unfinished);
            let (exchanges, unfinished) = (exchanges.into(), unfinished.into());
            Ok(Thread { channel, conversation, last_at: millis(last_at), exchanges, unfinished })
        },
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn unfinished(
    db: &Connection,
    channel: &str,
    conversation: &str,
    limit: u32,
) -> Result<Vec<Unfinished>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT seq, message_id, state, received_at, due_at, claims, reason FROM inbox
         WHERE channel = ?1 AND conversation = ?2 AND ended_at IS NULL ORDER BY seq LIMIT ?3",
    )?;
    let rows = select.query_map(params![channel, conversation, limit], |row| {
        let (turn, message_id, state, received_at, due_at, claims, reason) = row.try_into()?;
        let (received_at, due_at) = (millis(received_at), millis(due_at));
        Ok(Unfinished { turn, message_id, state, received_at, due_at, claims, reason })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

macro_rules! recorded {
    ($which:literal) => {
        concat!(
            "SELECT seq, message, state, received_at, due_at, ended_at, claims, reason, receipt
             FROM inbox LEFT JOIN outbox ON turn = seq WHERE channel = ?1 AND ",
            $which
        )
    };
}

fn record(db: &Connection, channel: &str, message_id: &str) -> Result<Option<TurnRecord>, StoreError> {
    let mut select = db.prepare_cached(recorded!("message_id = ?2"))?;
    let found = select.query_row([channel, message_id], Recorded::read).optional()?;
    found.map(Recorded::record).transpose()
}

fn records(
    db: &Connection,
    channel: &str,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<TurnRecord>, StoreError> {
    let mut select = db.prepare_cached(recorded!("seq < ?2 ORDER BY seq DESC LIMIT ?3"))?;
    let rows = select.query_map(params![channel, before.unwrap_or(i64::MAX), limit], Recorded::read)?;
    rows.map(|row| row?.record()).collect()
}

/// A row of any state as it lies in the file.
struct Recorded {
    turn: i64,
    message: String,
    state: String,
    received_at: i64,
    due_at: i64,
    ended_at: Option<i64>,
    claims: u32,
    reason: Option<String>,
    receipt: Option<String>,
}

impl Recorded {
    fn read(row: &Row<'_>) -> rusqlite::Result<Recorded> {
        let (turn, message, state, received_at, due_at, ended_at, claims, reason, receipt) =
            row.try_into()?;
        Ok(Recorded { turn, message, state, received_at, due_at, ended_at, claims, reason, receipt })
    }

    fn record(self) -> Result<TurnRecord, StoreError> {
        let unreadable = || StoreError::Unusable("a stored turn cannot be read".to_owned());
        let (message, via) = read_named(&self.message).ok_or_else(unreadable)?;
        let receipt = self.receipt.map(|receipt| serde_json::from_str(&receipt)).transpose();
        Ok(TurnRecord {
            turn: self.turn,
            message,
            via,
            state: self.state,
            received_at: millis(self.received_at),
            due_at: millis(self.due_at),
            ended_at: self.ended_at.map(millis),
            claims: self.claims,
            reason: self.reason,
            receipt: receipt.map_err(|_| unreadable())?.unwrap_or_default(),
        })
    }
}

macro_rules! dead {
    ($which:literal) => {
        concat!(
            "SELECT seq, channel, message, request_id, received_at, ended_at, reason, reply
             FROM inbox LEFT JOIN outbox ON turn = seq WHERE state = 'dead' AND ",
            $which
        )
    };
}

fn dead_letters(
    db: &Connection,
    channel: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let mut select =
        db.prepare_cached(dead!("(?1 IS NULL OR channel = ?1) AND seq < ?2 ORDER BY seq DESC LIMIT ?3"))?;
    let rows = select.query_map(params![channel, before.unwrap_or(i64::MAX), limit], Dead::read)?;
    rows.map(|row| row?.letter()).collect()
}

fn dead_letter(db: &Connection, turn: i64) -> Result<Option<DeadLetter>, StoreError> {
    let found = db.prepare_cached(dead!("seq = ?1"))?.query_row([turn], Dead::read).optional()?;
    found.map(Dead::letter).transpose()
}

/// A dead row as it lies in the file.
struct Dead {
    turn: i64,
    channel: String,
    message: String,
    request_id: String,
    received_at: i64,
    died_at: i64,
    reason: Option<String>,
    reply: Option<String>,
}

impl Dead {
    fn read(row: &Row<'_>) -> rusqlite::Result<Dead> {
        let (turn, channel, message, request_id, received_at, died_at, reason, reply) = row.try_into()?;
        Ok(Dead { turn, channel, message, request_id, received_at, died_at, reason, reply })
    }

    fn letter(self) -> Result<DeadLetter, StoreError> {
        let unreadable = |_| StoreError::Unusable("a dead letter cannot be read".to_owned());
        let reply = self.reply.map(|reply| serde_json::from_str::<Reply>(&reply)).transpose();
        Ok(DeadLetter {
            turn: self.turn,
            channel: self.channel,
            message: serde_json::from_str(&self.message).map_err(unreadable)?,
            request_id: self.request_id,
            received_at: millis(self.received_at),
            died_at: millis(self.died_at),
            reason: self.reason,
            reply: reply.map_err(unreadable)?,
        })
    }
}

fn revoked(db: &Connection, now: Millis) -> Result<BTreeMap<String, Millis>, StoreError> {
    let mut select = db.prepare_cached("SELECT token, until FROM revoked WHERE until > ?1")?;
    let rows = select.query_map([stamp(now)], |row| Ok((row.get(0)?, millis(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// `job`: what there is to say.
fn apply(db: &Connection, now: Millis, act: &Act, job: &[Letter]) -> Result<bool, StoreError> {
    match act {
        Act::Say(_) => Ok(inbox::accept(db, JOBS, now, job)?.contains(&Acceptance::New)),
        Act::Cancel { job } => Ok(!inbox::withdraw(db, JOBS, now, std::slice::from_ref(job))?.is_empty()),
        Act::Replay { turn, asks } => {
            if *asks {
                db.prepare_cached(
                    "DELETE FROM outbox WHERE turn = (SELECT seq FROM inbox WHERE seq = ?1 AND state = 'dead')",
                )?
                .execute([turn])?;
            }
            inbox::revive(db, *turn, now)
        }
        Act::Discard { turn } => inbox::lay_to_rest(db, *turn),
        Act::Forget { channel, conversation } => history::forget(db, channel, conversation),
        Act::Revoke { token, until } => revoke(db, now, token, *until).map(|()| true),
        Act::Read { .. } | Act::Listen { .. } | Act::Deploy { .. } => Ok(true),
    }
}

/// Those that have ended meanwhile make room.
fn revoke(db: &Connection, now: Millis, token: &str, until: Millis) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM revoked WHERE until <= ?1")?.execute([stamp(now)])?;
    db.prepare_cached(
        "INSERT INTO revoked VALUES (?1, ?2)
         ON CONFLICT (token) DO UPDATE SET until = max(until, excluded.until)",
    )?
    .execute(params![token, stamp(until)])?;
    Ok(())
}
