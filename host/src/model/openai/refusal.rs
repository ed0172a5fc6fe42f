//! What a server means when it does not answer: a status, an error object, a few words.
//!
//! It judges whose fault it is. It does not know waiting (`retry`) nor
//! the answer's own form (`answer`).

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::retry::{Failure, Health, Retry, retry_after};
use super::scrubber::Scrubber;
use crate::model::ModelError;

/// Bytes of an error body that are read; the message stands at its beginning.
const ERROR_BODY_BYTES_MAX: usize = 64 << 10;
/// How long an error body may take: the status is known, the words are a courtesy.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);
/// What a caller is told when the server is busy and does not say for how long.
pub const BUSY_FOR: Duration = Duration::from_secs(5);

/// Reads the body of a response that is no success, and judges both.
pub async fn read(response: Response, deadline: Instant, scrubber: &Scrubber) -> Failure {
    let status = response.status();
    let after = retry_after(response.headers());
    let body = beginning(response, deadline.min(Instant::now() + ERROR_BODY_TIME)).await;
    let complaint = match serde_json::from_slice(&body) {
        Ok(value) => Complaint::of(&value),
        Err(_) => Complaint { words: String::from_utf8_lossy(&body).into_owned(), ..Complaint::default() },
    };
    judge(status, after, &complaint, scrubber)
}

async fn beginning(response: Response, until: Instant) -> Vec<u8> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while body.len() < ERROR_BODY_BYTES_MAX {
        match timeout_at(until, chunks.next()).await {
            Ok(Some(Ok(chunk))) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    body.truncate(ERROR_BODY_BYTES_MAX);
    body
}

/// An error object that came where an answer was due.
pub fn judge_object(error: &Value, scrubber: &Scrubber) -> Failure {
    let complaint = Complaint::of(error);
    judge(complaint.status(), None, &complaint, scrubber)
}

/// A server's words about an error object, fit to be read.
pub fn words(error: &Value, scrubber: &Scrubber) -> String {
    scrubber.clean(&Complaint::of(error).words)
}

fn judge(status: StatusCode, after: Option<Duration>, complaint: &Complaint, scrubber: &Scrubber) -> Failure {
    let words = format!("status {}: {}", status.as_u16(), scrubber.clean(&complaint.words));
    let words = words.trim_end_matches([':', ' ']).to_owned();
    match status.as_u16() {
        429 if complaint.has_code("insufficient_quota") => Failure::lasting(ModelError::Denied(words)),
        429 => later(ModelError::Busy { retry_after: after.unwrap_or(BUSY_FOR) }, after),
        // 409: the server lost a race for a lock of its own, as the official clients read it
        408 | 409 => later(passing_error(after, words), after),
        500.. => later(passing_error(after, words), after).that_tells(Health::Ill),
        // a wrong key or address, no right to the model, no such model, nothing paid
        300..=399 | 401..=404 => Failure::lasting(ModelError::Denied(words)),
        _ => Failure::lasting(complaint.context_exceeded().unwrap_or(ModelError::Refused(words))),
    }
}

fn later(error: ModelError, after: Option<Duration>) -> Failure {
    Failure { retry: Retry::Later { after }, ..Failure::lasting(error) }
}

fn passing_error(after: Option<Duration>, words: String) -> ModelError {
    after.map_or(ModelError::Unavailable(words), |retry_after| ModelError::Busy { retry_after })
}

/// What can be read out of the many forms of an error.
#[derive(Debug, Default)]
struct Complaint {
    words: String,
    /// `code` and `type`, whichever are there.
    codes: Vec<String>,
    number: Option<u16>,
    /// The prompt's tokens and the context's, where a server has fields for them.
    tokens: Option<(u32, u32)>,
}

impl Complaint {
    /// Of `{"error": {"message", "code", "type"}}`, `{"error": "…"}`, `{"message": "…"}`, `{"detail": "…"}`.
    fn of(value: &Value) -> Self {
        let inner = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
        let text = |name: &str| inner.get(name).and_then(Value::as_str);
        let number = |name: &str| inner.get(name).and_then(Value::as_u64);
        let words = inner.as_str().or_else(|| text("message")).or_else(|| text("detail"));
        let small = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
        Self {
            words: words.unwrap_or_default().to_owned(),
            codes: ["code", "type"].iter().filter_map(|name| text(name)).map(str::to_owned).collect(),
            number: number("code").or(number("status")).and_then(|number| u16::try_from(number).ok()),
            tokens: small("n_prompt_tokens").zip(small("n_ctx")),
        }
    }

    fn has_code(&self, part: &str) -> bool {
        self.codes.iter().any(|code| code.contains(part))
    }

    /// The status that this error would have had, had it come before the answer began.
    fn status(&self) -> StatusCode {
        let own = self.number.or_else(|| self.codes.iter().find_map(|code| code.parse().ok()));
        let own = own.and_then(|number| StatusCode::from_u16(number).ok());
        if let Some(status) = own.filter(|status| status.as_u16() >= 400) {
            return status;
        }
        let lasting = ["invalid", "auth", "permission", "not_found", "quota", "context"];
        if self.has_code("rate_limit") {
            StatusCode::TOO_MANY_REQUESTS
        } else if lasting.iter().any(|part| self.has_code(part)) {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }

    fn context_exceeded(&self) -> Option<ModelError> {
        let said = self.has_code("context_length_exceeded")
            || self.has_code("exceed_context_size")
            || self.words.contains("maximum context length");
        let (one, other) = self.tokens.or_else(|| first_numbers(&self.words)).filter(|_| said)?;
        // the prompt is what did not fit, so it is the larger
        Some(ModelError::ContextExceeded { prompt_tokens: one.max(other), context_tokens: one.min(other) })
    }
}

/// The first two numbers, as in "maximum context length is 4097 tokens … resulted in 5000 tokens".
fn first_numbers(words: &str) -> Option<(u32, u32)> {
    let mut numbers = words.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    numbers.next().zip(numbers.next())
}
