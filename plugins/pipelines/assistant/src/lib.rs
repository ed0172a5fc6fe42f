//! The pipeline that most channels end with: a prompt from persona, history and message, and the
//! model's answer as the reply.
//!
//! It knows no platform and no model. `prompt` lays the prompt out; the rest is two steps.

use parlor_sdk::{Fault, Pipeline, Reply, Step, Turn, pipeline::Completion, register_pipeline};

mod prompt;

/// One turn: asks once, then says what came.
#[derive(Default)]
pub struct Assistant;

impl Pipeline for Assistant {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        if prompt::is_empty(&turn.message) {
            return Ok(Step::Ignore);
        }
        prompt::lay_out(&turn).map(Step::Ask)
    }

    fn resume(&mut self, completion: Result<Completion, Fault>) -> Result<Step, Fault> {
        let text = completion?.text;
        if text.trim().is_empty() {
            return Err(Fault::other("the model gave an empty answer"));
        }
        Ok(Step::Say(Reply::new(text)))
    }
}

register_pipeline!(Assistant);
