//! The chat page at `/`: three small files in the binary, and a token for who sits at the machine itself.
//!
//! It knows nothing of a conversation: the page talks to `/api/v1/chat` as any client does.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, FORWARDED, HOST, IF_NONE_MATCH, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::{Doors, guard};
use crate::auth::Issuer;

/// How long the page's own token lives; the page asks for another one then.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// Whose conversations those on the open page are: everybody's at this machine.
const PERSON: &str = "page";

/// Our own files alone, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How the page comes by its token.
pub enum Page {
    /// Whoever opens it types one in.
    Asks,
    /// It is given one. Only where the host listens on a loopback address, and nothing passes on to it.
    Open(Issuer),
}

/// One file, as it is sent.
#[derive(Clone, Copy)]
struct File {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

const FILES: [File; 4] = [
    File { path: "/", media_type: "text/html; charset=utf-8", bytes: include_bytes!("page/index.html") },
    File {
        path: "/page/page.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("page/page.js"),
    },
    File {
        path: "/page/page.css",
        media_type: "text/css; charset=utf-8",
        bytes: include_bytes!("page/page.css"),
    },
    File { path: "/page/icon.svg", media_type: "image/svg+xml", bytes: include_bytes!("page/icon.svg") },
];

pub fn routes() -> Router<Arc<Doors>> {
    let router = Router::new().route("/page/token", get(token));
    FILES.into_iter().fold(router, |router, file| {
        let etag = etag(file.bytes);
        router.route(file.path, get(async move |headers: HeaderMap| send(file, &etag, &headers)))
    })
}

fn etag(bytes: &[u8]) -> HeaderValue {
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(bytes)[..8]));
    HeaderValue::try_from(tag).expect("hex digits in quotes make a header value")
}

fn send(file: File, etag: &HeaderValue, headers: &HeaderMap) -> Response {
    let head = [
        (ETAG, etag.clone()),
        // To be asked for each time, and answered by 304: an upgrade shows at once.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
        (CONTENT_TYPE, HeaderValue::from_static(file.media_type)),
    ];
    if knows(headers, etag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, file.bytes).into_response()
}

/// Whether the browser's copy is this very file (RFC 9110 §13.1.2).
fn knows(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Some(known) = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    known.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == *etag)
}

/// A token for the page itself, and for nobody who reaches it in another way.
async fn token(
    State(doors): State<Arc<Doors>>,
    version: Version,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Page::Open(issuer) = &doors.page else { return Err(super::problem::not_found().await) };
    if !is_at_this_machine(version, &uri, &headers) {
        let message = "the page's token is only for a browser on this machine; get one by `parlor token`";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not_local", message));
    }
    let token = issuer.issue(&[guard::CHAT_WRITE], TOKEN_LIFE, Some(PERSON)).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot issue the page's token");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "no token could be made; the log knows more",
        )
    })?;
    let body = Json(json!({ "token": token, "expires_in": TOKEN_LIFE.as_secs() }));
    Ok(([(CACHE_CONTROL, "no-store"), (RESOURCE_POLICY, "same-origin")], body).into_response())
}

/// A page elsewhere can point its own name at 127.0.0.1 (DNS rebinding), but not choose the `Host` that the
/// browser sends then; nor can it forge `Sec-Fetch-Site`. A proxy betrays itself by what it adds, or by the
/// HTTP/1.0 that common ones speak unless told otherwise.
fn is_at_this_machine(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_proxied = [FORWARDED, VIA, X_FORWARDED_FOR, X_FORWARDED_HOST, X_REAL_IP]
        .iter()
        .any(|name| headers.contains_key(name));
    let site = only(headers, &SEC_FETCH_SITE);
    let is_own = matches!(site, Some("same-origin" | "none"));
    let host = uri.authority().map(http::uri::Authority::as_str).or_else(|| only(headers, &HOST));
    version >= Version::HTTP_11 && !is_proxied && is_own && host.is_some_and(is_loopback)
}

/// The value of a header that came exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether a `Host` names this machine to itself, by number or as `localhost`.
fn is_loopback(host: &str) -> bool {
    let Some(authority) = host.parse::<http::uri::Authority>().ok().filter(|_| !host.contains('@')) else {
        return false;
    };
    let name = authority.host();
    let number = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    number.map_or_else(|_| name.eq_ignore_ascii_case("localhost"), |number| number.is_loopback())
}
