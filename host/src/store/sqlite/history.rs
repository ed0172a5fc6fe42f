//! What was said in a conversation, exchange by exchange.
//!
//! Statements alone; each function runs inside somebody's transaction. It does not know how a prompt is
//! made of it.

use rusqlite::{Connection, params};

use super::stamp;
use crate::clock::Millis;
use crate::message::Utterance;
use crate::store::StoreError;
use crate::store::letter::to_json;

/// Exchanges kept for each conversation: far more than fits into a prompt, and a bound for a busy group.
pub const EXCHANGES_MAX: u32 = 200;

pub fn append(
    db: &Connection,
    channel: &str,
    conversation: &str,
    turn: i64,
    now: Millis,
    said: &[Utterance],
) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached("INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (part, utterance) in said.iter().enumerate() {
        insert.execute(params![channel, conversation, turn, part as i64, to_json(utterance)?, stamp(now)])?;
    }
    trim(db, channel, conversation)
}

fn trim(db: &Connection, channel: &str, conversation: &str) -> Result<(), StoreError> {
    db.prepare_cached(
        "DELETE FROM history WHERE channel = ?1 AND conversation = ?2 AND turn <=
           (SELECT DISTINCT turn FROM history WHERE channel = ?1 AND conversation = ?2
            ORDER BY turn DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![channel, conversation, EXCHANGES_MAX])?;
    Ok(())
}

pub fn last(
    db: &Connection,
    channel: &str,
    conversation: &str,
    turns: u32,
) -> Result<Vec<Utterance>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT utterance FROM history
         WHERE channel = ?1 AND conversation = ?2 AND turn IN
           (SELECT DISTINCT turn FROM history WHERE channel = ?1 AND conversation = ?2 ORDER BY turn DESC LIMIT ?3)
         ORDER BY turn, part",
    )?;
    let rows = select.query_map(params![channel, conversation, turns], |row| row.get::<_, String>(0))?;
    rows.map(|row| read(&row?)).collect()
}

fn read(json: &str) -> Result<Utterance, StoreError> {
    serde_json::from_str(json)
        .map_err(|_| StoreError::Unusable("a stored utterance cannot be read".to_owned()))
}

/// Tells whether there was one.
pub fn forget(db: &Connection, channel: &str, conversation: &str) -> Result<bool, StoreError> {
    let forgotten = db
        .prepare_cached("DELETE FROM history WHERE channel = ?1 AND conversation = ?2")?
        .execute([channel, conversation])?;
    Ok(forgotten > 0)
}
