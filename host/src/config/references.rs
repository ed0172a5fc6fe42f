//! What the keys of a file say of each other: names that must exist, and what may not stand together.
//!
//! It looks at the tree and not at what `file` reads out of it, so that one wrong value hides none of these.
//! What is wrong with a value itself it leaves to `kinds`.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::CHAT_CHANNEL;
use super::kinds::{LIST_ITEMS_MAX, Origin};
use super::reader::Reader;
use super::section::unknown;
use super::sources::SourceUrl;
use super::tree::{Entry, Node, What};

/// Checks the whole file.
pub(super) fn check(root: &Node, reader: &mut Reader<'_>) {
    if let Some(model) = root.get("default_model") {
        reader.within("default_model", |reader| check_model(root, model, reader));
    }
    if let Some(models) = root.get("models") {
        reader.within("models", |reader| check_fallbacks(root, models, reader));
    }
    if let Some(channels) = root.get("channels") {
        reader.within("channels", |reader| check_channels(root, channels, reader));
    }
    if let Some(chat) = root.get("chat") {
        reader.within("chat", |reader| {
            check_stages(root, chat, reader);
            check_open_page(root, chat, reader);
            check_owners(chat, None, reader);
        });
    }
    if let Some(door) = root.get("openai") {
        reader.within("openai", |reader| check_openai(root, door, reader));
    }
    if let Some(sources) = root.get("plugins").and_then(|plugins| plugins.get("sources")) {
        reader.within("plugins", |reader| {
            reader.within("sources", |reader| check_sources(sources, reader));
        });
    }
    check_bursts(root, &[("key_burst", "key_rate")], reader);
    if let Some(endpoints) = root.get("endpoints") {
        reader.within("endpoints", |reader| check_endpoints(endpoints, reader));
    }
}

fn check_fallbacks(root: &Node, models: &Node, reader: &mut Reader<'_>) {
    for Entry { key, value, .. } in models.entries() {
        let Some(fallback) = value.get("fallback") else { continue };
        reader.within(key, |reader| {
            reader.within("fallback", |reader| {
                check_offered(root, fallback, reader);
                check_not_itself(key, fallback, reader);
            });
        });
    }
}

fn check_not_itself(model: &str, fallback: &Node, reader: &mut Reader<'_>) {
    for (at, node) in fallback.items().iter().take(LIST_ITEMS_MAX).enumerate() {
        if reader.peek(node).is_some_and(|name| name.text == model) {
            let message = format!("`{model}` cannot stand in for itself; name another model");
            reader.within_item(at, |reader| reader.problem(node.place, message));
        }
    }
}

fn check_channels(root: &Node, channels: &Node, reader: &mut Reader<'_>) {
    for Entry { place, key, value } in channels.entries() {
        reader.within(key, |reader| {
            if key == CHAT_CHANNEL {
                let message = "the host's own door keeps its conversations under this name; choose another";
                reader.problem(*place, format!("`{key}` is taken: {message}"));
            }
            check_stages(root, value, reader);
            check_owners(value, Some("adapter"), reader);
            if let Some(via) = value.get("reply_via").and_then(|via| via.get("channel")) {
                reader.within("reply_via", |reader| {
                    reader.within("channel", |reader| check_channel(channels, via, reader));
                });
            }
        });
    }
}

fn check_channel(channels: &Node, named: &Node, reader: &mut Reader<'_>) {
    let Some(name) = reader.peek(named) else { return };
    let known = || channels.entries().iter().map(|entry| entry.key.as_str());
    if name.text.is_empty() || known().any(|key| key == name.text) {
        return;
    }
    let message = match name.variables.first() {
        Some(variable) => format!("`{variable}` holds no name out of `channels`"),
        None => unknown("channel", &name.text, known()),
    };
    reader.problem(named.place, message);
}

fn check_openai(root: &Node, door: &Node, reader: &mut Reader<'_>) {
    check_bursts(door, &[("burst", "rate"), ("person_burst", "person_rate")], reader);
    if let Some(models) = door.get("models") {
        reader.within("models", |reader| check_offered(root, models, reader));
    }
    let offered = offered(root, door, reader);
    let assistants = door.get("assistants").map(Node::entries).unwrap_or_default();
    reader.within("assistants", |reader| {
        for Entry { place, key, value } in assistants {
            reader.within(key, |reader| {
                if offered.contains(key) {
                    let advice = "choose another name, or leave it out of `openai.models`";
                    reader.problem(*place, format!("`{key}` is offered as a model already; {advice}"));
                }
                check_assistant(root, value, reader);
            });
        }
    });
}

/// The names of models that are asked as they are.
fn offered(root: &Node, door: &Node, reader: &Reader<'_>) -> Vec<String> {
    match door.get("models") {
        Some(listed) => {
            let names = listed.items().iter().filter_map(|name| reader.peek(name));
            names.map(|name| name.text).collect()
        }
        None => {
            let models = root.get("models").map(Node::entries).unwrap_or_default();
            models.iter().map(|entry| entry.key.clone()).collect()
        }
    }
}

fn check_offered(root: &Node, models: &Node, reader: &mut Reader<'_>) {
    let mut seen = Vec::new();
    for (at, node) in models.items().iter().take(LIST_ITEMS_MAX).enumerate() {
        reader.within_item(at, |reader| {
            check_model(root, node, reader);
            let Some(name) = reader.peek(node) else { return };
            if seen.contains(&name.text) {
                reader.problem(node.place, format!("{} is in the list already", name.shown()));
            }
            seen.push(name.text);
        });
    }
}

fn check_assistant(root: &Node, assistant: &Node, reader: &mut Reader<'_>) {
    check_stages(root, assistant, reader);
    check_owners(assistant, None, reader);
    let is_empty = |node: &&Node| matches!(&node.what, What::List(items) if items.is_empty());
    if let Some(pipelines) = assistant.get("pipelines").filter(is_empty) {
        let message = "is empty; an assistant without pipelines is a model, and `openai.models` offers those";
        reader.within("pipelines", |reader| reader.problem(pipelines.place, message));
    }
}

/// A burst alone limits nothing.
fn check_bursts(owner: &Node, pairs: &[(&str, &str)], reader: &mut Reader<'_>) {
    let Some(limits) = owner.get("limits") else { return };
    for (burst, rate) in pairs {
        let Some(node) = limits.get(burst).filter(|_| limits.get(rate).is_none()) else { continue };
        let message = format!("without `{rate}` beside it this limits nothing");
        reader.within("limits", |reader| reader.within(burst, |reader| reader.problem(node.place, message)));
    }
}

/// What channels and the host's own doors share.
fn check_stages(root: &Node, channel: &Node, reader: &mut Reader<'_>) {
    check_bursts(channel, &[("burst", "rate"), ("person_burst", "person_rate")], reader);
    match channel.get("model") {
        Some(model) => reader.within("model", |reader| check_model(root, model, reader)),
        None => check_default_model(root, channel, reader),
    }
    if let Some(pipelines) = channel.get("pipelines") {
        reader.within("pipelines", |reader| check_twice(pipelines, reader));
    }
}

fn check_model(root: &Node, model: &Node, reader: &mut Reader<'_>) {
    let Some(name) = reader.peek(model) else { return };
    let models = root.get("models").map(Node::entries).unwrap_or_default();
    if name.text.is_empty() || models.iter().any(|entry| entry.key == name.text) {
        return;
    }
    let message = match name.variables.first() {
        Some(variable) => format!("`{variable}` holds no name out of `models`"),
        None => unknown("model", &name.text, models.iter().map(|entry| entry.key.as_str())),
    };
    reader.problem(model.place, message);
}

/// Without a pipeline every text goes to a model, so that there must be one.
fn check_default_model(root: &Node, channel: &Node, reader: &mut Reader<'_>) {
    let has_pipelines = channel.get("pipelines").is_some_and(|pipelines| !pipelines.items().is_empty());
    if has_pipelines || channel.entries().is_empty() || root.get("default_model").is_some() {
        return;
    }
    let message = "missing: without `pipelines` all text goes to a model, and there is no `default_model`";
    reader.within("model", |reader| reader.problem(channel.place, message));
}

fn check_twice(pipelines: &Node, reader: &mut Reader<'_>) {
    let mut seen = Vec::new();
    for (at, node) in pipelines.items().iter().take(LIST_ITEMS_MAX).enumerate() {
        let Some(name) = reader.peek(node) else { continue };
        if seen.contains(&name.text) {
            let message =
                format!("{} is in the list already; its settings could not be told apart", name.shown());
            reader.within_item(at, |reader| reader.problem(node.place, message));
        }
        seen.push(name.text);
    }
}

fn check_open_page(root: &Node, chat: &Node, reader: &mut Reader<'_>) {
    let Some(open_page) = chat.get("open_page") else { return };
    if reader.peek(open_page).is_none_or(|scalar| scalar.text != "true") {
        return;
    }
    let listen = root.get("listen").and_then(|listen| reader.peek(listen));
    let address = listen.and_then(|listen| listen.text.parse::<SocketAddr>().ok());
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        let message =
            "a page without a token is only for this machine; `listen` on `127.0.0.1`, or set it `false`";
        reader.within("open_page", |reader| reader.problem(open_page.place, message));
    }
}

/// Each setting and secret belongs to the adapter or to a pipeline of this channel.
fn check_owners(channel: &Node, adapter: Option<&str>, reader: &mut Reader<'_>) {
    let pipelines = channel.get("pipelines").map(Node::items).unwrap_or_default();
    let pipelines: Vec<_> =
        pipelines.iter().filter_map(|name| reader.peek(name)).map(|name| name.text).collect();
    for (table, noun) in [("settings", "setting"), ("secrets", "secret")] {
        let entries = channel.get(table).map(Node::entries).unwrap_or_default();
        reader.within(table, |reader| {
            for entry in entries {
                check_owner(entry, &pipelines, adapter.is_some(), noun, reader);
            }
        });
    }
}

fn check_owner(entry: &Entry, pipelines: &[String], has_adapter: bool, noun: &str, reader: &mut Reader<'_>) {
    let message = match entry.key.split_once('.') {
        Some((owner, _)) if pipelines.iter().any(|name| name == owner) => return,
        Some((owner, _)) => unknown("pipeline", owner, pipelines.iter().map(String::as_str)),
        None if has_adapter => return,
        None => format!("there is no adapter here whose {noun} this could be; write `pipeline.{noun}`"),
    };
    reader.within(&entry.key, |reader| reader.problem(entry.place, message));
}

/// What a source brought last is known by its name: two of one name would take turns for ever.
fn check_sources(sources: &Node, reader: &mut Reader<'_>) {
    let mut seen = Vec::new();
    for (at, source) in sources.items().iter().take(LIST_ITEMS_MAX).enumerate() {
        let Some(node) = source.get("url") else { continue };
        let url = reader.peek(node).and_then(|text| SourceUrl::parse(&text.text).ok());
        let Some(url) = url else { continue };
        reader.within_item(at, |reader| {
            if seen.contains(&url.name()) {
                let message = "the list has this file or repository already; each source is one plugin's";
                reader.within("url", |reader| reader.problem(node.place, message));
            }
            check_credentials(source, &url, reader);
        });
        seen.push(url.name());
    }
}

/// Each kind of source has credentials of its own.
fn check_credentials(source: &Node, url: &SourceUrl, reader: &mut Reader<'_>) {
    let strangers: &[&str] = match url {
        SourceUrl::Web(_) => &["user", "password"],
        SourceUrl::Registry(_) => &["token"],
    };
    let advice = match url {
        SourceUrl::Web(_) => "is for a registry; an `https` source takes a `token`",
        SourceUrl::Registry(_) => "is for an `https` source; a registry takes a `user` and a `password`",
    };
    for key in strangers {
        let Some(node) = source.get(key) else { continue };
        reader.within(key, |reader| reader.problem(node.place, format!("`{key}` {advice}")));
    }
    for (one, other) in [("user", "password"), ("password", "user")] {
        let Some(node) = source.get(one).filter(|_| source.get(other).is_none()) else { continue };
        if !strangers.contains(&one) {
            let message = format!("without `{other}` beside it nobody is let in by it");
            reader.within(one, |reader| reader.problem(node.place, message));
        }
    }
}

/// `https://a` and `https://a:443/` are one origin.
fn check_endpoints(endpoints: &Node, reader: &mut Reader<'_>) {
    let mut seen = HashMap::new();
    for entry in endpoints.entries() {
        let Ok(origin) = Origin::parse(&entry.key) else { continue };
        if let Some(first) = seen.insert(origin.0, &entry.key).filter(|first| **first != entry.key) {
            let message = format!("the same origin as `{first}`");
            reader.within(&entry.key, |reader| reader.problem(entry.place, message));
        }
    }
}
