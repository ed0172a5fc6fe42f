//! A pipeline that keeps the contract, but for the one thing that the setting `sin` names.
//!
//! Each sin is what one case of the conformance suite looks for. Else it asks a model and says what it said.

use parlor_sdk::{
    Fault, FaultKind, Pipeline, Prompt, Reply, Step, Turn, Utterance,
    pipeline::{Completion, FinishReason, Flow},
    register_pipeline, settings,
};

/// As if the guest had worked it out.
const LEAKED: &str = "the word of the day";

#[derive(Default)]
struct Truant {
    has_begun: bool,
    deltas: usize,
}

fn sins(sin: &str) -> bool {
    settings::get::<String>("sin").ok().flatten().as_deref() == Some(sin)
}

impl Pipeline for Truant {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        self.has_begun = true;
        let said = turn.message.text;
        if sins("cuts bytes") && said.len() > 10 {
            return Ok(Step::Say(Reply::new(&said[..10])));
        }
        if sins("fills its memory") && said.len() > 1 << 19 {
            return Ok(Step::Say(Reply::new(said.repeat(20))));
        }
        if sins("fears attachments") {
            assert!(turn.message.attachments.is_empty());
        }
        let messages = if sins("asks nothing") { Vec::new() } else { vec![Utterance::user(said)] };
        Ok(Step::Ask(Prompt::new(messages)))
    }

    fn resume(&mut self, completion: Result<Completion, Fault>) -> Result<Step, Fault> {
        if sins("counts on its order") {
            assert!(self.has_begun);
        }
        let completion = match completion {
            Err(fault) if sins("blames itself") => return Err(Fault::new(FaultKind::Internal, fault.reason)),
            completion => completion?,
        };
        if sins("never has enough") {
            return Ok(Step::Ask(Prompt::new(vec![Utterance::user("and then?")])));
        }
        if sins("counts on a stop") {
            assert_eq!(completion.finish_reason, FinishReason::Stop);
        }
        if sins("counts on words") {
            assert!(
                completion.text.trim().len() + completion.tool_calls.len() > 0
                    || !completion.text.contains('\n')
            );
        }
        if sins("keeps secrets badly") {
            return Ok(Step::Say(Reply::new(LEAKED)));
        }
        if sins("says how it was cut") {
            return Ok(Step::Say(Reply::new(format!("{}{}", completion.text, self.deltas))));
        }
        Ok(Step::Say(Reply::new(completion.text)))
    }

    fn filter(&mut self, delta: String) -> Result<Flow, Fault> {
        self.deltas += 1;
        Ok(Flow::Show(delta))
    }
}

register_pipeline!(Truant);
