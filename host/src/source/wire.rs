//! How both kinds of source ask: with bounds on redirects, silence and size, and never from TLS down to plain HTTP.
//!
//! Proxies come from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`). A redirect to another host leaves the
//! credentials behind, as the client does by itself. It does not know what is fetched.

use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{RequestBuilder, Response, StatusCode};
use url::Url;

use super::SourceError;
use crate::config::is_loopback;

/// A server that does not take a connection by then is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A line on which nothing comes for so long is dead.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);
pub const USER_AGENT: &str = concat!("parlor/", env!("CARGO_PKG_VERSION"));
/// From a name to a release page to a file store, and some to spare.
const REDIRECTS_MAX: usize = 5;

#[derive(Debug, Clone)]
pub struct Wire(reqwest::Client);

impl Wire {
    pub fn new() -> Result<Wire, SourceError> {
        // A second call finds the first one's provider, which is the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(Policy::custom(redirect))
            .build();
        client.map(Wire).map_err(SourceError::Client)
    }

    pub fn get(&self, url: Url) -> RequestBuilder {
        // What counts are the file's own bytes.
        self.0.get(url).header(ACCEPT_ENCODING, "identity")
    }

    pub fn head(&self, url: Url) -> RequestBuilder {
        self.0.head(url)
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NotFollowed {
    #[error("it redirects more than {REDIRECTS_MAX} times")]
    TooOften,
    #[error("it redirects to plain HTTP, where anybody on the way may read and change what comes")]
    Unprotected,
}

fn redirect(attempt: Attempt<'_>) -> Action {
    match refusal(attempt.previous(), attempt.url()) {
        Some(refusal) => attempt.error(refusal),
        None => attempt.follow(),
    }
}

/// Why nobody goes from these addresses on to the next one.
fn refusal(previous: &[Url], next: &Url) -> Option<NotFollowed> {
    let was_protected = previous.iter().any(|url| url.scheme() == "https");
    let is_plain = next.scheme() != "https";
    if is_plain && (was_protected || !is_loopback(next)) {
        return Some(NotFollowed::Unprotected);
    }
    (previous.len() > REDIRECTS_MAX).then_some(NotFollowed::TooOften)
}

/// An answer of success, or "not modified".
pub async fn send(request: RequestBuilder) -> Result<Response, SourceError> {
    let response = request.send().await.map_err(unreached)?;
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    Err(SourceError::Refused { status: status.as_u16() })
}

/// The whole body, if it is not too much.
pub async fn body(mut response: Response, bytes_max: u64) -> Result<Vec<u8>, SourceError> {
    let told = response.content_length().unwrap_or(0);
    if told > bytes_max {
        return Err(SourceError::TooLarge { bytes_max });
    }
    let mut body = Vec::with_capacity(usize::try_from(told).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(unreached)? {
        if (body.len() + chunk.len()) as u64 > bytes_max {
            return Err(SourceError::TooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause, without the address: a signature may stand in the one that a redirect led to.
pub fn unreached(error: reqwest::Error) -> SourceError {
    let error = error.without_url();
    let (is_dns, is_timeout) = (error.is_dns(), error.is_timeout());
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    SourceError::Unreached(match (is_dns, is_timeout) {
        (true, _) => "its name does not resolve".to_owned(),
        (_, true) => "no answer in time".to_owned(),
        _ => cause.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest is seen from outside, by servers on this machine, which have no certificates.
    #[test]
    fn nobody_goes_from_tls_down_to_plain_http() {
        let url = |text: &str| Url::parse(text).unwrap();
        let refused = |from: &str, to: &str| refusal(&[url(from)], &url(to));
        assert_eq!(refused("https://a.example/x", "https://b.example/y"), None);
        assert_eq!(refused("http://127.0.0.1/x", "https://b.example/y"), None);
        assert_eq!(refused("http://127.0.0.1/x", "http://[::1]:9/y"), None);
        for to in ["http://a.example/y", "http://127.0.0.1/y", "ftp://a.example/y"] {
            assert_eq!(refused("https://a.example/x", to), Some(NotFollowed::Unprotected), "{to}");
        }
        let many = vec![url("https://a.example/x"); REDIRECTS_MAX + 1];
        assert_eq!(refusal(&many, &url("https://a.example/y")), Some(NotFollowed::TooOften));
        assert_eq!(refusal(&many[1..], &url("https://a.example/y")), None);
    }
}
