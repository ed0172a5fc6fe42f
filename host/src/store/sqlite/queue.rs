//! What waits behind a claimed turn in its conversation, and what of it that turn answers too.
//!
//! A conversation's head alone is ever claimed, so that a row behind it that is `generating` can mean one thing: it
//! is gathered into the head. It ends with the head, and is let go when the head is claimed anew without an answer.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::millis;
use crate::store::letter::{Told, read_message};
use crate::store::vault::Vault;
use crate::store::{BEHIND_MAX, Lease, StoreError, Waiting};

/// Still the claim's own: goes into every statement that writes under one.
macro_rules! leased {
    () => {
        "seq = :turn AND fence = :fence AND lease_until IS NOT NULL AND ended_at IS NULL"
    };
}

pub(super) use leased;

/// Unfinished, and behind the turn `:turn` in its conversation.
macro_rules! behind {
    () => {
        "seq > :turn AND head = 0 AND ended_at IS NULL
         AND (channel, conversation) = (SELECT channel, conversation FROM inbox WHERE seq = :turn)"
    };
}

/// A row as it lies in the file.
struct Stored {
    channel: String,
    id: String,
    message: String,
    address: Vec<u8>,
    received_at: i64,
    is_gathered: bool,
    is_held: bool,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
        Ok(Stored {
            channel: row.get(0)?,
            id: row.get(1)?,
            message: row.get(2)?,
            address: row.get(3)?,
            received_at: row.get(4)?,
            is_gathered: row.get(5)?,
            is_held: row.get(6)?,
        })
    }

    /// None: it is not asked as others are, or its own claim will tell what is wrong with it.
    fn waiting(self, vault: &Vault) -> Option<Waiting> {
        let Stored { channel, id, message, address, .. } = &self;
        let Told { message, settled, .. } = read_message(vault, channel, id, message, address).ok()?;
        let waiting =
            Waiting { message, received_at: millis(self.received_at), is_gathered: self.is_gathered };
        (settled.is_none() && !self.is_held).then_some(waiting)
    }
}

pub fn behind(db: &Connection, vault: &Vault, lease: Lease) -> Result<Vec<Waiting>, StoreError> {
    let mut rows = db.prepare_cached(concat!(
        "SELECT channel, message_id, message, address, received_at, state = 'generating', hold_until IS NOT NULL
         FROM inbox WHERE EXISTS (SELECT 1 FROM inbox WHERE ",
        leased!(),
        ") AND state != 'withdrawn' AND ",
        behind!(),
        " ORDER BY seq LIMIT :most"
    ))?;
    let wanted = named_params! { ":turn": lease.turn, ":fence": lease.fence, ":most": BEHIND_MAX as i64 };
    let rows = rows.query_map(wanted, Stored::read)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().map_while(|row| row.waiting(vault)).collect())
}

pub fn gather(db: &Connection, lease: Lease, ids: &[String]) -> Result<(), StoreError> {
    let is_held: Option<i64> = db
        .prepare_cached(concat!("SELECT seq FROM inbox WHERE ", leased!()))?
        .query_row(named_params! { ":turn": lease.turn, ":fence": lease.fence }, |row| row.get(0))
        .optional()?;
    is_held.ok_or(StoreError::LeaseLost)?;
    let_go(db, lease.turn)?;
    let ids = serde_json::Value::from(ids).to_string();
    db.prepare_cached(concat!(
        "UPDATE inbox SET state = 'generating'
         WHERE message_id IN (SELECT value FROM json_each(:ids)) AND state = 'received' AND ",
        behind!()
    ))?
    .execute(named_params! { ":turn": lease.turn, ":ids": ids })?;
    Ok(())
}

/// Nothing behind this turn is gathered any more.
pub fn let_go(db: &Connection, turn: i64) -> Result<(), StoreError> {
    db.prepare_cached(concat!(
        "UPDATE inbox SET state = 'received' WHERE state = 'generating' AND ",
        behind!()
    ))?
    .execute(named_params! { ":turn": turn })?;
    Ok(())
}

/// Ends what this turn answered too, the way that it ended just now.
pub fn end_gathered(db: &Connection, turn: i64) -> Result<(), StoreError> {
    let mut ended = db.prepare_cached(concat!(
        "UPDATE inbox SET (state, reason, ended_at) =
           (SELECT its.state, iif(its.state = 'dead', 'it was answered with ' || its.message_id || ', which died', NULL),
                   its.ended_at
            FROM inbox AS its WHERE its.seq = :turn)
         WHERE state = 'generating' AND ",
        behind!(),
        " RETURNING seq"
    ))?;
    let ended = ended
        .query_map(named_params! { ":turn": turn }, |row| row.get::<_, i64>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut copy = db.prepare_cached(
        "INSERT INTO outbox (turn, reply, answered_at, receipt)
         SELECT ?1, reply, answered_at, receipt FROM outbox JOIN inbox ON seq = turn
         WHERE turn = ?2 AND state = 'delivered'",
    )?;
    for gathered in ended {
        copy.execute(params![gathered, turn])?;
    }
    Ok(())
}
