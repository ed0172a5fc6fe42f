//! `/channels`: what each mouth of the bot is made of, and how it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
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
use crate::config::mouth::{self, Mouth};
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
    let mouths = mouth::all(&console.config).into_iter();
    let items =
        mouths.map(|mouth| Channel::of(&mouth, &console, queues.remove(&mouth.name).unwrap_or_default()));
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
    let mouth = mouth::all(&console.config).into_iter().find(|mouth| mouth.name == name);
    let mouth = mouth.ok_or_else(|| missing("channel"))?;
    let mut queues = console.turns.store.queues().await.map_err(unavailable)?;
    Ok(Json(ChannelDetail {
        channel: Channel::of(&mouth, &console, queues.remove(&name).unwrap_or_default()),
        history: mouth.history,
        limits: Bounds::of(mouth.limits),
        allow: mouth.allow.iter().map(ToString::to_string).collect(),
        settings: mouth.settings.clone(),
        secrets: mouth.secrets.keys().cloned().collect(),
        reply_via: mouth
            .reply_via
            .map(|via| ReplyVia { channel: via.channel.clone(), conversation: via.conversation.clone() }),
    }))
}

impl Channel {
    fn of(mouth: &Mouth<'_>, console: &Console, queue: store::Queue) -> Self {
        let report = console.connections.get(mouth.name.as_str()).and_then(|status| status.report());
        Channel {
            name: mouth.name.clone(),
            door: mouth.door.into(),
            adapter: mouth.adapter.map(str::to_owned),
            pipelines: mouth.pipelines.to_vec(),
            model: mouth.model.cloned(),
            connection: report.map(|report| Connection::of(&report)),
            running: console.turns.running.count(Some(&mouth.name)),
            queue: queue.into(),
        }
    }
}

impl From<mouth::Door> for Door {
    fn from(door: mouth::Door) -> Self {
        match door {
            mouth::Door::Webhook => Door::Webhook,
            mouth::Door::Chat => Door::Chat,
            mouth::Door::Openai => Door::Openai,
        }
    }
}
