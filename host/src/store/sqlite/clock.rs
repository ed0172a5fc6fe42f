//! The file's times when the machine's clock was set, while the host ran or while it was stopped.
//!
//! Statements alone. When turns came is told to people and stays. It does not notice such a thing by itself: who runs
//! compares the clock with a monotonic one, and who starts with what is stored.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::{audit, stamp};
use crate::clock::Millis;
use crate::store::oversight::DEAD_KEPT;
use crate::store::{JOBS, StoreError};

/// A host is stopped for less by an upgrade. Whether after more its clock was set or it was stopped, nobody can tell.
const STOP_MAX: Duration = Duration::from_secs(3600);

/// Moves times with a clock that was set meanwhile. What is due, held or lives for a while goes back with the clock and
/// not ahead: what was stored since, by the new time, would wait for all of the difference, and to do the rest early
/// harms nobody. What will have come only after the old time is meant for an hour, which stays.
pub fn move_times(db: &Connection, now: Millis, by: i64) -> Result<(), StoreError> {
    db.execute(
        "UPDATE inbox SET
           due_at = iif(received_at > ?2, due_at, max(0, due_at + min(?1, 0))),
           hold_until = max(0, hold_until + min(?1, 0)),
           lease_until = max(0, lease_until + ?1), ended_at = max(0, ended_at + ?1)",
        [by, stamp(now).saturating_sub(by)],
    )?;
    move_lives(db, by.min(0))?;
    audit::clock_was_set(db, by)
}

fn move_lives(db: &Connection, by: i64) -> Result<(), StoreError> {
    db.execute("UPDATE memory SET expires_at = max(0, expires_at + ?1) WHERE ?1 < 0", [by])?;
    db.execute("UPDATE address SET at = max(0, at + ?1) WHERE ?1 < 0", [by])?;
    Ok(())
}

/// The host starts. A clock that tells less than what is stored was set back while it was stopped.
pub fn wake(db: &Connection, now: Millis) -> Result<(), StoreError> {
    let (now, seen) = (stamp(now), last_seen(db)?);
    let Some(seen) = seen else { return Ok(()) };
    match now - seen {
        by if by < 0 => set_back(db, now, seen),
        by if by > STOP_MAX.as_millis() as i64 => keep_known(db, by),
        _ => Ok(()),
    }
}

/// When something came or ended last. A job may count as received only later, and tells when it was put in.
fn last_seen(db: &Connection) -> Result<Option<i64>, StoreError> {
    Ok(db.query_row(
        "SELECT nullif(max(
           coalesce((SELECT iif(channel = ?1, message ->> '$.sent_at', received_at)
                     FROM inbox ORDER BY seq DESC LIMIT 1), 0),
           coalesce((SELECT max(ended_at) FROM inbox WHERE ended_at IS NOT NULL), 0)), 0)",
        [JOBS],
        |row| row.get(0),
    )?)
}

/// Nothing waits for a time that only the other clock would reach. By how much of it was over nobody knows any more.
/// What is meant for an hour waits for it.
fn set_back(db: &Connection, now: i64, seen: i64) -> Result<(), StoreError> {
    let by = now - seen;
    tracing::warn!(
        by_ms = by,
        "the clock was set back while this host was stopped; what waited for it is due now"
    );
    db.execute(
        "UPDATE inbox SET due_at = min(due_at, ?1), hold_until = min(hold_until, ?1)
         WHERE ended_at IS NULL AND received_at <= ?2",
        [now, seen],
    )?;
    db.execute("UPDATE inbox SET ended_at = ?1 WHERE ended_at > ?1", [now])?;
    move_lives(db, by)
}

/// What ended before stays known for all of its retention from now on. If the clock was set ahead, a platform may still
/// bring it again; if the host was stopped, it is kept for longer than it need be. Dead letters are kept for so long
/// anyway that only a clock can be as far ahead. The audit is kept for longer likewise.
fn keep_known(db: &Connection, by: i64) -> Result<(), StoreError> {
    db.execute(
        "UPDATE inbox SET ended_at = ended_at + ?1
         WHERE ended_at IS NOT NULL AND (state <> 'dead' OR ?1 > ?2)",
        params![by, DEAD_KEPT.as_millis() as i64],
    )?;
    audit::clock_was_set(db, by)
}
