//! What a plugin may reach of the host, as seen from the plugin's side.
//!
//! The traits live here, with the one who needs them; `egress` implements `Http`, `store` sits behind
//! `Memory`, and `app` puts them together for each channel and plugin. Nothing here knows wasmtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;

use crate::clock::Clock;
use crate::message::HttpResponse;
use crate::plugin::Endpoint;
use crate::plugin::secrets::Secrets;

/// An HTTP request that a plugin wants sent. Placeholders are still in it.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub timeout: Option<Duration>,
    /// Requests of one key share a rate of the manifest.
    pub limit_key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    Denied,
    Unresolved,
    Refused,
    TimedOut,
    Broken,
    TooLarge,
    Throttled,
    Other,
}

/// Why a request brought no response. The reason holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HttpFailure {
    pub kind: FailureKind,
    pub reason: String,
    /// The bytes may have reached the other side: a blind repeat could double the effect.
    pub request_sent: bool,
    pub retry_after: Option<Duration>,
}

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open WebSocket, whatever carries it.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// An answer, but no socket.
    #[error("the handshake was answered with status {}", .0.status)]
    Refused(HttpResponse),
    #[error(transparent)]
    Failed(#[from] HttpFailure),
}

/// HTTP by permission, for one plugin on one channel.
#[async_trait]
pub trait Http: Send + Sync + std::fmt::Debug {
    async fn send(&self, request: Outbound) -> Result<HttpResponse, HttpFailure>;
    /// The platform called the token stale: the next use mints a new one, unless somebody did meanwhile.
    fn expire_token(&self, name: &str);
    /// The same way out for one call: the tokens that it used and the tickets that it was given are its own.
    fn for_a_call(&self) -> Arc<dyn Http>;
    /// The same way out for what may be left undone: it leaves room in each rate for what may not.
    fn leaving_room(&self) -> Arc<dyn Http>;
    /// Opens a long-lived socket, for the host: no guest calls it.
    async fn open(&self, _endpoint: Endpoint) -> Result<Socket, NotOpened> {
        let (kind, reason) = (FailureKind::Denied, "there is no way out for a socket here".to_owned());
        Err(HttpFailure { kind, reason, request_sent: false, retry_after: None }.into())
    }
    /// The same way out for as long as a fence holds.
    fn within(&self, fence: Arc<dyn Fence>) -> Arc<dyn Http>;
}

/// The right to do something outside, which somebody else may have by now.
#[async_trait]
pub trait Fence: Send + Sync + std::fmt::Debug {
    /// Asked right before each request goes out: whatever came before it may have taken any time.
    async fn holds(&self) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    #[error("the store is not available")]
    Unavailable,
    #[error("the key or value is too large")]
    TooLarge,
    #[error("this plugin's memory is full")]
    Quota,
}

/// A small memory of one plugin on one channel, shared by all nodes.
#[async_trait]
pub trait Memory: Send + Sync + std::fmt::Debug {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, MemoryError>;
    async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), MemoryError>;
    async fn delete(&self, key: &str) -> Result<(), MemoryError>;
    async fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, MemoryError>;
}

/// All that one plugin on one channel may reach.
#[derive(Debug, Clone)]
pub struct Services {
    pub channel: Arc<str>,
    pub plugin: Arc<str>,
    /// JSON text by setting name.
    pub settings: Arc<BTreeMap<String, String>>,
    pub secrets: Arc<Secrets>,
    pub http: Arc<dyn Http>,
    pub memory: Arc<dyn Memory>,
    pub clock: Arc<dyn Clock>,
}

impl Services {
    /// The same for one call, with a way out of its own.
    pub fn for_a_call(&self) -> Services {
        Services { http: self.http.for_a_call(), ..self.clone() }
    }
}

/// Refuses every request: golden requests and `receive` run behind it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHttp;

#[async_trait]
impl Http for NoHttp {
    async fn send(&self, _request: Outbound) -> Result<HttpResponse, HttpFailure> {
        let reason = "no HTTP while a request is being received".to_owned();
        Err(HttpFailure { kind: FailureKind::Denied, reason, request_sent: false, retry_after: None })
    }

    fn expire_token(&self, _name: &str) {}

    fn for_a_call(&self) -> Arc<dyn Http> {
        Arc::new(NoHttp)
    }

    fn leaving_room(&self) -> Arc<dyn Http> {
        Arc::new(NoHttp)
    }

    fn within(&self, _fence: Arc<dyn Fence>) -> Arc<dyn Http> {
        Arc::new(NoHttp)
    }
}

/// Remembers nothing: golden requests and `receive` run behind it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMemory;

#[async_trait]
impl Memory for NoMemory {
    async fn get(&self, _key: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        Err(MemoryError::Unavailable)
    }

    async fn set(&self, _key: &str, _value: &[u8], _ttl: Option<Duration>) -> Result<(), MemoryError> {
        Err(MemoryError::Unavailable)
    }

    async fn delete(&self, _key: &str) -> Result<(), MemoryError> {
        Err(MemoryError::Unavailable)
    }

    async fn increment(&self, _key: &str, _by: i64, _ttl: Option<Duration>) -> Result<i64, MemoryError> {
        Err(MemoryError::Unavailable)
    }
}
