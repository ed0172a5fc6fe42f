//! The opening of a long-lived socket from our side, and its bounds (RFC 6455 §4.1).
//!
//! The handshake is a request like any other until the protocol changes: it goes the way of all requests, to checked
//! addresses alone. What is said afterwards this does not know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_ACCEPT;
use sha1::{Digest as _, Sha1};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::plugin::services::{Socket, Stream};

/// More than a platform's webhook may weigh.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
const READ_BUFFER_BYTES: usize = 8 << 10;
/// What a client adds to its key, and a server shows that it knows.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A WebSocket over a connection whose handshake is done.
pub async fn socket(stream: Box<dyn Stream>, role: Role) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    WebSocketStream::from_raw_socket(stream, role, Some(config)).await
}

/// A nonce that no cache or proxy could have answered before.
pub(super) fn new_key() -> String {
    STANDARD.encode(uuid::Uuid::new_v4().as_bytes())
}

/// Whether the answer proves that who gave it speaks the protocol.
pub(super) fn is_proven(headers: &HeaderMap, key: &str) -> bool {
    let digest = Sha1::new_with_prefix(key).chain_update(GUID).finalize();
    headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|proof| proof == STANDARD.encode(digest).as_str())
}
