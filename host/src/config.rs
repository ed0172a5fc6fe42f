//! The configuration: checked, typed, and done with files.
//!
//! `file` mirrors `parlor.yaml` and finds every problem with line and column; this module holds what is left
//! when there is none. It knows no other module: each stage takes its slice from `app`.

pub mod file;
mod kinds;
pub mod mouth;
mod problem;
mod reader;
mod references;
pub mod secrets_file;
mod section;
mod sources;
mod tree;

pub use file::schema;
pub use kinds::check_channel_name;
pub use problem::{Place, Problem, Problems, render};
pub use sources::{Artifact, is_loopback};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde_json::Value;

/// The name under which the host's own door keeps its conversations; no channel may have it.
pub const CHAT_CHANNEL: &str = "chat";

/// The name under which the door for OpenAI's clients keeps what is asked of a model or an assistant. No channel
/// of the file has such a name: none has a slash in it.
pub fn openai_channel(model: &str) -> String {
    format!("openai/{model}")
}

/// A configuration without a problem in it.
#[derive(Debug)]
pub struct Config {
    /// The file's own; relative paths in a plugin's settings are relative to it, as all are.
    pub folder: PathBuf,
    pub listen: SocketAddr,
    /// The operators' own door. None: closed.
    pub admin: Option<Admin>,
    /// How long the audit is kept.
    pub audit_retention: Duration,
    /// Whom all doors are open to, by address. Empty: everybody.
    pub allow: Vec<IpNet>,
    /// Proxies whose word for a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// How the outside reaches `listen`; platforms that sign the URL need it. None: `http://{listen}`.
    pub public_url: Option<url::Url>,
    pub data: PathBuf,
    /// What several nodes share. None: all is in `data`.
    pub redis: Option<Redis>,
    pub auth: Auth,
    pub plugins: Plugins,
    pub models: BTreeMap<String, Model>,
    /// The model of every channel that names none.
    pub default_model: Option<String>,
    pub channels: BTreeMap<String, Channel>,
    /// The host's own door: the chat page and `POST /api/v1/chat`. None: closed.
    pub chat: Option<Chat>,
    /// The door for clients of OpenAI's API. None: closed.
    pub openai: Option<OpenAiDoor>,
    /// Origins that stand in for others: the only way to reach a private address.
    pub endpoints: BTreeMap<String, url::Url>,
    /// The message bus, by its name. None: nothing of what people say is handed out.
    pub bus: Option<String>,
    pub limits: Limits,
    /// What holds where a function platform runs the host.
    pub function: Function,
}

/// The door for operators.
#[derive(Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    /// Whom it is open to, by address. Empty: everybody who reaches it.
    pub allow: Vec<IpNet>,
}

#[derive(Debug, Default)]
pub struct Function {
    /// A FIFO queue, since order and deduplication are its own there.
    pub queue: Option<url::Url>,
}

#[derive(Debug)]
pub struct Redis {
    /// At least one, a password perhaps in it; several are nodes of a Cluster.
    pub urls: Vec<SecretString>,
    /// Begins the names of all keys.
    pub prefix: String,
    /// Replicas that must have what counts as stored.
    pub wait_replicas: u32,
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
    /// Whose signatures let a plugin in.
    pub trusted_keys: Vec<minisign::PublicKey>,
    /// Lets those in that nobody trusted has signed.
    pub allow_unsigned: bool,
    /// Where releases come from beside the folder. No two are one file, nor in one repository.
    pub sources: Vec<Source>,
}

/// Where the releases of one plugin come from.
#[derive(Debug, Clone)]
pub struct Source {
    pub at: Whereabouts,
    /// Between two looks.
    pub every: Duration,
}

#[derive(Debug, Clone)]
pub enum Whereabouts {
    /// A file by HTTPS; by HTTP on this machine alone.
    Web {
        url: url::Url,
        token: Option<SecretString>,
    },
    Registry {
        artifact: Artifact,
        login: Option<Login>,
    },
}

/// Who asks a registry.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: SecretString,
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
    /// Who is asked instead, one after the other, while this one cannot answer.
    pub fallback: Vec<String>,
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
    /// Whom its webhook is open to, by address. Empty: everybody.
    pub allow: Vec<IpNet>,
    pub limits: ChannelLimits,
    pub meanwhile: Meanwhile,
    /// None: every message is answered, however late.
    pub stale: Option<Stale>,
    /// None: replies go back where the messages came from.
    pub reply_via: Option<ReplyVia>,
}

/// Where the replies of a channel go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyVia {
    /// A channel of the same file.
    pub channel: String,
    /// One of its conversations. None: its adapter's default destination.
    pub conversation: Option<String>,
}

/// What becomes of a message that comes while another one of its conversation is being answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Meanwhile {
    /// It waits and is answered by itself.
    #[default]
    Queue,
    /// Those of one person that wait are put together and answered once.
    Merge,
    /// It stops the answer to the same person, and is answered at once.
    Interrupt,
}

/// A message that comes to its turn too late, as after a night without a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// Older than this when its turn comes.
    pub after: Duration,
    pub then: WhenStale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    Answer,
    /// One sentence instead of an answer.
    Notice,
    /// Nothing is said.
    Drop,
}

/// The host's own door to the same stages, without an adapter.
#[derive(Debug)]
pub struct Chat {
    pub pipelines: Vec<String>,
    pub model: Option<String>,
    pub history: u32,
    pub settings: BTreeMap<String, Value>,
    pub secrets: BTreeMap<String, SecretString>,
    /// Whom it is open to, by address. Empty: everybody.
    pub allow: Vec<IpNet>,
    pub limits: ChannelLimits,
    /// Questions that wait for a turn; more are refused.
    pub queue: usize,
    /// The page at `/` gets a token of its own, so that nobody has to sign in; only on a loopback address.
    pub open_page: bool,
}

/// `POST /v1/chat/completions` and `GET /v1/models`. No name is both a model and an assistant.
#[derive(Debug)]
pub struct OpenAiDoor {
    /// Names out of the configuration's models that callers may ask as they are.
    pub models: Vec<String>,
    pub assistants: BTreeMap<String, Assistant>,
    /// Of each of `models`.
    pub limits: ChannelLimits,
}

impl OpenAiDoor {
    /// The inner channels of all that it offers, with their bounds.
    pub fn channels(&self) -> impl Iterator<Item = (String, &ChannelLimits)> {
        let models = self.models.iter().map(|name| (openai_channel(name), &self.limits));
        let assistants = self.assistants.iter();
        models.chain(assistants.map(|(name, assistant)| (openai_channel(name), &assistant.limits)))
    }
}

/// A line of pipelines under a model's name.
#[derive(Debug)]
pub struct Assistant {
    /// At least one.
    pub pipelines: Vec<String>,
    pub model: Option<String>,
    pub settings: BTreeMap<String, Value>,
    pub secrets: BTreeMap<String, SecretString>,
    pub limits: ChannelLimits,
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Between two when the burst is used up; whole microseconds, rounded up.
    pub interval: Duration,
    /// At once, after a pause.
    pub burst: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ChannelLimits {
    /// Webhooks: from one address, and verified ones from all; at the host's own door questions.
    pub rate: Option<Rate>,
    /// Messages of one person.
    pub person: Option<Rate>,
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
    /// Questions by one token, over all of the host's own doors.
    pub key: Option<Rate>,
    /// The whole shutdown: turns that run on after it go on at the next start.
    pub grace_period: Duration,
    /// Turns at a time, over all channels.
    pub turns_max: usize,
    /// How long finished messages are kept, over every platform's retry span.
    pub retention: Duration,
}
