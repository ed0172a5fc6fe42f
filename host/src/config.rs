//! The configuration: checked, typed, and done with files.
//!
//! `file` mirrors `parlor.yaml` and finds every problem with line and column; this module holds what is left
//! when there is none. It knows no other module: each stage takes its slice from `app`.

pub mod file;
mod kinds;
mod problem;
mod reader;
mod references;
pub mod secrets_file;
mod section;
mod tree;

pub use file::schema;
pub use problem::{Place, Problem, Problems, render};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

/// The name under which the host's own door keeps its conversations; no channel may have it.
pub const CHAT_CHANNEL: &str = "chat";

/// A configuration without a problem in it.
#[derive(Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// How the outside reaches `listen`; platforms that sign the URL need it. None: `http://{listen}`.
    pub public_url: Option<url::Url>,
    pub data: PathBuf,
    pub auth: Auth,
    pub plugins: Plugins,
    pub models: BTreeMap<String, Model>,
    /// The model of every channel that names none.
    pub default_model: Option<String>,
    pub channels: BTreeMap<String, Channel>,
    /// The host's own door: the chat page and `POST /api/v1/chat`. None: closed.
    pub chat: Option<Chat>,
    /// Origins that stand in for others: the only way to reach a private address.
    pub endpoints: BTreeMap<String, url::Url>,
    pub limits: Limits,
}

#[derive(Debug)]
pub struct Auth {
    /// At least 32 bytes.
    pub jwt_secret: SecretString,
    pub audience: Vec<String>,
    pub issuers: Vec<String>,
}

#[derive(Debug)]
pub struct Plugins {
    pub folder: PathBuf,
    pub allow_unsigned: bool,
}

#[derive(Debug)]
pub struct Model {
    pub backend: Backend,
    /// Requests at a time; more wait. None: the backend's own bound.
    pub concurrent: Option<usize>,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
    /// One deadline for the whole of a request, retries included.
    pub timeout: Duration,
}

#[derive(Debug)]
pub enum Backend {
    Gguf(Gguf),
    OpenAi(OpenAi),
    /// Says what it heard; to try the wiring without a model.
    Echo,
}

#[derive(Debug)]
pub struct Gguf {
    pub path: PathBuf,
    /// Lower-case hex.
    pub sha256: Option<String>,
    /// Tokens of one conversation's context.
    pub context: u32,
    /// Conversations that are answered side by side.
    pub max_batch_size: u32,
    pub threads: Option<u32>,
}

#[derive(Debug)]
pub struct OpenAi {
    /// Such as `https://api.example.com/v1`.
    pub endpoint: url::Url,
    pub api_key: Option<SecretString>,
    pub model: String,
}

#[derive(Debug)]
pub struct Channel {
    /// A plugin's name.
    pub adapter: String,
    /// Plugin names, front to back. Empty: text goes to the model as it is.
    pub pipelines: Vec<String>,
    pub model: Option<String>,
    /// Exchanges of the conversation that a pipeline is shown.
    pub history: u32,
    /// The adapter's by their names, a pipeline's as `pipeline.setting`.
    pub settings: BTreeMap<String, Value>,
    pub secrets: BTreeMap<String, SecretString>,
    pub limits: ChannelLimits,
}

/// The host's own door to the same stages, without an adapter.
#[derive(Debug)]
pub struct Chat {
    pub pipelines: Vec<String>,
    pub model: Option<String>,
    pub history: u32,
    pub settings: BTreeMap<String, Value>,
    pub secrets: BTreeMap<String, SecretString>,
    pub limits: ChannelLimits,
    /// The page at `/` gets a token of its own, so that nobody has to sign in; only on a loopback address.
    pub open_page: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ChannelLimits {
    /// Turns at a time.
    pub concurrent: usize,
    /// One turn, from its claim to its answer.
    pub time: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub connections_max: usize,
    /// The whole shutdown: turns that run on after it go on at the next start.
    pub grace_period: Duration,
    /// Turns at a time, over all channels.
    pub turns_max: usize,
    /// How long finished messages are kept, over every platform's retry span.
    pub retention: Duration,
}
