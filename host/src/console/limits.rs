//! `/limits`: what bounds the host and its channels, and whose allowance is nearly used up.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::entry::Viewer;
use super::{Console, Refusal, unavailable};
use crate::clock::rfc3339;
use crate::config::mouth;
use crate::config::{ChannelLimits, Rate};
use crate::doors::problem::Problem;
use crate::limits::Drawn;

/// The fullest that are shown.
const USED_MAX: u32 = 100;

#[derive(Debug, Serialize, ToSchema)]
pub struct Limits {
    host: HostBounds,
    /// By the channels' names.
    channels: BTreeMap<String, Bounds>,
    /// Those who have used most of what they may, those first who have to wait longest for all of it. What is full
    /// again is not listed.
    used: Vec<Used>,
}

#[derive(Debug, Serialize, ToSchema)]
struct HostBounds {
    connections: usize,
    /// At a time, over all channels.
    turns: usize,
    /// Turns that run now.
    running: usize,
    body_bytes: usize,
    /// Questions by one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_rate: Option<Frequency>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Bounds {
    /// Turns at a time.
    concurrent: usize,
    /// One turn, from its claim to its answer.
    time_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Frequency>,
    /// Messages of one person.
    #[serde(skip_serializing_if = "Option::is_none")]
    person_rate: Option<Frequency>,
}

/// How often something may happen.
#[derive(Debug, Serialize, ToSchema)]
struct Frequency {
    /// Between two when the burst is used up.
    interval_ms: f64,
    /// At once, after a pause.
    burst: u32,
}

#[derive(Debug, Serialize, ToSchema)]
struct Used {
    /// `client`, `channel`, `person` or `key`.
    limit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// The address, the person or the token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[schema(format = DateTime)]
    full_at: String,
}

/// What is allowed, and how much of it is used.
#[utoipa::path(get, path = "/limits", tag = "limits", security(("token" = ["role:viewer"])), responses(
    (status = 200, body = Limits),
    (status = 401, body = Refusal), (status = 403, body = Refusal), (status = 503, body = Refusal),
))]
pub async fn limits(_: Viewer, State(console): State<Arc<Console>>) -> Result<Json<Limits>, Problem> {
    let drawn = console.turns.limits.drawn(USED_MAX).await.map_err(unavailable)?;
    let channels = mouth::all(&console.config).into_iter();
    Ok(Json(Limits {
        host: HostBounds::of(&console),
        channels: channels.map(|mouth| (mouth.name.clone(), Bounds::of(mouth.limits))).collect(),
        used: drawn.into_iter().map(Used::from).collect(),
    }))
}

impl HostBounds {
    fn of(console: &Console) -> Self {
        let limits = &console.config.limits;
        HostBounds {
            connections: limits.connections_max,
            turns: limits.turns_max,
            running: console.turns.running.count(None),
            body_bytes: limits.body_bytes_max,
            key_rate: limits.key.map(Frequency::from),
        }
    }
}

impl Bounds {
    pub fn of(limits: &ChannelLimits) -> Self {
        Bounds {
            concurrent: limits.concurrent,
            time_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
            rate: limits.rate.map(Frequency::from),
            person_rate: limits.person.map(Frequency::from),
        }
    }
}

impl From<Rate> for Frequency {
    fn from(rate: Rate) -> Self {
        Frequency { interval_ms: rate.interval.as_secs_f64() * 1000.0, burst: rate.burst }
    }
}

impl From<Drawn> for Used {
    fn from(drawn: Drawn) -> Self {
        let Drawn { limit, channel, who, full_at } = drawn;
        Used { limit: limit.as_str(), channel, who, full_at: rfc3339(full_at) }
    }
}
