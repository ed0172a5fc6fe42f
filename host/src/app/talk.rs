//! The chat door's questions, answered by turns: what a line hears becomes what the door sends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::conversation::{End, Heard};
use crate::doors::chat::{Answering, Event, Question, Refusal, Reply, Talk};
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
        let place = self.0.place(&question.person, question.key.as_deref()).await;
        let place = place.map_err(|refused| refusal(&refused))?;
        let talking = self.0.talk(&question.person, &session_id, question.query, &question.request_id).await;
        let talking = talking.map_err(|refused| refusal(&refused))?;
        Ok(Answering { session_id, message_id: talking.message_id, events: events(talking.heard, place) })
    }
}

fn refusal(refused: &Refused) -> Refusal {
    let (status, code, retry_after) = match refused {
        Refused::Closed => (404, "closed", None),
        Refused::Draining => (503, "draining", None),
        Refused::Crowded => (503, "overloaded", Some(CROWD_PAUSE)),
        Refused::TooOften(excess) => (429, RATE_LIMITED, Some(excess.wait)),
        Refused::NotStored(_) => (503, "not_stored", None),
    };
    Refusal { status, code, message: refused.to_string(), retry_after }
}

/// Where a listener is in what he heard.
struct Ear {
    heard: watch::Receiver<Heard>,
    told: usize,
    is_over: bool,
    place: Place,
    /// When whoever asked has waited long enough, in the queue and for the answer.
    deadline: Instant,
}

fn events(heard: watch::Receiver<Heard>, place: Place) -> BoxStream<'static, Event> {
    let deadline = Instant::now() + place.time;
    stream::unfold(Ear { heard, told: 0, is_over: false, place, deadline }, next).boxed()
}

async fn next(mut ear: Ear) -> Option<(Event, Ear)> {
    if ear.is_over {
        return None;
    }
    let told = ear.told;
    // A line that is hung up without an end: the host is shutting down and no turn will come.
    let waiting = ear.heard.wait_for(|heard| heard.text.len() > told || heard.end.is_some());
    let news = tokio::time::timeout_at(ear.deadline, waiting).await.map(|news| news.map(|news| news.clone()));
    let Ok(news) = news else {
        ear.is_over = true;
        return Some((timed_out(ear.place.time), ear));
    };
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

fn end(end: End) -> Event {
    match end {
        End::Said(reply) => Event::Done(Reply { text: reply.text, model: None, usage: None }),
        End::Silent => Event::Done(Reply::default()),
        End::Failed { sentence } => failed(sentence),
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
