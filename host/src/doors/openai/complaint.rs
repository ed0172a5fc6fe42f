//! What this door says when it says no, as the official clients read it:
//! `{"error":{"message","type","param","code"}}`.
//!
//! The clients make exceptions of their own out of the status, repeat 408, 409, 429 and 5xx by themselves, and obey
//! `Retry-After` when they do. See <https://platform.openai.com/docs/guides/error-codes>.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::doors::problem::Problem;
use crate::message::{Trouble, TroubleKind};

/// The caller's to mend.
const INVALID_REQUEST: &str = "invalid_request_error";
const SERVER_ERROR: &str = "server_error";

#[derive(Debug, Clone)]
pub struct Complaint {
    /// Its shape alone is not this door's.
    problem: Problem,
    /// The parameter that is wrong, such as `messages[0].role`.
    param: Option<String>,
}

impl Complaint {
    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { problem: Problem::new(status, code, message), param: None }
    }

    fn about(param: impl Into<String>, code: &'static str, message: String) -> Self {
        Self { param: Some(param.into()), ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }

    /// The body as a whole cannot be read.
    pub fn unreadable(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    /// `rule` goes on after the parameter's name: "must be a text".
    pub fn invalid(param: impl Into<String>, rule: &str) -> Self {
        let param = param.into();
        let message = format!("`{param}` {rule}");
        Self::about(param, "invalid_value", message)
    }

    pub fn missing(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("`{param}` is missing");
        Self::about(param, "missing_required_parameter", message)
    }

    /// Known to the API, and nothing here could do it. `advice` says what to do instead, or why.
    pub fn unsupported(param: impl Into<String>, advice: &str) -> Self {
        let param = param.into();
        let message = format!("`{param}` is not supported: {advice}");
        Self::about(param, "unsupported_parameter", message)
    }

    pub fn unknown(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("`{param}` is no parameter that is known here; leave it out");
        Self::about(param, "unknown_parameter", message)
    }

    pub fn no_such_model(id: &str) -> Self {
        let message = format!("there is no model `{id}`; `GET /v1/models` lists those that there are");
        let problem = Problem::new(StatusCode::NOT_FOUND, "model_not_found", message);
        Self { problem, param: Some("model".to_owned()) }
    }

    pub fn no_such_path() -> Self {
        let message =
            "there is nothing at this path; there are `POST /v1/chat/completions` and `GET /v1/models`";
        Self::new(StatusCode::NOT_FOUND, "unknown_url", message)
    }

    pub fn other_method() -> Self {
        let message = "this path takes another method; see the `Allow` header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// A stream that ended without its last step.
    pub fn broken() -> Self {
        Trouble::new(TroubleKind::Broken, "the answer broke off; ask again").into()
    }

    pub fn body(&self) -> Value {
        let Problem { code, message, .. } = &self.problem;
        json!({ "error": { "message": message, "type": self.kind(), "param": self.param, "code": code } })
    }

    fn kind(&self) -> &'static str {
        match self.problem.status {
            StatusCode::TOO_MANY_REQUESTS => "requests",
            status if status.is_client_error() => INVALID_REQUEST,
            _ => SERVER_ERROR,
        }
    }
}

/// What all doors say has another shape and another word for a wrong key.
impl From<Problem> for Complaint {
    fn from(problem: Problem) -> Self {
        let code = match problem.status {
            StatusCode::UNAUTHORIZED => "invalid_api_key",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_exceeded",
            _ => problem.code,
        };
        Self { problem: Problem { code, ..problem }, param: None }
    }
}

impl From<Trouble> for Complaint {
    fn from(trouble: Trouble) -> Self {
        let (status, code) = match trouble.kind {
            TroubleKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
            TroubleKind::TooLong => (StatusCode::BAD_REQUEST, "context_length_exceeded"),
            TroubleKind::Refused => (StatusCode::BAD_REQUEST, "model_refused"),
            TroubleKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            TroubleKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            TroubleKind::Broken => (StatusCode::BAD_GATEWAY, "answer_broken"),
            TroubleKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let param = (trouble.kind == TroubleKind::TooLong).then(|| "messages".to_owned());
        let retry_after = trouble.retry_after.map(at_least_a_second);
        Self { problem: Problem { retry_after, ..Problem::new(status, code, trouble.sentence) }, param }
    }
}

/// The clients take 0 for "not said" and come back at once.
fn at_least_a_second(wait: Duration) -> Duration {
    wait.max(Duration::from_secs(1))
}

impl IntoResponse for Complaint {
    fn into_response(self) -> Response {
        let body = Json(self.body()).into_response().into_body();
        self.problem.into_response().map(|_| body)
    }
}
