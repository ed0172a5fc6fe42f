//! A pipeline that asks a model what was said. What else a release does as it begins stands in its manifest, so that a
//! test packs releases of every kind out of one file.

use std::time::{Duration, Instant};

use parlor_sdk::{
    Fault, Outbound, Pipeline, Prompt, Reply, Step, Turn, Utterance, register_pipeline, settings, store,
};

/// Far more than a sound release takes, and less than its deadline.
const SLOW: Duration = Duration::from_millis(30);
/// Turns that were begun by a release that counts them.
const TURNS: &str = "turns";

#[derive(Default)]
struct Fitful;

impl Pipeline for Fitful {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        let mut text = turn.message.text;
        match settings::get_or("mood", "sound".to_owned())?.as_str() {
            "traps" => panic!("this release panics in every turn"),
            "faults" => return Err(Fault::internal("this release begins nothing")),
            "answers" => return Ok(Step::Say(Reply::new("the model was not asked"))),
            "slow" => {
                let began = Instant::now();
                while began.elapsed() < SLOW {}
            }
            "sends" => {
                Outbound::post("https://fitful.invalid/").send().expect("it is let out");
            }
            "counts" => text = format!("{text} {}", store::increment(TURNS, 1, None)?),
            "reads" => {
                text = format!("{text} {}", String::from_utf8_lossy(&store::get(TURNS)?.unwrap_or_default()))
            }
            _ => {}
        }
        Ok(Step::Ask(Prompt::new(vec![Utterance::user(text)])))
    }
}

register_pipeline!(Fitful);
