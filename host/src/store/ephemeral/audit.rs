//! The audit: entries that are only ever added, each hash over the one before.
//!
//! The hashes have no key: nobody but this process can write here.

use std::collections::VecDeque;

use ring::digest;

use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::oversight::{Act, Actor, Chain, Entry};

#[derive(Debug, Default)]
pub struct Audit {
    entries: VecDeque<Entry>,
    /// The last entry that was swept: its number and hash.
    floor: (u64, String),
}

impl Audit {
    pub fn append(&mut self, now: Millis, act: &Act, actor: &Actor) -> Result<(), StoreError> {
        let (before, hash_before) = self.last();
        let (seq, name, target) = (before + 1, act.name().to_owned(), act.target());
        let hash = hash(&hash_before, seq, now, actor, &name, &target)?;
        self.entries.push_back(Entry { seq, at: now, actor: actor.clone(), act: name, target, hash });
        Ok(())
    }

    fn last(&self) -> (u64, String) {
        self.entries.back().map_or_else(|| self.floor.clone(), |entry| (entry.seq, entry.hash.clone()))
    }

    /// The latest first.
    pub fn entries(&self, before: Option<u64>, limit: usize) -> Vec<Entry> {
        let entries = self.entries.iter().rev();
        entries.filter(|entry| before.is_none_or(|before| entry.seq < before)).take(limit).cloned().collect()
    }

    pub fn chain(&self) -> Result<Chain, StoreError> {
        let mut before = self.floor.clone();
        for entry in &self.entries {
            let Entry { seq, at, actor, act, target, hash: kept } = entry;
            if *seq != before.0 + 1 || *kept != hash(&before.1, *seq, *at, actor, act, target)? {
                return Ok(Chain::Broken { seq: *seq });
            }
            before = (*seq, kept.clone());
        }
        let last = Some(before).filter(|(seq, _)| *seq > 0);
        Ok(Chain::Whole { entries: self.entries.len() as u64, last })
    }

    /// Deletes entries older than `before`, from the old end.
    pub fn sweep(&mut self, before: Millis) -> u64 {
        let mut swept = 0;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.at < before) {
            self.floor = (entry.seq, entry.hash);
            swept += 1;
        }
        swept
    }
}

fn hash(
    before: &str,
    seq: u64,
    at: Millis,
    actor: &Actor,
    act: &str,
    target: &str,
) -> Result<String, StoreError> {
    let entry = serde_json::to_string(&(before, seq, at, actor, act, target));
    let entry = entry.map_err(|_| StoreError::Unusable("an act has no JSON form".to_owned()))?;
    Ok(hex::encode(digest::digest(&digest::SHA256, entry.as_bytes())))
}
