//! Whether the address that platforms are told leads to this very host.
//!
//! `/health` names an instance that nobody guesses: what `public_url` answers must be what `listen` answers.

use serde_json::Value;
use url::Url;

use super::Finding;
use super::client::Client;
use super::port::{Server, is_parlor};
use crate::config::Config;

const CHECK: &str = "callback";
/// The code by which every door refuses an address that is not on its list.
const ADDRESS_REFUSED: &str = "address";

pub async fn findings(config: &Config, server: &Server, client: &Client) -> Vec<Finding> {
    let Some(public) = &config.public_url else {
        let what = "`public_url` is not set; whether a platform reaches this host was not tested";
        return if config.channels.is_empty() { Vec::new() } else { vec![Finding::skip(CHECK, "", what)] };
    };
    let mut findings = Vec::new();
    findings.extend(unprotected(public));
    let Server::Ours { health, .. } = server else {
        let what = match server.runs() {
            true => "the host does not answer this machine: whether platforms reach it was not tested",
            false => "no host of this configuration runs; start it and ask again whether platforms reach it",
        };
        findings.push(Finding::skip(CHECK, public.as_str(), what));
        return findings;
    };
    findings.push(led(public, health, client).await);
    findings
}

fn unprotected(public: &Url) -> Option<Finding> {
    let is_local = matches!(public.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    (public.scheme() != "https" && !is_local).then(|| {
        let what = "platforms call https addresses only, and what is said goes unprotected";
        Finding::warn(
            CHECK,
            public.as_str(),
            what,
            "put a proxy with a certificate in front, and set `public_url` to its https address",
        )
    })
}

async fn led(public: &Url, own: &Value, client: &Client) -> Finding {
    let mut url = public.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push("health");
    }
    let about = public.as_str();
    let fail = |what: String, remedy: &str| Finding::fail(CHECK, about, what, remedy);
    let answer = match client.ask(client.get(url)).await {
        Ok(answer) => answer,
        Err(why) => {
            let remedy = "check the DNS name, the certificate, the firewall and the proxy; \
                          if only this machine does not reach itself by that name, test it from outside";
            return fail(format!("cannot be reached from here: {why}"), remedy);
        }
    };
    let said = answer.json().unwrap_or_default();
    if said["error"]["code"] == ADDRESS_REFUSED {
        let what = "a parlor answers there, and its `allow` keeps this machine out: whether it is this host \
                    was not tested";
        return Finding::skip(CHECK, about, what);
    }
    let Some(health) = Some(said).filter(is_parlor) else {
        let what = format!("what answers there is no parlor (status {})", answer.status);
        return fail(what, "let the proxy pass all paths below `public_url` to `listen`");
    };
    if health["instance"] != own["instance"] {
        let what = "another parlor answers there than the one at `listen`".to_owned();
        return fail(what, "let the proxy or the DNS name lead to this machine, or correct `public_url`");
    }
    Finding::ok(CHECK, about, "leads to this host")
}
