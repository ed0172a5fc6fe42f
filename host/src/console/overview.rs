//! `/overview`: how the host does, at a glance, and who asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::channels::Queue;
use super::entry::Viewer;
use super::{Console, Refusal, unavailable};
use crate::clock::rfc3339;
use crate::config::mouth;
use crate::doors::health;
use crate::doors::problem::Problem;

#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    version: &'static str,
    /// Another at each start.
    instance: String,
    #[schema(format = DateTime)]
    now: String,
    is_ready: bool,
    checks: Vec<Check>,
    queue: Queue,
    channels: usize,
    plugins: usize,
    /// Files of the plugin folder that do not serve.
    rejected_plugins: usize,
    you: You,
}

#[derive(Debug, Serialize, ToSchema)]
struct Check {
    name: String,
    ok: bool,
    /// One plain sentence.
    detail: String,
}

/// Whoever asks.
#[derive(Debug, Serialize, ToSchema)]
struct You {
    person: String,
    role: String,
}

/// How the host does.
#[utoipa::path(get, path = "/overview", tag = "overview", security(("token" = ["role:viewer"])), responses(
    (status = 200, body = Overview),
    (status = 401, body = Refusal), (status = 403, body = Refusal), (status = 503, body = Refusal),
))]
pub async fn overview(
    Viewer(you): Viewer,
    State(console): State<Arc<Console>>,
) -> Result<Json<Overview>, Problem> {
    let queue = console.turns.store.queue().await.map_err(unavailable)?;
    let checks: Vec<_> = console.readiness.report().into_iter().map(Check::from).collect();
    Ok(Json(Overview {
        version: env!("CARGO_PKG_VERSION"),
        instance: health::INSTANCE.clone(),
        now: rfc3339(console.turns.clock.now()),
        is_ready: checks.iter().all(|check| check.ok),
        checks,
        queue: queue.into(),
        channels: mouth::all(&console.config).len(),
        plugins: console.shelf.names().len(),
        rejected_plugins: console.deployments.rejected().len(),
        you: You { person: you.person, role: you.role },
    }))
}

impl From<health::Check> for Check {
    fn from(check: health::Check) -> Self {
        let health::Check { name, ok, detail } = check;
        Check { name, ok, detail }
    }
}
