//! A call whose figures count for nothing until whoever asked for it says that they do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Call, Release, Witness};
use crate::message::Fault;
use crate::plugin::guest::CallError;
use crate::plugin::services::Services;
use crate::plugin::{PipelineTurn, Step};

/// How a pipeline began a turn that is another's.
#[derive(Debug)]
pub struct Rehearsal {
    pub begun: Result<Result<Step, Fault>, CallError>,
    calls: Vec<Held>,
}

/// A call that nobody was told of yet.
#[derive(Debug)]
struct Held {
    function: &'static str,
    outcome: &'static str,
    elapsed: Duration,
    own: Duration,
}

impl Release {
    /// Lets this pipeline begin a turn, and tells nobody of it.
    pub async fn rehearse(&self, services: Services, turn: PipelineTurn) -> Rehearsal {
        let held = Arc::new(Mutex::new(Vec::new()));
        let calls = held.clone();
        let witness: Witness = Arc::new(move |call: &Call<'_>| {
            let Call { function, outcome, elapsed, own, .. } = *call;
            let held = Held { function, outcome, elapsed, own };
            calls.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        });
        let unheard = Arc::new(Release { witness, ..self.clone() });
        let begun = match unheard.run(services).await {
            Ok(mut run) => run.begin(turn).await,
            Err(error) => Err(error),
        };
        let calls = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
        Rehearsal { begun, calls }
    }

    /// Tells of a rehearsal's calls after all.
    pub fn tell(&self, rehearsal: &Rehearsal) {
        for &Held { function, outcome, elapsed, own } in &rehearsal.calls {
            let (plugin, digest) = (&*self.manifest.name, &*self.digest);
            (self.witness)(&Call { plugin, digest, function, outcome, elapsed, own });
        }
    }
}
