//! Whether a request may pass: its bearer token and the scope that a door needs.
//!
//! It takes a token from the `Authorization` header, and from the query only for a door that browsers can open
//! in no other way. What a token is, `auth` knows.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, StatusCode};
use url::form_urlencoded;

use super::problem::Problem;
use crate::auth::{AuthError, Caller, Reason, Role, Verifier};
use crate::message::Favour;
use crate::telemetry;

pub const CHAT_WRITE: &str = "chat:write";
pub const METRICS_READ: &str = "metrics:read";
pub const LOGS_READ: &str = "logs:read";
/// All that a door asks for. Roles are beside them.
pub const SCOPES: [&str; 3] = [CHAT_WRITE, METRICS_READ, LOGS_READ];

/// The header by which an administrator chooses releases.
const RELEASE: HeaderName = HeaderName::from_static("parlor-release");

/// The query's field for a token.
const TOKEN: &str = "token";

/// Who calls, or 401, or 403. The log learns why, the caller does not.
pub fn caller(verifier: &Verifier, headers: &HeaderMap, needed_scope: &str) -> Result<Caller, Problem> {
    verify(verifier, bearer(headers), needed_scope)
}

/// The same for a WebSocket, for which a browser sets no headers: its token may stand in the query, as `token`.
pub fn caller_by_query(
    verifier: &Verifier,
    headers: &HeaderMap,
    query: &str,
    needed_scope: &str,
) -> Result<Caller, Problem> {
    let mut tokens = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == TOKEN);
    let (in_query, in_header) = (tokens.next(), bearer(headers));
    if tokens.next().is_some() || (in_query.is_some() && in_header.is_some()) {
        let message = "send one token: as `token` in the query or in the `Authorization` header";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message));
    }
    verify(verifier, in_query.as_ref().map(|(_, token)| &**token).or(in_header), needed_scope)
}

/// Who calls, if he is at least this.
pub fn operator(verifier: &Verifier, headers: &HeaderMap, needed: Role) -> Result<(Caller, Role), Problem> {
    let verified = match bearer(headers) {
        Some(token) => verifier.caller(token),
        None => Err(AuthError::Unauthorized(Reason::Missing)),
    };
    let ranked = verified.and_then(|caller| match Role::of(&caller.scopes) {
        Some(role) if role >= needed => Ok((caller, role)),
        _ => Err(AuthError::MissingRole(needed)),
    });
    Ok(ranked.inspect_err(log_refusal)?)
}

/// Which releases a request is for. Only administrators may say so.
///
/// # Errors
/// 400 for a word that means nothing here, 401 or 403 for somebody else.
pub fn favour(verifier: &Verifier, headers: &HeaderMap) -> Result<Favour, Problem> {
    let Some(wanted) = headers.get(RELEASE) else { return Ok(Favour::Its) };
    operator(verifier, headers, Role::Admin)?;
    match wanted.as_bytes() {
        b"candidate" => Ok(Favour::Candidate),
        b"stable" => Ok(Favour::Stable),
        _ => {
            let message = "`parlor-release` is `candidate` or `stable`";
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message))
        }
    }
}

fn verify(verifier: &Verifier, token: Option<&str>, needed_scope: &str) -> Result<Caller, Problem> {
    let verified = match token {
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
        AuthError::MissingRole(role) => {
            tracing::info!(event.action = "authorize", event.outcome = "failure", %role, "token lacks a role");
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
