//! The conformance suite: one list of cases for every plugin of a kind, whatever it is written in.
//!
//! A case drives a built component as the host does: in its sandbox, within its limits, with its way out
//! behind the manifest's permissions. What stands on the other side is a double that says what the manifest's
//! `[trial]` says. An adapter's requests are its own golden ones, so that the suite knows no platform.
//! It loads nothing itself: `trial` does. Read on in `adapter`, `delivery` and `pipeline`, which are the lists.

mod adapter;
mod bench;
mod delivery;
mod hostile;
mod pipeline;
mod platform;
mod seen;
mod wording;

use std::pin::Pin;

use crate::plugin::manifest::Kind;

pub use bench::Bench;

/// What is wrong, in a sentence; nothing if all is well.
type Finding = Result<(), String>;
type Running<'a> = Pin<Box<dyn Future<Output = Finding> + Send + 'a>>;

/// One thing that every plugin of a kind does, or never does.
pub struct Case {
    /// A sentence: what a plugin that passes is known to do.
    pub name: &'static str,
    run: for<'a> fn(&'a Bench) -> Running<'a>,
}

/// `"a sentence" => function`, many times.
macro_rules! cases {
    ($($name:literal => $run:path),+ $(,)?) => {
        &[$($crate::conformance::Case { name: $name, run: |bench| Box::pin($run(bench)) }),+]
    };
}
use cases;

/// The cases of a kind, in their order: the same for all plugins of it, none left out.
pub fn cases_of(kind: Kind) -> Vec<&'static Case> {
    match kind {
        Kind::Adapter => adapter::CASES.iter().chain(delivery::CASES).collect(),
        Kind::Pipeline => pipeline::CASES.iter().collect(),
    }
}

impl Case {
    /// Tries a plugin; what is wrong with it, in a sentence.
    pub async fn try_on(&self, bench: &Bench) -> Result<(), String> {
        (self.run)(bench).await
    }
}
