//! `POST /api/v1/chat`: one question by JSON, one answer as JSON or as a stream of events.
//!
//! It knows the shape of both and who asks. How an answer comes about it does not know: it asks a [`Talk`].

mod answer;
mod question;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::stream::BoxStream;
use http::StatusCode;
use serde::Serialize;

use super::frame::RequestId;
use super::problem::Problem;
use super::{Doors, body, guard};
use crate::message::Favour;
use question::Asked;

pub use question::{QUERY_BYTES_MAX, SESSION_ID_CHARS_MAX};
pub(super) use question::{check_id, check_query, invalid};

/// What a caller of the chat door asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub query: String,
    pub session_id: Option<String>,
    /// The token's subject, or its id.
    pub person: String,
    /// The token's id.
    pub key: Option<String>,
    pub request_id: String,
    pub favour: Favour,
}

/// One step of an answer. `Done` or `Failed` is the last.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Delta(String),
    Done(Reply),
    Failed { status: u16, code: &'static str, message: String, retry_after: Option<Duration> },
}

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    pub text: String,
    pub model: Option<String>,
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
}

/// An answer under way; dropping it tells the turn that nobody listens.
pub struct Answering {
    pub session_id: String,
    pub message_id: String,
    pub events: BoxStream<'static, Event>,
}

/// Why a question is not taken at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    /// One plain sentence for the caller.
    pub message: String,
    pub retry_after: Option<Duration>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem::new(status, refusal.code, refusal.message);
        Problem { retry_after: refusal.retry_after, ..problem }
    }
}

/// Who answers: the turn.
#[async_trait]
pub trait Talk: Send + Sync {
    async fn ask(&self, question: Question) -> Result<Answering, Refusal>;
}

pub async fn chat(
    State(doors): State<Arc<Doors>>,
    Extension(talk): Extension<Arc<dyn Talk>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = guard::caller(&doors.verifier, request.headers(), guard::CHAT_WRITE)?;
    let favour = guard::favour(&doors.verifier, request.headers())?;
    let open = doors.metrics.chat_connection();
    let asked = Asked::parse(&body::read(request.into_body(), &doors.bounds).await?)?;
    let is_stream = asked.stream;
    let answering = talk.ask(asked.question(caller, request_id, favour)).await?;
    if is_stream {
        return Ok(answer::stream(answering, open));
    }
    answer::whole(answering).await
}
