//! `/bus`: what comes in and goes out, as it happens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::{IntoParams, ToSchema};

use super::asked::Fields;
use super::entry::Operator;
use super::{Console, Refusal, unavailable};
use crate::auth::Role;
use crate::bus::{Heard, Listener, NotHeard};
use crate::doors::guard;
use crate::doors::problem::Problem;
use crate::store::oversight::Act;

/// How soon somebody hears no more whose token ended or was revoked, also where nothing is said meanwhile.
const TOKEN_CHECKED_EVERY: Duration = Duration::from_secs(15);
/// Less than proxies wait for a silent line.
const PING_EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Of this channel alone.
    channel: Option<String>,
}

/// The data of an event `message`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape that `bus::Notice` has, for the schema")]
pub struct Notice {
    /// The adapter that speaks it, or the door of the host's own.
    platform: String,
    channel: String,
    /// `in` or `out`.
    direction: String,
    conversation: String,
    /// Of what came in; what went out answers it.
    message_id: String,
    /// Who wrote what came in.
    person: String,
    content: String,
    /// True: the content is longer than 64 KiB.
    is_cut: Option<bool>,
    #[schema(format = DateTime)]
    timestamp: String,
    request_id: String,
    /// The channel that it went out through, if that is another one.
    via: Option<String>,
}

/// One who listens.
struct Line {
    console: Arc<Console>,
    listener: Listener,
    channel: Option<String>,
    /// His token, which is looked at again.
    headers: HeaderMap,
    ticks: tokio::time::Interval,
}

/// What comes in and goes out from now on, as server-sent events: `message` with a notice, `missed` with how many
/// were lost to a slow listener. Best effort: a notice comes once at most. That somebody listens is in the audit.
#[utoipa::path(get, path = "/bus", tag = "bus", security(("token" = ["role:operator"])), params(Of), responses(
    (status = 200, body = Notice, content_type = "text/event-stream"), (status = 400, body = Refusal),
    (status = 401, body = Refusal), (status = 403, body = Refusal), (status = 404, body = Refusal),
    (status = 503, body = Refusal),
))]
pub async fn listen(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Fields(of): Fields<Of>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listener = console.turns.bus.listen()?;
    let bus = console.turns.bus.name().unwrap_or_default().to_owned();
    let act = Act::Listen { bus, channel: of.channel.clone() };
    console.turns.store.act(console.turns.clock.now(), &act, &actor).await.map_err(unavailable)?;
    let mut ticks = interval(TOKEN_CHECKED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let line = Line { console, listener, channel: of.channel, headers, ticks };
    let events = stream::unfold(line, |mut line| async {
        let event = line.next().await?;
        Some((Ok::<_, Infallible>(event), line))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(PING_EVERY)).into_response())
}

impl Line {
    /// None: the host is shut down, or he may not listen any more.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            let heard = tokio::select! {
                biased;
                () = self.console.turns.drain.cancelled() => return None,
                _ = self.ticks.tick() => None,
                heard = self.listener.next() => Some(heard?),
            };
            guard::operator(&self.console.verifier, &self.headers, Role::Operator).ok()?;
            if let Some(event) = heard.and_then(|heard| self.written(&heard)) {
                return Some(event);
            }
        }
    }

    fn written(&self, heard: &Heard) -> Option<sse::Event> {
        let (name, data) = match heard {
            Heard::Notice(notice) if self.channel.as_ref().is_some_and(|of| *of != notice.channel) => {
                return None;
            }
            Heard::Notice(notice) => ("message", json!(**notice)),
            Heard::Missed(missed) => ("missed", json!({ "missed": missed })),
        };
        Some(sse::Event::default().event(name).data(data.to_string()))
    }
}

impl From<NotHeard> for Problem {
    fn from(error: NotHeard) -> Self {
        let (status, code) = match error {
            NotHeard::Closed => (StatusCode::NOT_FOUND, "no_bus"),
            NotHeard::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "crowded"),
        };
        Problem::new(status, code, error.to_string())
    }
}
