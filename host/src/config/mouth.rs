//! What a configuration has of mouths: its channels, and those behind the host's own doors, in one form.

use std::collections::BTreeMap;

use ipnet::IpNet;
use secrecy::SecretString;
use serde_json::Value;

use super::{
    CHAT_CHANNEL, Channel, ChannelLimits, Chat, Config, Meanwhile, OpenAiDoor, ReplyVia, Stale,
    openai_channel,
};

/// Questions of programs that wait for their turn, for each model: more are told when to come again, and their
/// clients do by themselves.
const PROGRAMS_QUEUED_MAX: usize = 64;

/// Which of the host's doors a mouth is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A platform, by `/webhook/{channel}` or a socket.
    Webhook,
    /// The chat page, `/api/v1/chat` and `/chat`.
    Chat,
    /// `/v1/chat/completions`.
    Openai,
}

/// What channels and the host's own doors have in common.
pub struct Mouth<'c> {
    pub name: String,
    pub door: Door,
    /// None: one of the host's own doors.
    pub adapter: Option<&'c str>,
    pub pipelines: &'c [String],
    /// Its own, or the default.
    pub model: Option<&'c String>,
    pub history: u32,
    pub settings: &'c BTreeMap<String, Value>,
    pub secrets: &'c BTreeMap<String, SecretString>,
    pub limits: &'c ChannelLimits,
    /// Addresses and networks that it is open to. Empty: everybody.
    pub allow: &'c [IpNet],
    /// Open lines that wait for a turn.
    pub queue: usize,
    pub meanwhile: Meanwhile,
    pub stale: Option<Stale>,
    pub reply_via: Option<&'c ReplyVia>,
}

static NO_SETTINGS: BTreeMap<String, Value> = BTreeMap::new();
static NO_SECRETS: BTreeMap<String, SecretString> = BTreeMap::new();

/// All mouths of a configuration.
pub fn all(config: &Config) -> Vec<Mouth<'_>> {
    let channels = config.channels.iter().map(|(name, channel)| of_channel(name, channel));
    let chat = config.chat.iter().map(of_chat);
    let mouths = channels.chain(chat).chain(config.openai.iter().flat_map(of_programs));
    mouths.map(|mouth| Mouth { model: mouth.model.or(config.default_model.as_ref()), ..mouth }).collect()
}

fn of_channel<'c>(name: &str, channel: &'c Channel) -> Mouth<'c> {
    Mouth {
        name: name.to_owned(),
        door: Door::Webhook,
        adapter: Some(&channel.adapter),
        pipelines: &channel.pipelines,
        model: channel.model.as_ref(),
        history: channel.history,
        settings: &channel.settings,
        secrets: &channel.secrets,
        limits: &channel.limits,
        allow: &channel.allow,
        queue: 0,
        meanwhile: channel.meanwhile,
        stale: channel.stale,
        reply_via: channel.reply_via.as_ref(),
    }
}

fn of_chat(chat: &Chat) -> Mouth<'_> {
    Mouth {
        pipelines: &chat.pipelines,
        model: chat.model.as_ref(),
        history: chat.history,
        settings: &chat.settings,
        secrets: &chat.secrets,
        allow: &chat.allow,
        queue: chat.queue,
        ..plain(CHAT_CHANNEL.to_owned(), Door::Chat, &chat.limits)
    }
}

/// Each model and each assistant of the door for OpenAI's clients. They keep no history: who asks brings along what
/// was said before.
fn of_programs(door: &OpenAiDoor) -> impl Iterator<Item = Mouth<'_>> {
    let program = |name: &str, limits| Mouth {
        queue: PROGRAMS_QUEUED_MAX,
        ..plain(openai_channel(name), Door::Openai, limits)
    };
    let models =
        door.models.iter().map(move |name| Mouth { model: Some(name), ..program(name, &door.limits) });
    let assistants = door.assistants.iter().map(move |(name, assistant)| Mouth {
        pipelines: &assistant.pipelines,
        model: assistant.model.as_ref(),
        settings: &assistant.settings,
        secrets: &assistant.secrets,
        ..program(name, &assistant.limits)
    });
    models.chain(assistants)
}

/// One of the host's own doors, with nothing said of it.
fn plain(name: String, door: Door, limits: &ChannelLimits) -> Mouth<'_> {
    Mouth {
        name,
        door,
        adapter: None,
        pipelines: &[],
        model: None,
        history: 0,
        settings: &NO_SETTINGS,
        secrets: &NO_SECRETS,
        limits,
        allow: &[],
        queue: 0,
        meanwhile: Meanwhile::Queue,
        stale: None,
        reply_via: None,
    }
}

impl Mouth<'_> {
    /// The plugins that it cannot do without.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        self.adapter.into_iter().chain(self.pipelines.iter().map(String::as_str))
    }
}
