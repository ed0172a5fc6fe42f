//! A file by HTTPS, asked for again only if it is another one by now (RFC 9110, section 13).
//!
//! The mark is what the server said of the file: its `ETag`, else `Last-Modified`.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::wire::{self, Wire};
use super::{Brought, Look, SourceError};

/// A server that says more about a file than this says nothing.
const MARK_BYTES_MAX: usize = 512;
/// How a mark begins, by what it is, and how the server is asked with it.
const MARKS: [(&str, &str, &str); 2] =
    [("etag ", "etag", "if-none-match"), ("modified ", "last-modified", "if-modified-since")];

#[derive(Debug)]
pub struct File {
    url: Url,
    token: Option<SecretString>,
    wire: Wire,
    bytes_max: u64,
}

impl File {
    pub fn new(url: Url, token: Option<SecretString>, wire: Wire, bytes_max: u64) -> File {
        File { url, token, wire, bytes_max }
    }

    pub async fn look(&self, mark: Option<&str>) -> Result<Look, SourceError> {
        let response = wire::send(with_mark(self.with_token(self.wire.get(self.url.clone())), mark)).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Look::Same);
        }
        let mark = mark_of(response.headers());
        let bytes = wire::body(response, self.bytes_max).await?;
        Ok(Look::Brought(Brought { bytes, mark }))
    }

    pub async fn examine(&self) -> Result<(), SourceError> {
        let answer = wire::send(self.with_token(self.wire.head(self.url.clone()))).await;
        let length = match answer {
            Ok(response) => response.headers().get(CONTENT_LENGTH).cloned(),
            // There is somebody, who answers another method.
            Err(SourceError::Refused { status: 405 | 501 }) => None,
            Err(error) => return Err(error),
        };
        let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let bytes_max = self.bytes_max;
        if length.is_some_and(|length| length > bytes_max) {
            return Err(SourceError::TooLarge { bytes_max });
        }
        Ok(())
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }
}

fn with_mark(request: RequestBuilder, mark: Option<&str>) -> RequestBuilder {
    let asked = MARKS.iter().find_map(|(kind, _, condition)| Some((condition, mark?.strip_prefix(*kind)?)));
    match asked {
        Some((condition, value)) => request.header(*condition, value),
        None => request,
    }
}

fn mark_of(headers: &HeaderMap) -> Option<String> {
    MARKS.iter().find_map(|(kind, said, _)| {
        let value = headers.get(*said)?.to_str().ok().filter(|value| value.len() <= MARK_BYTES_MAX)?;
        Some(format!("{kind}{value}"))
    })
}
