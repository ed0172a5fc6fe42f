//! What a configuration has of mouths: its channels, and those behind the host's own doors, in one form.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::Value;

use crate::config::{
    CHAT_CHANNEL, Channel, ChannelLimits, Chat, Config, Meanwhile, OpenAiDoor, ReplyVia, Stale,
    openai_channel,
};
use crate::plugin::manifest::Kind;

/// Questions of programs that wait for their turn, for each model: more are told when to come again, and their
/// clients do by themselves.
const PROGRAMS_QUEUED_MAX: usize = 64;

/// What channels and the host's own doors have in common.
pub struct Mouth<'c> {
    pub name: String,
    /// None: one of the host's own doors.
    pub adapter: Option<&'c str>,
    pub pipelines: &'c [String],
    pub model: Option<&'c String>,
    pub history: u32,
    pub settings: &'c BTreeMap<String, Value>,
    pub secrets: &'c BTreeMap<String, SecretString>,
    pub limits: &'c ChannelLimits,
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
    channels.chain(chat).chain(config.openai.iter().flat_map(of_programs)).collect()
}

fn of_channel<'c>(name: &str, channel: &'c Channel) -> Mouth<'c> {
    Mouth {
        name: name.to_owned(),
        adapter: Some(&channel.adapter),
        pipelines: &channel.pipelines,
        model: channel.model.as_ref(),
        history: channel.history,
        settings: &channel.settings,
        secrets: &channel.secrets,
        limits: &channel.limits,
        queue: 0,
        meanwhile: channel.meanwhile,
        stale: channel.stale,
        reply_via: channel.reply_via.as_ref(),
    }
}

fn of_chat(chat: &Chat) -> Mouth<'_> {
    Mouth {
        name: CHAT_CHANNEL.to_owned(),
        adapter: None,
        pipelines: &chat.pipelines,
        model: chat.model.as_ref(),
        history: chat.history,
        settings: &chat.settings,
        secrets: &chat.secrets,
        limits: &chat.limits,
        queue: chat.queue,
        meanwhile: Meanwhile::Queue,
        stale: None,
        reply_via: None,
    }
}

/// Each model and each assistant of the door for OpenAI's clients. They keep no history: who asks brings along what
/// was said before.
fn of_programs(door: &OpenAiDoor) -> impl Iterator<Item = Mouth<'_>> {
    let plain = |name: &str| Mouth {
        name: openai_channel(name),
        adapter: None,
        pipelines: &[],
        model: None,
        history: 0,
        settings: &NO_SETTINGS,
        secrets: &NO_SECRETS,
        limits: &door.limits,
        queue: PROGRAMS_QUEUED_MAX,
        meanwhile: Meanwhile::Queue,
        stale: None,
        reply_via: None,
    };
    let models = door.models.iter().map(move |name| Mouth { model: Some(name), ..plain(name) });
    let assistants = door.assistants.iter().map(move |(name, assistant)| Mouth {
        pipelines: &assistant.pipelines,
        model: assistant.model.as_ref(),
        settings: &assistant.settings,
        secrets: &assistant.secrets,
        limits: &assistant.limits,
        ..plain(name)
    });
    models.chain(assistants)
}

impl Mouth<'_> {
    /// What a plugin is to it, each use once.
    pub fn uses(&self, plugin: &str) -> Option<Kind> {
        if self.adapter == Some(plugin) {
            return Some(Kind::Adapter);
        }
        self.pipelines.iter().any(|used| used == plugin).then_some(Kind::Pipeline)
    }

    /// The plugins that it cannot do without.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        self.adapter.into_iter().chain(self.pipelines.iter().map(String::as_str))
    }
}
