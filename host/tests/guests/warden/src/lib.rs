//! A pipeline that answers some messages, is silent to others, traps at some, asks a model about some before it hands
//! them on, and stops what a model says at the word `forbidden`.
//!
//! What a caller sees of that stands in `host/tests/openai_door.rs` and `host/tests/pipelines.rs`, and
//! `host/tests/simulation.rs` drives it.

use parlor_sdk::{
    Fault, Flow, Pipeline, Prompt, Reply, Step, Turn, Utterance, pipeline::Completion, register_pipeline,
};

#[derive(Default)]
struct Warden {
    /// The turn that a model's word is waited for with.
    doubtful: Option<Turn>,
}

impl Pipeline for Warden {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        match turn.message.text.split(' ').next() {
            Some("help") => Ok(Step::Say(Reply::new("help yourself"))),
            Some("hush") => Ok(Step::Ignore),
            Some("trap") => panic!("this guest gives up"),
            Some("fail") => Err(Fault::other("this guest would rather not")),
            Some("doubt") => {
                let asked = Utterance::user(format!("better words for: {}", turn.message.text));
                self.doubtful = Some(turn);
                Ok(Step::Ask(Prompt { show: false, ..Prompt::new(vec![asked]) }))
            }
            _ => Ok(Step::Pass),
        }
    }

    fn resume(&mut self, completion: Result<Completion, Fault>) -> Result<Step, Fault> {
        match (self.doubtful.take(), completion?.text) {
            (Some(mut turn), better) if better != "none" => {
                turn.message.text = better;
                Ok(Step::Next(Box::new(turn)))
            }
            _ => Ok(Step::Pass),
        }
    }

    fn filter(&mut self, delta: String) -> Result<Flow, Fault> {
        match delta.contains("forbidden") {
            true => Ok(Flow::Stop(Reply::new("let us talk of something else"))),
            false => Ok(Flow::Show(delta)),
        }
    }
}

register_pipeline!(Warden);
