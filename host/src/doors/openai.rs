//! `POST /v1/chat/completions` and `GET /v1/models`: what clients of OpenAI's API speak.
//!
//! The shapes are those of <https://platform.openai.com/docs/api-reference/chat>, as the official clients for
//! Python and Node read and write them. `asked` reads a request, `answer` writes what comes of it, `complaint` what
//! does not. Each request brings its whole conversation along: nothing is remembered from one to the next. How an
//! answer comes about this door does not know: it asks a [`Complete`].

mod answer;
mod asked;
mod complaint;
mod messages;
mod offers;
mod table;
mod tools;
mod unsupported;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use futures_util::stream::BoxStream;

use super::frame::RequestId;
use super::{body, guard};
use crate::auth::Verifier;
use crate::message::{FinishReason, ToolCall, Trouble, Utterance, Wishes};
use crate::telemetry::Metrics;
use answer::Form;
use asked::Asked;
use complaint::Complaint;

/// What this door needs.
pub struct OpenAi {
    pub verifier: Verifier,
    pub complete: Arc<dyn Complete>,
    pub metrics: Arc<Metrics>,
    pub bounds: body::Bounds,
}

/// What a caller may name as `model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub id: String,
    /// In seconds since the Unix epoch.
    pub created: u64,
    /// Pipelines stand between the caller and the model: they lay out the prompt.
    pub is_assistant: bool,
    /// A caller's tools can be called.
    pub tools: bool,
    /// Answers can keep to a form.
    pub formats: bool,
}

/// One request that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// An [`Offer`]'s id.
    pub model: String,
    /// Never empty; of an assistant, what the person says now is the last.
    pub conversation: Vec<Utterance>,
    pub wishes: Wishes,
    /// The token's subject, or its id.
    pub person: String,
    /// The token's id.
    pub key: Option<String>,
    pub request_id: String,
}

/// An answer under way; dropping it tells the turn that nobody listens.
pub struct Completing {
    /// Of this answer alone.
    pub id: String,
    /// In seconds since the Unix epoch.
    pub created: u64,
    pub steps: BoxStream<'static, Step>,
}

/// One step of an answer. `Done` or `Failed` is the last.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Text(String),
    Done(Completion),
    Failed(Trouble),
}

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    pub tool_calls: Vec<ToolCall>,
    pub finish_reason: FinishReason,
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
}

/// Who answers: the turn.
#[async_trait]
pub trait Complete: Send + Sync {
    fn offers(&self) -> &[Offer];

    /// # Errors
    /// The question is not taken at all.
    async fn complete(&self, question: Question) -> Result<Completing, Trouble>;
}

pub fn routes(door: OpenAi) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(complete).fallback(other_method))
        .route("/v1/models", get(list).fallback(other_method))
        .route("/v1/models/{id}", get(retrieve).fallback(other_method))
        .route("/v1/{*rest}", any(nothing))
        .with_state(Arc::new(door))
}

async fn complete(
    State(door): State<Arc<OpenAi>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    request: Request,
) -> Result<Response, Complaint> {
    let caller = guard::caller(&door.verifier, request.headers(), guard::CHAT_WRITE)?;
    let open = door.metrics.chat_connection();
    let body = body::read(request.into_body(), &door.bounds).await?;
    let asked = Asked::parse(&body, door.complete.offers())?;
    let (is_stream, include_usage) = (asked.is_stream, asked.include_usage);
    let question = asked.question(caller, request_id);
    let model = question.model.clone();
    let completing = door.complete.complete(question).await?;
    let form = Form { id: completing.id, created: completing.created, model, include_usage };
    if is_stream {
        return answer::stream(completing.steps, form, open).await;
    }
    answer::whole(completing.steps, &form).await
}

async fn list(State(door): State<Arc<OpenAi>>, request: Request) -> Result<Response, Complaint> {
    guard::caller(&door.verifier, request.headers(), guard::CHAT_WRITE)?;
    Ok(offers::list(door.complete.offers()).into_response())
}

async fn retrieve(
    State(door): State<Arc<OpenAi>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Complaint> {
    guard::caller(&door.verifier, request.headers(), guard::CHAT_WRITE)?;
    Ok(offers::one(offers::named(&id, door.complete.offers())?).into_response())
}

async fn other_method() -> Complaint {
    Complaint::other_method()
}

/// What other parts of the API are asked for: clients read the refusal if it has the API's shape.
async fn nothing() -> Complaint {
    Complaint::no_such_path()
}
