//! The stage that turns a raw HTTP request into what an adapter reads, and a fault into a status.
//!
//! It knows HTTP and nothing of adapters, turns or the store.

use bytes::Bytes;
use http::request::Parts;

use crate::message::{Fault, FaultKind, HttpRequest, HttpResponse};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IngressError {
    #[error("the value of the header `{0}` is not UTF-8")]
    HeaderNotUtf8(String),
}

/// The request as the platform sent it. `mount` is the channel's own path, `public` how the outside calls us.
pub fn read(parts: &Parts, body: Bytes, mount: &str, public: &str) -> Result<HttpRequest, IngressError> {
    let path = parts.uri.path();
    let below = path.strip_prefix(mount).unwrap_or(path);
    let path_and_query = parts.uri.path_and_query().map_or(path, |all| all.as_str());
    Ok(HttpRequest {
        method: parts.method.as_str().to_owned(),
        url: format!("{}{path_and_query}", public.trim_end_matches('/')),
        path: if below.is_empty() { "/".to_owned() } else { below.to_owned() },
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers(parts)?,
        body,
    })
}

fn headers(parts: &Parts) -> Result<Vec<(String, String)>, IngressError> {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| IngressError::HeaderNotUtf8(name.to_string()))?;
        Ok((name.as_str().to_owned(), value.to_owned()))
    };
    parts.headers.iter().map(text).collect()
}

/// The status by which a platform learns of a fault. Which check failed stays inside: a forger learns nothing.
pub fn refusal(fault: &Fault) -> HttpResponse {
    let sentence = match fault.kind {
        FaultKind::Unauthorized => "not verified",
        FaultKind::Invalid => "not understood",
        FaultKind::Gone => "gone",
        FaultKind::Throttled => "too many requests",
        FaultKind::Unavailable | FaultKind::Uncertain => "not available, try again",
        FaultKind::Internal | FaultKind::Other => "the adapter failed",
    };
    let mut response = problem(fault.status(), sentence);
    if let Some(wait) = fault.retry_after {
        response.headers.push(("retry-after".to_owned(), wait.as_secs().max(1).to_string()));
    }
    response
}

/// More than a limit allows. Nothing of it is stored, so that the platform brings it again.
pub fn too_many(sentence: &str, seconds: u64) -> HttpResponse {
    let body = serde_json::json!({ "error": { "code": "rate_limited", "message": sentence } });
    let headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("retry-after".to_owned(), seconds.to_string()),
    ];
    HttpResponse { status: 429, headers, body: body.to_string().into() }
}

/// A refusal in the one JSON shape that every door uses.
pub fn problem(status: u16, sentence: &str) -> HttpResponse {
    let body = serde_json::json!({ "error": { "code": status, "message": sentence } });
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    HttpResponse { status, headers, body: body.to_string().into() }
}
