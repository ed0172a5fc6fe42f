//! Long connections: sockets that this host opens to platforms which push over them.
//!
//! ```text
//! dial → open → hear → commit → acknowledge
//! ```
//! One task a channel (`drive`) makes every call of the adapter and keeps its memory; each open socket has a task of
//! its own (`line`), which reads no further than the driver takes. What is heard is committed in order, as much at a
//! time as has come in (`queue`), and acknowledged only then. The socket stays open while the plugin is replaced: the
//! driver holds no release, and asks after each swap whether a socket is wanted still. It knows neither stores nor turns nor manifests: what it needs of the host stands behind
//! the traits below, and `app` puts them together.

mod backoff;
mod drive;
mod line;
mod memory;
mod queue;
mod status;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::drain::Drain;
use crate::egress::{NotOpened, Socket};
use crate::message::{Fault, Frame, Message};
use crate::plugin::services::Memory;
use crate::plugin::{Closure, Endpoint, Outcome};
use crate::random::Random;
use crate::telemetry::Metrics;

pub use status::{Report, State, Status};

/// The state machine that speaks the platform: the channel's adapter, in the release that serves at each call.
#[async_trait]
pub trait Speaker: Send + Sync + std::fmt::Debug {
    /// Whether it keeps a socket.
    fn connects(&self) -> bool;

    async fn dial(&self, memory: &[u8]) -> Result<Endpoint, Fault>;
    /// `context` is that of the endpoint that was dialled.
    async fn opened(&self, memory: &[u8], context: &[u8]) -> Result<Outcome, Fault>;
    async fn hear(&self, memory: &[u8], frame: Frame) -> Result<Outcome, Fault>;
    async fn heartbeat(&self, memory: &[u8]) -> Result<Outcome, Fault>;
    async fn closed(&self, memory: &[u8], why: Closure) -> Result<Outcome, Fault>;
}

/// The way out, within what the manifest allows.
#[async_trait]
pub trait Opener: Send + Sync + std::fmt::Debug {
    async fn open(&self, endpoint: Endpoint) -> Result<Socket, NotOpened>;
}

/// Why nothing of it was taken in: the platform brings it again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

/// Where messages go.
#[async_trait]
pub trait Intake: Send + Sync + std::fmt::Debug {
    /// Whether one more thing may be taken in now, within the channel's limits.
    async fn admit(&self) -> Result<(), NotTaken>;

    /// Stores messages in order, and ends the turns of those that were taken back. Durable when it returns.
    async fn take(&self, messages: Vec<Message>, withdrawn: Vec<String>) -> Result<(), NotTaken>;
}

/// One channel's connection, and what it stands on.
#[derive(Debug, Clone)]
pub struct Connection {
    pub channel: Arc<str>,
    pub speaker: Arc<dyn Speaker>,
    pub opener: Arc<dyn Opener>,
    pub intake: Arc<dyn Intake>,
    /// Tells of each time at which the speaker may have changed its mind about a socket.
    pub swaps: watch::Receiver<()>,
    /// The adapter's memory is kept here.
    pub memory: Arc<dyn Memory>,
    pub status: Arc<Status>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
}

impl Connection {
    /// Keeps a socket open, as long as the adapter wants one, until the host drains; then what was heard is committed and acknowledged, and the socket
    /// closed.
    pub fn start(self) {
        let drain = self.drain.clone();
        // At once, so that nobody takes a host for ready that has not tried yet.
        if self.speaker.connects() {
            self.status.set(State::Dialling);
        }
        drop(drain.spawn(format!("connection of {}", self.channel), drive::drive(self)));
    }
}
