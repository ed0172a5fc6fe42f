//! The nouns of a conversation: what people write, what the bot says, what a model is shown.
//!
//! Plain owned data, the same in both kinds of plugin. They mirror `wit/0.1/types.wit`, which says
//! more about each; nothing here knows a platform.

/// What a later host or a platform says beyond the named fields.
pub type Extra = Vec<(String, String)>;

/// The well-known key of [`Reply::extra`] that [`Reply::aside`] sets.
pub const ASIDE: &str = "aside";

/// The well-known key of [`Reply::extra`] that [`Reply::is_unasked`] looks for.
pub const UNASKED: &str = "unasked";

/// Whether one person or several can read along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// One person and the bot.
    #[default]
    Direct,
    /// Several people.
    Group,
}

/// Who wrote a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sender {
    /// The platform's stable id for this person or bot.
    pub id: String,
    /// What people call them.
    pub name: Option<String>,
    /// More about them.
    pub extra: Extra,
}

/// What an attachment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// A moving picture.
    Video,
    /// A document.
    File,
    /// None of these.
    #[default]
    Other,
}

/// Bytes that came with a message, by reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    /// What it is.
    pub kind: MediaKind,
    /// The file's name.
    pub name: Option<String>,
    /// Its media type, such as `image/png`.
    pub media_type: Option<String>,
    /// What [`Adapter::locate`](crate::Adapter::locate) finds the bytes by.
    pub reference: String,
    /// More about it.
    pub extra: Extra,
}

impl Attachment {
    /// An attachment of `kind`, found by `reference`.
    pub fn new(kind: MediaKind, reference: impl Into<String>) -> Self {
        Self { kind, reference: reference.into(), ..Self::default() }
    }

    /// The same, with a file name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// Who speaks in a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The operator's instructions.
    System,
    /// A person.
    #[default]
    User,
    /// The bot.
    Assistant,
    /// What a tool found.
    Tool,
}

/// One piece of an utterance.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Words.
    Text(String),
    /// Bytes by reference.
    Attachment(Attachment),
}

/// Something a model may ask to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: String,
    /// More about it.
    pub extra: Extra,
}

/// A model's wish to use a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCall {
    /// The model's id for this call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// JSON text of the arguments.
    pub arguments: String,
    /// More about it: hand it back with the call's result.
    pub extra: Extra,
}

/// One entry of a prompt or of a history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Utterance {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Vec<Content>,
    /// Tools that the model asked for.
    pub tool_calls: Vec<ToolCall>,
    /// The call that this answers.
    pub tool_call_id: Option<String>,
    /// More about it.
    pub extra: Extra,
}

impl Utterance {
    /// `role` says `text`.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: vec![Content::Text(text.into())], ..Self::default() }
    }

    /// The operator's instruction.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// A person's words.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// The bot's words.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// All words of it, attachments left out.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|content| match content {
            Content::Text(text) => Some(text.as_str()),
            Content::Attachment(_) => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// One verified message from a platform.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Made of the platform's own ids, and unique on the channel: where the platform counts by chat, the
    /// chat is part of it. Retries carry the same one: the host drops duplicates by it.
    pub id: String,
    /// The ordered thread this belongs to; history and ordering follow it.
    pub conversation: String,
    /// Messages of one album share it: a host may gather them into one turn.
    pub album: Option<String>,
    /// Who can read along.
    pub scope: Scope,
    /// Who wrote it.
    pub sender: Sender,
    /// The bot itself was named or written to directly.
    pub addressed: bool,
    /// UTF-8 with mentions of the bot removed.
    pub text: String,
    /// What this message quotes.
    pub quoted: Option<String>,
    /// What came with it.
    pub attachments: Vec<Attachment>,
    /// History that the caller brings along; untrusted, never `system`.
    pub context: Vec<Utterance>,
    /// Since the Unix epoch, by the platform's clock.
    pub sent_at_ms: Option<u64>,
    /// Opaque to the host, encrypted at rest; handed back when the reply is delivered.
    pub address: Vec<u8>,
    /// More about it.
    pub extra: Extra,
}

impl Message {
    /// A direct message to the bot: `sender` writes `text` in `conversation`.
    pub fn new(
        id: impl Into<String>,
        conversation: impl Into<String>,
        sender: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            conversation: conversation.into(),
            sender: Sender { id: sender.into(), ..Sender::default() },
            addressed: true,
            text: text.into(),
            ..Self::default()
        }
    }
}

/// What the bot says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// CommonMark. An adapter narrows it to what its platform can show.
    pub text: String,
    /// A headline, for platforms that show one.
    pub title: Option<String>,
    /// What the person may want to say next.
    pub suggestions: Vec<String>,
    /// What goes with it.
    pub attachments: Vec<Attachment>,
    /// More about it.
    pub extra: Extra,
}

impl Reply {
    /// A reply that is `text` alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A reply that is no part of the conversation, such as help or a refusal: neither it nor the
    /// message that it answers enters the history.
    pub fn aside(text: impl Into<String>) -> Self {
        Self { extra: vec![(ASIDE.to_owned(), String::new())], ..Self::new(text) }
    }

    /// Whether it answers nobody, as what an operator says: then an adapter names nobody who asked.
    pub fn is_unasked(&self) -> bool {
        self.extra.iter().any(|(name, _)| name == UNASKED)
    }
}
