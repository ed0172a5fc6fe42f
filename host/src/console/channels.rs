//! `/channels`: what each mouth of the bot is made of, and how it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ipnet::IpNet;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::asked::Named;
use super::connections::Connection;
use super::entry::Viewer;
use super::limits::Bounds;
use super::page::Page;
use super::{Console, Refusal, missing, unavailable};
use crate::clock::rfc3339;
use crate::config::{self, CHAT_CHANNEL, ChannelLimits, Config, openai_channel};
use crate::doors::problem::Problem;
use crate::store;

/// Which of the host's doors a channel is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// A platform, by `/webhook/{channel}`.
    Webhook,
    /// The chat page, `/api/v1/chat` and `/chat`.
    Chat,
    /// `/v1/chat/completions`.
    Openai,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Channel {
    name: String,
    door: Door,
    /// The plugin that speaks the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<String>,
    /// Plugins, front to back.
    pipelines: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The socket that this host keeps open to the platform, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<Connection>,
    /// Turns that run now.
    running: usize,
    queue: Queue,
}

/// A channel and its part of the configuration, without a secret's value.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelDetail {
    #[serde(flatten)]
    channel: Channel,
    /// Exchanges that a pipeline is shown.
    history: u32,
    limits: Bounds,
    /// Addresses and networks that it is open to; empty: everybody.
    allow: Vec<String>,
    settings: BTreeMap<String, Value>,
    /// Names of the secrets that are set.
    secrets: Vec<String>,
    /// Where replies go instead of back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_via: Option<ReplyVia>,
}

/// Another channel, and a conversation of it.
#[derive(Debug, Serialize, ToSchema)]
struct ReplyVia {
    channel: String,
    /// Without it the default destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Queue {
    unfinished: u64,
    /// Dead letters.
    dead: u64,
    /// When the oldest unfinished message came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    oldest_received_at: Option<String>,
}

impl From<store::Queue> for Queue {
    fn from(queue: store::Queue) -> Self {
        Queue {
            unfinished: queue.unfinished,
            dead: queue.dead,
            oldest_received_at: queue.oldest_received_at.map(rfc3339),
        }
    }
}

/// All channels, the host's own doors among them.
#[utoipa::path(get, path = "/channels", tag = "channels", security(("token" = ["role:viewer"])), responses(
    (status = 200, body = Page<Channel>),
    (status = 401, body = Refusal), (status = 403, body = Refusal), (status = 503, body = Refusal),
))]
pub async fn list(_: Viewer, State(console): State<Arc<Console>>) -> Result<Json<Page<Channel>>, Problem> {
    let mut queues = console.turns.store.queues().await.map_err(unavailable)?;
    let facts = all(&console.config).into_iter();
    let items = facts.map(|facts| facts.channel(&console, queues.remove(&facts.name).unwrap_or_default()));
    Ok(Json(Page { items: items.collect(), next: None }))
}

/// One channel, with its part of the configuration.
#[utoipa::path(get, path = "/channels/{channel}", tag = "channels", security(("token" = ["role:viewer"])),
    params(("channel" = String, Path)),
    responses(
        (status = 200, body = ChannelDetail), (status = 400, body = Refusal),
        (status = 401, body = Refusal), (status = 403, body = Refusal), (status = 404, body = Refusal),
        (status = 503, body = Refusal),
    ))]
pub async fn one(
    _: Viewer,
    State(console): State<Arc<Console>>,
    Named(name): Named<String>,
) -> Result<Json<ChannelDetail>, Problem> {
    let facts = all(&console.config).into_iter().find(|facts| facts.name == name);
    let facts = facts.ok_or_else(|| missing("channel"))?;
    let mut queues = console.turns.store.queues().await.map_err(unavailable)?;
    Ok(Json(ChannelDetail {
        channel: facts.channel(&console, queues.remove(&name).unwrap_or_default()),
        history: facts.history,
        limits: Bounds::of(facts.limits),
        allow: facts.allow.iter().map(ToString::to_string).collect(),
        settings: facts.settings.clone(),
        secrets: facts.secrets.keys().cloned().collect(),
        reply_via: facts
            .reply_via
            .map(|via| ReplyVia { channel: via.channel.clone(), conversation: via.conversation.clone() }),
    }))
}

/// What the configuration says of a channel.
pub struct Facts<'c> {
    pub name: String,
    pub door: Door,
    pub adapter: Option<&'c str>,
    pub pipelines: &'c [String],
    pub model: Option<&'c str>,
    pub history: u32,
    pub limits: &'c ChannelLimits,
    pub allow: &'c [IpNet],
    settings: &'c BTreeMap<String, Value>,
    secrets: &'c BTreeMap<String, SecretString>,
    reply_via: Option<&'c config::ReplyVia>,
}

impl Facts<'_> {
    fn channel(&self, console: &Console, queue: store::Queue) -> Channel {
        Channel {
            name: self.name.clone(),
            door: self.door,
            adapter: self.adapter.map(str::to_owned),
            pipelines: self.pipelines.to_vec(),
            model: self.model.map(str::to_owned),
            connection: console.connections.get(self.name.as_str()).map(|status| Connection::of(status)),
            running: console.turns.running.count(Some(&self.name)),
            queue: queue.into(),
        }
    }
}

static NO_SETTINGS: BTreeMap<String, Value> = BTreeMap::new();
static NO_SECRETS: BTreeMap<String, SecretString> = BTreeMap::new();

/// Every channel of a configuration, by name within its door.
pub fn all(config: &Config) -> Vec<Facts<'_>> {
    let default_model = config.default_model.as_deref();
    let platforms = config.channels.iter().map(|(name, channel)| Facts {
        name: name.clone(),
        door: Door::Webhook,
        adapter: Some(&channel.adapter),
        pipelines: &channel.pipelines,
        model: channel.model.as_deref().or(default_model),
        history: channel.history,
        limits: &channel.limits,
        allow: &channel.allow,
        settings: &channel.settings,
        secrets: &channel.secrets,
        reply_via: channel.reply_via.as_ref(),
    });
    let chat = config.chat.iter().map(|chat| Facts {
        name: CHAT_CHANNEL.to_owned(),
        door: Door::Chat,
        adapter: None,
        pipelines: &chat.pipelines,
        model: chat.model.as_deref().or(default_model),
        history: chat.history,
        limits: &chat.limits,
        allow: &chat.allow,
        settings: &chat.settings,
        secrets: &chat.secrets,
        reply_via: None,
    });
    platforms.chain(chat).chain(programs(config)).collect()
}

fn programs(config: &Config) -> impl Iterator<Item = Facts<'_>> {
    let facts = |name: &str, model, limits| Facts {
        name: openai_channel(name),
        door: Door::Openai,
        adapter: None,
        pipelines: &[],
        model,
        history: 0,
        limits,
        allow: &[],
        settings: &NO_SETTINGS,
        secrets: &NO_SECRETS,
        reply_via: None,
    };
    config.openai.iter().flat_map(move |door| {
        let models = door.models.iter().map(move |name| facts(name, Some(name), &door.limits));
        let assistants = door.assistants.iter().map(move |(name, assistant)| Facts {
            pipelines: &assistant.pipelines,
            settings: &assistant.settings,
            secrets: &assistant.secrets,
            ..facts(name, assistant.model.as_deref().or(config.default_model.as_deref()), &assistant.limits)
        });
        models.chain(assistants)
    })
}
