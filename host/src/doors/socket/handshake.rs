//! The opening of a WebSocket: what the request must be, and the response that changes the protocol (RFC 6455
//! §4.2).
//!
//! It does not know tokens, nor what is said afterwards.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use sha1::{Digest as _, Sha1};

use crate::doors::problem::Problem;

/// The only version there is.
const VERSION: &str = "13";
const KEY_BYTES: usize = 16;
/// What a server adds to the client's key to show that it speaks the protocol (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why no WebSocket is opened.
pub enum Unopened {
    /// The request may well be good, but opens none.
    Plain,
    Refused(Problem),
}

/// 101 for a request that opens a WebSocket.
pub fn accept(request: &Request) -> Result<Response, Unopened> {
    let headers = request.headers();
    let is_opening = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_word(headers, &CONNECTION, "upgrade")
        && has_word(headers, &UPGRADE, "websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == VERSION);
    if !is_opening {
        return Err(Unopened::Plain);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_key(key)).ok_or_else(bad_key)?;
    let head = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, proof(key)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, head, Body::empty()).into_response())
}

impl From<Problem> for Unopened {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl IntoResponse for Unopened {
    fn into_response(self) -> Response {
        match self {
            Unopened::Refused(problem) => problem.into_response(),
            Unopened::Plain => upgrade_required(),
        }
    }
}

fn bad_key() -> Problem {
    let message = "`Sec-WebSocket-Key` is not 16 bytes in base64";
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

fn upgrade_required() -> Response {
    let message = "this path is a WebSocket: open it by HTTP/1.1 with version 13 of the protocol, or ask by \
        `POST /api/v1/chat`";
    let head = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION)),
    ];
    (head, Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)).into_response()
}

/// Whether a list of words has this one, however it is written.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}

fn is_key(key: &HeaderValue) -> bool {
    STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES)
}

fn proof(key: &HeaderValue) -> HeaderValue {
    let digest = Sha1::new_with_prefix(key).chain_update(GUID).finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 makes a header value")
}
