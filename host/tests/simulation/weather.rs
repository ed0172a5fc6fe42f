//! What goes wrong in one run, and how often: drawn once from the seed.
//!
//! Each fault is left out of half of the runs, so that some runs have few kinds of faults and many of each: what one
//! fault hides from another is found that way.

use std::time::Duration;

use super::chance::Chance;

/// What becomes of a message that comes while another one of its conversation is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    Queue,
    Merge,
    Interrupt,
}

impl Meanwhile {
    /// As the configuration has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Meanwhile::Queue => "queue",
            Meanwhile::Merge => "merge",
            Meanwhile::Interrupt => "interrupt",
        }
    }
}

/// Rates in thousandths of the places where the fault can strike.
#[derive(Debug, Clone)]
pub struct Weather {
    /// After it nothing goes wrong any more, and all has to come to its end.
    pub until: Duration,
    pub nodes: usize,
    pub meanwhile: Meanwhile,
    /// The clocks of hosts are off by up to so many milliseconds.
    pub clock_off: u64,
    /// At each step of a host towards the outside.
    pub crash: u64,
    /// Each second of a host's life.
    pub restart: u64,
    /// At each step of a host: it stands still for longer than its leases, and then goes on as if nothing were.
    pub freezes: u64,
    /// A store that refuses, or does what it was asked for and says that it did not.
    pub store_refuses: u64,
    pub store_denies: u64,
    pub store_dawdles: u64,
    /// What is written within so many milliseconds is one commit; with 0 each write is one of its own.
    pub commit_ms: u64,
    /// A commit that fails for all who wait for it, or is done and fails for them all the same.
    pub commit_fails: u64,
    pub commit_denied: u64,
    /// A platform that cannot be reached, says no, takes its time, or answers nobody, before or after it did it.
    pub unreachable: u64,
    pub throttles: u64,
    pub breaks: u64,
    pub dawdles: u64,
    pub unanswered: u64,
    pub done_unanswered: u64,
    pub done_broken: u64,
    pub model_refuses: u64,
    pub model_busy: u64,
    pub model_breaks: u64,
    pub model_hangs: u64,
    pub model_dawdles: u64,
    /// Webhooks that never arrive, whose answer is never heard, or that come again.
    pub lost: u64,
    pub unheard: u64,
    pub repeated: u64,
    /// Messages that a plugin traps at, that are taken back, that get a long answer.
    pub traps: u64,
    pub withdrawn: u64,
    pub long: u64,
    /// A plugin is loaded anew while turns run.
    pub reloads: bool,
}

impl Weather {
    /// Nothing goes wrong at the platforms.
    pub fn is_calm_at_platforms(&self) -> bool {
        let rates = [
            self.unreachable,
            self.throttles,
            self.breaks,
            self.unanswered,
            self.done_unanswered,
            self.done_broken,
            // A message that was taken back cannot be answered everywhere.
            self.withdrawn,
        ];
        rates.iter().all(|rate| *rate == 0)
    }

    /// Nothing goes wrong at the models and pipelines.
    pub fn is_calm_at_models(&self) -> bool {
        let models = [self.model_refuses, self.model_busy, self.model_breaks, self.model_hangs];
        // Who stands still again and again is over a turn's time.
        let rates = [&models[..], &[self.traps, self.freezes]].concat();
        rates.iter().all(|rate| *rate == 0)
    }

    /// Nothing goes wrong.
    pub fn calm() -> Weather {
        Weather {
            until: Duration::from_secs(60),
            nodes: 1,
            meanwhile: Meanwhile::Queue,
            clock_off: 0,
            crash: 0,
            restart: 0,
            freezes: 0,
            store_refuses: 0,
            store_denies: 0,
            store_dawdles: 0,
            commit_ms: 0,
            commit_fails: 0,
            commit_denied: 0,
            unreachable: 0,
            throttles: 0,
            breaks: 0,
            dawdles: 0,
            unanswered: 0,
            done_unanswered: 0,
            done_broken: 0,
            model_refuses: 0,
            model_busy: 0,
            model_breaks: 0,
            model_hangs: 0,
            model_dawdles: 0,
            lost: 0,
            unheard: 0,
            repeated: 0,
            traps: 0,
            withdrawn: 0,
            long: 0,
            reloads: false,
        }
    }

    pub fn draw(chance: &Chance) -> Weather {
        let rate = |most: u64| if chance.strikes(500) { 0 } else { chance.between(1, most) };
        Weather {
            until: Duration::from_millis(chance.between(5_000, 60_000)),
            nodes: chance.pick(&[1, 1, 2, 2, 3]),
            meanwhile: chance.pick(&[
                Meanwhile::Queue,
                Meanwhile::Queue,
                Meanwhile::Merge,
                Meanwhile::Interrupt,
            ]),
            clock_off: chance.pick(&[0, 0, 500, 20_000]),
            crash: rate(60),
            restart: rate(60),
            freezes: rate(30),
            store_refuses: rate(120),
            store_denies: rate(60),
            store_dawdles: rate(150),
            commit_ms: chance.pick(&[0, 0, 20, 200]),
            commit_fails: rate(60),
            commit_denied: rate(60),
            unreachable: rate(150),
            throttles: rate(150),
            breaks: rate(150),
            dawdles: rate(300),
            unanswered: rate(80),
            done_unanswered: rate(150),
            done_broken: rate(100),
            model_refuses: rate(100),
            model_busy: rate(200),
            model_breaks: rate(200),
            model_hangs: rate(80),
            model_dawdles: rate(300),
            lost: rate(300),
            unheard: rate(300),
            repeated: rate(500),
            traps: rate(150),
            withdrawn: rate(400),
            long: rate(300),
            reloads: chance.strikes(10),
        }
    }
}
