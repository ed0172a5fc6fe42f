//! The chat door's questions, answered by turns: what a line hears becomes what the door sends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::CHAT_CHANNEL;
use crate::conversation::{self, End, Heard, News};
use crate::doors::chat::{Answering, Event, Question, Refusal, Reply, Talk, Usage};
use crate::doors::problem::RATE_LIMITED;
use crate::turn::{Place, Refused, Turns};

/// When to ask again while too many wait: about as long as one short answer takes.
const CROWD_PAUSE: Duration = Duration::from_secs(5);

/// Turns, as the chat door sees them.
pub struct Talker(pub Arc<Turns>);

#[async_trait]
impl Talk for Talker {
    async fn ask(&self, question: Question) -> Result<Answering, Refusal> {
        let session_id = question.session_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let place = self.0.place(CHAT_CHANNEL, &question.person, question.key.as_deref()).await;
        let place = place.map_err(|refused| refusal(&refused))?;
        let talking =
            self.0.talk(&question.person, &session_id, question.query, question.favour, &question.request_id);
        let talking = talking.await;
        let talking = talking.map_err(|refused| refusal(&refused))?;
        Ok(Answering { session_id, message_id: talking.message_id, events: events(talking.heard, place) })
    }
}

pub(super) fn refusal(refused: &Refused) -> Refusal {
    let (status, code, retry_after) = match refused {
        Refused::Closed => (404, "closed", None),
        Refused::IdTaken => (409, "id_taken", None),
        Refused::Draining => (503, "draining", None),
        Refused::Crowded => (503, "overloaded", Some(CROWD_PAUSE)),
        Refused::TooOften(excess) => (429, RATE_LIMITED, Some(excess.wait)),
        Refused::NotStored(_) => (503, "not_stored", None),
    };
    Refusal { status, code, message: refused.to_string(), retry_after }
}

/// Until the answer, or until whoever asked has waited long enough, in the queue and for the answer.
fn events(heard: watch::Receiver<Heard>, place: Place) -> BoxStream<'static, Event> {
    let time = place.time;
    let news = conversation::news(heard, Instant::now() + time);
    // The place is free again when the answer has ended.
    news.map(move |news| event(news, &place)).boxed()
}

fn event(news: News, place: &Place) -> Event {
    match news {
        News::Text(text) => Event::Delta(text),
        News::End(end) => self::end(end),
        News::HungUp => failed("the host is shutting down; ask again".to_owned()),
        News::Late => timed_out(place.time),
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

/// The line is dropped with it, so that the turn ends as well.
fn timed_out(time: Duration) -> Event {
    let message = format!("there was no whole answer within {} s; ask again", time.as_secs_f64());
    Event::Failed { status: 504, code: "timed_out", message, retry_after: None }
}

fn failed(message: String) -> Event {
    Event::Failed { status: 503, code: "failed", message, retry_after: None }
}
