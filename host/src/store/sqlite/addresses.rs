//! Where a conversation can be written to without being asked: the address that its last message came with.
//!
//! Reading alone: a trigger of `addresses.sql` writes them, so that an earlier parlor does as well.

use rusqlite::{Connection, OptionalExtension, params};

use super::stamp;
use crate::clock::Millis;
use crate::store::letter::read_address;
use crate::store::vault::Vault;
use crate::store::{ADDRESS_KEPT, StoreError};

/// Addresses deleted in one transaction.
pub const SWEEP_MAX: usize = 500;

pub fn last(
    db: &Connection,
    vault: &Vault,
    channel: &str,
    conversation: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let found: Option<(String, Vec<u8>)> = db
        .prepare_cached("SELECT message_id, address FROM address WHERE channel = ?1 AND conversation = ?2")?
        .query_row([channel, conversation], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let read = |(id, sealed): (String, Vec<u8>)| read_address(vault, channel, &id, &sealed);
    found.map(read).transpose().map_err(|reason| StoreError::Unusable(reason.to_owned()))
}

pub fn sweep(db: &Connection, now: Millis) -> Result<usize, StoreError> {
    let before = now.saturating_sub(ADDRESS_KEPT.as_millis() as u64);
    let deleted = db
        .prepare_cached(
            "DELETE FROM address WHERE (channel, conversation) IN
               (SELECT channel, conversation FROM address WHERE at < ?1 ORDER BY at LIMIT ?2)",
        )?
        .execute(params![stamp(before), SWEEP_MAX as i64])?;
    Ok(deleted)
}
