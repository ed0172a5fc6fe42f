//! `/conversations`: which there are; what was said in one; forgetting it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Fields, Named};
use super::entry::{Operator, Viewer};
use super::page::{Page, Piece};
use super::{Console, Refusal, missing, unavailable};
use crate::clock::{Millis, rfc3339};
use crate::doors::problem::Problem;
use crate::message::Utterance;
use crate::store::oversight::{self, Act, ThreadMark};

/// All exchanges that a store keeps of a conversation.
const EXCHANGES: u32 = 200;
/// More turns than this of one conversation nobody reads.
const UNFINISHED_MAX: u32 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Of this channel alone.
    channel: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Conversation {
    channel: String,
    conversation: String,
    #[schema(format = DateTime)]
    last_at: String,
    exchanges: u64,
    /// Turns that have not ended.
    unfinished: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDetail {
    channel: String,
    conversation: String,
    /// The latest 200 exchanges, oldest first.
    said: Vec<Said>,
    unfinished: Vec<Turn>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Said {
    /// `user`, `assistant`, `system` or `tool`.
    role: &'static str,
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Turn {
    id: i64,
    message_id: String,
    /// `received`, `generating`, `answered`, `delivering` or `withdrawn`.
    state: String,
    #[schema(format = DateTime)]
    received_at: String,
    /// When it is tried again, or was due.
    #[schema(format = DateTime)]
    due_at: String,
    claims: u32,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Conversations that have a history, the latest first. Not what was said.
#[utoipa::path(get, path = "/conversations", tag = "conversations", security(("token" = ["role:viewer"])),
    params(Of, Piece),
    responses(
        (status = 200, body = Page<Conversation>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn list(
    _: Viewer,
    State(console): State<Arc<Console>>,
    Fields(of): Fields<Of>,
    Fields(piece): Fields<Piece>,
) -> Result<Json<Page<Conversation>>, Problem> {
    let limit = piece.limit()?;
    let mark = piece.mark::<(Millis, String, String)>()?;
    let after = mark.map(|(last_at, channel, conversation)| ThreadMark { last_at, channel, conversation });
    let threads = console.turns.store.threads(of.channel.as_deref(), after.as_ref(), limit + 1).await;
    let mark = |last: &oversight::Thread| (last.last_at, last.channel.clone(), last.conversation.clone());
    Ok(Json(Page::of(threads.map_err(unavailable)?, limit, mark, Conversation::from)))
}

/// What was said in one conversation. That it was looked at is in the audit.
#[utoipa::path(get, path = "/channels/{channel}/conversations/{conversation}", tag = "conversations",
    security(("token" = ["role:operator"])), params(("channel" = String, Path), ("conversation" = String, Path)),
    responses(
        (status = 200, body = ConversationDetail), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn one(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named((channel, conversation)): Named<(String, String)>,
) -> Result<Json<ConversationDetail>, Problem> {
    let store = &console.turns.store;
    let said = store.history(&channel, &conversation, EXCHANGES).await.map_err(unavailable)?;
    let unfinished = store.unfinished(&channel, &conversation, UNFINISHED_MAX).await.map_err(unavailable)?;
    if said.is_empty() && unfinished.is_empty() {
        return Err(missing("conversation"));
    }
    let read = Act::Read { channel: channel.clone(), conversation: conversation.clone() };
    store.act(console.turns.clock.now(), &read, &actor).await.map_err(unavailable)?;
    let said = said.iter().map(Said::of).collect();
    let unfinished = unfinished.into_iter().map(Turn::from).collect();
    Ok(Json(ConversationDetail { channel, conversation, said, unfinished }))
}

/// Deletes a conversation's history. Messages under way are still answered.
#[utoipa::path(delete, path = "/channels/{channel}/conversations/{conversation}", tag = "conversations",
    security(("token" = ["role:operator"])), params(("channel" = String, Path), ("conversation" = String, Path)),
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn forget(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named((channel, conversation)): Named<(String, String)>,
) -> Result<StatusCode, Problem> {
    let forget = Act::Forget { channel, conversation };
    let done = console.turns.store.act(console.turns.clock.now(), &forget, &actor).await;
    done.map_err(unavailable)?.then_some(StatusCode::NO_CONTENT).ok_or_else(|| missing("conversation"))
}

impl From<oversight::Thread> for Conversation {
    fn from(thread: oversight::Thread) -> Self {
        let oversight::Thread { channel, conversation, last_at, exchanges, unfinished } = thread;
        Conversation { channel, conversation, last_at: rfc3339(last_at), exchanges, unfinished }
    }
}

impl Said {
    fn of(utterance: &Utterance) -> Self {
        Said { role: utterance.role.as_str(), text: utterance.plain_text() }
    }
}

impl From<oversight::Unfinished> for Turn {
    fn from(turn: oversight::Unfinished) -> Self {
        Turn {
            id: turn.turn,
            message_id: turn.message_id,
            state: turn.state,
            received_at: rfc3339(turn.received_at),
            due_at: rfc3339(turn.due_at),
            claims: turn.claims,
            reason: turn.reason,
        }
    }
}
