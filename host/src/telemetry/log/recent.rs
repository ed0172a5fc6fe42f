//! The last lines of the log, for an operator who asks the host itself.
//!
//! They are kept in memory up to a bound, as they were written, and only if somebody may ask for them. What is
//! older, or from before the last start, is where the log goes to. It does not know who may ask.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tracing::Level;

use super::line::Line;
use crate::clock::Millis;

/// Some ten thousand lines, the last hours of a quiet host.
pub const BYTES_MAX: usize = 4 << 20;
/// What a line costs beside its text.
const LINE_BYTES: usize = 64;

static RECENT: Recent = Recent::new();

/// Those of this process.
pub fn recent() -> &'static Recent {
    &RECENT
}

#[derive(Debug)]
pub struct Recent {
    /// None are kept with 0.
    bytes_max: AtomicUsize,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    kept: VecDeque<Kept>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    at: Millis,
    level: Level,
    json: Box<str>,
}

/// Which lines somebody wants to see.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// This one and those that are worse.
    pub level: Option<Level>,
    pub since: Option<Millis>,
    /// Not itself.
    pub until: Option<Millis>,
    pub request_id: Option<String>,
    pub channel: Option<String>,
    /// Stands somewhere in the line.
    pub text: Option<String>,
    /// Lines before this one.
    pub before: Option<u64>,
}

/// A line by its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    pub number: u64,
    /// Its fields, by their ECS names.
    pub line: Value,
}

impl Recent {
    const fn new() -> Recent {
        let lines = Lines { kept: VecDeque::new(), bytes: 0, next: 1 };
        Recent { bytes_max: AtomicUsize::new(0), lines: Mutex::new(lines) }
    }

    /// Keeps lines from now on.
    pub fn keep(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    pub(super) fn push(&self, line: &Line<'_>) {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        if bytes_max == 0 {
            return;
        }
        let json = line.to_json().into_boxed_str();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.add(line.time, line.level, json);
        lines.shrink(bytes_max);
    }

    /// The latest that are wanted, the latest first.
    pub fn find(&self, wanted: &Wanted, limit: usize) -> Vec<Numbered> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lines.kept.iter().rev().filter(|kept| wanted.is_plainly(kept));
        let read = found.filter_map(|kept| {
            let line = serde_json::from_str(&kept.json).ok()?;
            wanted.is_inside(&line).then_some(Numbered { number: kept.number, line })
        });
        read.take(limit).collect()
    }
}

impl Lines {
    fn add(&mut self, at: Millis, level: Level, json: Box<str>) {
        self.bytes += json.len() + LINE_BYTES;
        self.kept.push_back(Kept { number: self.next, at, level, json });
        self.next += 1;
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.json.len() + LINE_BYTES;
        }
    }
}

impl Wanted {
    /// What can be told without reading the line.
    fn is_plainly(&self, kept: &Kept) -> bool {
        self.before.is_none_or(|before| kept.number < before)
            // The worst level is the least.
            && self.level.is_none_or(|level| kept.level <= level)
            && self.since.is_none_or(|since| kept.at >= since)
            && self.until.is_none_or(|until| kept.at < until)
            && self.text.as_deref().is_none_or(|text| kept.json.contains(text))
    }

    fn is_inside(&self, line: &Value) -> bool {
        let is = |field: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| line[field].as_str() == Some(wanted))
        };
        is("http.request.id", &self.request_id) && is("labels.channel", &self.channel)
    }
}
