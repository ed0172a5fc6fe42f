//! `/dead-letters`: what could not be answered or delivered; trying it again, or laying it to rest.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Content, Fields, Named};
use super::entry::{Operator, Viewer};
use super::page::{Page, Piece};
use super::{Console, Refusal, missing, unavailable};
use crate::clock::rfc3339;
use crate::doors::problem::Problem;
use crate::store::oversight::{self, Act, Actor};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Of this channel alone.
    channel: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetter {
    id: i64,
    channel: String,
    conversation: String,
    message_id: String,
    /// Who wrote it, by the platform's id.
    person: String,
    #[schema(format = DateTime)]
    received_at: String,
    #[schema(format = DateTime)]
    died_at: String,
    /// What the last attempt failed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// There is an answer, which could not be delivered.
    is_answered: bool,
    /// Finds its lines in the log.
    request_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterDetail {
    #[serde(flatten)]
    letter: DeadLetter,
    /// What the person wrote.
    text: String,
    /// What could not be delivered; it may be an apology.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// How a dead letter is tried again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Asks the model anew, also where an answer is stored. Otherwise a stored answer is delivered, from where its
    /// delivery broke off.
    #[serde(default)]
    ask_again: bool,
}

/// Dead letters, the latest first. They are kept for 30 days.
#[utoipa::path(get, path = "/dead-letters", tag = "dead letters", security(("token" = ["role:viewer"])),
    params(Of, Piece),
    responses(
        (status = 200, body = Page<DeadLetter>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn list(
    _: Viewer,
    State(console): State<Arc<Console>>,
    Fields(of): Fields<Of>,
    Fields(piece): Fields<Piece>,
) -> Result<Json<Page<DeadLetter>>, Problem> {
    let (limit, before) = (piece.limit()?, piece.mark::<i64>()?);
    let letters = console.turns.store.dead_letters(of.channel.as_deref(), before, limit + 1).await;
    let show = |letter| DeadLetter::of(&letter);
    Ok(Json(Page::of(letters.map_err(unavailable)?, limit, |last| last.turn, show)))
}

/// One dead letter with what was said. That it was looked at is in the audit.
#[utoipa::path(get, path = "/dead-letters/{id}", tag = "dead letters", security(("token" = ["role:operator"])),
    params(("id" = i64, Path)),
    responses(
        (status = 200, body = DeadLetterDetail), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn one(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(id): Named<i64>,
) -> Result<Json<DeadLetterDetail>, Problem> {
    let letter = console.turns.store.dead_letter(id).await.map_err(unavailable)?;
    let letter = letter.ok_or_else(|| missing("dead letter"))?;
    let (channel, conversation) = (letter.channel.clone(), letter.message.conversation.clone());
    act(&console, Act::Read { channel, conversation }, &actor).await?;
    let shown = DeadLetter::of(&letter);
    let answer = letter.reply.map(|reply| reply.text);
    Ok(Json(DeadLetterDetail { letter: shown, text: letter.message.text, answer }))
}

/// Tries a dead letter once more, as if it had come in just now.
#[utoipa::path(post, path = "/dead-letters/{id}/replay", tag = "dead letters",
    security(("token" = ["role:operator"])), params(("id" = i64, Path)), request_body = Option<Replay>,
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 408, body = Refusal), (status = 413, body = Refusal),
        (status = 503, body = Refusal),
    ))]
pub async fn replay(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(id): Named<i64>,
    Content(how): Content<Replay>,
) -> Result<StatusCode, Problem> {
    let done = act(&console, Act::Replay { turn: id, asks: how.ask_again }, &actor).await?;
    console.turns.wake.notify_one();
    done.then_some(StatusCode::NO_CONTENT).ok_or_else(|| missing("dead letter"))
}

/// Lays a dead letter to rest: it is not shown any more.
#[utoipa::path(delete, path = "/dead-letters/{id}", tag = "dead letters", security(("token" = ["role:operator"])),
    params(("id" = i64, Path)),
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn discard(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(id): Named<i64>,
) -> Result<StatusCode, Problem> {
    let done = act(&console, Act::Discard { turn: id }, &actor).await?;
    done.then_some(StatusCode::NO_CONTENT).ok_or_else(|| missing("dead letter"))
}

async fn act(console: &Console, act: Act, actor: &Actor) -> Result<bool, Problem> {
    console.turns.store.act(console.turns.clock.now(), &act, actor).await.map_err(unavailable)
}

impl DeadLetter {
    fn of(letter: &oversight::DeadLetter) -> Self {
        DeadLetter {
            id: letter.turn,
            channel: letter.channel.clone(),
            conversation: letter.message.conversation.clone(),
            message_id: letter.message.id.clone(),
            person: letter.message.sender.id.clone(),
            received_at: rfc3339(letter.received_at),
            died_at: rfc3339(letter.died_at),
            reason: letter.reason.clone(),
            is_answered: letter.reply.is_some(),
            request_id: letter.request_id.clone(),
        }
    }
}
