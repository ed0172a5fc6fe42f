//! `/channels/{channel}/messages`: to say something; `/jobs`: what became of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Content, Fields, Named, invalid, time};
use super::entry::{Operator, Viewer};
use super::page::{Page, Piece};
use super::{Console, Refusal, missing, unavailable};
use crate::clock::rfc3339;
use crate::doors::problem::Problem;
use crate::store::JOBS;
use crate::store::oversight::TurnRecord;
use crate::turn::{NotSaid, Say, hour_of};

/// Far more than a platform shows of one message; adapters cut it into parts.
const TEXT_CHARS_MAX: usize = 16_384;
const KEY: &str = "idempotency-key";
const KEY_CHARS_MAX: usize = 255;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Saying {
    /// CommonMark. Not of white space alone.
    #[schema(min_length = 1, max_length = 16_384, pattern = r"[^\s]")]
    text: String,
    /// A conversation of this channel in which somebody has written. Without it the adapter's default destination.
    conversation: Option<String>,
    /// Not before this time, and at most a year ahead. Without it at once.
    #[schema(format = DateTime)]
    at: Option<String>,
}

/// Something that is done once, by whichever node, also after a crash.
#[derive(Debug, Serialize, ToSchema)]
pub struct Job {
    id: String,
    channel: String,
    /// Without it the adapter's default destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
    state: Stage,
    /// Who wants it: an operator, or who asked for what could not be answered.
    person: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    created_at: Option<String>,
    /// When it was to be done, if not at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    at: Option<String>,
    /// When it is tried next, or was due.
    #[schema(format = DateTime)]
    due_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    attempts: u32,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The platform's ids of what was sent, where it gives any.
    receipt: Vec<String>,
    /// Of the dead letter, while it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobState)]
enum Stage {
    /// For its time, or for a place.
    Waiting,
    /// It is being done, or is tried again at `due_at`.
    Running,
    Delivered,
    /// A dead letter, which can be replayed.
    Dead,
    /// Or a dead letter that was laid to rest.
    Cancelled,
}

/// Says a text on a channel, at once or later: the job that does it is stored, and in the audit. With the header
/// `Idempotency-Key` a repeat is answered with the same job, for as long as that is kept.
#[utoipa::path(post, path = "/channels/{channel}/messages", tag = "jobs", security(("token" = ["role:operator"])),
    params(
        ("channel" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The caller's own, one for each thing to say",
            min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
    ),
    request_body = Saying,
    responses(
        (status = 200, body = Job, description = "There is this job by this key"),
        (status = 202, body = Job, description = "Stored", headers(("Location" = String, description = "The job"))),
        (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 408, body = Refusal), (status = 409, body = Refusal),
        (status = 413, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn say(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(channel): Named<String>,
    headers: HeaderMap,
    Content(saying): Content<Saying>,
) -> Result<Response, Problem> {
    let Saying { text, conversation, at } = saying;
    if text.trim().is_empty() || text.chars().count() > TEXT_CHARS_MAX {
        return Err(invalid(format!("`text` takes 1 to {TEXT_CHARS_MAX} characters, not all of them white")));
    }
    let (at, key) = (time("at", at.as_deref())?, key(&headers)?);
    refuse_deaf(&console, &channel)?;
    let say = Say { channel: &channel, conversation: conversation.as_deref(), text, at, key };
    let put = console.turns.say(say, &actor).await?;
    let job = Job::of(put.job);
    if !put.is_new {
        return Ok(Json(job).into_response());
    }
    let place = format!("/api/v1/admin/jobs/{}", job.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], Json(job)).into_response())
}

/// Jobs, the latest first, as long as finished messages are kept; dead ones for 30 days. Not what is said.
#[utoipa::path(get, path = "/jobs", tag = "jobs", security(("token" = ["role:viewer"])), params(Piece),
    responses(
        (status = 200, body = Page<Job>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn list(
    _: Viewer,
    State(console): State<Arc<Console>>,
    Fields(piece): Fields<Piece>,
) -> Result<Json<Page<Job>>, Problem> {
    let (limit, before) = (piece.limit()?, piece.mark::<i64>()?);
    let jobs = console.turns.store.records(JOBS, before, limit + 1).await;
    Ok(Json(Page::of(jobs.map_err(unavailable)?, limit, |last| last.turn, Job::of)))
}

/// What became of a job.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs", security(("token" = ["role:viewer"])),
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Job), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn one(
    _: Viewer,
    State(console): State<Arc<Console>>,
    Named(id): Named<String>,
) -> Result<Json<Job>, Problem> {
    let job = console.turns.job(&id).await.map_err(unavailable)?;
    job.map(|job| Json(Job::of(job))).ok_or_else(|| missing("job"))
}

/// Cancels a job that is not done. What is being said at this moment may come through.
#[utoipa::path(post, path = "/jobs/{id}/cancel", tag = "jobs", security(("token" = ["role:operator"])),
    params(("id" = String, Path)),
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 403, body = Refusal),
        (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn cancel(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    let is_cancelled = console.turns.cancel_job(&id, &actor).await.map_err(unavailable)?;
    is_cancelled.then_some(StatusCode::NO_CONTENT).ok_or_else(|| missing("job that is not done"))
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    let key = key.filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()));
    key.map(Some).ok_or_else(|| {
        invalid(format!("`Idempotency-Key` takes 1 to {KEY_CHARS_MAX} visible characters of ASCII"))
    })
}

/// An adapter that answers in its response alone has no way to say something else.
fn refuse_deaf(console: &Console, channel: &str) -> Result<(), Problem> {
    let Some(channel) = console.config.channels.get(channel) else { return Ok(()) };
    let Some(release) = console.shelf.release(&channel.adapter) else { return Ok(()) };
    let manifest = &release.manifest;
    if !manifest.does_answer_in_response(&manifest.with_defaults(&channel.settings)) {
        return Ok(());
    }
    let message =
        "this channel answers in its responses, and has no other way to say something; change its settings";
    Err(Problem::new(StatusCode::CONFLICT, "cannot_say", message))
}

impl Job {
    fn of(record: TurnRecord) -> Job {
        let at = hour_of(&record).map(str::to_owned);
        let state = Stage::of(&record);
        let (channel, conversation) =
            record.via.map_or_else(Default::default, |via| (via.channel, via.conversation));
        Job {
            id: record.message.id,
            channel,
            conversation,
            state,
            person: record.message.sender.id,
            created_at: record.message.sent_at_ms.map(rfc3339),
            at,
            due_at: rfc3339(record.due_at),
            ended_at: record.ended_at.map(rfc3339),
            attempts: record.claims,
            reason: record.reason,
            receipt: record.receipt,
            dead_letter: (state == Stage::Dead).then_some(record.turn),
        }
    }
}

impl Stage {
    fn of(record: &TurnRecord) -> Stage {
        match record.state.as_str() {
            "received" => Stage::Waiting,
            "delivered" => Stage::Delivered,
            "dead" => Stage::Dead,
            // Before that it may still come through.
            "withdrawn" if record.ended_at.is_some() => Stage::Cancelled,
            _ => Stage::Running,
        }
    }
}

impl From<NotSaid> for Problem {
    fn from(error: NotSaid) -> Self {
        let (status, code) = match error {
            NotSaid::Store(error) => return unavailable(error),
            NotSaid::NoChannel | NotSaid::UnknownConversation => (StatusCode::NOT_FOUND, "not_found"),
            NotSaid::NoPlatform => (StatusCode::CONFLICT, "cannot_say"),
            NotSaid::Past | NotSaid::TooFarAhead => (StatusCode::CONFLICT, "wrong_time"),
            NotSaid::KeyTaken => (StatusCode::CONFLICT, "key_taken"),
        };
        Problem::new(status, code, error.to_string())
    }
}
