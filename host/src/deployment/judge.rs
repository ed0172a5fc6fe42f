//! How releases do, and when one has to go.
//!
//! Counted is what each call told of itself, on this node, since the release began to serve here. A release goes when
//! it ended badly five times within a minute. A candidate goes too when over at least fifty calls it ends badly, fails
//! or is slow more often than the stable release, which meets the same platform and the same load at the same time; a
//! stable one is held against nobody, since a platform's bad day is not its fault. Slowness is the guest's own time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Deployments, Wanted};
use crate::clock::{Clock, Millis};
use crate::plugin::release::{Call, OTHER_STEP};
use crate::plugin::shelf::Serving;
use crate::telemetry;

/// Fewer calls say little about a rate.
const CALLS_MIN: u64 = 50;
/// Calls of one function whose times are compared, on both sides.
const TIMES_MIN: usize = 20;
/// The latest times that are kept of each function.
const TIMES_KEPT: usize = 256;
/// So many calls that ended badly within `BAD_WITHIN` are enough without a comparison.
const BAD_MAX: usize = 5;
const BAD_WITHIN_MS: Millis = 60_000;
/// By how much a rate may be higher before it counts: of a hundred calls.
const BAD_MORE: f64 = 0.02;
const FAULTS_MORE: f64 = 0.10;
/// A release is slow if it takes more than twice as long, and this much longer.
const SLOWER_BY: Duration = Duration::from_millis(5);

/// What became of a release's calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub calls: u64,
    /// Traps, calls out of time, and results other than the stable release's.
    pub bad: u64,
    /// The plugin itself said that it could not.
    pub faults: u64,
    /// Steps of a pipeline in shadow that the stable release did not take, or not in these words.
    pub other_steps: u64,
    /// Of the guest's own time, over all functions; none before the first call.
    pub p95: Option<Duration>,
}

#[derive(Debug, Default)]
struct Tally {
    figures: Figures,
    bad_at: VecDeque<Millis>,
    /// The guest's own time, microseconds.
    times: BTreeMap<&'static str, VecDeque<u32>>,
}

/// The counts of all releases that serve.
#[derive(Debug)]
pub struct Tallies {
    clock: Arc<dyn Clock>,
    by_digest: Mutex<HashMap<String, Tally>>,
}

impl Tallies {
    pub fn new(clock: Arc<dyn Clock>) -> Tallies {
        Tallies { clock, by_digest: Mutex::default() }
    }

    /// Takes one call down.
    pub fn note(&self, call: &Call<'_>) {
        let now = self.clock.now();
        let mut tallies = self.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        // What does not serve, as in its self-test, is not counted.
        let Some(tally) = tallies.get_mut(call.digest) else { return };
        match call.outcome {
            "ok" => tally.figures.calls += 1,
            "fault" => {
                tally.figures.calls += 1;
                tally.figures.faults += 1;
            }
            OTHER_STEP => tally.figures.other_steps += 1,
            // The host had no room.
            "no_instance" => return,
            _ => {
                tally.figures.calls += 1;
                tally.figures.bad += 1;
                push(&mut tally.bad_at, now, BAD_MAX);
            }
        }
        if !call.own.is_zero() {
            let times = tally.times.entry(call.function).or_default();
            push(times, u32::try_from(call.own.as_micros()).unwrap_or(u32::MAX), TIMES_KEPT);
        }
    }

    /// Counts what serves now and was not counted before; what a candidate begins with, it has itself earned.
    pub(super) fn begin(&self, serving: &Serving) {
        let mut tallies = self.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        let candidate = serving.candidate.iter().map(|candidate| &candidate.fitted);
        for fitted in candidate.chain([&serving.stable]) {
            tallies.entry(fitted.release.digest.clone()).or_default();
        }
    }

    /// Forgets a release that nobody goes back to.
    pub(super) fn forget(&self, digest: &str) {
        self.by_digest.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    pub fn figures(&self, digest: &str) -> Figures {
        let tallies = self.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tally) = tallies.get(digest) else { return Figures::default() };
        let times: Vec<u32> = tally.times.values().flatten().copied().collect();
        Figures { p95: p95(times), ..tally.figures }
    }

    /// Why a release has to go, held against another if there is one; none if it may stay.
    fn verdict(&self, digest: &str, against: Option<&str>) -> Option<String> {
        let now = self.clock.now();
        let tallies = self.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.get(digest)?;
        let bad = tally.bad_at.iter().filter(|at| now.saturating_sub(**at) < BAD_WITHIN_MS).count();
        if bad >= BAD_MAX {
            return Some(format!(
                "{bad} of its calls trapped, ran out of time or came out wrong within a minute"
            ));
        }
        let other = tallies.get(against?)?;
        (tally.figures.calls >= CALLS_MIN).then(|| tally.is_worse_than(other)).flatten()
    }
}

impl Tally {
    fn is_worse_than(&self, other: &Tally) -> Option<String> {
        let (bad, bad_there) =
            (rate(self.figures.bad, &self.figures), rate(other.figures.bad, &other.figures));
        if self.figures.bad > 1 && bad > bad_there + BAD_MORE {
            return Some(format!(
                "{} of its {} calls trapped, ran out of time or came out wrong",
                self.figures.bad, self.figures.calls
            ));
        }
        let (faults, faults_there) =
            (rate(self.figures.faults, &self.figures), rate(other.figures.faults, &other.figures));
        if faults > faults_there + FAULTS_MORE {
            return Some(format!("{} of its {} calls failed", self.figures.faults, self.figures.calls));
        }
        self.times.iter().find_map(|(function, times)| {
            let there = other.times.get(function)?;
            if times.len().min(there.len()) < TIMES_MIN {
                return None;
            }
            let (p95, p95_there) =
                (p95(times.iter().copied().collect())?, p95(there.iter().copied().collect())?);
            (p95 > p95_there * 2 && p95 > p95_there + SLOWER_BY).then(|| {
                format!(
                    "`{function}` takes {:.1} ms of its own time (p95), {:.1} ms before",
                    p95.as_secs_f64() * 1e3,
                    p95_there.as_secs_f64() * 1e3
                )
            })
        })
    }
}

impl Deployments {
    /// Takes out of service what has done badly since it was looked at last.
    pub(super) async fn judge(&self) {
        for (plugin, wanted) in self.all_wanted() {
            for (digest, against) in suspects(&wanted) {
                let Some(reason) = self.tallies.verdict(digest, against) else { continue };
                if let Err(error) = self.quarantine(&plugin, digest, reason).await {
                    tracing::error!(
                        plugin,
                        error = telemetry::chain(&error),
                        "a bad release goes on serving"
                    );
                }
            }
        }
    }
}

/// What may have to go, and what it is held against: a stable release that has nothing before it stays.
fn suspects(wanted: &Wanted) -> impl Iterator<Item = (&str, Option<&str>)> {
    let stable = wanted.stable.as_str();
    let candidate = wanted.candidate.iter().map(move |it| (it.digest.as_str(), Some(stable)));
    candidate.chain((!wanted.previous.is_empty()).then_some((stable, None)))
}

fn rate(part: u64, figures: &Figures) -> f64 {
    if figures.calls == 0 { 0.0 } else { part as f64 / figures.calls as f64 }
}

fn p95(mut times: Vec<u32>) -> Option<Duration> {
    times.sort_unstable();
    let at = (times.len() * 95).div_ceil(100).checked_sub(1)?;
    Some(Duration::from_micros(u64::from(times[at])))
}

fn push<T>(ring: &mut VecDeque<T>, value: T, bound: usize) {
    if ring.len() == bound {
        ring.pop_front();
    }
    ring.push_back(value);
}
