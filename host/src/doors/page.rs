//! The chat page at `/`: its files and their policy, and a token for who sits at the machine itself.
//!
//! It knows nothing of a conversation: the page talks to the chat doors as any client does. The page's own code is
//! in `page/`, from `page/page.js` on; how it is sent, in `files`.

mod files;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, FORWARDED, HOST, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use serde_json::json;

use super::problem::Problem;
use super::{Doors, guard};
use crate::auth::Issuer;

/// How long the page's own token lives; the page asks for another one then.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// Whose conversations those on the open page are: everybody's at this machine.
const PERSON: &str = "page";

/// Our own files alone, nothing inline, no frame around it; and text becomes markup by the purifier alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify";

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

pub fn routes() -> Router<Arc<Doors>> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| guarded(files::index(&headers))))
        .route("/page/token", get(token))
        .route("/page/{*name}", get(file))
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    match files::named(&name, &headers) {
        Some(response) => Ok(guarded(response)),
        None => Err(super::problem::not_found().await),
    }
}

fn guarded(response: Response) -> Response {
    let head = [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (head, response).into_response()
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
