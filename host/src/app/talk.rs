//! The chat door's questions, answered by turns: what a line hears becomes what the door sends.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::watch;

use crate::conversation::{self, End, Heard, News};
use crate::doors::chat::{Answering, Event, Question, Refusal, Reply, Talk, Usage};
use crate::turn::{Refused, Turns};

/// Turns, as the chat door sees them.
pub struct Talker(pub Arc<Turns>);

#[async_trait]
impl Talk for Talker {
    async fn ask(&self, question: Question) -> Result<Answering, Refusal> {
        let session_id = question.session_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let talking = self.0.talk(&question.person, &session_id, question.query, &question.request_id).await;
        let talking = talking.map_err(|refused| refusal(&refused))?;
        Ok(Answering { session_id, message_id: talking.message_id, events: events(talking.heard) })
    }
}

pub(super) fn refusal(refused: &Refused) -> Refusal {
    let (status, code) = match refused {
        Refused::Closed => (404, "closed"),
        Refused::IdTaken => (409, "id_taken"),
        Refused::Draining => (503, "draining"),
        Refused::NotStored(_) => (503, "not_stored"),
    };
    Refusal { status, code, message: refused.to_string(), retry_after: None }
}

fn events(heard: watch::Receiver<Heard>) -> BoxStream<'static, Event> {
    conversation::news(heard).map(event).boxed()
}

fn event(news: News) -> Event {
    match news {
        News::Text(text) => Event::Delta(text),
        News::End(end) => self::end(end),
        News::HungUp => failed("the host is shutting down; ask again".to_owned()),
    }
}

pub(super) fn end(end: End) -> Event {
    match end {
        End::Said { reply, account } => Event::Done(Reply {
            text: reply.text,
            usage: account.model.is_some().then_some(Usage {
                prompt_tokens: account.prompt_tokens,
                completion_tokens: account.completion_tokens,
            }),
            model: account.model,
        }),
        End::Silent => Event::Done(Reply::default()),
        End::Failed { sentence, .. } => failed(sentence),
        End::Withdrawn => failed("the question was withdrawn".to_owned()),
    }
}

fn failed(message: String) -> Event {
    Event::Failed { status: 503, code: "failed", message, retry_after: None }
}
