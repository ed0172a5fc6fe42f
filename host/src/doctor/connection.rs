//! Channels that keep a socket open to their platform: whether it is open, as the running host says.

use serde_json::Value;

use super::Finding;
use super::port::Server;
use crate::config::Config;
use crate::plugin::manifest::Manifest;

const CHECK: &str = "connection";
/// How `/ready` begins what it says of a channel's socket.
const NAME: &str = "connection ";
const IS_OPEN: &str = "open since";
const IS_STOPPED: &str = "stopped";

pub fn findings(config: &Config, manifests: &[Manifest], server: &Server) -> Vec<Finding> {
    let Server::Ours { ready, .. } = server else {
        let what = "no host of this configuration answers: whether its socket opens shows when it serves";
        return connecting(config, manifests).map(|channel| Finding::skip(CHECK, channel, what)).collect();
    };
    let checks = ready["checks"].as_array().into_iter().flatten();
    checks.filter_map(|check| Some(told(check["name"].as_str()?.strip_prefix(NAME)?, check))).collect()
}

/// The channels whose adapters keep a socket under their settings.
fn connecting<'c>(config: &'c Config, manifests: &'c [Manifest]) -> impl Iterator<Item = &'c str> {
    config.channels.iter().filter_map(|(name, channel)| {
        let manifest = manifests.iter().find(|manifest| manifest.name == channel.adapter)?;
        manifest.does_connect(&manifest.with_defaults(&channel.settings)).then_some(name.as_str())
    })
}

fn told(channel: &str, check: &Value) -> Finding {
    let detail = check["detail"].as_str().unwrap_or_default();
    if detail.starts_with(IS_OPEN) {
        return Finding::ok(CHECK, channel, detail);
    }
    if detail.starts_with(IS_STOPPED) {
        let remedy = format!(
            "mend what it says, then ask for the socket: `POST /api/v1/admin/channels/{channel}/dial` at the admin door"
        );
        return Finding::fail(CHECK, channel, detail, remedy);
    }
    let remedy = "it is dialled again by itself; compare the channel's settings and secrets with the platform's \
                  console, and open the way out to it if it cannot be reached";
    Finding::warn(CHECK, channel, detail, remedy)
}
