//! A pipeline that changes its mind: it lets a model's text be shown, and then has nothing to say.
//!
//! What the host makes of the card that is open by then stands in `host/tests/growing.rs`.

use parlor_sdk::{Completion, Fault, Pipeline, Prompt, Step, Turn, Utterance, register_pipeline};

#[derive(Default)]
struct Hush;

impl Pipeline for Hush {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        Ok(Step::Ask(Prompt::new(vec![Utterance::user(turn.message.text)])))
    }

    fn resume(&mut self, completion: Result<Completion, Fault>) -> Result<Step, Fault> {
        completion.map(|_| Step::Ignore)
    }
}

register_pipeline!(Hush);
