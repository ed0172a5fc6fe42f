//! `/health`: the process lives. `/ready`: it can serve. `/metrics`: its figures.
//!
//! What is needed to serve it does not know: it asks a [`Readiness`].

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::{guard, problem::Problem};
use crate::auth::Verifier;
use crate::drain::Drain;
use crate::telemetry::{Metrics, metrics};

/// When to ask again whether the host is ready, in seconds: as often as orchestrators probe.
const ASK_AGAIN_SECONDS: u64 = 1;

/// What nobody can guess who has not asked this very process: so `parlor doctor` learns whether an address leads here.
pub static INSTANCE: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

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

/// What the probes need.
pub struct Probes {
    pub readiness: Arc<dyn Readiness>,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    /// Whose tokens see the figures. None: whoever reaches this door.
    pub verifier: Option<Verifier>,
}

pub fn routes(probes: Probes) -> Router {
    Router::new()
        .route("/health", get(health).post(health))
        .route("/ready", get(ready).post(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(probes))
}

/// 200 for as long as the process answers; what is amiss stands beside it.
async fn health(State(probes): State<Arc<Probes>>) -> Response {
    let amiss: Vec<Check> = checks(&probes).into_iter().filter(|check| !check.ok).collect();
    let status = if amiss.is_empty() { "ok" } else { "degraded" };
    let mut facts = json!({ "status": status, "version": env!("CARGO_PKG_VERSION"), "instance": *INSTANCE });
    if !amiss.is_empty() {
        facts["checks"] = json!(amiss);
    }
    ([(CACHE_CONTROL, "no-store")], Json(facts)).into_response()
}

/// 200 when all is there, else 503: loading, draining, or a store that cannot write.
async fn ready(State(probes): State<Arc<Probes>>) -> Response {
    let checks = checks(&probes);
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

fn checks(probes: &Probes) -> Vec<Check> {
    let mut checks = probes.readiness.report();
    if probes.drain.draining() {
        let detail = "shutting down: what is under way is finished, nothing new is taken".to_owned();
        checks.push(Check { name: "drain".to_owned(), ok: false, detail });
    }
    checks
}

/// All figures, for who has the scope `metrics:read` where the door asks for it.
async fn metrics(State(probes): State<Arc<Probes>>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(verifier) = &probes.verifier {
        guard::caller(verifier, &headers, guard::METRICS_READ)?;
    }
    probes.readiness.refresh().await;
    let head = [(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    Ok((head, probes.metrics.encode()).into_response())
}
