//! HTTP both ways: the request that a platform sent, and requests of our own through the host.
//!
//! Outward, the host owns the connections: only hosts that the manifest names, no redirects, and
//! `${secret:NAME}`, `${token:NAME}`, `${setting:NAME}` only at the places that the manifest names;
//! elsewhere they are plain text. Refused while a request is being received.

use std::time::Duration;

use crate::{encoding, fault::Fault, json::Value, seam};

/// One HTTP request, exactly as the platform sent it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpRequest {
    /// Such as `POST`.
    pub method: String,
    /// The public URL that the platform called, for schemes that sign it.
    pub url: String,
    /// Path below the channel's own mount point, with a leading slash.
    pub path: String,
    /// Raw query string, without the question mark; empty if there is none.
    pub query: String,
    /// In arrival order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// A POST of `body` to the channel's root, for tests.
    pub fn post(body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST".into(), path: "/".into(), body: body.into(), ..Self::default() }
    }

    /// The same with a header; the name is put in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The first query field of this name, percent-decoded (`+` is a space).
    pub fn query_value(&self, name: &str) -> Option<String> {
        let mut fields = self.query.split('&').map(|field| field.split_once('=').unwrap_or((field, "")));
        let (_, value) = fields.find(|(key, _)| *key == name)?;
        encoding::percent_decode(&value.replace('+', " "))
    }

    /// The body as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&str, Fault> {
        std::str::from_utf8(&self.body).map_err(|_| Fault::invalid("the body is not UTF-8"))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not; the reason says why.
    pub fn json(&self) -> Result<Value, Fault> {
        Value::read(self.text()?)
            .map_err(|error| Fault::invalid(format!("the body is refused: {}", error.reason())))
    }
}

/// One HTTP response, ours or a server's.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    /// Such as 200.
    pub status: u16,
    /// In order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it is.
    pub body: Vec<u8>,
}

impl Default for HttpResponse {
    /// An empty 200.
    fn default() -> Self {
        Self::new(200)
    }
}

impl HttpResponse {
    /// An empty response.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let response = Self { body: text.into().into_bytes(), ..Self::new(status) };
        response.with_header("content-type", "text/plain; charset=utf-8")
    }

    /// `value` as JSON.
    pub fn json(status: u16, value: &Value) -> Self {
        let response = Self { body: value.canonical().into_bytes(), ..Self::new(status) };
        response.with_header("content-type", "application/json")
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; none if it is not.
    pub fn parse(&self) -> Option<Value> {
        Value::read_bytes(&self.body).ok()
    }

    /// `Retry-After` in milliseconds, where it counts seconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.header("retry-after")?.trim().parse::<u64>().ok()?.checked_mul(1000)
    }
}

/// A piece of an outward body.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyPart {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The host streams an attachment's bytes in.
    Attachment(String),
}

/// A request of ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbound {
    /// Such as `POST`.
    pub method: String,
    /// Where to.
    pub url: String,
    /// In order.
    pub headers: Vec<(String, String)>,
    /// Pieces, joined by the host.
    pub body: Vec<BodyPart>,
    /// None: the host's own.
    pub timeout: Option<Duration>,
    /// Requests of one key share a rate of the manifest: a chat, a group, a robot.
    pub limit_key: Option<String>,
}

impl Outbound {
    /// A request without a body.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), ..Self::default() }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with bytes added to the body.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body.push(BodyPart::Bytes(bytes.into()));
        self
    }

    /// The same with `value` as a JSON body.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.canonical())
    }

    /// The same under a rate of the manifest.
    #[must_use]
    pub fn limit_key(mut self, key: impl Into<String>) -> Self {
        self.limit_key = Some(key.into());
        self
    }

    /// The same with a time-out of its own.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it. Any status is a response.
    ///
    /// # Errors
    /// It was not sent, or no response came; see [`Failure::request_sent`].
    pub fn send(self) -> Result<HttpResponse, Failure> {
        seam::send(self)
    }
}

/// Why no response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The manifest or the operator does not allow it.
    Denied,
    /// No such host.
    Unresolved,
    /// Nobody listens.
    Refused,
    /// Too slow.
    TimedOut,
    /// The connection broke.
    Broken,
    /// The response is too large.
    TooLarge,
    /// A rate of the manifest is used up.
    Throttled,
    /// None of these.
    Other,
}

/// No response came.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// For an operator.
    pub reason: String,
    /// The bytes may have reached the other side: a blind repeat could double the effect.
    pub request_sent: bool,
    /// When a retry is welcome.
    pub retry_after_ms: Option<u64>,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        use crate::fault::FaultKind;
        let kind = match failure.kind {
            FailureKind::Throttled => FaultKind::Throttled,
            FailureKind::Denied => FaultKind::Other,
            _ if failure.request_sent => FaultKind::Uncertain,
            _ => FaultKind::Unavailable,
        };
        Self { kind, reason: failure.reason, retry_after_ms: failure.retry_after_ms }
    }
}

/// The platform said that the token which this call last used is stale: the next use mints a new
/// one, unless somebody did meanwhile.
pub fn expire_token(name: &str) {
    seam::expire_token(name);
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
