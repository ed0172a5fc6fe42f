//! At most so many requests of one key in any such span of time.
//!
//! A window that slides rather than a bucket that refills: a platform that allows 20 a minute and locks a robot
//! out for ten at the 21st would not forgive a bucket its burst. Stepped by tokio's time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::plugin::manifest::Rate;

/// Windows that count nothing any more are forgotten when there are this many, and again at twice as many.
const KEYS_BEFORE_SWEEP: usize = 1024;
/// More chats than a node serves within one span; beyond it new ones wait, since none that counts is forgotten.
const KEYS_MAX: usize = 65_536;

/// How much of a rate those may take who leave room for others: three quarters, and never the last one unless
/// there is no other.
pub(super) fn leaving_room(count: u32) -> u32 {
    (count - count.div_ceil(4)).max(1)
}

/// The requests of late, by key.
#[derive(Debug, Default)]
pub(super) struct Rates {
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    by_key: BTreeMap<String, Window>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Window {
    per: Duration,
    sent: VecDeque<Instant>,
}

impl Rates {
    /// Counts a request, or says how long to wait.
    pub(super) fn take(&self, key: String, rate: Rate) -> Result<(), Duration> {
        let now = Instant::now();
        let mut windows = self.windows.lock().expect("nothing panics while it holds the windows");
        windows.sweep(now);
        if windows.by_key.len() >= KEYS_MAX && !windows.by_key.contains_key(&key) {
            return Err(rate.per);
        }
        let window =
            windows.by_key.entry(key).or_insert_with(|| Window { per: rate.per, sent: VecDeque::new() });
        window.per = rate.per;
        window.take(now, rate.count)
    }
}

impl Windows {
    fn sweep(&mut self, now: Instant) {
        if self.by_key.len() >= self.sweep_at.max(KEYS_BEFORE_SWEEP) {
            self.by_key.retain(|_, window| !window.is_resting(now));
            self.sweep_at = (self.by_key.len() * 2).min(KEYS_MAX);
        }
    }
}

impl Window {
    fn take(&mut self, now: Instant, count: u32) -> Result<(), Duration> {
        while self.sent.front().is_some_and(|sent| now.duration_since(*sent) >= self.per) {
            self.sent.pop_front();
        }
        match self.sent.front() {
            Some(first) if self.sent.len() >= count as usize => Err(self.per - now.duration_since(*first)),
            _ => {
                self.sent.push_back(now);
                Ok(())
            }
        }
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.sent.back().is_none_or(|last| now.duration_since(*last) >= self.per)
    }
}
