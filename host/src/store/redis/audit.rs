//! The audit of a shared store: one chain for all partitions.
//!
//! An act and its record are one step in the partition that it is done in; from there the record is chained. A node
//! that dies in between has lost nothing: whoever acts or looks next chains what waits. Entries are kept by the
//! caller's clock. It does not know what an act changes.

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::script::Call;
use super::{RedisStore, foreign, tag};
use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::letter::to_json;
use crate::store::oversight::{Act, Actor, Chain, Entry};

/// Entries that are looked at in one step.
const PIECE: u64 = 500;
/// Other nodes chain too; each time that one is faster this one is nearer.
const TRIES_MAX: u32 = 100;
/// A whole hash of zeros stands before the first entry of all.
const START: [u8; 32] = [0; 32];

/// An act that is done, on its way into the chain.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// So that it is chained once.
    id: String,
    at: Millis,
    actor: Actor,
    act: String,
    target: String,
}

/// An entry as it lies in Redis.
#[derive(Debug, Serialize, Deserialize)]
struct Link {
    seq: u64,
    at: Millis,
    actor: Actor,
    act: String,
    target: String,
    /// Hex.
    hash: String,
}

/// What is written down of an act.
pub fn record(now: Millis, act: &Act, actor: &Actor) -> Result<String, StoreError> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let (actor, target) = (actor.clone(), act.target());
    to_json(&Record { id, at: now, actor, act: act.name().to_owned(), target })
}

fn read<T: for<'a> Deserialize<'a>>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|_| foreign())
}

impl Link {
    fn after(before: Option<&Link>, record: Record, key: &hmac::Key) -> Result<Link, StoreError> {
        let Record { at, actor, act, target, .. } = record;
        let seq = before.map_or(0, |before| before.seq) + 1;
        let link = Link { seq, at, actor, act, target, hash: String::new() };
        Ok(Link { hash: hex::encode(link.digest(before, key)?), ..link })
    }

    fn digest(&self, before: Option<&Link>, key: &hmac::Key) -> Result<hmac::Tag, StoreError> {
        let mut signed = match before {
            Some(before) => hex::decode(&before.hash).map_err(|_| foreign())?,
            None => START.to_vec(),
        };
        let Link { seq, at, actor, act, target, .. } = self;
        signed.extend_from_slice(to_json(&(seq, at, actor, act, target))?.as_bytes());
        Ok(hmac::sign(key, &signed))
    }

    fn follows(&self, before: Option<&Link>, key: &hmac::Key) -> Result<bool, StoreError> {
        let is_next = self.seq == before.map_or(0, |before| before.seq) + 1;
        Ok(is_next && hex::encode(self.digest(before, key)?) == self.hash)
    }
}

impl From<Link> for Entry {
    fn from(link: Link) -> Entry {
        let Link { seq, at, actor, act, target, hash } = link;
        Entry { seq, at, actor, act, target, hash }
    }
}

impl RedisStore {
    pub(super) fn of_audit(&self, op: &'static str) -> Call {
        Call::new(op, format!("{{{}:o}}", self.prefix))
    }

    /// Chains what was done and is not chained yet, in all partitions.
    pub(super) async fn chain_acts(&self) -> Result<(), StoreError> {
        let partitions = (0..self.partitions).map(|partition| tag(&self.prefix, partition));
        for place in partitions.chain([self.of_audit("acts").tag]) {
            let records: Vec<String> = self.run(Call::new("acts", place.clone())).await?;
            for record in records {
                self.chain(&record).await?;
                self.run::<()>(Call::new("chained", place.clone()).durable().with(record)).await?;
            }
        }
        Ok(())
    }

    async fn chain(&self, json: &str) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            let record: Record = read(json)?;
            let last: Option<String> = self.run(self.of_audit("audit_last")).await?;
            let before: Option<Link> = last.as_deref().map(read).transpose()?;
            let append = self.of_audit("audit_append").durable();
            let append = append.with(last.unwrap_or_default()).with(&record.id);
            let link = Link::after(before.as_ref(), record, &self.audit_key)?;
            if self.run(append.with_number(link.seq).with(to_json(&link)?)).await? {
                tracing::info!(
                    event.action = link.act,
                    audit = link.seq,
                    hash = link.hash,
                    "an operator acted"
                );
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("other nodes write to the audit all the time".to_owned()))
    }

    pub(super) async fn audit_entries(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.chain_acts().await?;
        let last = before.map_or_else(|| "+inf".to_owned(), |before| format!("({before}"));
        let entries: Vec<String> =
            self.run(self.of_audit("audit_entries").with(last).with_number(limit)).await?;
        entries.iter().map(|json| read::<Link>(json).map(Entry::from)).collect()
    }

    pub(super) async fn look_through_audit(&self) -> Result<Chain, StoreError> {
        self.chain_acts().await?;
        let (mut before, mut entries): (Option<Link>, u64) = (None, 0);
        loop {
            let (floor, piece) = self.old_entries(entries).await?;
            if entries == 0 {
                before = floor;
            }
            if piece.is_empty() {
                let last = before.map(|last| (last.seq, last.hash));
                return Ok(Chain::Whole { entries, last });
            }
            for link in piece {
                if !link.follows(before.as_ref(), &self.audit_key)? {
                    return Ok(Chain::Broken { seq: link.seq });
                }
                before = Some(link);
                entries += 1;
            }
        }
    }

    /// The last entry that was swept, and a piece of those that were not, the oldest first.
    async fn old_entries(&self, from: u64) -> Result<(Option<Link>, Vec<Link>), StoreError> {
        let call = self.of_audit("audit_old").with_number(from).with_number(PIECE);
        let (floor, piece): (Option<String>, Vec<String>) = self.run(call).await?;
        let piece = piece.iter().map(|json| read(json)).collect::<Result<_, _>>()?;
        Ok((floor.as_deref().map(read).transpose()?, piece))
    }

    pub(super) async fn sweep_old_entries(&self, before: Millis) -> Result<u64, StoreError> {
        self.chain_acts().await?;
        let mut deleted = 0;
        loop {
            let (_, piece) = self.old_entries(0).await?;
            let Some(last) = piece.into_iter().take_while(|link| link.at < before).last() else {
                return Ok(deleted);
            };
            let call = self.of_audit("audit_sweep").durable().with(to_json(&last)?);
            deleted += self.run::<u64>(call.with_number(last.seq)).await?;
        }
    }
}
