//! A pipeline that asks no model itself: it answers some messages, is silent to others, traps at some, and stops what
//! a model says at the word `forbidden`.
//!
//! What a caller sees of that stands in `host/tests/openai_door.rs`, and `host/tests/simulation.rs` drives it.

use parlor_sdk::{Fault, Flow, Pipeline, Reply, Step, Turn, register_pipeline};

#[derive(Default)]
struct Warden;

impl Pipeline for Warden {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        match turn.message.text.split(' ').next() {
            Some("help") => Ok(Step::Say(Reply::new("help yourself"))),
            Some("hush") => Ok(Step::Ignore),
            Some("trap") => panic!("this guest gives up"),
            Some("fail") => Err(Fault::other("this guest would rather not")),
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
