//! The nouns of the product: what people say, what the bot says, and what went wrong.
//!
//! Plain data that every stage speaks. It does not know the contract's generated types: `plugin::bindings`
//! converts them here, once for each contract version.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Pairs by which a later platform or host says more than the frozen types can.
pub type Extra = Vec<(String, String)>;

/// One HTTP request, exactly as the platform sent it.
#[derive(Debug, Clone, Default)]
pub struct HttpRequest {
    pub method: String,
    /// The public URL that the platform called, for schemes that sign it.
    pub url: String,
    /// Path below the channel's own mount point, with a leading slash.
    pub path: String,
    /// Raw query string, without the question mark.
    pub query: String,
    /// In arrival order; names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// One HTTP response, to a platform or from one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// One message of a platform's long-lived socket, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Bytes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    Direct,
    Group,
}

/// Who said it. The id is the platform's own and reaches a log only hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    pub id: String,
    pub name: Option<String>,
    #[serde(default)]
    pub extra: Extra,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    File,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub kind: MediaKind,
    pub name: Option<String>,
    pub media_type: Option<String>,
    pub reference: String,
    #[serde(default)]
    pub extra: Extra,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// The name that chat APIs and chat templates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    Text(String),
    Attachment(Attachment),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    pub description: String,
    /// JSON Schema.
    pub parameters: String,
    #[serde(default)]
    pub extra: Extra,
    /// The host's own: calls must keep to the schema, where a backend can hold a model to it.
    #[serde(default)]
    pub strict: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON.
    pub arguments: String,
    #[serde(default)]
    pub extra: Extra,
}

/// One entry of a prompt or of a conversation's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utterance {
    pub role: Role,
    pub content: Vec<Content>,
    #[serde(default)]
    pub tool_calls: Vec<ToolCall>,
    #[serde(default)]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Extra,
}

impl Utterance {
    /// An utterance of nothing but text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: vec![Content::Text(text.into())],
            tool_calls: Vec::new(),
            tool_call_id: None,
            extra: Vec::new(),
        }
    }

    /// Its text parts, joined by line breaks; attachments are left out.
    pub fn plain_text(&self) -> String {
        let texts = self.content.iter().filter_map(|part| match part {
            Content::Text(text) => Some(text.as_str()),
            Content::Attachment(_) => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// One verified message from a platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The platform's own id; retries carry the same one.
    pub id: String,
    /// The ordered thread this belongs to.
    pub conversation: String,
    /// Messages of one album share it.
    #[serde(default)]
    pub album: Option<String>,
    pub scope: Scope,
    pub sender: Sender,
    /// The bot itself was named or written to directly.
    pub addressed: bool,
    pub text: String,
    pub quoted: Option<String>,
    pub attachments: Vec<Attachment>,
    /// History that the caller brought along: untrusted.
    pub context: Vec<Utterance>,
    /// Since the Unix epoch, by the platform's clock.
    #[serde(default, rename = "sent_at")]
    pub sent_at_ms: Option<u64>,
    /// Where the reply goes: opaque to the host, encrypted at rest.
    #[serde(skip)]
    pub address: Vec<u8>,
    #[serde(default)]
    pub extra: Extra,
    /// The host's own: no plugin sees or sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wishes: Option<Box<Wishes>>,
    /// The host's own: no plugin sees or sets it.
    #[serde(default, skip_serializing_if = "Favour::is_its")]
    pub favour: Favour,
}

/// Which releases of its plugins a message is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Favour {
    /// Whichever serve its conversation.
    #[default]
    Its,
    /// The stable ones: with a candidate it went wrong.
    Stable,
    /// The candidates, where there are any: an administrator tries them.
    Candidate,
}

impl Favour {
    fn is_its(&self) -> bool {
        *self == Favour::Its
    }
}

impl Message {
    /// What somebody says to the bot alone, on a door of the host's own.
    pub fn direct(id: String, conversation: String, person: &str, text: String) -> Self {
        Self {
            id,
            conversation,
            album: None,
            scope: Scope::Direct,
            sender: Sender { id: person.to_owned(), name: None, extra: Vec::new() },
            addressed: true,
            text,
            quoted: None,
            attachments: Vec::new(),
            context: Vec::new(),
            sent_at_ms: None,
            address: Vec::new(),
            extra: Vec::new(),
            wishes: None,
            favour: Favour::Its,
        }
    }
}

/// What a program that asks for a completion wants of the model, beyond the words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// The message's context is the whole conversation, what is said now included: where no pipeline stands
    /// in between, the model gets it as it is.
    pub verbatim: bool,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub seed: Option<i64>,
    pub stop: Vec<String>,
    pub format: Option<Format>,
    pub tools: Vec<Tool>,
    /// As a prompt has it.
    pub tool_choice: Option<String>,
}

/// The form that an answer must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Any JSON object.
    Object,
    Schema(Schema),
}

/// A form by JSON Schema, with what a caller says about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub name: String,
    pub description: Option<String>,
    pub strict: Option<bool>,
    /// JSON Schema.
    pub schema: String,
}

/// What the bot says, in CommonMark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub text: String,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub suggestions: Vec<String>,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    #[serde(default)]
    pub extra: Extra,
}

impl Reply {
    /// Whether there is nothing in it that could be sent.
    pub fn is_nothing(&self) -> bool {
        self.text.trim().is_empty() && self.attachments.is_empty()
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// A pipeline's question to a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// A model name from the configuration; none takes the turn's, and else the channel's.
    pub model: Option<String>,
    pub messages: Vec<Utterance>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<String>,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
    pub stop: Vec<String>,
    /// JSON Schema that the answer must satisfy.
    pub response_schema: Option<String>,
    pub cacheable: bool,
    /// False: the text is for the asking stage alone; no filter, no update.
    pub show: bool,
    pub extra: Extra,
    /// The host's own, out of a caller's [`Wishes`], as are those below: it stands before `response_schema`.
    pub format: Option<Format>,
    pub top_p: Option<f32>,
    pub seed: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    #[default]
    Stop,
    Length,
    ToolCalls,
    Filtered,
    Cancelled,
    Other,
}

/// What a model said, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    pub model: String,
    pub text: String,
    pub tool_calls: Vec<ToolCall>,
    pub finish_reason: FinishReason,
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    pub extra: Extra,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The caller's fault; a retry cannot help.
    Invalid,
    /// Wrong or missing credentials or signature.
    Unauthorized,
    /// Slow down.
    Throttled,
    /// Passing trouble, nothing was done; a retry may help.
    Unavailable,
    /// It may have been done: a blind repeat could double it.
    Uncertain,
    /// The address, window or conversation has expired.
    Gone,
    /// A defect in the plugin.
    Internal,
    Other,
}

/// A refusal or failure that a plugin or the host puts into words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    pub kind: FaultKind,
    /// One plain sentence for an operator. Never holds a secret or message text.
    pub reason: String,
    pub retry_after: Option<Duration>,
}

impl Fault {
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), retry_after: None }
    }

    /// The HTTP status that says the same.
    pub fn status(&self) -> u16 {
        match self.kind {
            FaultKind::Invalid => 400,
            FaultKind::Unauthorized => 401,
            FaultKind::Gone => 410,
            FaultKind::Throttled => 429,
            FaultKind::Unavailable | FaultKind::Uncertain => 503,
            FaultKind::Internal | FaultKind::Other => 500,
        }
    }

    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, FaultKind::Throttled | FaultKind::Unavailable | FaultKind::Uncertain)
    }
}

/// What kept a turn from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// Too much is asked at the moment.
    Busy,
    /// The conversation is longer than the model's context.
    TooLong,
    /// The model does not take this request, now or later.
    Refused,
    TimedOut,
    Unavailable,
    /// The answer broke off.
    Broken,
    /// A defect: of a plugin, or ours.
    Internal,
}

/// Why a turn failed, for a program that waits for its answer. A person gets an apology instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// One plain sentence for the caller: nothing of a secret, nor of what happens inside.
    pub sentence: String,
    pub retry_after: Option<Duration>,
}

impl Trouble {
    pub fn new(kind: TroubleKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), retry_after: None }
    }
}
