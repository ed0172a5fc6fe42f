//! The pooled clients: one request out, one bounded response back, and what went wrong told truthfully.
//!
//! It knows no manifest. Where an origin has a stand-in in `endpoints` the request goes there, whatever its
//! address, but to a cloud's metadata; everything else reaches public addresses only.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::{Client, redirect, retry};
use url::{Host, Url};

use super::address::{is_metadata, is_public};
use super::destination::denied;
use super::network::{Network, Request};
use super::resolve::{Public, ResolveError, Resolver, Trusted};
use crate::message::HttpResponse;
use crate::plugin::services::{FailureKind, HttpFailure};

/// Fits any API's answer; files come by way of `locate`.
pub const RESPONSE_BYTES_MAX: usize = 4 << 20;
/// What a guest can hold, and more than any API takes.
const REQUEST_BYTES_MAX: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed before most servers close them, so that few requests meet a dead one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);
const IDLE_PER_HOST_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Wire {
    endpoints: BTreeMap<String, Url>,
    /// Connects to public addresses only.
    checked: Client,
    /// For stand-ins: the operator's word.
    open: Client,
}

/// reqwest asks for a provider where several could be; the process has one.
fn install_provider() {
    // A second call finds the first one's provider, which is the same.
    let _already = rustls::crypto::ring::default_provider().install_default();
}

fn client() -> reqwest::ClientBuilder {
    install_provider();
    Client::builder()
        .no_proxy()
        .referer(false)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .user_agent(concat!("parlor/", env!("CARGO_PKG_VERSION")))
}

impl Wire {
    pub(super) fn new(
        endpoints: BTreeMap<String, Url>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, reqwest::Error> {
        let checked = client().dns_resolver(Arc::new(Public(resolver.clone()))).build()?;
        let open = client().dns_resolver(Arc::new(Trusted(resolver))).build()?;
        let origin = |text: String| Url::parse(&text).map_or(text, |url| url.origin().ascii_serialization());
        let endpoints = endpoints.into_iter().map(|(from, to)| (origin(from), to)).collect();
        Ok(Self { endpoints, checked, open })
    }

    fn outbound(&self, request: Request) -> Result<reqwest::RequestBuilder, HttpFailure> {
        if request.body.len() > REQUEST_BYTES_MAX {
            let reason = format!("the request's body is over {} MiB", REQUEST_BYTES_MAX >> 20);
            return Err(unsent(FailureKind::TooLarge, reason));
        }
        let method =
            Method::from_bytes(request.method.as_bytes()).map_err(|_| denied("no such HTTP method"))?;
        let headers = header_map(&request.headers)?;
        let (client, url) = self.route(request.url)?;
        let outbound = client.request(method, url).headers(headers);
        Ok(if request.body.is_empty() { outbound } else { outbound.body(request.body) })
    }

    /// The client and the URL that really serve this URL.
    fn route(&self, url: Url) -> Result<(&Client, Url), HttpFailure> {
        if let Some(other) = self.endpoints.get(&url.origin().ascii_serialization()) {
            if literal(other).is_some_and(is_metadata) {
                return Err(metadata(url.host_str().unwrap_or_default()));
            }
            return Ok((&self.open, stand_in(&url, other)));
        }
        if literal(&url).is_some_and(|address| !is_public(address)) {
            return Err(private(url.host_str().unwrap_or_default()));
        }
        Ok((&self.checked, url))
    }
}

/// The address that a URL has in place of a name.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

#[async_trait]
impl Network for Wire {
    async fn exchange(&self, request: Request) -> Result<HttpResponse, HttpFailure> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let timeout = request.timeout;
        let outbound = self.outbound(request)?;
        let exchange = async {
            let response = outbound.send().await.map_err(|error| failure(&host, error))?;
            read(&host, response).await
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(sent(FailureKind::TimedOut, format!("`{host}` did not answer in {timeout:?}"))),
        }
    }
}

/// The same path and query at another origin, below that one's own path.
fn stand_in(url: &Url, other: &Url) -> Url {
    let mut to = other.clone();
    to.set_path(&format!("{}{}", other.path().trim_end_matches('/'), url.path()));
    to.set_query(url.query());
    to.set_fragment(None);
    to
}

fn private(host: &str) -> HttpFailure {
    denied(format!(
        "`{host}` leads to no public address: an operator may name a stand-in for it under `endpoints`"
    ))
}

fn metadata(host: &str) -> HttpFailure {
    denied(format!(
        "the stand-in for `{host}` under `endpoints` is where a cloud hands out credentials: no plugin may call there"
    ))
}

pub(super) fn unsent(kind: FailureKind, reason: impl Into<String>) -> HttpFailure {
    HttpFailure { kind, reason: reason.into(), request_sent: false, retry_after: None }
}

fn sent(kind: FailureKind, reason: impl Into<String>) -> HttpFailure {
    HttpFailure { kind, reason: reason.into(), request_sent: true, retry_after: None }
}

/// Whether this header is the host's own to set.
pub(super) fn is_reserved(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        // A packed answer could not be scrubbed.
        "accept-encoding",
    ];
    RESERVED.contains(&name) || name.starts_with("proxy-")
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, HttpFailure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| denied("a header has no proper name"))?;
        if is_reserved(name.as_str()) {
            return Err(denied(format!("the header `{name}` is the host's to set: leave it out")));
        }
        // Neither the name's neighbours nor the value are told: it may hold a secret.
        let wrong =
            || denied(format!("the value of header `{name}` holds control characters or line breaks"));
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
        map.append(name, value);
    }
    Ok(map)
}

async fn read(host: &str, response: reqwest::Response) -> Result<HttpResponse, HttpFailure> {
    let status = response.status().as_u16();
    let named = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    };
    let headers: Vec<(String, String)> = response.headers().iter().filter_map(named).collect();
    if headers.iter().any(|(name, value)| name == "content-encoding" && value != "identity") {
        return Err(sent(
            FailureKind::Broken,
            format!("`{host}` answered packed, though nobody asked for it"),
        ));
    }
    let too_large = || {
        sent(
            FailureKind::TooLarge,
            format!("`{host}` answered with more than {} MiB", RESPONSE_BYTES_MAX >> 20),
        )
    };
    if response.content_length().is_some_and(|length| length > RESPONSE_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| failure(host, error))?;
        if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpResponse { status, headers, body: body.freeze() })
}

/// The cause in words, without the URL: a secret may stand in it.
fn failure(host: &str, error: reqwest::Error) -> HttpFailure {
    let error = error.without_url();
    if let Some(cause) = cause::<ResolveError>(&error) {
        return match cause {
            ResolveError::Private => private(host),
            ResolveError::Metadata => metadata(host),
            ResolveError::Unresolved => unsent(FailureKind::Unresolved, format!("`{host}` does not resolve")),
        };
    }
    if error.is_dns() {
        return unsent(FailureKind::Unresolved, format!("`{host}` does not resolve"));
    }
    if error.is_connect() {
        let kind = if error.is_timeout() { FailureKind::TimedOut } else { FailureKind::Refused };
        return unsent(kind, format!("cannot connect to `{host}`: {}", root(&error)));
    }
    if error.is_builder() {
        return unsent(FailureKind::Other, format!("the request to `{host}` cannot be built"));
    }
    sent(FailureKind::Broken, format!("the exchange with `{host}` broke off: {}", root(&error)))
}

fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn root(error: &(dyn StdError + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
