//! Channels to which nothing comes but what cannot be verified: the secret is most likely another one.
//!
//! No secret can be tested by itself: only the platform knows it. So the running host's own figures are read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Finding;
use super::client::Client;
use super::port::{Server, local};
use crate::auth::Issuer;
use crate::clock::Clock;
use crate::config::Config;

const CHECK: &str = "signature";
const FAMILY: &str = "parlor_messages_total{";
/// One or two may be a stranger's; a platform tries again and again.
const MANY: u64 = 3;
/// As long as one request needs.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// Webhooks of one channel since the host started.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    unverified: u64,
    verified: u64,
}

pub async fn findings(
    config: &Config,
    server: &Server,
    client: &Client,
    clock: Arc<dyn Clock>,
) -> Vec<Finding> {
    if config.channels.is_empty() {
        return Vec::new();
    }
    if !matches!(server, Server::Ours { .. }) {
        let what = match server.runs() {
            true => "the host does not answer this machine: whether secrets fit was not tested",
            false => "no host of this configuration runs: whether secrets fit shows when webhooks come in",
        };
        return vec![Finding::skip(CHECK, "", what)];
    }
    match figures(config, client, clock).await {
        Ok(figures) => {
            let counts = counts(&figures);
            config
                .channels
                .keys()
                .map(|name| judge(name, counts.get(name).copied().unwrap_or_default()))
                .collect()
        }
        Err(why) => vec![Finding::skip(CHECK, "", format!("the host's figures cannot be read: {why}"))],
    }
}

async fn figures(config: &Config, client: &Client, clock: Arc<dyn Clock>) -> Result<String, String> {
    let auth = &config.auth;
    let names = auth.issuers.first().zip(auth.audience.first());
    let (issuer, audience) = names.ok_or("`auth` names nobody who issues tokens")?;
    let issuer = Issuer::new(&auth.jwt_secret, issuer, audience, clock);
    let token = issuer.issue(&["metrics:read"], TOKEN_LIFE, None).map_err(|error| error.to_string())?;
    let answer = client.ask(client.get(local(config.listen, "/metrics")).bearer_auth(token)).await?;
    match answer.status {
        200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        401 | 403 => Err("it runs with another `auth.jwt_secret`; start it again".to_owned()),
        status => Err(format!("status {status}")),
    }
}

/// `parlor_messages_total{channel="team",outcome="unverified"} 3`
fn counts(figures: &str) -> BTreeMap<String, Counts> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for line in figures.lines().filter_map(|line| line.strip_prefix(FAMILY)) {
        let Some((labels, value)) = line.split_once("} ") else { continue };
        let label =
            |name: &str| labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
        let (Some(channel), Some(outcome)) = (label("channel"), label("outcome")) else { continue };
        let count =
            value.split_whitespace().next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
        let channel = counts.entry(channel.trim_end_matches('"').to_owned()).or_default();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a counter is a whole number"
        )]
        let count = count as u64;
        match outcome.trim_end_matches('"') {
            "unverified" => channel.unverified += count,
            // Fit neither way: the adapter did not get as far as the signature.
            "refused" | "failed" | "unknown" => {}
            _ => channel.verified += count,
        }
    }
    counts
}

fn judge(channel: &str, counts: Counts) -> Finding {
    match counts {
        Counts { unverified: 0, verified: 0 } => {
            Finding::skip(CHECK, channel, "no webhook has come in since the start")
        }
        Counts { unverified, verified: 0 } => {
            let what = format!("{unverified} webhooks could not be verified since the start, and none could");
            let remedy = format!(
                "compare `channels.{channel}.secrets` with what the platform shows; the log says what each lacked"
            );
            if unverified >= MANY {
                Finding::fail(CHECK, channel, what, remedy)
            } else {
                Finding::warn(CHECK, channel, what, remedy)
            }
        }
        Counts { verified, .. } => {
            Finding::ok(CHECK, channel, format!("{verified} webhooks were verified since the start"))
        }
    }
}
