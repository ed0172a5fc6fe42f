//! One run's world: its time, its chance, its weather, and what happened in it.
//!
//! Whatever a host does to the outside passes a `step` here, where it may die or stand still. One that died does nothing
//! more: its tasks wait at their next step for ever, as those of a killed process would, and nothing is dropped or
//! undone. Those of one that stands still wait there until it goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parlor::clock::{Clock, Millis};
use parlor::store::ephemeral::EphemeralStore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::ledger::{Ledger, Start};
use super::platforms::Platforms;
use super::tally::Tally;
use super::weather::Weather;

/// Any moment; nothing may depend on which.
const EPOCH: Millis = 1_790_000_000_000;

/// Wall time that goes with tokio's.
#[derive(Debug, Clone, Copy)]
pub struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Millis {
        EPOCH + u64::try_from(self.0.elapsed().as_millis()).expect("a run is short")
    }
}

/// A host's own clock, which is off by a few milliseconds or many.
#[derive(Debug, Clone, Copy)]
pub struct OwnClock {
    right: PausedClock,
    off: i64,
}

impl Clock for OwnClock {
    fn now(&self) -> Millis {
        self.right.now().saturating_add_signed(self.off)
    }
}

impl OwnClock {
    /// What this host says, by the right clock.
    pub fn right(&self, told: Millis) -> Millis {
        told.saturating_add_signed(-self.off)
    }

    /// What is told to this host.
    pub fn own(&self, right: Millis) -> Millis {
        right.saturating_add_signed(self.off)
    }
}

/// What becomes of all that is written in one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Done,
    Failed,
    DoneAndDenied,
}

/// One start of a host, until it dies or has drained.
#[derive(Debug, Clone)]
pub struct Life {
    pub node: usize,
    pub start: Start,
    pub clock: OwnClock,
    over: CancellationToken,
    stands_until: Arc<Mutex<Option<Instant>>>,
}

/// How long a host stands still, in milliseconds: about as long as a lease, or far longer.
const STILL_MS: (u64, u64) = (20_000, 90_000);

impl Life {
    pub fn new(node: usize, start: Start, clock: OwnClock) -> Life {
        Life { node, start, clock, over: CancellationToken::new(), stands_until: Arc::default() }
    }

    fn stands_until(&self) -> Option<Instant> {
        let until = *self.stands_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Instant::now())
    }

    fn stand_still(&self, time: Duration) {
        let until = Instant::now() + time;
        *self.stands_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}

#[derive(Debug)]
pub struct World {
    began: Instant,
    pub clock: PausedClock,
    pub chance: Chance,
    pub weather: Weather,
    pub store: EphemeralStore,
    pub platforms: Platforms,
    ledger: Mutex<Ledger>,
    trace: Mutex<Vec<String>>,
    tally: Mutex<Tally>,
    /// By the number of the span of time that it is about.
    commits: Mutex<BTreeMap<u128, Commit>>,
}

impl World {
    pub fn new(chance: Chance, weather: Weather) -> World {
        let began = Instant::now();
        let clock = PausedClock(began);
        World {
            began,
            clock,
            chance,
            weather,
            store: EphemeralStore::default(),
            platforms: Platforms::new(clock),
            ledger: Mutex::default(),
            trace: Mutex::default(),
            tally: Mutex::default(),
            commits: Mutex::default(),
        }
    }

    /// A clock for one start of a host.
    pub fn own_clock(&self) -> OwnClock {
        let most = self.weather.clock_off;
        let off = self.chance.between(0, 2 * most).cast_signed() - most.cast_signed();
        OwnClock { right: self.clock, off }
    }

    /// Waits for the next commit.
    pub async fn commit(&self) -> Commit {
        if self.weather.commit_ms == 0 {
            return Commit::Done;
        }
        let span = u128::from(self.weather.commit_ms);
        let number = self.age().as_millis() / span + 1;
        let until = self.began + Duration::from_millis(u64::try_from(number * span).expect("a run is short"));
        tokio::time::sleep_until(until).await;
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        *commits.entry(number).or_insert_with(|| self.fate_of_commit())
    }

    fn fate_of_commit(&self) -> Commit {
        if self.strikes("commit fails", self.weather.commit_fails) {
            Commit::Failed
        } else if self.strikes("commit denied", self.weather.commit_denied) {
            Commit::DoneAndDenied
        } else {
            Commit::Done
        }
    }

    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tell(&self, what: impl AsRef<str>) {
        let age = self.age().as_millis();
        let line = format!("{:>4}.{:03} {}", age / 1000, age % 1000, what.as_ref());
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub fn trace(&self) -> Vec<String> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether things still go wrong.
    pub fn is_stormy(&self) -> bool {
        self.age() < self.weather.until
    }

    /// Whether a fault of this rate strikes now.
    pub fn strikes(&self, fault: &str, rate: u64) -> bool {
        let does_strike = self.is_stormy() && self.chance.strikes(rate);
        if does_strike {
            self.count(fault);
        }
        does_strike
    }

    pub fn count(&self, what: &str) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).count(what);
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A pause of some milliseconds.
    pub async fn pause(&self, low: u64, high: u64) {
        tokio::time::sleep(Duration::from_millis(self.chance.between(low, high))).await;
    }

    /// A place at which a host may die or stand still.
    pub async fn step(&self, life: &Life, place: &str) {
        self.brink(life, place).await;
        if life.stands_until().is_none() && self.strikes("host stands still", self.weather.freezes) {
            let time = Duration::from_millis(self.chance.between(STILL_MS.0, STILL_MS.1));
            self.tell(format!("n{} STANDS STILL at {place} for {time:?}", life.node));
            life.stand_still(time);
            self.ledger().stood_still(life.start);
        }
        self.awake(life).await;
    }

    /// A place at which a host may die. What it does here it did before it stood still, if it does.
    pub async fn brink(&self, life: &Life, place: &str) {
        if !life.is_over() && self.is_stormy() && self.chance.strikes(self.weather.crash) {
            self.kill(life, place);
        }
        self.alive(life).await;
    }

    /// Goes on only for the living.
    pub async fn alive(&self, life: &Life) {
        if life.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// Goes on once the host does.
    pub async fn awake(&self, life: &Life) {
        while let Some(until) = life.stands_until() {
            tokio::time::sleep_until(until).await;
        }
        self.alive(life).await;
    }

    pub fn kill(&self, life: &Life, place: &str) {
        self.tell(format!("n{} DIES at {place}", life.node));
        self.count(&format!("died at {}", place.split(' ').next().unwrap_or_default()));
        life.over.cancel();
        self.ledger().died(life.start);
    }
}

impl parlor::random::Random for World {
    fn fraction(&self) -> f64 {
        self.chance.fraction()
    }
}
