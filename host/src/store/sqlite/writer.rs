//! The one thread that writes: whoever waits while a commit is under way shares the next one.
//!
//! A write is durable when its waiter is answered. Each write has a savepoint, so that one that fails leaves
//! its neighbours alone; a commit that fails stores none of its group. It does not know what is written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::file::FolderLock;
use super::log::Log;
use crate::store::StoreError;

/// Writes in one commit: past some tens, a commit's sync is no longer what each of them costs.
const GROUP_MAX: usize = 64;
/// How long a group that is more than one write waits for others that are on their way. A sync takes some
/// milliseconds; a write that comes alone waits for nobody.
const GATHER: Duration = Duration::from_millis(2);
/// Writes that wait or run; whoever comes later waits outside, where time-outs end it.
const QUEUE_MAX: usize = 1024;

/// What the writer did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    pub commits: u64,
    pub writes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    writes: AtomicU64,
}

/// Hands writes to the thread. Dropping it lets the queue run empty and waits for the thread's end.
#[derive(Debug)]
pub struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
    holds_time: bool,
}

impl Writer {
    /// Starts the thread. It holds the folder's lock for as long as it may write.
    pub fn start(db: Connection, lock: FolderLock, log: Log, holds_time: bool) -> Result<Writer, StoreError> {
        let (queue, jobs) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        let thread = thread::Builder::new()
            .name("parlor-store".to_owned())
            .spawn(move || {
                run(&db, &log, &jobs, &counted);
                drop(db);
                drop(lock);
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread for the writer ({error})")))?;
        let room = Arc::new(Semaphore::new(QUEUE_MAX));
        Ok(Writer { queue: Some(queue), room, counters, thread: Some(thread), holds_time })
    }

    /// Runs a write in the next group and waits until it is durable, or was undone.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let room = self.room.clone().acquire_owned().await.map_err(|_| stopped())?;
        let (waiter, answer) = oneshot::channel();
        let write = Write { work: Some(work), outcome: None, waiter, _room: room };
        let queue = self.queue.as_ref().expect("only drop takes the queue");
        queue.send(Box::new(write)).map_err(|_| stopped())?;
        self.wait(answer).await.map_err(|_| stopped())?
    }

    /// Tokio lets a paused clock run when it has nothing to do, and does not see this writer at work; a
    /// blocking thread of its own it sees.
    async fn wait<T: Send + 'static>(
        &self,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, oneshot::error::RecvError> {
        if !self.holds_time {
            return answer.await;
        }
        let waiting = tokio::task::spawn_blocking(move || answer.blocking_recv());
        waiting.await.expect("waiting does not panic, and nobody aborts it")
    }

    pub fn stats(&self) -> WriterStats {
        WriterStats {
            commits: self.counters.commits.load(Ordering::Relaxed),
            writes: self.counters.writes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the writer broke off, and what became of this write is unknown".to_owned())
}

/// One write and the one who waits for it.
trait Job: Send {
    /// Runs it; an error is a reason to undo it.
    fn run(&mut self, db: &Connection) -> Result<(), String>;
    /// Answers the waiter: with the outcome if the group was committed, else with why not.
    fn answer(self: Box<Self>, commit: Result<(), &str>);
}

struct Write<T, F> {
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    waiter: oneshot::Sender<Result<T, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, db: &Connection) -> Result<(), String> {
        let work = self.work.take().expect("a write runs once");
        let outcome = catch_unwind(AssertUnwindSafe(|| work(db)))
            .unwrap_or_else(|_| Err(StoreError::Unusable("a write panicked; this is a defect".to_owned())));
        let kept = outcome.as_ref().map(|_| ()).map_err(reason);
        self.outcome = Some(outcome);
        kept
    }

    fn answer(self: Box<Self>, commit: Result<(), &str>) {
        let outcome = match (commit, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(stopped()),
            (Err(reason), _) => Err(StoreError::Unavailable(reason.to_owned())),
        };
        self.waiter.send(outcome).ok();
    }
}

fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(reason) => reason.clone(),
        other => other.to_string(),
    }
}

fn run(db: &Connection, log: &Log, jobs: &Receiver<Box<dyn Job>>, counters: &Counters) {
    while let Ok(first) = jobs.recv() {
        let group = gather(first, jobs);
        // A panic drops the group, and with it its waiters' other ends: they get an error, never silence.
        let unwound = catch_unwind(AssertUnwindSafe(|| commit_group(db, log, group, counters))).is_err();
        if unwound {
            tracing::error!("the store's writer panicked; the writes under way failed, it goes on");
            roll_back(db);
        }
    }
}

fn gather(first: Box<dyn Job>, jobs: &Receiver<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let mut group = vec![first];
    group.extend(jobs.try_iter().take(GROUP_MAX - 1));
    if group.len() == 1 {
        return group;
    }
    let until = Instant::now() + GATHER;
    while group.len() < GROUP_MAX {
        match jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(job) => group.push(job),
            Err(_) => break,
        }
    }
    group
}

fn commit_group(db: &Connection, log: &Log, mut group: Vec<Box<dyn Job>>, counters: &Counters) {
    let outcome = commit(db, &mut group);
    if outcome.is_err() {
        roll_back(db);
    } else {
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.writes.fetch_add(group.len() as u64, Ordering::Relaxed);
    }
    let is_stored = outcome.is_ok();
    for job in group {
        job.answer(outcome.as_ref().map(|_| ()).map_err(String::as_str));
    }
    // Of a disk that is full, the log may hold what the next one needs.
    if is_stored { log.keep_short(db) } else { log.empty(db) }
}

fn commit(db: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), String> {
    let plain = |error: rusqlite::Error| reason(&error.into());
    db.execute_batch("BEGIN IMMEDIATE").map_err(plain)?;
    for job in group {
        attempt(db, job.as_mut())?;
    }
    fail::fail_point!("store::before_commit", |_| Err("a failpoint".to_owned()));
    db.execute_batch("COMMIT").map_err(plain)?;
    fail::fail_point!("store::after_commit");
    Ok(())
}

/// Runs one write and undoes it if it failed. An error of its own means that the whole group is lost.
fn attempt(db: &Connection, job: &mut dyn Job) -> Result<(), String> {
    let plain = |error: rusqlite::Error| reason(&error.into());
    db.execute_batch("SAVEPOINT job").map_err(plain)?;
    if let Err(reason) = job.run(db) {
        // A full disk or a failed read may end the transaction, not the statement alone.
        if db.is_autocommit() {
            return Err(reason);
        }
        db.execute_batch("ROLLBACK TO job").map_err(plain)?;
    }
    db.execute_batch("RELEASE job").map_err(plain)
}

fn roll_back(db: &Connection) {
    if db.is_autocommit() {
        return;
    }
    if let Err(error) = db.execute_batch("ROLLBACK") {
        tracing::error!(%error, "the store cannot undo a failed transaction");
    }
}
