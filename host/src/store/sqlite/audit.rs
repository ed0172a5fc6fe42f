//! The audit: entries that are only ever added, each hash over the one before.
//!
//! Statements alone; each function runs inside somebody's transaction. The hashes are keyed by the host's own key,
//! so that whoever can write the file alone cannot make a chain that holds. It does not know what is audited. Times are
//! hashed as well: how the clock was set since is kept beside them, so that no clock that is set ahead deletes what is
//! young.

use ring::hmac;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{millis, stamp};
use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::letter::to_json;
use crate::store::oversight::{Act, Actor, Chain, Entry};

/// Entries deleted in one transaction of a sweep.
pub const SWEEP_MAX: usize = 500;
/// Row of `proof`: the last entry that was swept.
const FLOOR: &str = "audit";
/// Row of `proof`: how the clock was set since, as the entries themselves cannot be changed.
const SHIFTS: &str = "audit-clock";
/// More than a clock is set within a retention, unless it is broken.
const SHIFTS_MAX: usize = 64;
const HASH_BYTES: usize = 32;

type Hash = [u8; HASH_BYTES];

/// An entry's number and hash.
#[derive(Debug, Clone, Copy)]
struct Link {
    seq: u64,
    hash: Hash,
}

/// What stands before the first entry of all.
const START: Link = Link { seq: 0, hash: [0; HASH_BYTES] };

pub fn append(
    db: &Connection,
    key: &hmac::Key,
    now: Millis,
    act: &Act,
    actor: &Actor,
) -> Result<(), StoreError> {
    let last = last(db)?;
    let (seq, actor, name, target) = (last.seq + 1, to_json(actor)?, act.name(), act.target());
    let hash = hash(key, &last.hash, &(seq, stamp(now), &actor, name, &target))?;
    db.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        seq as i64,
        stamp(now),
        actor,
        name,
        target,
        hash
    ])?;
    tracing::info!(event.action = name, audit = seq, hash = hex::encode(hash), "an operator acted");
    Ok(())
}

fn hash(key: &hmac::Key, before: &Hash, entry: &impl serde::Serialize) -> Result<Hash, StoreError> {
    let mut signed = before.to_vec();
    signed.extend_from_slice(to_json(entry)?.as_bytes());
    let hash = hmac::sign(key, &signed);
    Ok(hash.as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes"))
}

fn last(db: &Connection) -> Result<Link, StoreError> {
    let newest = db
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok(Link { seq: millis(row.get(0)?), hash: row.get(1)? }))
        .optional()?;
    newest.map_or_else(|| floor(db), Ok)
}

fn floor(db: &Connection) -> Result<Link, StoreError> {
    let kept: Option<Vec<u8>> = db
        .prepare_cached("SELECT value FROM proof WHERE name = ?1")?
        .query_row([FLOOR], |row| row.get(0))
        .optional()?;
    let Some(kept) = kept else { return Ok(START) };
    let link = || {
        let (seq, hash) = kept.split_first_chunk()?;
        Some(Link { seq: u64::from_be_bytes(*seq), hash: hash.try_into().ok()? })
    };
    link().ok_or_else(super::file::damaged)
}

fn set_floor(db: &Connection, link: Link) -> Result<(), StoreError> {
    keep(db, FLOOR, &[link.seq.to_be_bytes().as_slice(), &link.hash].concat())
}

/// Entries up to this one were written by a clock that was set by so much since.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Shift {
    seq: u64,
    by: i64,
}

/// The clock was set: what was written so far is as old as before.
pub fn clock_was_set(db: &Connection, by: i64) -> Result<(), StoreError> {
    let mut shifts = shifts(db)?;
    shifts.push(Shift { seq: last(db)?.seq, by });
    if shifts.len() > SHIFTS_MAX {
        let oldest = shifts.remove(0);
        // Of two made one, entries may be kept for longer than they need be, and not for less.
        shifts[0].by = shifts[0].by.max(0).saturating_add(oldest.by.max(0));
    }
    keep_shifts(db, &shifts)
}

fn shifts(db: &Connection) -> Result<Vec<Shift>, StoreError> {
    let kept: Option<Vec<u8>> = db
        .prepare_cached("SELECT value FROM proof WHERE name = ?1")?
        .query_row([SHIFTS], |row| row.get(0))
        .optional()?;
    let read = kept.map(|kept| serde_json::from_slice(&kept)).transpose();
    Ok(read.map_err(|_| super::file::damaged())?.unwrap_or_default())
}

fn keep_shifts(db: &Connection, shifts: &[Shift]) -> Result<(), StoreError> {
    keep(db, SHIFTS, to_json(&shifts)?.as_bytes())
}

fn keep(db: &Connection, name: &str, value: &[u8]) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO proof (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![name, value])?;
    Ok(())
}

/// When an entry was written, by the clock as it goes now.
fn written_at(shifts: &[Shift], seq: u64, at: i64) -> i64 {
    let since = shifts.iter().filter(|shift| shift.seq >= seq);
    since.fold(at, |at, shift| at.saturating_add(shift.by))
}

pub fn entries(db: &Connection, before: Option<u64>, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT seq, at, actor, act, target, hash FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
    )?;
    let rows = select.query_map(params![stamp(before.unwrap_or(u64::MAX)), limit], Written::read)?;
    rows.map(|row| row?.entry()).collect()
}

/// A row as it lies in the file.
struct Written {
    seq: i64,
    at: i64,
    actor: String,
    act: String,
    target: String,
    hash: Hash,
}

impl Written {
    fn read(row: &Row<'_>) -> rusqlite::Result<Written> {
        let (seq, at, actor, act, target, hash) = row.try_into()?;
        Ok(Written { seq, at, actor, act, target, hash })
    }

    fn entry(self) -> Result<Entry, StoreError> {
        let unreadable = |_| StoreError::Unusable("an entry of the audit cannot be read".to_owned());
        Ok(Entry {
            seq: millis(self.seq),
            at: millis(self.at),
            actor: serde_json::from_str(&self.actor).map_err(unreadable)?,
            act: self.act,
            target: self.target,
            hash: hex::encode(self.hash),
        })
    }

    fn follows(&self, key: &hmac::Key, before: &Link) -> Result<bool, StoreError> {
        let Written { seq, at, actor, act, target, hash: kept } = self;
        let is_next = millis(*seq) == before.seq + 1;
        Ok(is_next && *kept == hash(key, &before.hash, &(seq, at, actor, act, target))?)
    }
}

pub fn chain(db: &Connection, key: &hmac::Key) -> Result<Chain, StoreError> {
    let (mut before, mut entries) = (floor(db)?, 0);
    let mut select = db.prepare_cached("SELECT seq, at, actor, act, target, hash FROM audit ORDER BY seq")?;
    for row in select.query_map([], Written::read)? {
        let row = row?;
        if !row.follows(key, &before)? {
            return Ok(Chain::Broken { seq: millis(row.seq) });
        }
        before = Link { seq: millis(row.seq), hash: row.hash };
        entries += 1;
    }
    let last = (before.seq > 0).then(|| (before.seq, hex::encode(before.hash)));
    Ok(Chain::Whole { entries, last })
}

/// Deletes at most `SWEEP_MAX` entries, and remembers the last of them.
pub fn sweep(db: &Connection, before: Millis) -> Result<usize, StoreError> {
    let mut select = db.prepare_cached("SELECT seq, at, hash FROM audit ORDER BY seq LIMIT ?1")?;
    let (mut shifts, mut last) = (shifts(db)?, None);
    for row in select.query_map([SWEEP_MAX as i64], |row| <(i64, i64, Hash)>::try_from(row))? {
        let (seq, at, hash) = row?;
        if written_at(&shifts, millis(seq), at) >= stamp(before) {
            break;
        }
        last = Some(Link { seq: millis(seq), hash });
    }
    let Some(last) = last else { return Ok(0) };
    set_floor(db, last)?;
    shifts.retain(|shift| shift.seq > last.seq);
    keep_shifts(db, &shifts)?;
    Ok(db.prepare_cached("DELETE FROM audit WHERE seq <= ?1")?.execute([last.seq as i64])?)
}
