//! The chat door's questions, answered by turns: what a line hears becomes what the door sends.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;

use crate::conversation::{End, Heard};
use crate::doors::chat::{Answering, Event, Question, Refusal, Reply, Talk};
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

/// Where a listener is in what he heard.
struct Ear {
    heard: watch::Receiver<Heard>,
    told: usize,
    is_over: bool,
}

fn events(heard: watch::Receiver<Heard>) -> BoxStream<'static, Event> {
    stream::unfold(Ear { heard, told: 0, is_over: false }, next).boxed()
}

async fn next(mut ear: Ear) -> Option<(Event, Ear)> {
    if ear.is_over {
        return None;
    }
    let told = ear.told;
    // A line that is hung up without an end: the host is shutting down and no turn will come.
    let news = ear
        .heard
        .wait_for(|heard| heard.text.len() > told || heard.end.is_some())
        .await
        .map(|heard| heard.clone());
    let Ok(news) = news else {
        ear.is_over = true;
        return Some((failed("the host is shutting down; ask again".to_owned()), ear));
    };
    if news.text.len() > told {
        ear.told = news.text.len();
        return Some((Event::Delta(news.text[told..].to_owned()), ear));
    }
    ear.is_over = true;
    Some((end(news.end.unwrap_or(End::Silent)), ear))
}

pub(super) fn end(end: End) -> Event {
    match end {
        End::Said(reply) => Event::Done(Reply { text: reply.text, model: None, usage: None }),
        End::Silent => Event::Done(Reply::default()),
        End::Failed { sentence } => failed(sentence),
        End::Withdrawn => failed("the question was withdrawn".to_owned()),
    }
}

fn failed(message: String) -> Event {
    Event::Failed { status: 503, code: "failed", message, retry_after: None }
}
