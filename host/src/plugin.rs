//! Plugins: WebAssembly components behind the contract of `wit/`.
//!
//! A file becomes a `Package` (its signature verified, then checked), and the `Loader` makes a `Release` of it (compiled, tried); the `Shelf`
//! hands out the releases that serve a name. It does not know channels, turns or HTTP: what a guest may reach
//! comes in as `Services`. Which release shall serve is decided in `deployment`. Read on in `release`, then `guest`.

mod bindings;
pub mod compile;
pub mod engine;
pub mod guest;
pub mod imports;
pub mod inspection;
pub mod loader;
pub mod manifest;
#[cfg(all(feature = "failpoints", target_os = "linux"))]
mod memories;
pub mod output;
pub mod pack;
pub mod package;
pub mod release;
pub mod secrets;
pub mod sections;
pub mod selftest;
pub mod services;
pub mod shelf;
pub mod signature;

use std::time::Duration;

pub use guest::CallError;
pub use loader::Loader;
pub use release::{PipelineRun, Release};
pub use shelf::Shelf;

use crate::message::{Extra, Fault, Frame, HttpResponse, Message, Prompt, Reply, Utterance};

/// What an adapter makes of one HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reception {
    /// Nothing to process: a challenge, a ping, an event that the bot ignores.
    Answer(HttpResponse),
    Accept(Acceptance),
    Inquire(Inquiry),
    /// Not from the platform, or not understood.
    Refuse(Fault),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Acceptance {
    /// Goes out once every message is stored.
    pub response: HttpResponse,
    pub messages: Vec<Message>,
    /// Ids of messages that the person took back.
    pub withdrawn: Vec<String>,
}

/// The platform takes the reply in the response to this very request, or asks for the text so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Inquiry {
    pub messages: Vec<Message>,
    pub message_id: String,
    /// How long the host may wait for the whole reply.
    pub wait: Duration,
    pub context: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its text alone as long as it is not finished.
    pub reply: Reply,
    pub finished: bool,
    pub asked: u32,
}

#[derive(Debug, Clone)]
pub struct Presentation {
    /// None holds the line until the platform hangs up and asks again.
    pub response: Option<HttpResponse>,
    /// With this response the whole reply is handed over.
    pub complete: bool,
    pub checkpoint: Vec<u8>,
    pub again_within: Option<Duration>,
}

#[derive(Debug, Clone)]
pub enum Delivered {
    /// One outward effect is done; save the checkpoint and call again.
    More(Vec<u8>),
    /// The platform's ids of what was sent.
    Done(Vec<String>),
}

/// Where a long-lived socket leads, with placeholders still in it.
#[derive(Clone)]
pub struct Endpoint {
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// What the adapter gets back once this socket is open.
    pub context: Vec<u8>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may hold a ticket that the plugin was given.
        f.write_str("Endpoint(***)")
    }
}

/// How a socket ended, or an attempt at one.
#[derive(Debug, Clone)]
pub enum Closure {
    /// Something else than a socket came back.
    Refused(HttpResponse),
    /// The platform's code and reason.
    Closed(u16, String),
    Lost,
}

/// What an adapter makes of something that happened on a socket.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// In order.
    pub actions: Vec<Action>,
    /// None keeps the old one.
    pub memory: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub enum Action {
    Send(Frame),
    Message(Box<Message>),
    /// Id of a message that the person took back.
    Withdrawn(String),
    /// Goes out once the messages of the same outcome are stored.
    Acknowledge(Frame),
    /// Answers what waits under this correlation: nothing does, since no host serves that yet.
    Resolve(String, Frame),
    /// None ends the heartbeat.
    HeartbeatEvery(Option<Duration>),
    /// Dial a new socket, then hear this one out.
    Replace(String),
    /// Close this socket and dial again.
    Reconnect(String),
    /// Do not dial again until an operator acts.
    Stop(Fault),
}

/// What a pipeline is given.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineTurn {
    pub channel: String,
    pub platform: String,
    pub message: Message,
    pub history: Vec<Utterance>,
    pub extra: Extra,
}

/// What a pipeline wants done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Pass,
    Next(Box<PipelineTurn>),
    Ask(Box<Prompt>),
    Say(Reply),
    Ignore,
    Reset(Reply),
}

impl Step {
    /// A word for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Pass => "pass",
            Step::Next(_) => "next",
            Step::Ask(_) => "ask",
            Step::Say(_) => "say",
            Step::Ignore => "ignore",
            Step::Reset(_) => "reset",
        }
    }
}

/// What a pipeline makes of text that streams by.
#[derive(Debug, Clone)]
pub enum Flow {
    Show(String),
    Stop(Reply),
}
