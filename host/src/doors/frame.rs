//! What every request and response has: an id, a span, an access line, careful headers, and an answer even
//! when a handler panics.
//!
//! It does not know the doors beyond the first part of their paths, which is all of a path that reaches a log:
//! the rest of a webhook's may be a secret of the platform's.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;
use tracing::Instrument;

use super::problem::Problem;
use crate::telemetry;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The paths that a log names; all others are `other`.
const ROUTES: [&str; 9] = [
    "/health",
    "/ready",
    "/metrics",
    "/api/v1/chat",
    "/chat",
    "/v1/chat/completions",
    "/v1/models",
    "/api/v1/openapi.json",
    "/",
];
/// And those of which it names the first part alone.
const PREFIXES: [&str; 4] = ["/webhook", "/page", "/v1/models", "/api/v1/admin"];

/// The id of this request, for handlers: an extension.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

pub async fn frame(mut request: Request, next: Next) -> Response {
    let id = telemetry::request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        http.request.id = %id,
        http.request.method = %request.method(),
        url.path = route(request.uri().path()),
    );
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = answer(request, next).instrument(span).await;
    set_headers(&mut response, &id);
    response
}

async fn answer(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let is_probe = matches!(route(request.uri().path()), "/health" | "/ready" | "/metrics");
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answered.unwrap_or_else(|_| broken().into_response());
    log_access(response.status(), began, is_probe);
    response
}

/// A body may stream on after this line: it tells when the head was ready.
fn log_access(status: StatusCode, began: Instant, is_probe: bool) {
    let (status, ms) = (status.as_u16(), began.elapsed().as_secs_f64() * 1000.0);
    if is_probe {
        tracing::debug!(event.action = "request", status, ms, "answered");
    } else {
        tracing::info!(event.action = "request", status, ms, "answered");
    }
}

fn broken() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "something broke on our side; the log knows more",
    )
}

fn set_headers(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, id);
    }
}

fn route(path: &str) -> &'static str {
    let exact = ROUTES.into_iter().find(|route| *route == path);
    let below = || {
        PREFIXES
            .into_iter()
            .find(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')))
    };
    exact.or_else(below).unwrap_or("other")
}
