//! `/health`: the process lives. `/ready`: it can serve. `/metrics`: its figures.
//!
//! What is needed to serve it does not know: it asks a [`Readiness`].

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::{Doors, guard, problem::Problem};
use crate::telemetry::metrics;

/// When to ask again whether the host is ready, in seconds: as often as orchestrators probe.
const ASK_AGAIN_SECONDS: u64 = 1;

/// What nobody can guess who has not asked this very process: so `parlor doctor` learns whether an address leads here.
static INSTANCE: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

/// One thing that serving needs: a model, a plugin, the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    /// One plain sentence that anyone may read.
    pub detail: String,
}

#[async_trait]
pub trait Readiness: Send + Sync {
    /// How everything that serving needs is doing now. Quick: probes come every second.
    fn report(&self) -> Vec<Check>;

    /// Brings figures up to date that only a scrape needs, such as the queue's.
    async fn refresh(&self) {}
}

/// 200 for as long as the process answers; what is amiss stands beside it.
pub async fn health(State(doors): State<Arc<Doors>>) -> Response {
    let amiss: Vec<Check> = checks(&doors).into_iter().filter(|check| !check.ok).collect();
    let status = if amiss.is_empty() { "ok" } else { "degraded" };
    let mut facts = json!({ "status": status, "version": env!("CARGO_PKG_VERSION"), "instance": *INSTANCE });
    if !amiss.is_empty() {
        facts["checks"] = json!(amiss);
    }
    ([(CACHE_CONTROL, "no-store")], Json(facts)).into_response()
}

/// 200 when all is there, else 503: loading, draining, or a store that cannot write.
pub async fn ready(State(doors): State<Arc<Doors>>) -> Response {
    let checks = checks(&doors);
    let is_ready = checks.iter().all(|check| check.ok);
    let status = if is_ready { "ready" } else { "not_ready" };
    let facts = Json(json!({ "status": status, "checks": checks }));
    let mut response = ([(CACHE_CONTROL, "no-store")], facts).into_response();
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(RETRY_AFTER, ASK_AGAIN_SECONDS.into());
    }
    response
}

fn checks(doors: &Doors) -> Vec<Check> {
    let mut checks = doors.readiness.report();
    if doors.drain.draining() {
        let detail = "shutting down: what is under way is finished, nothing new is taken".to_owned();
        checks.push(Check { name: "drain".to_owned(), ok: false, detail });
    }
    checks
}

/// All figures, for who has the scope `metrics:read`.
pub async fn metrics(State(doors): State<Arc<Doors>>, headers: HeaderMap) -> Result<Response, Problem> {
    guard::caller(&doors.verifier, &headers, guard::METRICS_READ)?;
    doors.readiness.refresh().await;
    let head = [(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    Ok((head, doors.metrics.encode()).into_response())
}
