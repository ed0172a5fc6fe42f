//! What a door says when it says no: one small JSON shape, `{"error":{"code","message"}}`.
//!
//! The code is a word for programs, the message one plain sentence for people. Neither tells what happened
//! inside: that goes to the log. 429 and 503 always say when to come again.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::auth::AuthError;
use crate::limits::Excess;
pub use crate::limits::whole_seconds;

/// When to come again where nobody knows it better: a start or a short answer takes about as long.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The code of every refusal by a rate.
pub const RATE_LIMITED: &str = "rate_limited";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: Cow<'static, str>,
    pub retry_after: Option<Duration>,
    /// For 401 and 403: what would open the door.
    pub challenge: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, challenge: None }
    }

    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        let (status, code, challenge) = match error {
            // One answer whatever was wrong, so that nobody learns by trying.
            AuthError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized", String::new()),
            AuthError::MissingScope(scope) => {
                let challenge = format!(", error=\"insufficient_scope\", scope=\"{scope}\"");
                (StatusCode::FORBIDDEN, "missing_scope", challenge)
            }
            AuthError::MissingRole(role) => {
                let challenge = format!(", error=\"insufficient_scope\", scope=\"{}\"", role.scope());
                (StatusCode::FORBIDDEN, "missing_role", challenge)
            }
        };
        let challenge = Some(format!("Bearer realm=\"parlor\"{challenge}"));
        Self { challenge, ..Self::new(status, code, message) }
    }
}

impl From<Excess> for Problem {
    fn from(excess: Excess) -> Self {
        let message = excess.to_string();
        Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMITED, message).retry_after(excess.wait)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        let is_passing =
            matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(wait) = self.retry_after.or(is_passing.then_some(AGAIN_AFTER)) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path takes another method; see the `Allow` header",
    )
}
