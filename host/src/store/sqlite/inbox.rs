//! Turns: what came in, who works on it, what came of it.
//!
//! Statements alone; each function runs inside somebody's transaction. Which turn of a conversation may run
//! is kept in the row (`head`), so that a claim is one look into an index however long the queue is. A
//! write under a lease names turn and fence in the statement that writes: no row changed, lease lost. What waits
//! behind the head `queue` knows, and the form of a row's message `letter`.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::queue::leased;
use super::{history, millis, queue, stamp};
use crate::clock::Millis;
use crate::message::{Message, Reply, Utterance};
use crate::store::letter::{Letter, Told, read_message, to_json};
use crate::store::oversight::DEAD_KEPT;
use crate::store::vault::Vault;
use crate::store::{
    Acceptance, Bound, Claim, Delivery, EndedAs, Ending, HandOver, Lease, Outcome, Progress, Queue,
    StoreError,
};

/// Turns deleted in one transaction, so that a sweep does not hold up those who wait to write.
pub const SWEEP_MAX: usize = 500;

/// Something of the reply is out already: the checkpoint tells of it.
macro_rules! begun {
    () => {
        "EXISTS (SELECT 1 FROM outbox WHERE turn = seq AND length(checkpoint) > 0)"
    };
}

/// Something may be seen that no checkpoint tells of.
macro_rules! may_be_seen {
    () => {
        "(claims > 0 AND NOT EXISTS (SELECT 1 FROM unseen WHERE turn = seq AND unseen.fence = inbox.fence))"
    };
}

/// There is a reply, which nobody has given up or taken back.
macro_rules! answered {
    () => {
        "state IN ('answered', 'delivering')"
    };
}

pub fn accept(
    db: &Connection,
    channel: &str,
    now: Millis,
    letters: &[Letter],
) -> Result<Vec<Acceptance>, StoreError> {
    let mut insert = db.prepare_cached(
        "INSERT INTO inbox (channel, message_id, conversation, message, address, request_id, head,
                            received_at, due_at, hold_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6,
                 NOT EXISTS (SELECT 1 FROM inbox WHERE channel = ?1 AND conversation = ?3 AND ended_at IS NULL),
                 ?8, ?8, ?7)
         ON CONFLICT (channel, message_id) DO NOTHING",
    )?;
    let mut accept_one = |letter: &Letter| {
        // There is but this process: there is nobody whom an awaited one would have to be kept from.
        let Letter { id, conversation, message, address, request_id, hold_until, due_at, is_awaited: _ } =
            letter;
        let (hold_until, due_at) = (hold_until.map(stamp), stamp(due_at.unwrap_or(now)));
        let row = params![channel, id, conversation, message, address, request_id, hold_until, due_at];
        Ok(if insert.execute(row)? == 1 { Acceptance::New } else { Acceptance::Duplicate })
    };
    letters.iter().map(&mut accept_one).collect()
}

pub fn withdraw(
    db: &Connection,
    channel: &str,
    now: Millis,
    ids: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut withdrawn = Vec::new();
    for id in ids {
        if mark_withdrawn(db, channel, now, id)? {
            withdrawn.push(id.clone());
            continue;
        }
        let Some(place) = Place::find(db, channel, id)? else { continue };
        let ended = db
            .prepare_cached(concat!(
                "UPDATE inbox SET state = 'withdrawn', head = 0, lease_until = NULL, ended_at = ?2
                 WHERE seq = ?1 AND state != 'withdrawn' AND NOT ",
                begun!(),
            ))?
            .execute(params![place.turn, stamp(now)])?;
        if ended == 1 {
            place.make_room(db, channel)?;
            withdrawn.push(id.clone());
        }
    }
    Ok(withdrawn)
}

/// Leaves the end of a turn of which something is or may be seen to whoever works on it, or to the next claim. For an
/// answer that has begun it is too late.
fn mark_withdrawn(db: &Connection, channel: &str, now: Millis, id: &str) -> Result<bool, StoreError> {
    let marked = db
        .prepare_cached(concat!(
            "UPDATE inbox SET state = 'withdrawn', attempts = 0, due_at = iif(",
            answered!(),
            ", due_at, ?3)
             WHERE channel = ?1 AND message_id = ?2 AND ended_at IS NULL AND state != 'withdrawn' AND iif(",
            begun!(),
            ", NOT ",
            answered!(),
            ", ",
            may_be_seen!(),
            ")"
        ))?
        .execute(params![channel, id, stamp(now)])?;
    Ok(marked == 1)
}

/// Where an unfinished turn stands in its conversation.
struct Place {
    turn: i64,
    /// None but the head has gathered anything, or holds anybody up.
    is_head: bool,
    conversation: String,
}

impl Place {
    fn find(db: &Connection, channel: &str, message_id: &str) -> Result<Option<Place>, StoreError> {
        let mut unfinished = db.prepare_cached(
            "SELECT seq, head, conversation FROM inbox
             WHERE channel = ?1 AND message_id = ?2 AND ended_at IS NULL",
        )?;
        let place = unfinished.query_row([channel, message_id], |row| {
            let (turn, is_head, conversation) = row.try_into()?;
            Ok(Place { turn, is_head, conversation })
        });
        Ok(place.optional()?)
    }

    /// It has ended without an answer: what it was to answer too is asked by itself.
    fn make_room(&self, db: &Connection, channel: &str) -> Result<(), StoreError> {
        if !self.is_head {
            return Ok(());
        }
        queue::let_go(db, self.turn)?;
        promote(db, channel, &self.conversation)
    }
}

/// Lets the conversation's next turn be claimed, once its head has ended.
fn promote(db: &Connection, channel: &str, conversation: &str) -> Result<(), StoreError> {
    db.prepare_cached(
        "UPDATE inbox SET head = 1 WHERE head = 0 AND seq =
           (SELECT min(seq) FROM inbox WHERE channel = ?1 AND conversation = ?2 AND ended_at IS NULL)",
    )?
    .execute(params![channel, conversation])?;
    Ok(())
}

/// Leases the next turn. One whose row does not make sense ends dead instead, so that it holds up nobody.
pub fn claim(
    db: &Connection,
    vault: &Vault,
    now: Millis,
    until: Millis,
    bounds: &str,
) -> Result<Option<Claim>, StoreError> {
    while let Some(claimed) = lease_next(db, now, until, bounds)? {
        let (lease, request_id) = (claimed.lease, claimed.request_id.clone());
        match claimed.read(vault) {
            Ok(claim) => return Ok(Some(claim)),
            Err(reason) => {
                tracing::error!(
                    turn = lease.turn,
                    request_id,
                    reason,
                    "a stored turn is unreadable and ends"
                );
                finish(db, lease, now, &Ending::Dead { reason: reason.to_owned() }, &[])?;
            }
        }
    }
    Ok(None)
}

/// Channels and how many turns each may have, as a JSON list of pairs.
pub fn pairs(bounds: &[Bound]) -> String {
    let pairs = bounds.iter().map(|bound| serde_json::json!([&*bound.channel, bound.turns]));
    serde_json::Value::from_iter(pairs).to_string()
}

/// The channels that have as many turns leased as the pairs in this parameter allow. The sign keeps SQLite from looking
/// at all that a channel ever had: few turns are leased at a time.
macro_rules! full {
    ($pairs:literal, $is_leased:literal) => {
        concat!(
            "(SELECT value ->> 0 FROM json_each(",
            $pairs,
            ") WHERE (SELECT count(*) FROM inbox AS its WHERE +its.channel = value ->> 0 AND its.",
            $is_leased,
            ") >= value ->> 1)"
        )
    };
}

const NEXT_TO_LEASE: &str = concat!(
    "SELECT seq, ",
    may_be_seen!(),
    " FROM inbox
     WHERE head = 1 AND due_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?1) AND channel NOT IN ",
    full!("?2", "lease_until > ?1"),
    " ORDER BY due_at, seq LIMIT 1",
);

const NEXT_DUE: &str = concat!(
    "SELECT min(due) FROM (
       SELECT min(max(due_at, lease_until)) AS due FROM inbox WHERE lease_until IS NOT NULL AND head = 1
         AND channel NOT IN ",
    full!("?1", "lease_until IS NOT NULL"),
    " UNION ALL
       SELECT * FROM (SELECT due_at FROM inbox WHERE head = 1 AND lease_until IS NULL AND channel NOT IN ",
    full!("?1", "lease_until IS NOT NULL"),
    " ORDER BY due_at LIMIT 1)
     )",
);

fn lease_next(
    db: &Connection,
    now: Millis,
    until: Millis,
    bounds: &str,
) -> Result<Option<Claimed>, StoreError> {
    let next: Option<(i64, bool)> = db
        .prepare_cached(NEXT_TO_LEASE)?
        .query_row(params![stamp(now), bounds], |row| row.try_into())
        .optional()?;
    next.map(|(turn, may_be_seen)| lease(db, turn, may_be_seen, until)).transpose()
}

fn lease(db: &Connection, turn: i64, may_be_seen: bool, until: Millis) -> Result<Claimed, StoreError> {
    let mut take = db.prepare_cached(
        "UPDATE inbox SET fence = fence + 1, claims = claims + 1, lease_until = ?2,
           state = iif(state = 'received', 'generating', state),
           hold_until = iif(state IN ('answered', 'delivering'), NULL, hold_until)
         WHERE seq = ?1
         RETURNING fence, channel, message_id, message, address, request_id, received_at, claims, attempts,
           state = 'withdrawn', hold_until IS NOT NULL,
           (SELECT reply FROM outbox WHERE turn = seq), (SELECT checkpoint FROM outbox WHERE turn = seq)",
    )?;
    let claimed: Claimed = take.query_row(params![turn, stamp(until)], |row| {
        Ok(Claimed {
            lease: Lease { turn, fence: row.get(0)? },
            channel: row.get(1)?,
            message_id: row.get(2)?,
            message: row.get(3)?,
            address: row.get(4)?,
            request_id: row.get(5)?,
            received_at: millis(row.get(6)?),
            claims: row.get(7)?,
            attempts: row.get(8)?,
            is_withdrawn: row.get(9)?,
            is_held: row.get(10)?,
            may_be_seen,
            reply: row.get(11)?,
            checkpoint: row.get(12)?,
        })
    })?;
    if claimed.reply.is_none() {
        queue::let_go(db, turn)?;
    }
    Ok(claimed)
}

/// A leased row as it lies in the file.
struct Claimed {
    lease: Lease,
    channel: String,
    message_id: String,
    message: String,
    address: Vec<u8>,
    request_id: String,
    received_at: Millis,
    claims: u32,
    attempts: u32,
    is_withdrawn: bool,
    is_held: bool,
    may_be_seen: bool,
    reply: Option<String>,
    checkpoint: Option<Vec<u8>>,
}

impl Claimed {
    /// An error is one plain sentence, without a word of what was said.
    fn read(self, vault: &Vault) -> Result<Claim, &'static str> {
        let Told { message, settled, via } =
            read_message(vault, &self.channel, &self.message_id, &self.message, &self.address)?;
        let checkpoint = self.checkpoint.unwrap_or_default();
        let progress = match self.reply {
            _ if self.is_withdrawn => Progress::Withdrawn { checkpoint },
            None => Progress::Unanswered { checkpoint },
            Some(reply) => Progress::Answered {
                reply: serde_json::from_str(&reply).map_err(|_| "the stored answer cannot be read")?,
                checkpoint,
            },
        };
        Ok(Claim {
            lease: self.lease,
            channel: self.channel,
            message,
            request_id: self.request_id,
            received_at: self.received_at,
            settled,
            via,
            progress,
            claims: self.claims,
            attempts: self.attempts,
            is_held: self.is_held,
            may_be_seen: self.may_be_seen,
        })
    }
}

pub fn renew(db: &Connection, lease: Lease, until: Millis) -> Result<(), StoreError> {
    let changed = db
        .prepare_cached(concat!("UPDATE inbox SET lease_until = :until WHERE ", leased!()))?
        .execute(named_params! { ":turn": lease.turn, ":fence": lease.fence, ":until": stamp(until) })?;
    require_changed(changed)
}

fn require_changed(rows: usize) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
}

/// A hold that is over by now is none. A message that was taken back gets no answer.
pub fn answer(db: &Connection, lease: Lease, now: Millis, reply: &str) -> Result<Delivery, StoreError> {
    let mut update = db.prepare_cached(concat!(
        "UPDATE inbox SET state = 'answered', attempts = 0, reason = NULL,
           due_at = max(:now, coalesce(hold_until, :now)),
           lease_until = iif(hold_until > :now, NULL, lease_until),
           hold_until = iif(hold_until > :now, hold_until, NULL)
         WHERE state != 'withdrawn' AND ",
        leased!(),
        " RETURNING hold_until"
    ))?;
    let held: Option<Option<i64>> = update
        .query_row(named_params! { ":turn": lease.turn, ":fence": lease.fence, ":now": stamp(now) }, |row| {
            row.get(0)
        })
        .optional()?;
    let held = held.ok_or(StoreError::LeaseLost)?;
    if held.is_some() {
        note_unseen(db, lease)?;
    }
    db.prepare_cached(
        "INSERT INTO outbox (turn, reply, answered_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (turn) DO UPDATE SET reply = excluded.reply, answered_at = excluded.answered_at",
    )?
    .execute(params![lease.turn, reply, stamp(now)])?;
    Ok(held.map_or(Delivery::Due, |until| Delivery::Held { until: millis(until) }))
}

/// Before there is an answer, the checkpoint of what was shown so far waits for it.
pub fn checkpoint(db: &Connection, lease: Lease, checkpoint: &[u8]) -> Result<(), StoreError> {
    let changed = db
        .prepare_cached(concat!(
            "UPDATE inbox SET state = iif(EXISTS (SELECT 1 FROM outbox WHERE turn = seq AND reply IS NOT NULL),
               'delivering', state)
             WHERE ",
            leased!()
        ))?
        .execute(named_params! { ":turn": lease.turn, ":fence": lease.fence })?;
    require_changed(changed)?;
    put_checkpoint(db, lease.turn, checkpoint)
}

pub fn give_up(db: &Connection, lease: Lease) -> Result<(), StoreError> {
    let held: Option<i64> = db
        .prepare_cached(concat!("SELECT seq FROM inbox WHERE ", leased!()))?
        .query_row(named_params! { ":turn": lease.turn, ":fence": lease.fence }, |row| row.get(0))
        .optional()?;
    let turn = held.ok_or(StoreError::LeaseLost)?;
    db.prepare_cached("UPDATE outbox SET reply = NULL WHERE turn = ?1")?.execute([turn])?;
    Ok(())
}

fn put_checkpoint(db: &Connection, turn: i64, checkpoint: &[u8]) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO outbox (turn, checkpoint) VALUES (?1, ?2)
         ON CONFLICT (turn) DO UPDATE SET checkpoint = excluded.checkpoint",
    )?
    .execute(params![turn, checkpoint])?;
    Ok(())
}

pub fn postpone(
    db: &Connection,
    lease: Lease,
    until: Millis,
    failure: Option<&str>,
    may_be_seen: bool,
) -> Result<(), StoreError> {
    let changed = db
        .prepare_cached(concat!(
            "UPDATE inbox SET lease_until = NULL, due_at = :until,
               attempts = attempts + (:failure IS NOT NULL), reason = coalesce(:failure, reason)
             WHERE ",
            leased!()
        ))?
        .execute(named_params! {
            ":turn": lease.turn, ":fence": lease.fence, ":until": stamp(until), ":failure": failure,
        })?;
    require_changed(changed)?;
    if may_be_seen { Ok(()) } else { note_unseen(db, lease) }
}

fn note_unseen(db: &Connection, lease: Lease) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO unseen (turn, fence) VALUES (?1, ?2) ON CONFLICT (turn) DO UPDATE SET fence = excluded.fence",
    )?
    .execute([lease.turn, lease.fence])?;
    Ok(())
}

pub fn finish(
    db: &Connection,
    lease: Lease,
    now: Millis,
    ending: &Ending,
    said: &[Utterance],
) -> Result<(), StoreError> {
    let (state, reason) = match ending {
        Ending::Delivered { .. } => ("delivered", None),
        Ending::Dead { reason } => ("dead", Some(reason.as_str())),
        Ending::Withdrawn => ("withdrawn", None),
    };
    let ended = db
        .prepare_cached(concat!(
            "UPDATE inbox SET state = iif(state = 'withdrawn' AND :state = 'dead', state, :state),
               reason = coalesce(:reason, reason), head = 0, lease_until = NULL, ended_at = :now
             WHERE ",
            leased!(),
            " RETURNING seq, channel, conversation, state = 'withdrawn'"
        ))?
        .query_row(
            named_params! {
                ":turn": lease.turn, ":fence": lease.fence, ":now": stamp(now), ":state": state, ":reason": reason,
            },
            Ended::read,
        )
        .optional()?
        .ok_or(StoreError::LeaseLost)?;
    if let Ending::Delivered { receipt } = ending {
        db.prepare_cached("UPDATE outbox SET receipt = ?2 WHERE turn = ?1")?
            .execute(params![ended.turn, to_json(receipt)?])?;
        history::append(db, &ended.channel, &ended.conversation, ended.turn, now, said)?;
    }
    if ended.is_withdrawn {
        queue::let_go(db, ended.turn)?;
    } else {
        queue::end_gathered(db, ended.turn)?;
    }
    promote(db, &ended.channel, &ended.conversation)
}

/// A turn that was ended just now.
struct Ended {
    turn: i64,
    channel: String,
    conversation: String,
    is_withdrawn: bool,
}

impl Ended {
    fn read(row: &Row<'_>) -> rusqlite::Result<Ended> {
        let (turn, channel, conversation, is_withdrawn) = row.try_into()?;
        Ok(Ended { turn, channel, conversation, is_withdrawn })
    }
}

pub fn ended(db: &Connection, channel: &str, message_id: &str) -> Result<Option<EndedAs>, StoreError> {
    let state: Option<String> = db
        .prepare_cached(
            "SELECT state FROM inbox WHERE channel = ?1 AND message_id = ?2 AND ended_at IS NOT NULL",
        )?
        .query_row([channel, message_id], |row| row.get(0))
        .optional()?;
    Ok(state.map(|state| match state.as_str() {
        "dead" => EndedAs::Dead,
        "withdrawn" => EndedAs::Withdrawn,
        _ => EndedAs::Delivered,
    }))
}

pub fn discard(db: &Connection, channel: &str, message_id: &str) -> Result<bool, StoreError> {
    let Some(place) = Place::find(db, channel, message_id)? else { return Ok(false) };
    db.prepare_cached("UPDATE inbox SET head = 0, ended_at = 0 WHERE seq = ?1")?.execute([place.turn])?;
    place.make_room(db, channel)?;
    db.prepare_cached("DELETE FROM inbox WHERE seq = ?1")?.execute([place.turn])?;
    Ok(true)
}

pub fn message(db: &Connection, channel: &str, message_id: &str) -> Result<Option<Message>, StoreError> {
    let found: Option<String> = db
        .prepare_cached("SELECT message FROM inbox WHERE channel = ?1 AND message_id = ?2")?
        .query_row([channel, message_id], |row| row.get(0))
        .optional()?;
    let read = |json: String| serde_json::from_str(&json);
    let unreadable = |_| StoreError::Unusable("a stored message cannot be read".to_owned());
    found.map(read).transpose().map_err(unreadable)
}

pub fn outcome(db: &Connection, channel: &str, message_id: &str) -> Result<Option<Outcome>, StoreError> {
    let found: Option<(String, Option<String>)> = db
        .prepare_cached(
            "SELECT state, reply FROM inbox LEFT JOIN outbox ON turn = seq WHERE channel = ?1 AND message_id = ?2",
        )?
        .query_row([channel, message_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((state, reply)) = found else { return Ok(None) };
    Ok(Some(match (state.as_str(), reply) {
        ("withdrawn", _) => Outcome::Withdrawn,
        // Also of a dead letter: who asks again gets what could not be delivered.
        (_, Some(reply)) => Outcome::Answered(read_reply(&reply)?),
        ("dead", None) => Outcome::Dead,
        // Delivered without an answer: there was nothing to say.
        ("delivered", None) => Outcome::Answered(Reply::default()),
        (_, None) => Outcome::Pending,
    }))
}

fn read_reply(json: &str) -> Result<Reply, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Unusable("a stored answer cannot be read".to_owned()))
}

pub fn hand_over(
    db: &Connection,
    channel: &str,
    message_id: &str,
    now: Millis,
    said: &[Utterance],
) -> Result<HandOver, StoreError> {
    let Some(place) = Place::find(db, channel, message_id)? else { return Ok(HandOver::Nothing) };
    let ended = db
        .prepare_cached(concat!(
            "UPDATE inbox SET state = 'delivered', head = 0, lease_until = NULL, ended_at = ?2
             WHERE seq = ?1 AND (lease_until IS NULL OR lease_until <= ?2) AND ",
            answered!(),
        ))?
        .execute(params![place.turn, stamp(now)])?;
    if ended == 0 {
        return what_keeps(db, place.turn);
    }
    history::append(db, channel, &place.conversation, place.turn, now, said)?;
    if place.is_head {
        queue::end_gathered(db, place.turn)?;
        promote(db, channel, &place.conversation)?;
    }
    Ok(HandOver::Done)
}

/// Why an unfinished turn's answer is not handed over.
fn what_keeps(db: &Connection, turn: i64) -> Result<HandOver, StoreError> {
    let mut answered = db.prepare_cached(concat!("SELECT 1 FROM inbox WHERE seq = ?1 AND ", answered!()))?;
    Ok(if answered.exists([turn])? { HandOver::Delivering } else { HandOver::Nothing })
}

/// A delivery that runs already, or a turn that has ended, is left alone.
pub fn release_hold(
    db: &Connection,
    channel: &str,
    message_id: &str,
    due: Millis,
    checkpoint: &[u8],
) -> Result<(), StoreError> {
    let released: Option<i64> = db
        .prepare_cached(
            "UPDATE inbox SET hold_until = ?3, due_at = iif(state IN ('answered', 'delivering'), ?3, due_at)
             WHERE channel = ?1 AND message_id = ?2 AND hold_until IS NOT NULL AND ended_at IS NULL
             RETURNING seq",
        )?
        .query_row(params![channel, message_id, stamp(due)], |row| row.get(0))
        .optional()?;
    released.map_or(Ok(()), |turn| put_checkpoint(db, turn, checkpoint))
}

pub fn next_due(db: &Connection, bounds: &str) -> Result<Option<Millis>, StoreError> {
    let due: Option<i64> = db.prepare_cached(NEXT_DUE)?.query_row([bounds], |row| row.get(0))?;
    Ok(due.map(millis))
}

pub fn queue(db: &Connection) -> Result<Queue, StoreError> {
    let mut figures = db.prepare_cached(
        "SELECT count(*), min(received_at), (SELECT count(*) FROM inbox WHERE state = 'dead')
         FROM inbox WHERE ended_at IS NULL",
    )?;
    Ok(figures.query_row([], |row| {
        let (unfinished, oldest, dead): (u32, Option<i64>, u32) = row.try_into()?;
        Ok(Queue { unfinished: unfinished.into(), dead: dead.into(), oldest_received_at: oldest.map(millis) })
    })?)
}

/// Deletes at most `SWEEP_MAX` turns that ended before; their outbox goes with them. Dead letters stay longer.
pub fn sweep(db: &Connection, now: Millis, before: Millis) -> Result<usize, StoreError> {
    let dead_before = before.min(now.saturating_sub(DEAD_KEPT.as_millis() as u64));
    let deleted = db
        .prepare_cached(
            "DELETE FROM inbox WHERE seq IN (
               SELECT seq FROM inbox WHERE ended_at < iif(state = 'dead', ?3, ?1) AND ended_at < ?1
               ORDER BY ended_at LIMIT ?2)",
        )?
        .execute(params![stamp(before), SWEEP_MAX as i64, stamp(dead_before)])?;
    Ok(deleted)
}

/// Makes a dead turn one that is due, from where it stood: as if it had come in just now. Tells whether it was.
pub fn revive(db: &Connection, turn: i64, now: Millis) -> Result<bool, StoreError> {
    let revived = db
        .prepare_cached(
            "UPDATE inbox SET
               state = coalesce((SELECT iif(length(checkpoint) > 0, 'delivering', 'answered')
                                 FROM outbox WHERE turn = seq AND reply IS NOT NULL), 'received'),
               head = NOT EXISTS (SELECT 1 FROM inbox AS other WHERE other.channel = inbox.channel
                                  AND other.conversation = inbox.conversation AND other.ended_at IS NULL),
               message = json_set(message, '$.replayed', json('true')),
               received_at = ?2, due_at = ?2, hold_until = NULL, lease_until = NULL, claims = 0, attempts = 0,
               reason = NULL, ended_at = NULL
             WHERE seq = ?1 AND state = 'dead'",
        )?
        .execute(params![turn, stamp(now)])?;
    Ok(revived == 1)
}

/// A dead turn is dead no more: nobody is to look at it again. Its message stays known, so that a repeat is none.
pub fn lay_to_rest(db: &Connection, turn: i64) -> Result<bool, StoreError> {
    let rested = db
        .prepare_cached("UPDATE inbox SET state = 'withdrawn' WHERE seq = ?1 AND state = 'dead'")?
        .execute([turn])?;
    Ok(rested == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It looked at all that a channel ever had, several times for each message: with what some days leave behind the
    /// host answered no more than a few messages a second.
    #[test]
    fn what_a_channel_has_leased_is_found_among_what_is_leased() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("schema.sql")).unwrap();
        db.execute_batch(include_str!("unseen.sql")).unwrap();
        for query in [NEXT_TO_LEASE, NEXT_DUE] {
            let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let steps = plan.raw_query().mapped(|row| row.get::<_, String>(3));
            let steps: Vec<String> =
                steps.map(Result::unwrap).filter(|step| step.contains(" its ")).collect();
            assert!(!steps.is_empty() && steps.iter().all(|step| step.contains("inbox_leased")), "{steps:?}");
        }
    }
}
