//! The body of a question, parsed strictly: a misspelt field is refused by name, not passed over.

use http::StatusCode;
use serde::Deserialize;

use super::Question;
use crate::auth::Caller;
use crate::doors::problem::Problem;
use crate::message::Favour;

/// The longest question: some ten thousand words, more than the context of a small model.
pub const QUERY_BYTES_MAX: usize = 32 * 1024;
/// The longest session id; a UUID takes 36.
pub const SESSION_ID_CHARS_MAX: usize = 128;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    query: String,
    session_id: Option<String>,
    #[serde(default)]
    pub stream: bool,
}

impl Asked {
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        // A list of values in the right order would pass for an object otherwise.
        if body.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
            return Err(invalid("the body is not a JSON object".to_owned()));
        }
        let asked: Asked =
            serde_json::from_slice(body).map_err(|error| invalid(format!("the body: {error}")))?;
        asked.check()?;
        Ok(asked)
    }

    fn check(&self) -> Result<(), Problem> {
        check_query(&self.query)?;
        self.session_id.as_deref().map_or(Ok(()), |id| check_id("session_id", id))
    }

    pub fn question(self, caller: Caller, request_id: String, favour: Favour) -> Question {
        let Caller { person, token_id: key, .. } = caller;
        Question { query: self.query, session_id: self.session_id, person, key, request_id, favour }
    }
}

pub fn check_query(query: &str) -> Result<(), Problem> {
    if query.trim().is_empty() {
        return Err(invalid("`query` is empty".to_owned()));
    }
    if query.len() > QUERY_BYTES_MAX {
        let message = format!("`query` is longer than {QUERY_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "query_too_long", message));
    }
    Ok(())
}

/// An id that a caller chose, in the field of this name.
pub fn check_id(field: &str, id: &str) -> Result<(), Problem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if (1..=SESSION_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_plain) {
        return Ok(());
    }
    Err(invalid(format!(
        "`{field}` takes 1 to {SESSION_ID_CHARS_MAX} letters, digits and `.`, `_`, `:`, `-`"
    )))
}

pub fn invalid(message: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}
