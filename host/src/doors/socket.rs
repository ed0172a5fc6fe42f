//! `GET /chat`: the chat door as a WebSocket. Questions and answers both ways, several at a time, and a dropped
//! line taken up again where it was.
//!
//! Text frames, one JSON object each; `asked` has what a client says, `told` what the host says. The token is
//! checked before the upgrade. No `Origin` is: a page elsewhere has no token to show, and no cookie that its
//! browser would add. HTTP/1.1 only. How an answer comes about it does not know: it asks an [`Attend`]. Next:
//! `handshake`, then `line`, the life of one line.

mod asked;
mod handshake;
mod line;
mod told;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream::BoxStream;
use tracing::Instrument as _;

use super::chat::{Event, Refusal};
use super::frame::RequestId;
use super::{guard, server};
use crate::auth::Verifier;
use crate::drain::Drain;
use crate::telemetry::Metrics;
use handshake::Unopened;
use line::Line;

pub use line::{GARBAGE_MAX, PING_EVERY, UNDER_WAY_MAX};
pub use wire::MESSAGE_BYTES_MAX;

/// What the socket needs from the rest of the host.
pub struct Sockets {
    pub verifier: Verifier,
    pub attend: Arc<dyn Attend>,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
}

/// A question on a line that may drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The client's own: the same one again means the same question.
    pub id: String,
    pub query: String,
    pub session_id: Option<String>,
    /// The token's subject, or its id.
    pub person: String,
    /// The token's id.
    pub key: Option<String>,
    pub request_id: String,
}

/// What a question's turn is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub message_id: String,
    pub session_id: String,
}

/// One step of an answer. `Stopped`, or an event that is no delta, is the last.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// All text so far: replaces what the client has.
    Snapshot(String),
    Event(Event),
    /// The question was taken back.
    Stopped,
}

impl Step {
    pub fn is_last(&self) -> bool {
        !matches!(self, Step::Snapshot(_) | Step::Event(Event::Delta(_)))
    }
}

/// A question's turn, begun or found. Dropping it ends nothing.
pub struct Attached {
    pub names: Names,
    /// A snapshot first, if the turn was there before. Ends without a last step when the host shuts down before
    /// the turn does: it goes on at the next start.
    pub steps: BoxStream<'static, Step>,
}

/// What came of a question that was to be stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    pub names: Names,
    /// `Stopped`, or the end that the turn had come to before.
    pub how: Step,
}

/// Who answers: the turn.
#[async_trait]
pub trait Attend: Send + Sync {
    /// Takes the question, or finds the turn of the same one: it is stored when this returns.
    async fn attach(&self, question: Question) -> Result<Attached, Refusal>;

    /// Takes a person's question back; none if there is no such question.
    async fn stop(&self, person: &str, id: &str) -> Result<Option<Stopped>, Refusal>;
}

pub fn routes(sockets: Sockets) -> Router {
    Router::new().route("/chat", get(open)).with_state(Arc::new(sockets))
}

async fn open(
    State(sockets): State<Arc<Sockets>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    mut request: Request,
) -> Result<Response, Unopened> {
    let query = request.uri().query().unwrap_or_default();
    let caller = guard::caller_by_query(&sockets.verifier, request.headers(), query, guard::CHAT_WRITE)?;
    let response = handshake::accept(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let place = request.extensions_mut().remove::<server::Place>();
    let open = sockets.metrics.chat_connection();
    let drain = sockets.drain.clone();
    let line = async move {
        // Without an upgrade the client has left before it had the response.
        if let Ok(io) = upgrade.await {
            Line::new(sockets, caller, request_id, io).await.run().await;
        }
        drop((open, place));
    };
    drain.spawn("chat socket", line.instrument(tracing::Span::current()));
    Ok(response)
}
