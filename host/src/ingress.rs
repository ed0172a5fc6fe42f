//! The stage that turns a raw HTTP request into what an adapter reads, and a fault into a status.
//!
//! It knows HTTP and nothing of adapters, turns or the store.

use bytes::Bytes;
use http::request::Parts;
use serde_json::Value;

use crate::message::{Fault, FaultKind, HttpRequest, HttpResponse};

/// A disk that is mended, a host that starts, a model that is free again: sooner than that is rarely of use.
const AGAIN_AFTER_SECONDS: u64 = 5;

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
    let wait = fault.retry_after.map(|wait| wait.as_secs().max(1));
    refused(fault.status(), fault.status().into(), sentence, wait)
}

/// More than a limit allows. Nothing of it is stored, so that the platform brings it again.
pub fn too_many(sentence: &str, seconds: u64) -> HttpResponse {
    refused(429, "rate_limited".into(), sentence, Some(seconds))
}

/// A refusal in the one JSON shape that every door uses.
pub fn problem(status: u16, sentence: &str) -> HttpResponse {
    refused(status, status.into(), sentence, None)
}

/// Who is to come again is told when, also where nobody knows it better.
fn refused(status: u16, code: Value, sentence: &str, wait_seconds: Option<u64>) -> HttpResponse {
    let body = serde_json::json!({ "error": { "code": code, "message": sentence } });
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let passing = matches!(status, 429 | 503).then_some(AGAIN_AFTER_SECONDS);
    if let Some(seconds) = wait_seconds.or(passing) {
        headers.push(("retry-after".to_owned(), seconds.to_string()));
    }
    HttpResponse { status, headers, body: body.to_string().into() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retry_after(response: &HttpResponse) -> Option<&str> {
        let found = response.headers.iter().filter(|(name, _)| name == "retry-after");
        let found: Vec<_> = found.map(|(_, value)| value.as_str()).collect();
        assert!(found.len() <= 1, "{found:?}");
        found.first().copied()
    }

    #[test]
    fn who_is_to_come_again_is_told_when() {
        let fault = |kind, retry_after| Fault { retry_after, ..Fault::new(kind, "for a test") };
        for kind in [FaultKind::Throttled, FaultKind::Unavailable, FaultKind::Uncertain] {
            assert_eq!(retry_after(&refusal(&fault(kind, None))), Some("5"), "{kind:?}");
            let told = fault(kind, Some(Duration::from_secs(70)));
            assert_eq!(retry_after(&refusal(&told)), Some("70"), "{kind:?}");
        }
        for kind in [FaultKind::Invalid, FaultKind::Unauthorized, FaultKind::Gone, FaultKind::Internal] {
            assert_eq!(retry_after(&refusal(&fault(kind, None))), None, "{kind:?}");
        }
        assert_eq!(retry_after(&problem(503, "not ready, ask again")), Some("5"));
        assert_eq!(retry_after(&too_many("too many", 3)), Some("3"));
    }
}
