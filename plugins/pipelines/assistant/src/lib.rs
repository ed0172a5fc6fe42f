//! The pipeline that most channels end with: a prompt from persona, history and message, and the
//! model's answer as the reply.
//!
//! It knows no platform and no model. `prompt` lays the prompt out; the rest is two steps.

use parlor_sdk::{
    Fault, Message, Pipeline, Reply, Scope, Step, Turn, pipeline::Completion, register_pipeline,
    settings::get_or,
};

mod prompt;

/// One turn: asks once, then says what came.
#[derive(Default)]
pub struct Assistant;

impl Pipeline for Assistant {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        if prompt::is_empty(&turn.message) || !is_for_the_bot(&turn.message)? {
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

/// In a group people also talk to each other; some platforms hand all of it over.
fn is_for_the_bot(message: &Message) -> Result<bool, Fault> {
    Ok(message.addressed || message.scope == Scope::Direct || get_or("answer_all", false)?)
}

register_pipeline!(Assistant);
