//! What callers and the inference thread share: the queue, the figures, and the bell that wakes the thread.
//!
//! Knows who waits and how many, not how a step works.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::events::Finish;
use crate::request::StartError;
use crate::sequence::Job;

/// Sooner makes no sense to a client that counts in whole seconds.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// Later than this the estimate is worth nothing, since most completions end before their `max_tokens`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Plain counters since the engine was loaded, and how it stands after its last step.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    pub running: usize,
    pub waiting: usize,
    /// Running, but their readers lag behind.
    pub parked: usize,
    /// Tokens in the KV cache, of idle sequences too: those are what a later prompt may begin with.
    pub kv_tokens: u64,
    pub kv_tokens_max: u64,
    /// Prompt tokens that were computed.
    pub prompt_tokens: u64,
    /// Prompt tokens that were found in the KV cache.
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    pub steps: u64,
    /// Mean time of the last ten steps or so.
    pub step_time: Duration,
    /// Requests answered with [`StartError::Busy`].
    pub rejected: u64,
    pub finished: Finished,
    pub sequences: Vec<SequenceStats>,
}

/// How requests ended, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finished {
    /// By the model or a stop string.
    pub stop: u64,
    pub length: u64,
    /// Nobody listened any more, or the engine was stopped.
    pub cancelled: u64,
    pub deadline: u64,
    pub failed: u64,
}

/// One place for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceStats {
    pub activity: Activity,
    pub kv_tokens: usize,
    /// Steps that this place took part in.
    pub steps: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Idle,
    Prefilling,
    Generating,
    Parked,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    queue_max: usize,
    sequences_max: usize,
}

#[derive(Default)]
pub(crate) struct State {
    pub waiting: VecDeque<Job>,
    pub stats: Stats,
    /// When the next place gets free, at the speed of late.
    pub free_in: Duration,
    /// Nobody takes requests any more.
    pub is_stopped: bool,
    is_rung: bool,
}

impl Shared {
    pub fn new(queue_max: usize, sequences_max: usize) -> Self {
        Self { state: Mutex::default(), bell: Condvar::new(), queue_max, sequences_max }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves figures behind that may be off by one, and no broken promise.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the job into the queue. What idle sequences will take at the next step does not count as waiting.
    pub fn enqueue(&self, job: Job) -> Result<(), StartError> {
        let mut state = self.lock();
        let swept = state.sweep();
        let taken = state.enqueue(job, self.queue_max, self.sequences_max);
        self.ring(state);
        refuse(swept);
        taken
    }

    /// Tells the inference thread that something has changed.
    pub fn wake(&self) {
        self.ring(self.lock());
    }

    fn ring(&self, mut state: MutexGuard<'_, State>) {
        state.is_rung = true;
        drop(state);
        self.bell.notify_one();
    }

    /// Waits until somebody rings, or `until`. What was rung before counts, so that no ring is lost.
    pub fn rest(&self, until: Option<Instant>) {
        let mut state = self.lock();
        while !state.is_rung {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.is_rung = false;
    }

    /// Asks the inference thread to end.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        self.ring(state);
    }

    /// The last act of the inference thread. Whoever still waits learns it by the end of their channel.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

impl State {
    fn enqueue(&mut self, job: Job, queue_max: usize, sequences_max: usize) -> Result<(), StartError> {
        if self.is_stopped {
            return Err(StartError::Stopped);
        }
        if self.waiting.len() >= queue_max + sequences_max.saturating_sub(self.stats.running) {
            self.stats.rejected += 1;
            return Err(StartError::Busy {
                retry_after: self.free_in.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX),
            });
        }
        self.waiting.push_back(job);
        self.stats.waiting = self.waiting.len();
        Ok(())
    }

    /// Takes out those whose readers have gone or whose time is up. They are the caller's to refuse, once the lock is
    /// free.
    pub fn sweep(&mut self) -> Vec<Job> {
        let now = Instant::now();
        let (mut swept, mut waiting) = (Vec::new(), VecDeque::with_capacity(self.waiting.len()));
        for job in self.waiting.drain(..) {
            if job.sender.is_abandoned() {
                self.stats.finished.cancelled += 1;
                swept.push(job);
            } else if job.deadline <= now {
                self.stats.finished.deadline += 1;
                swept.push(job);
            } else {
                waiting.push_back(job);
            }
        }
        self.waiting = waiting;
        self.stats.waiting = self.waiting.len();
        swept
    }
}

/// Whoever of them still listens ran out of time.
pub(crate) fn refuse(swept: Vec<Job>) {
    swept.into_iter().for_each(|job| job.refuse(Finish::Deadline));
}
