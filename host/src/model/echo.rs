//! A model that says what it heard: to try a channel's wiring before there is a model.
//!
//! It streams the last thing a person said back, word by word, and counts words as tokens. It knows no
//! file, no network and no time, so it never fails and is never busy.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::wording::spoken;
use super::{Answer, Delta, Model, ModelError, Usage};
use crate::message::{FinishReason, Prompt, Role};

/// The `echo` backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

#[async_trait]
impl Model for Echo {
    async fn ask(&self, prompt: &Prompt, _deadline: Instant) -> Result<Answer, ModelError> {
        let unable = |what: &str| Err(ModelError::Refused(format!("models of backend `echo` {what}")));
        if prompt.format.is_some() || prompt.response_schema.is_some() {
            return unable("say what they heard, in no other form");
        }
        if !prompt.tools.is_empty() {
            return unable("call no tools");
        }
        let heard = last_user_text(prompt);
        let heard = before_stop(&heard, &prompt.stop);
        let limit = prompt.max_tokens.unwrap_or(u32::MAX);
        let mut deltas: Vec<_> =
            words(heard).take(limit as usize).map(|word| Ok(Delta::Text(word.to_owned()))).collect();
        let usage = usage(prompt, words(heard).count(), deltas.len());
        deltas.push(Ok(Delta::Done(usage)));
        Ok(stream::iter(deltas).boxed())
    }
}

fn last_user_text(prompt: &Prompt) -> String {
    let last = prompt.messages.iter().rev().find(|utterance| utterance.role == Role::User);
    last.map(spoken).unwrap_or_default()
}

/// The text up to the first of the stops in it.
fn before_stop<'t>(text: &'t str, stops: &[String]) -> &'t str {
    let first = stops.iter().filter_map(|stop| text.find(stop.as_str())).min();
    &text[..first.unwrap_or(text.len())]
}

/// Each word with the space behind it, so that the words joined are the text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

fn usage(prompt: &Prompt, heard: usize, said: usize) -> Usage {
    let asked: usize = prompt.messages.iter().map(|utterance| words(&spoken(utterance)).count()).sum();
    Usage {
        finish_reason: if said < heard { FinishReason::Length } else { FinishReason::Stop },
        prompt_tokens: u32::try_from(asked).unwrap_or(u32::MAX),
        completion_tokens: u32::try_from(said).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Utterance;

    async fn say(max_tokens: Option<u32>) -> (Vec<String>, Usage) {
        let messages = ["one two", "drei  vier\nfünf"].map(|text| Utterance::text(Role::User, text));
        let prompt = Prompt { messages: messages.to_vec(), max_tokens, ..Prompt::default() };
        let mut deltas: Vec<Delta> =
            Echo.ask(&prompt, Instant::now()).await.unwrap().map(Result::unwrap).collect().await;
        let Some(Delta::Done(usage)) = deltas.pop() else { panic!("the stream must end with `Done`") };
        let texts = deltas.into_iter().map(|delta| match delta {
            Delta::Text(text) => text,
            other => panic!("{other:?}"),
        });
        (texts.collect(), usage)
    }

    #[tokio::test]
    async fn says_what_it_heard_last_word_by_word() {
        let (texts, usage) = say(None).await;
        assert_eq!(texts, ["drei ", " ", "vier\n", "fünf"]);
        assert_eq!(
            usage,
            Usage { finish_reason: FinishReason::Stop, prompt_tokens: 6, completion_tokens: 4 }
        );
    }

    #[tokio::test]
    async fn stops_at_the_most_tokens() {
        let (texts, usage) = say(Some(1)).await;
        assert_eq!(texts, ["drei "]);
        assert_eq!(usage.finish_reason, FinishReason::Length);
    }
}
