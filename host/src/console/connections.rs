//! The socket of a channel whose platform pushes over one: how it does, and the wish to dial it.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::Named;
use super::entry::Operator;
use super::{Console, Refusal, missing, unavailable};
use crate::clock::rfc3339;
use crate::connection::{self, Report};
use crate::doors::problem::Problem;
use crate::store::oversight::Act;

/// How a connection does on this node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connection {
    /// `dialling`, `open`, `pausing`, `stopped` or `ended`.
    state: &'static str,
    /// Why there is no socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Since when it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    since: Option<String>,
    /// When it is dialled again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Sockets that are open now: two while one replaces the other.
    sockets: usize,
    /// Sockets opened since the host started.
    opened: u64,
    /// Frames heard since the host started.
    frames: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    last_heard_at: Option<String>,
}

impl Connection {
    pub fn of(report: &Report) -> Self {
        let (since, until) = match report.state {
            connection::State::Open { since } => (Some(since), None),
            connection::State::Pausing { until, .. } => (None, Some(until)),
            _ => (None, None),
        };
        Connection {
            state: report.state.as_str(),
            why: report.state.why().map(str::to_owned),
            since: since.map(rfc3339),
            until: until.map(rfc3339),
            sockets: report.sockets,
            opened: report.opened,
            frames: report.frames,
            last_heard_at: report.last_heard_at.map(rfc3339),
        }
    }
}

/// Dials a channel's connection at once, also where it was stopped. Nothing happens while a socket is open.
#[utoipa::path(post, path = "/channels/{channel}/dial", tag = "channels", security(("token" = ["role:operator"])),
    params(("channel" = String, Path)),
    responses(
        (status = 202), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 403, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal),
    ))]
pub async fn dial(
    Operator(actor): Operator,
    State(console): State<Arc<Console>>,
    Named(channel): Named<String>,
) -> Result<StatusCode, Problem> {
    let status = console.connections.get(channel.as_str()).filter(|status| status.report().is_some());
    let status = status.ok_or_else(|| missing("connection"))?;
    let now = console.turns.clock.now();
    console.turns.store.act(now, &Act::Dial { channel }, &actor).await.map_err(unavailable)?;
    status.dial();
    Ok(StatusCode::ACCEPTED)
}
