//! A pipeline that misbehaves as the message's first word says: in its answer, or in the model's as it streams by.
//!
//! What the host makes of it stands in `host/tests/faults/guests.rs`. No server should ever load it.

use parlor_sdk::{
    Completion, Fault, Flow, Pipeline, Prompt, Reply, Step, Turn, Utterance, register_pipeline,
};

/// Three of them are more than an answer may have.
const PIECE_BYTES: usize = 400 << 10;
const HUGE_BYTES: usize = 3 << 20;

#[derive(Default)]
struct Spate {
    deed: String,
}

impl Pipeline for Spate {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        let said = &turn.message.text;
        self.deed = said.split(' ').next().unwrap_or_default().to_owned();
        Ok(match self.deed.as_str() {
            "say" => Step::Say(Reply::new("x".repeat(HUGE_BYTES))),
            "suggest" => Step::Say(Reply { suggestions: vec![String::new(); 100_000], ..Reply::new("x") }),
            "ask" => Step::Ask(Prompt::new(vec![Utterance::user("x".repeat(HUGE_BYTES)); 2])),
            "history" => Step::Next(Box::new(Turn { history: vec![Utterance::user("x"); 20_000], ..turn })),
            "fault" => return Err(Fault::other("x".repeat(HUGE_BYTES))),
            "trap" => panic!("this guest gives up"),
            _ => Step::Ask(Prompt::new(vec![Utterance::user(said)])),
        })
    }

    fn filter(&mut self, delta: String) -> Result<Flow, Fault> {
        match self.deed.as_str() {
            "grow" => Ok(Flow::Show("x".repeat(PIECE_BYTES))),
            "burst" => Ok(Flow::Show("x".repeat(HUGE_BYTES))),
            "stop" => Ok(Flow::Stop(Reply::new("x".repeat(HUGE_BYTES)))),
            "choke" => panic!("this guest gives up"),
            "loop" => loop {
                std::hint::black_box(0);
            },
            _ => Ok(Flow::Show(delta)),
        }
    }

    fn resume(&mut self, completion: Result<Completion, Fault>) -> Result<Step, Fault> {
        match self.deed.as_str() {
            "again" => Ok(Step::Ask(Prompt::new(vec![Utterance::user("again, and for ever")]))),
            _ => Ok(Step::Say(Reply::new(completion?.text))),
        }
    }
}

register_pipeline!(Spate);
