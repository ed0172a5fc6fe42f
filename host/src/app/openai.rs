//! Questions of OpenAI's clients, answered by turns: what is offered, and what a line hears as the door's steps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::config::{self, openai_channel};
use crate::conversation::{self, Account, End, News};
use crate::doors::openai::{Complete, Completing, Completion, Offer, Question, Step};
use crate::message::{Message, Reply, Role, Trouble, TroubleKind, Utterance};
use crate::model::Abilities;
use crate::turn::{Place, Refused, Turns};

/// Another node, or this one after its start, answers by then.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Turns, as the door for OpenAI's clients sees them.
pub struct Completer {
    turns: Arc<Turns>,
    offers: Vec<Offer>,
}

impl Completer {
    pub fn new(turns: Arc<Turns>, door: &config::OpenAiDoor) -> Self {
        let created = turns.clock.now() / 1000;
        let models = door.models.iter().map(|name| offer(name, false, abilities(&turns, name), created));
        // its pipelines may ask another model, which then refuses by itself
        let assistants = door.assistants.keys();
        let assistants = assistants.map(|name| offer(name, true, abilities(&turns, name), created));
        let offers = models.chain(assistants).collect();
        Self { turns, offers }
    }
}

/// Of the model that is asked under this name unless a pipeline asks another.
fn abilities(turns: &Turns, name: &str) -> Abilities {
    let channel = turns.channels.get(openai_channel(name).as_str());
    let model = channel.and_then(|channel| turns.models.get(channel.model.as_ref()?));
    model.map(|model| model.abilities()).unwrap_or_default()
}

fn offer(name: &str, is_assistant: bool, abilities: Abilities, created: u64) -> Offer {
    Offer {
        id: name.to_owned(),
        created,
        is_assistant,
        // an assistant's pipelines have tools of their own
        tools: abilities.tools && !is_assistant,
        formats: abilities.formats,
    }
}

#[async_trait]
impl Complete for Completer {
    fn offers(&self) -> &[Offer] {
        &self.offers
    }

    async fn complete(&self, question: Question) -> Result<Completing, Trouble> {
        let channel = openai_channel(&question.model);
        let place = self.turns.place(&channel, &question.person, question.key.as_deref()).await;
        let place = place.map_err(|refused| trouble(&refused))?;
        let request_id = question.request_id.clone();
        let id = uuid::Uuid::now_v7();
        let message = message(id.to_string(), question);
        let talking = self.turns.open_line(&channel, message, &request_id).await;
        let talking = talking.map_err(|refused| trouble(&refused))?;
        Ok(Completing {
            id: format!("chatcmpl-{}", id.simple()),
            created: self.turns.clock.now() / 1000,
            // The place is free again when the answer has ended.
            steps: conversation::news(talking.heard, Instant::now() + place.time)
                .map(move |news| step(news, &place))
                .boxed(),
        })
    }
}

/// A conversation of its own, of which what the person says last is the text, and what was said before the context.
/// A model without pipelines gets all of it as it is.
fn message(id: String, question: Question) -> Message {
    let Question { mut conversation, wishes, person, .. } = question;
    let said = match wishes.verbatim {
        true => conversation.iter().rfind(|utterance| utterance.role == Role::User).cloned(),
        false => conversation.pop(),
    };
    let text = said.as_ref().map(Utterance::plain_text).unwrap_or_default();
    let message = Message::direct(id.clone(), id, &person, text);
    Message { context: conversation, wishes: Some(Box::new(wishes)), ..message }
}

fn trouble(refused: &Refused) -> Trouble {
    let (kind, wait) = match refused {
        Refused::TooOften(excess) => (TroubleKind::Busy, excess.wait),
        _ => (TroubleKind::Unavailable, AGAIN_AFTER),
    };
    Trouble { retry_after: Some(wait), ..Trouble::new(kind, refused.to_string()) }
}

fn step(news: News, place: &Place) -> Step {
    match news {
        News::Text(text) => Step::Text(text),
        News::End(End::Said { reply, account }) => Step::Done(completion(reply, account)),
        News::End(End::Silent) => Step::Done(Completion::default()),
        News::End(End::Failed { trouble, .. }) => Step::Failed(trouble),
        News::End(End::Withdrawn) => {
            Step::Failed(Trouble::new(TroubleKind::Unavailable, "the question was withdrawn; ask again"))
        }
        News::HungUp => Step::Failed(trouble(&Refused::Draining)),
        News::Late => {
            let message =
                format!("there was no whole answer within {} s; ask again", place.time.as_secs_f64());
            Step::Failed(Trouble::new(TroubleKind::TimedOut, message))
        }
    }
}

fn completion(reply: Reply, account: Account) -> Completion {
    Completion {
        text: reply.text,
        tool_calls: account.tool_calls,
        finish_reason: account.finish_reason,
        prompt_tokens: account.prompt_tokens,
        completion_tokens: account.completion_tokens,
    }
}
