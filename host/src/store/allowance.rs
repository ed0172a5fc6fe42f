//! How often something may happen, and the buckets that remember how often it did.
//!
//! The generic cell rate algorithm (ITU-T I.371), one number for each key: the time at which its bucket will be
//! full again. Whole microseconds, which a double of a shared store's script holds exactly as well. It does not
//! know what a key stands for; `limits` does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Millis;

/// Keys that are remembered at a time: some 15 MB. Only those who hold a token or speak through a verified
/// webhook have one.
pub const KEYS_MAX: usize = 65_536;
/// Full buckets are forgotten when there are this many, and again at twice as many as were left.
const KEYS_BEFORE_SWEEP: usize = 1024;
/// What is forgotten at a time when no bucket is full: the share whose buckets are fullest.
const EVICTED_SHARE: usize = 8;

/// One key and what it is allowed: `burst` at once, and one more after each `interval`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    pub key: String,
    /// Between two that are allowed when all of the burst is used up. Counts in whole microseconds, one at least.
    pub interval: Duration,
    /// One or more.
    pub burst: u32,
}

/// Whether something may happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Granted,
    /// `which` of the allowances, counted from 0, lasts longest. At `again_at` all of them have room for one, if
    /// nobody uses them until then; a millisecond earlier they have not.
    Refused {
        which: usize,
        again_at: Millis,
    },
}

/// A key of whose allowance something is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub key: String,
    /// When all of it is there again, if nobody uses it until then.
    pub full_at: Millis,
}

/// A time in microseconds.
type Micros = u64;

/// The buckets of one process. A restart fills them all.
#[derive(Debug, Default)]
pub struct Buckets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each bucket will be full. A key that is missing has a full one.
    full_at: HashMap<String, Micros>,
    sweep_at: usize,
}

impl Buckets {
    /// Takes one out of every bucket, or out of none if one of them is empty.
    pub fn take(&self, now: Millis, allowances: &[Allowance]) -> Verdict {
        let now = now.saturating_mul(1000);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at: Vec<Micros> = allowances.iter().map(|allowance| state.full_at(now, allowance)).collect();
        let free_at =
            allowances.iter().zip(&full_at).map(|(allowance, full_at)| free_at(*full_at, allowance));
        if let Some((which, free_at)) = free_at.enumerate().max_by_key(|(_, free_at)| *free_at)
            && free_at > now
        {
            return Verdict::Refused { which, again_at: free_at.div_ceil(1000) };
        }
        for (allowance, full_at) in allowances.iter().zip(full_at) {
            state.set(now, &allowance.key, full_at.max(now).saturating_add(interval(allowance)));
        }
        Verdict::Granted
    }

    /// The buckets that take longest to fill, the longest first.
    pub fn used(&self, now: Millis, limit: usize) -> Vec<Used> {
        let now = now.saturating_mul(1000);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used: Vec<_> = state.full_at.iter().filter(|(_, full_at)| **full_at > now).collect();
        used.sort_unstable_by(|(a, a_full), (b, b_full)| b_full.cmp(a_full).then(a.cmp(b)));
        let used = used.into_iter().take(limit);
        used.map(|(key, full_at)| Used { key: key.clone(), full_at: full_at.div_ceil(1000) }).collect()
    }

    /// Keys whose buckets are remembered.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).full_at.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    /// When a key's bucket will be full. No bucket is emptier than empty: one that seems to be was filled by a
    /// clock that has been set back since, or by a larger burst, and would lock its owner out.
    fn full_at(&mut self, now: Micros, allowance: &Allowance) -> Micros {
        let Some(full_at) = self.full_at.get_mut(&allowance.key) else { return now };
        *full_at = (*full_at).min(now.saturating_add(capacity(allowance)));
        *full_at
    }

    fn set(&mut self, now: Micros, key: &str, full_at: Micros) {
        if let Some(old) = self.full_at.get_mut(key) {
            *old = full_at;
            return;
        }
        self.make_room(now);
        self.full_at.insert(key.to_owned(), full_at);
    }

    fn make_room(&mut self, now: Micros) {
        if self.full_at.len() < self.sweep_at.max(KEYS_BEFORE_SWEEP) {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= KEYS_MAX {
            self.evict();
        }
        self.sweep_at = (self.full_at.len() * 2).min(KEYS_MAX);
    }

    /// Forgets those who lose least by it. They get back what they had used, and nobody is refused for want of
    /// a bucket.
    fn evict(&mut self) {
        let mut times: Vec<Micros> = self.full_at.values().copied().collect();
        let (_, last, _) = times.select_nth_unstable(KEYS_MAX / EVICTED_SHARE);
        let last = *last;
        self.full_at.retain(|_, full_at| *full_at > last);
    }
}

fn interval(allowance: &Allowance) -> Micros {
    u64::try_from(allowance.interval.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// How long an empty bucket takes to fill.
fn capacity(allowance: &Allowance) -> Micros {
    interval(allowance).saturating_mul(u64::from(allowance.burst.max(1)))
}

/// When a bucket has room for one.
fn free_at(full_at: Micros, allowance: &Allowance) -> Micros {
    full_at.saturating_add(interval(allowance)).saturating_sub(capacity(allowance))
}
