//! Faults that a test plants in this process from outside. Never in a release: feature `failpoints`.
//!
//! `FAILPOINTS` sets failpoints as the crate `fail` has it, such as `clock::ahead=return(60000)`; and
//! `PARLOR_KILL_AT` names the one at which the process dies as by `kill -9`, with a number behind it if not
//! at the first pass: `turn::generating 3`.

use std::sync::atomic::{AtomicU32, Ordering};

use fail::FailScenario;
use rustix::process::{Signal, getpid, kill_process};

const KILL_AT: &str = "PARLOR_KILL_AT";

/// Plants what the environment says, for as long as the scenario lives.
pub fn plant() -> FailScenario<'static> {
    let scenario = FailScenario::setup();
    if let Ok(wish) = std::env::var(KILL_AT) {
        let (place, pass) = wish.split_once(' ').unwrap_or((&wish, "1"));
        kill_at(place, pass.parse().expect("a test names the pass by a number"));
    }
    scenario
}

fn kill_at(place: &str, pass: u32) {
    let passed = AtomicU32::new(0);
    let pass_by = move || {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == pass {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            // The signal may reach this thread a little later: nothing more is done here.
            std::thread::park();
        }
    };
    fail::cfg_callback(place, pass_by).expect("the name of a failpoint takes a callback");
}
