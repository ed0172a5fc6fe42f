//! Whether a request may pass: its bearer token and the scope that a door needs.
//!
//! It takes a token from the `Authorization` header alone. What a token is, `auth` knows.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::problem::Problem;
use crate::auth::{AuthError, Caller, Reason, Verifier};
use crate::telemetry;

pub const CHAT_WRITE: &str = "chat:write";
pub const METRICS_READ: &str = "metrics:read";

/// Who calls, or 401, or 403. The log learns why, the caller does not.
pub fn caller(verifier: &Verifier, headers: &HeaderMap, needed_scope: &str) -> Result<Caller, Problem> {
    let verified = match bearer(headers) {
        Some(token) => verifier.verify(token, needed_scope),
        None => Err(AuthError::Unauthorized(Reason::Missing)),
    };
    let caller = verified.inspect_err(log_refusal)?;
    tracing::debug!(person = telemetry::person(&caller.person), scope = needed_scope, "token accepted");
    Ok(caller)
}

fn log_refusal(error: &AuthError) {
    match error {
        AuthError::Unauthorized(reason) => {
            tracing::info!(event.action = "authenticate", event.outcome = "failure", %reason, "token refused");
        }
        AuthError::MissingScope(scope) => {
            tracing::info!(
                event.action = "authorize",
                event.outcome = "failure",
                scope,
                "token lacks a scope"
            );
        }
    }
}

/// The token of the one `Authorization: Bearer …` header; two such headers are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_alone = values.next().is_none();
    (is_alone && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}
