//! The small memories of plugins: keys with a life and a quota.
//!
//! Statements alone; each function runs inside somebody's transaction. A key past its life is as good as
//! gone, whether a sweep has been there or not.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::stamp;
use crate::clock::Millis;
use crate::store::StoreError;

/// Names, not data.
pub const KEY_BYTES_MAX: usize = 256;
/// Cursors and small documents; what is larger belongs elsewhere.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Bounds one space at 64 MB.
pub const KEYS_MAX: usize = 1000;
/// Keys deleted in one transaction of a sweep.
pub const SWEEP_MAX: usize = 500;

pub fn get(db: &Connection, space: &str, now: Millis, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let value = db
        .prepare_cached(
            "SELECT value FROM memory WHERE space = ?1 AND key = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
        )?
        .query_row(params![space, key, stamp(now)], |row| row.get(0))
        .optional()?;
    Ok(value)
}

/// Refuses a key or value over its limit.
pub fn check_size(key: &str, value: &[u8]) -> Result<(), StoreError> {
    for (bytes, limit) in [(key.len(), KEY_BYTES_MAX), (value.len(), VALUE_BYTES_MAX)] {
        if bytes > limit {
            return Err(StoreError::TooLarge { bytes, limit });
        }
    }
    Ok(())
}

pub fn set(
    db: &Connection,
    space: &str,
    now: Millis,
    key: &str,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<(), StoreError> {
    make_room(db, space, now, key)?;
    db.prepare_cached(
        "INSERT INTO memory (space, key, value, expires_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
    )?
    .execute(params![space, key, value, end_of_life(now, ttl)])?;
    Ok(())
}

fn end_of_life(now: Millis, ttl: Option<Duration>) -> Option<i64> {
    let millis = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    ttl.map(|ttl| stamp(now.saturating_add(millis(ttl))))
}

/// Lets a new key in only if the space has room; dead keys make room first.
fn make_room(db: &Connection, space: &str, now: Millis, key: &str) -> Result<(), StoreError> {
    let taken = || -> Result<usize, StoreError> {
        let mut others = db.prepare_cached("SELECT count(*) FROM memory WHERE space = ?1 AND key <> ?2")?;
        let count: i64 = others.query_row([space, key], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    };
    if taken()? < KEYS_MAX {
        return Ok(());
    }
    db.prepare_cached("DELETE FROM memory WHERE space = ?1 AND expires_at <= ?2")?
        .execute(params![space, stamp(now)])?;
    if taken()? < KEYS_MAX { Ok(()) } else { Err(StoreError::Quota { limit: KEYS_MAX }) }
}

pub fn delete(db: &Connection, space: &str, key: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM memory WHERE space = ?1 AND key = ?2")?.execute([space, key])?;
    Ok(())
}

/// Counters are decimal text. Their life is set when they begin and is not drawn out by counting.
pub fn increment(
    db: &Connection,
    space: &str,
    now: Millis,
    key: &str,
    by: i64,
    ttl: Option<Duration>,
) -> Result<i64, StoreError> {
    let Some(value) = get(db, space, now, key)? else {
        set(db, space, now, key, by.to_string().as_bytes(), ttl)?;
        return Ok(by);
    };
    let count: i64 =
        std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).ok_or(StoreError::NotANumber)?;
    let sum = count.saturating_add(by);
    db.prepare_cached("UPDATE memory SET value = ?3 WHERE space = ?1 AND key = ?2")?.execute(params![
        space,
        key,
        sum.to_string().as_bytes()
    ])?;
    Ok(sum)
}

/// Deletes at most `SWEEP_MAX` keys past their life.
pub fn sweep(db: &Connection, now: Millis) -> Result<usize, StoreError> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM memory WHERE rowid IN (SELECT rowid FROM memory WHERE expires_at <= ?1 LIMIT ?2)",
        )?
        .execute(params![stamp(now), SWEEP_MAX as i64])?;
    Ok(deleted)
}
