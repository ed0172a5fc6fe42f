//! One run's world: its time, its chance, its weather, and what happened in it.
//!
//! Whatever a host does to the outside passes a `step` here, where it may die. One that died does nothing more: its
//! tasks wait at their next step for ever, as those of a killed process would, and nothing is dropped or undone.

use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// One start of a host, until it dies or has drained.
#[derive(Debug, Clone)]
pub struct Life {
    pub node: usize,
    pub start: Start,
    over: CancellationToken,
}

impl Life {
    pub fn new(node: usize, start: Start) -> Life {
        Life { node, start, over: CancellationToken::new() }
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
}

impl World {
    pub fn new(seed: u64) -> World {
        let chance = Chance::new(seed);
        let weather = Weather::draw(&chance);
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

    /// A place at which a host may die.
    pub async fn step(&self, life: &Life, place: &str) {
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
