//! Whether the addresses that the channels' plugins send to are reached from here.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use url::Url;

use super::Finding;
use super::client::Client;
use crate::config::{Channel, Config};
use crate::plugin::manifest::{EgressHost, Manifest};

const CHECK: &str = "reach";

pub async fn findings(config: &Config, manifests: &[Manifest], client: &Client) -> Vec<Finding> {
    let origins = origins(config, manifests);
    join_all(origins.into_iter().map(|origin| reach(config, origin, client))).await
}

/// Every origin that a channel's plugins may send to, once.
fn origins(config: &Config, manifests: &[Manifest]) -> BTreeSet<String> {
    let manifest = |name: &String| manifests.iter().find(|manifest| manifest.name == *name);
    let used = config.channels.values().flat_map(|channel| {
        let adapter = manifest(&channel.adapter).map(|manifest| (manifest, String::new()));
        let pipelines =
            channel.pipelines.iter().filter_map(move |name| Some((manifest(name)?, format!("{name}."))));
        adapter.into_iter().chain(pipelines).map(move |(manifest, prefix)| (channel, manifest, prefix))
    });
    used.flat_map(|(channel, manifest, prefix)| {
        // One that takes webhooks here opens no socket.
        let connects = manifest.does_connect(&manifest.with_defaults(&channel.settings));
        let sockets = manifest.sockets.iter().filter(move |_| connects);
        manifest.egress.iter().chain(sockets).filter_map(move |egress| origin(channel, &prefix, &egress.host))
    })
    .collect()
}

fn origin(channel: &Channel, prefix: &str, host: &EgressHost) -> Option<String> {
    let text = match host {
        EgressHost::Name { host, port: None } => format!("https://{host}"),
        EgressHost::Name { host, port: Some(port) } => format!("https://{host}:{port}"),
        EgressHost::Setting(name) => channel.settings.get(&format!("{prefix}{name}"))?.as_str()?.to_owned(),
    };
    Some(Url::parse(&text).ok()?.origin().ascii_serialization())
}

async fn reach(config: &Config, origin: String, client: &Client) -> Finding {
    let stand_in = config
        .endpoints
        .iter()
        .find(|(from, _)| Url::parse(from).is_ok_and(|from| from.origin().ascii_serialization() == origin));
    let url = stand_in.map(|(_, to)| to.clone()).or_else(|| Url::parse(&origin).ok());
    let Some(url) = url else {
        return Finding::skip(CHECK, &origin, "is no address");
    };
    let way = if stand_in.is_some() {
        format!("by its stand-in `{}`", url.origin().ascii_serialization())
    } else {
        String::new()
    };
    match client.ask(client.head(url)).await {
        Ok(_) => Finding::ok(CHECK, &origin, format!("answers {way}").trim_end().to_owned()),
        Err(why) => {
            let what = format!("cannot be reached {way}: {why}").replace(" :", ":");
            let remedy = "open the way out to it (DNS, firewall), or name a stand-in under `endpoints`: \
                          replies that go there are not delivered";
            Finding::warn(CHECK, &origin, what, remedy)
        }
    }
}
