//! What an adapter says of a platform that pushes events over a long-lived socket.
//!
//! The host owns the socket: it dials, pings, takes a silent one for lost, and dials again with
//! growing pauses. The plugin is a state machine: what it must remember from call to call goes into
//! a memory that outlives sockets, instances and releases. See `wit/0.1/adapter.wit` for the
//! contract's own words.
//!
//! Such an adapter is registered by [`register_socket_adapter!`](crate::register_socket_adapter),
//! and its manifest names `[[sockets]]` and says by `connects` when a socket is kept.

use crate::{adapter::Adapter, fault::Fault, http::HttpResponse, message::Message};

/// A chat platform that is spoken over a socket of the host's; it may post webhooks too.
///
/// All calls but [`Connection::dial`] are quick and pure: no HTTP, no store.
pub trait Connection: Adapter {
    /// Where to connect. Called before each attempt; may use HTTP to register.
    ///
    /// # Errors
    /// What the platform said. The host tries again, not before its `retry_after_ms`; rarely where
    /// the kind says that a retry cannot help.
    fn dial(&self, memory: &[u8]) -> Result<Endpoint, Fault>;

    /// A socket is open. What it sends goes out before anything is heard. `context` is that of the
    /// [`Endpoint`] which led to it.
    ///
    /// # Errors
    /// The host closes the socket and dials again.
    fn opened(&self, memory: &[u8], context: &[u8]) -> Result<Outcome, Fault> {
        let _ = (memory, context);
        Ok(Outcome::default())
    }

    /// The platform sent a frame.
    ///
    /// # Errors
    /// The frame is passed over, unacknowledged, and the memory stays as it was.
    fn hear(&self, memory: &[u8], frame: Frame) -> Result<Outcome, Fault>;

    /// As often as an [`Action::HeartbeatEveryMs`] asked for it.
    ///
    /// # Errors
    /// Nothing is done.
    fn heartbeat(&self, memory: &[u8]) -> Result<Outcome, Fault> {
        let _ = memory;
        Ok(Outcome::default())
    }

    /// The last open socket has ended, or an attempt at one failed; not told of a socket that was given
    /// up by an action, nor of one that has a successor. The host dials again unless an
    /// [`Action::Stop`] says otherwise.
    ///
    /// # Errors
    /// The memory stays as it was.
    fn closed(&self, memory: &[u8], why: Closure) -> Result<Outcome, Fault> {
        let _ = (memory, why);
        Ok(Outcome::default())
    }
}

/// Where to connect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// `wss://…` at a host of the manifest's `[[sockets]]`, with placeholders at the places named
    /// there.
    pub url: String,
    /// For the handshake.
    pub headers: Vec<(String, String)>,
    /// Handed to [`Connection::opened`]: what the registration told of this very socket.
    pub context: Vec<u8>,
}

impl Endpoint {
    /// No headers and no context of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// One message of the socket, either way.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Binary(Vec<u8>),
}

/// How a socket ended, or an attempt at one.
#[derive(Clone, Debug, PartialEq)]
pub enum Closure {
    /// The platform answered the handshake with something else than a socket.
    Refused(HttpResponse),
    /// Its code and reason.
    Closed(u16, String),
    /// It broke, was silent for too long, or could not be reached.
    Lost,
}

/// What the host shall do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this now, on the socket that the call was about.
    Send(Frame),
    /// Store what a person wrote.
    Message(Box<Message>),
    /// Cancel the turn of the message with this id: the person took it back.
    Withdrawn(String),
    /// Send this once all messages of the same outcome are stored safely, and not at all if that
    /// fails.
    Acknowledge(Frame),
    /// Answer who waits under this correlation; nobody does yet.
    Resolve(String, Frame),
    /// Call [`Connection::heartbeat`] every so many milliseconds; 0 ends that.
    HeartbeatEveryMs(u64),
    /// The platform is about to close this socket: dial a new one, then hear this one out.
    Replace(String),
    /// Close this socket and dial again; passed over of one that has a successor.
    Reconnect(String),
    /// Do not dial again until an operator acts.
    Stop(Fault),
}

/// What comes of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// In order, at most 256; of `Replace`, `Reconnect` and `Stop` the last one counts.
    pub actions: Vec<Action>,
    /// None keeps the old.
    pub memory: Option<Vec<u8>>,
}

impl Outcome {
    /// One action, and the memory as it is.
    pub fn only(action: Action) -> Self {
        Self { actions: vec![action], memory: None }
    }

    /// A message and what acknowledges it.
    pub fn accept(message: Message, acknowledgement: Frame) -> Self {
        let actions = vec![Action::Message(Box::new(message)), Action::Acknowledge(acknowledgement)];
        Self { actions, memory: None }
    }
}
