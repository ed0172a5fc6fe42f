//! When the next update of one turn is due, and with how much of the text.
//!
//! As long as there is room the text streams. Where a platform's limits come near it is shown in blocks, a paragraph
//! at a time and slower, so that fewer requests carry the same words; and where that is still too much, when it is
//! whole. It does not know what is shown, nor to whom.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Verdict;

/// Failures in a row after which a reply is shown only when it is whole.
const FAILURES_MAX: u32 = 3;
/// Before the update after the first failure; each further one doubles it.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Longer than any turn.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Updates in a row that found no room, after which less is shown: one alone is the ebb and flow of several replies.
const HELD_MAX: u32 = 3;
/// Blocks in a row that found room, after which the text streams again.
const CALM: u32 = 3;
/// Between two blocks.
const BLOCK_PAUSE: Duration = Duration::from_secs(2);
/// A text without an end of a paragraph is shown as it is after so long.
const BLOCK_PATIENCE: Duration = Duration::from_secs(4);

/// How much is shown of a reply before it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Stream,
    Blocks,
    Whole,
}

/// When the next update of one turn is due, and with what.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// What is shown fades, or can be changed no more, unless it is touched within this.
    keep_alive: Option<Duration>,
    due: Instant,
    /// When the platform was last called.
    touched: Instant,
    /// When something new was shown.
    moved: Instant,
    /// There is something to show: before that, nobody is told that work has begun.
    has_begun: bool,
    manner: Manner,
    /// Bytes of the text that were shown last. It only grows, so they tell whether there is more.
    shown: Option<usize>,
    /// What is shown is begun, and nobody sees it yet.
    is_opening: bool,
    /// There is more, and it waits for the end of its paragraph.
    is_waiting: bool,
    failures: u32,
    held: u32,
    calm: u32,
}

impl Pace {
    pub(super) fn new(interval: Duration, keep_alive: Option<Duration>, due: Option<Instant>) -> Self {
        let now = Instant::now();
        Self {
            interval,
            keep_alive,
            due: due.unwrap_or(now),
            touched: now,
            moved: now,
            has_begun: false,
            manner: Manner::Stream,
            shown: None,
            is_opening: false,
            is_waiting: false,
            failures: 0,
            held: 0,
            calm: 0,
        }
    }

    /// Waits until there may be something to show and the platform takes it.
    pub(super) async fn wait(&mut self, grown: &Notify) {
        let (due, wakes_at) = (self.due, self.wakes_at());
        tokio::select! {
            () = grown.notified() => {
                self.has_begun = true;
                // The timer would round a moment that is past up to its next tick.
                if due > Instant::now() {
                    sleep_until(due).await;
                }
            }
            () = sleep_until(wakes_at) => {}
        }
    }

    /// When something is due though nothing new came.
    fn wakes_at(&self) -> Instant {
        let fades = self.keep_alive.filter(|_| self.has_begun).map(|keep_alive| self.touched + keep_alive);
        let patience = self.is_waiting.then(|| self.moved + BLOCK_PATIENCE);
        let first = [fades, patience].into_iter().flatten().min();
        first.map_or_else(|| Instant::now() + PAUSE_MAX, |first| first.max(self.due))
    }

    /// What is to be shown now. Without a word it is shown only to open a card, or to keep one alive. What is begun
    /// goes on with the same words.
    pub(super) fn next(&mut self, text: &str, is_open: bool) -> Option<String> {
        if self.is_opening {
            return Some(self.same(text));
        }
        self.news(text, is_open).or_else(|| self.fades().then(|| self.same(text)))
    }

    fn news(&mut self, text: &str, is_open: bool) -> Option<String> {
        let is_new = self.shown != Some(text.len()) && !(text.is_empty() && is_open);
        self.is_waiting = false;
        match self.manner {
            _ if !is_new => None,
            Manner::Whole => None,
            Manner::Blocks if is_open && self.moved.elapsed() < BLOCK_PATIENCE => self.next_block(text),
            Manner::Stream | Manner::Blocks => Some(text.to_owned()),
        }
    }

    fn fades(&self) -> bool {
        let is_due = |keep_alive| self.touched.elapsed() >= keep_alive;
        self.has_begun && self.keep_alive.is_some_and(is_due)
    }

    /// What is shown already; all that there is if an attempt at the answer failed and began anew.
    fn same(&self, text: &str) -> String {
        text.get(..self.shown.unwrap_or(0)).unwrap_or(text).to_owned()
    }

    /// The text up to its last paragraph that is whole, if that is not shown yet.
    fn next_block(&mut self, text: &str) -> Option<String> {
        let end = end_of_paragraph(text);
        if end > self.shown.unwrap_or(0) {
            return Some(text[..end].to_owned());
        }
        self.is_waiting = true;
        self.due = Instant::now() + self.interval;
        None
    }

    /// Another step is done of what nobody sees yet; the next one follows at once.
    pub(super) fn opens(&mut self, bytes: usize) {
        let now = Instant::now();
        (self.shown, self.is_opening) = (Some(bytes), true);
        (self.failures, self.held) = (0, 0);
        (self.due, self.touched) = (now, now);
    }

    pub(super) fn shown(&mut self, bytes: usize, next_change: Option<Instant>) {
        let is_new = self.shown.replace(bytes) != Some(bytes) || std::mem::take(&mut self.is_opening);
        (self.failures, self.held) = (0, 0);
        self.touched = Instant::now();
        self.due = next_change.unwrap_or(self.due);
        if is_new {
            self.moved = self.touched;
        }
        if is_new && self.manner == Manner::Blocks {
            self.due = self.due.max(self.touched + BLOCK_PAUSE);
            self.calm += 1;
            if self.calm >= CALM {
                self.become_of(Manner::Stream);
            }
        }
    }

    /// Puts the next update off; too many failures in a row end them.
    pub(super) fn not_shown(&mut self, verdict: Verdict) -> Verdict {
        let pause = match verdict {
            Verdict::HeldBack(pause) => self.found_no_room(1, pause),
            Verdict::Throttled(pause) => self.found_no_room(HELD_MAX, pause),
            Verdict::Failed => {
                self.failures += 1;
                FAILURE_PAUSE.saturating_mul(1 << (self.failures - 1))
            }
            Verdict::GivenUp => Duration::ZERO,
        };
        self.due = Instant::now() + pause.clamp(self.interval, PAUSE_MAX);
        if self.failures < FAILURES_MAX { verdict } else { Verdict::GivenUp }
    }

    /// A platform that says so itself counts for more than what the host found out before.
    fn found_no_room(&mut self, counts: u32, pause: Duration) -> Duration {
        (self.held, self.calm) = (self.held + counts, 0);
        match self.manner {
            Manner::Stream if self.held >= HELD_MAX => self.become_of(Manner::Blocks),
            Manner::Blocks if self.held >= HELD_MAX * HELD_MAX => self.become_of(Manner::Whole),
            _ => {}
        }
        pause
    }

    fn become_of(&mut self, manner: Manner) {
        (self.manner, self.held, self.calm) = (manner, 0, 0);
        match manner {
            Manner::Stream => tracing::info!("there is room again: the reply streams"),
            Manner::Blocks => tracing::info!("the platform's limits are near: the reply comes in blocks"),
            Manner::Whole => tracing::info!("the platform's limits are reached: the reply comes as a whole"),
        }
    }
}

/// Where the last paragraph ends that is whole; an open fence has none in it.
fn end_of_paragraph(text: &str) -> usize {
    let (mut at, mut end, mut in_code) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        at += line.len();
        let words = line.trim();
        in_code ^= words.starts_with("```");
        if !in_code && words.is_empty() && line.ends_with('\n') {
            end = at;
        }
    }
    end
}
