//! A model that answers with a text of its own at each question, and may be slow, busy, broken or silent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use parlor::message::{FinishReason, Prompt};
use parlor::model::{Answer, Delta, Model, ModelError, Usage};
use tokio::time::Instant;

use super::people::numbers;
use super::world::{Life, World};

/// Long enough that a platform gets it in three parts.
const LONG_PART: usize = 3_000;
const LONG_PARTS: usize = 3;

#[derive(Debug)]
pub struct MoodyModel {
    pub world: Arc<World>,
    pub life: Life,
}

impl MoodyModel {
    /// The numbers of the messages that are asked about; mostly it is one. Whatever else the prompt has must be of
    /// their conversation.
    fn numbers(&self, prompt: &Prompt) -> Vec<u64> {
        let mut ledger = self.world.ledger();
        let texts: Vec<String> = prompt.messages.iter().map(parlor::message::Utterance::plain_text).collect();
        let all: Vec<u64> = texts.last().into_iter().flat_map(|text| numbers(text)).collect();
        let asked = all.first().copied().unwrap_or_default();
        let place = |number| {
            let (key, told) = ledger.by_number(number)?;
            Some((key.0.clone(), told.conversation.clone()))
        };
        let others = texts.iter().flat_map(|text| numbers(text));
        let crossed: Vec<u64> = others.filter(|number| place(*number) != place(asked)).collect();
        if !crossed.is_empty() || asked == 0 {
            ledger.accuse(format!("the prompt for q{asked} has {crossed:?} of another conversation in it"));
        }
        all
    }

    /// Words of its own for each question, so that no two answers are alike.
    fn words(&self, all: &[u64], times: u64, is_long: bool) -> Vec<String> {
        let mut words: Vec<String> = all.iter().map(|number| format!("a{number} ")).collect();
        words.push(format!("v{times} "));
        if is_long {
            let part = |part| format!("\n\npart {part} of v{times} {}", "字".repeat(LONG_PART));
            words.extend((1..=LONG_PARTS).map(part));
        } else {
            words.extend((0..self.world.chance.between(0, 4)).map(|word| format!("w{word} ")));
        }
        words.push("end".to_owned());
        words
    }
}

fn done() -> Delta {
    Delta::Done(Usage { finish_reason: FinishReason::Stop, prompt_tokens: 1, completion_tokens: 1 })
}

#[async_trait]
impl Model for MoodyModel {
    async fn ask(&self, prompt: &Prompt, _deadline: Instant) -> Result<Answer, ModelError> {
        let (world, life) = (self.world.clone(), self.life.clone());
        let all = self.numbers(prompt);
        let number = all.first().copied().unwrap_or_default();
        let times = world.ledger().asked(number, life.start);
        world.tell(format!("n{} asks about q{number}, time {times}", life.node));
        world.step(&life, "ask").await;
        let weather = &world.weather;
        if world.strikes("model refuses", weather.model_refuses) {
            return Err(ModelError::Refused("simulated".to_owned()));
        }
        if world.strikes("model busy", weather.model_busy) {
            return Err(ModelError::Busy { retry_after: Duration::from_secs(world.chance.between(1, 5)) });
        }
        let is_long = prompt.messages.last().is_some_and(|last| last.plain_text().contains("long"));
        let mut deltas: Vec<Result<Delta, ModelError>> =
            self.words(&all, times, is_long).into_iter().map(|word| Ok(Delta::Text(word))).collect();
        deltas.push(Ok(done()));
        if world.strikes("model breaks off", weather.model_breaks) {
            let at = world.chance.between(0, deltas.len() as u64 - 1) as usize;
            deltas.truncate(at);
            deltas.push(Err(ModelError::Broken("simulated".to_owned())));
        }
        let hangs = world.strikes("model hangs", weather.model_hangs);
        let is_slow = world.strikes("model dawdles", weather.model_dawdles);
        let steps = stream::iter(deltas).then(move |delta| {
            let (world, life) = (world.clone(), life.clone());
            async move {
                if hangs && matches!(delta, Ok(Delta::Done(_)) | Err(_)) {
                    std::future::pending::<()>().await;
                }
                if is_slow {
                    world.pause(1, 1_500).await;
                }
                world.step(&life, "delta").await;
                delta
            }
        });
        Ok(steps.boxed())
    }
}
