//! Leaves a backend alone that fails again and again, and finds out by one question whether it is back.
//!
//! After ten failures in a row nobody asks for five seconds, and twice as long each time that it goes on, up to a
//! minute. Then one question goes through: its first words let others through again, its failure begins a longer
//! rest. What a failure is the backend says, and who is asked instead it does not know.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// Tries in a row that fail before a backend is left alone.
pub const FAILURES_MAX: u32 = 10;
/// The first rest. A server that was restarted or whose balancer has moved on is back by then.
pub const REST_MIN: Duration = Duration::from_secs(5);
/// No rest is longer: it is how late a server that is back is noticed.
pub const REST_MAX: Duration = Duration::from_secs(60);
/// When those may come back who find one question under way.
const PROBE: Duration = Duration::from_secs(2);

/// What somebody who looks is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is asked.
    Closed,
    /// It is left alone.
    Open { rest: Duration },
    /// One question is under way, or the next one will be the only one.
    HalfOpen,
}

impl Standing {
    /// Every word that `word` has.
    pub const WORDS: [&str; 3] = ["closed", "open", "half_open"];

    /// A short word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Closed => "closed",
            Standing::Open { .. } => "open",
            Standing::HalfOpen => "half_open",
        }
    }
}

/// One backend's.
#[derive(Debug)]
pub struct Breaker {
    /// The model's name in the configuration, for the log.
    model: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// One more with each change of the phase: what was let through before it tells nothing about this one.
    generation: u64,
    /// In a row.
    failures: u32,
    /// In a row.
    rests: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Instant },
    Probing,
}

impl Breaker {
    pub fn new(model: &str) -> Arc<Breaker> {
        let state = State { phase: Phase::Closed, generation: 0, failures: 0, rests: 0 };
        Arc::new(Breaker { model: model.to_owned(), state: Mutex::new(state) })
    }

    pub fn standing(&self) -> Standing {
        match self.state().phase {
            Phase::Closed => Standing::Closed,
            Phase::Probing => Standing::HalfOpen,
            Phase::Open { until } => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Standing::HalfOpen,
                rest => Standing::Open { rest },
            },
        }
    }

    /// Lets one try through, or tells when it is worth coming back.
    pub fn admit(self: &Arc<Self>) -> Result<Permission, Duration> {
        let mut state = self.state();
        match (state.phase, self.closed_for(&state)) {
            (_, Some(rest)) => return Err(rest),
            (Phase::Open { .. }, None) => {
                state.enter(Phase::Probing);
                tracing::info!(model = self.model, "one question is let through to the model's server");
            }
            _ => {}
        }
        Ok(Permission { breaker: self.clone(), generation: state.generation, is_settled: false })
    }

    /// The same without letting anybody through.
    pub fn check(&self) -> Result<(), Duration> {
        self.closed_for(&self.state()).map_or(Ok(()), Err)
    }

    fn closed_for(&self, state: &State) -> Option<Duration> {
        match state.phase {
            Phase::Closed => None,
            Phase::Probing => Some(PROBE),
            Phase::Open { until } => {
                Some(until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}

/// One try that was let through. Dropped without a word it counts for nothing, and the next one may be the probe.
#[derive(Debug)]
pub struct Permission {
    breaker: Arc<Breaker>,
    generation: u64,
    is_settled: bool,
}

impl Permission {
    /// Its first words are there. Others may ask again, but one more failure is enough to end that.
    pub fn begun(&mut self) {
        let mut state = self.breaker.state();
        if state.generation == self.generation && state.phase == Phase::Probing {
            state.enter(Phase::Closed);
            state.failures = FAILURES_MAX - 1;
            self.generation = state.generation;
            tracing::info!(model = self.breaker.model, "the model's server answers again");
        }
    }

    /// The backend did its part, whatever came of it.
    pub fn succeeded(mut self) {
        self.begun();
        self.is_settled = true;
        let mut state = self.breaker.state();
        if state.generation == self.generation {
            (state.failures, state.rests) = (0, 0);
        }
    }

    /// The backend is at fault.
    pub fn failed(mut self) {
        self.is_settled = true;
        let mut state = self.breaker.state();
        if state.generation != self.generation {
            return;
        }
        state.failures += 1;
        if state.failures < FAILURES_MAX {
            return;
        }
        let rest = REST_MIN.saturating_mul(1 << state.rests.min(16)).min(REST_MAX);
        state.rests += 1;
        state.enter(Phase::Open { until: Instant::now() + rest });
        tracing::warn!(
            model = self.breaker.model,
            failures = state.failures,
            rest_s = rest.as_secs(),
            "the model's server fails again and again; it is left alone for a while"
        );
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if !self.is_settled && state.generation == self.generation && state.phase == Phase::Probing {
            state.enter(Phase::Open { until: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const MOMENT: Duration = Duration::from_millis(1);

    fn fail(breaker: &Arc<Breaker>, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap().failed();
        }
    }

    fn opened() -> Arc<Breaker> {
        let breaker = Breaker::new("remote");
        fail(&breaker, FAILURES_MAX);
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn ten_failures_in_a_row_open_it_and_nine_do_not() {
        let breaker = Breaker::new("remote");
        for _ in 0..3 {
            fail(&breaker, FAILURES_MAX - 1);
            breaker.admit().unwrap().succeeded();
        }
        assert_eq!(breaker.standing(), Standing::Closed);
        fail(&breaker, FAILURES_MAX);
        assert_eq!(breaker.standing(), Standing::Open { rest: REST_MIN });
        assert_eq!(breaker.admit().unwrap_err(), REST_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_goes_through_after_the_rest_and_its_first_words_close_it() {
        let breaker = opened();
        advance(REST_MIN - MOMENT).await;
        assert_eq!(breaker.admit().unwrap_err(), MOMENT);
        advance(MOMENT).await;
        assert_eq!(breaker.standing(), Standing::HalfOpen);
        let mut probe = breaker.admit().unwrap();
        assert_eq!((breaker.admit().unwrap_err(), breaker.check()), (PROBE, Err(PROBE)));
        probe.begun();
        assert_eq!(breaker.standing(), Standing::Closed);
        let others = [breaker.admit().unwrap(), breaker.admit().unwrap()];
        probe.succeeded();
        others.into_iter().for_each(Permission::failed);
        assert_eq!(breaker.standing(), Standing::Closed, "it begins to count anew");
    }

    #[tokio::test(start_paused = true)]
    async fn rests_double_up_to_a_minute_and_a_success_makes_them_short_again() {
        let breaker = opened();
        for rest in [10, 20, 40, 60, 60].map(Duration::from_secs) {
            advance(REST_MAX).await;
            breaker.admit().unwrap().failed();
            assert_eq!(breaker.standing(), Standing::Open { rest });
        }
        advance(REST_MAX).await;
        breaker.admit().unwrap().succeeded();
        fail(&breaker, FAILURES_MAX);
        assert_eq!(breaker.standing(), Standing::Open { rest: REST_MIN });
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_breaks_off_after_its_first_words_opens_it_again() {
        let breaker = opened();
        advance(REST_MIN).await;
        let mut probe = breaker.admit().unwrap();
        probe.begun();
        probe.failed();
        assert_eq!(breaker.standing(), Standing::Open { rest: REST_MIN * 2 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waited_for_makes_room_for_the_next() {
        let breaker = opened();
        advance(REST_MIN).await;
        drop(breaker.admit().unwrap());
        assert_eq!(breaker.standing(), Standing::HalfOpen);
        let _next = breaker.admit().unwrap();
        assert!(breaker.admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_let_through_before_a_change_tells_nothing_after_it() {
        let breaker = Breaker::new("remote");
        let early = [(); 3].map(|()| breaker.admit().unwrap());
        fail(&breaker, FAILURES_MAX);
        let [good, bad, lost] = early;
        good.succeeded();
        assert_eq!(breaker.standing(), Standing::Open { rest: REST_MIN });
        advance(REST_MIN).await;
        let probe = breaker.admit().unwrap();
        bad.failed();
        drop(lost);
        assert_eq!(breaker.standing(), Standing::HalfOpen);
        assert!(breaker.admit().is_err(), "the probe is still under way");
        probe.succeeded();
        assert_eq!(breaker.standing(), Standing::Closed);
    }
}
