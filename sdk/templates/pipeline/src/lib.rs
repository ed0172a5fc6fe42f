//! A pipeline: asks the model with a persona in front of the conversation.
//!
//! Pipelines of a channel stand in a row. `begin` looks at a message: ask the model, say something, pass it on to the
//! next one, or ignore it.

use parlor_sdk::{
    Completion, Fault, Pipeline, Prompt, Reply, Step, Turn, Utterance, register_pipeline,
    settings::get_or,
};

#[derive(Default)]
pub struct MyPlugin;

impl Pipeline for MyPlugin {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        let text = turn.message.text.trim();
        if text.is_empty() {
            return Ok(Step::Ignore);
        }
        let mut messages = vec![Utterance::system(get_or("persona", String::new())?)];
        messages.extend(turn.history.iter().cloned());
        messages.push(Utterance::user(text));
        Ok(Step::Ask(Prompt::new(messages)))
    }

    /// What the model answered, after people saw it grow.
    fn resume(&mut self, completion: Result<Completion, Fault>) -> Result<Step, Fault> {
        Ok(Step::Say(Reply::new(completion?.text)))
    }
}

register_pipeline!(MyPlugin);
