//! One request out and one bounded response back, or a socket that stays, whatever carries them.

use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;
use url::Url;

use crate::message::HttpResponse;
use crate::plugin::services::{HttpFailure, NotOpened, Socket};

use super::destination::denied;

/// A request with nothing left to fill in.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// What carries requests: the wire, but for a simulation.
#[async_trait]
pub trait Network: Send + Sync + std::fmt::Debug {
    /// Sends it and reads the whole answer. A failure tells truthfully whether the request may have been done.
    async fn exchange(&self, request: Request) -> Result<HttpResponse, HttpFailure>;

    /// Opens a WebSocket by this request, whose scheme is that of HTTP. The time-out is for the handshake.
    async fn open(&self, _request: Request) -> Result<Socket, NotOpened> {
        Err(denied("this network carries no sockets").into())
    }
}
