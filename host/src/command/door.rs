//! The admin door of a host that serves, as the command line calls it: where it is, and by which token.
//!
//! It does not know what is asked there: that is each command's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::auth::{Issuer, Role};
use crate::clock::SystemClock;
use crate::config::Config;

/// Where all that operators see and change is.
const BASE: [&str; 3] = ["api", "v1", "admin"];
/// A person waits in front of the terminal.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longer than any command takes.
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// Whom the audit names where no token was given.
const SUBJECT: &str = "command line";

/// Which door, and who is in front of it.
#[derive(Debug, clap::Args)]
pub struct Entry {
    /// The admin door of a host that serves; without it the configuration's `admin.listen`
    #[arg(long)]
    pub url: Option<Url>,
    /// A token for it; without it one is issued with the configuration's secret, for five minutes
    #[arg(long, env = "PARLOR_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

pub struct Door {
    client: reqwest::Client,
    url: Url,
    token: String,
}

/// What the door says instead of doing it.
#[derive(Debug, thiserror::Error)]
#[error("the admin door says no ({status}): {message}{}", advice(*.status))]
pub struct Refused {
    pub status: StatusCode,
    message: String,
}

/// Its form.
#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
}

impl Door {
    /// The one that was named, or the configuration's. Who names a door and has a token needs no configuration.
    pub fn open(config: &Path, entry: &Entry, needs: Role) -> anyhow::Result<Door> {
        match (&entry.url, &entry.token) {
            (Some(url), Some(token)) => Door::new(url.clone(), token.clone()),
            _ => Door::of(&super::load(config)?, entry, needs),
        }
    }

    /// The same of a configuration that was read already.
    pub fn of(config: &Config, entry: &Entry, needs: Role) -> anyhow::Result<Door> {
        let url = entry.url.clone().map_or_else(|| address(config), Ok)?;
        let token = entry.token.clone().map_or_else(|| issue(config, needs), Ok)?;
        Door::new(url, token)
    }

    fn new(url: Url, token: String) -> anyhow::Result<Door> {
        // A second call finds the first one's provider, which is the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("parlor/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(Door { client, url, token })
    }

    /// What has this path below all of the door's own, name by name.
    pub fn at(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.url.clone();
        let names = url.path_segments_mut().ok();
        let mut names = names.with_context(|| format!("`{}` is no address of a door", self.url))?;
        names.pop_if_empty().extend(BASE).extend(path);
        drop(names);
        Ok(url)
    }

    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(&self.token)
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        self.read(self.request(Method::GET, self.at(path)?)).await
    }

    /// Sends it, and reads what is told.
    pub async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let told = self.send(request).await?.json().await;
        told.with_context(|| format!("what answers at {} is no admin door of this version", self.url))
    }

    /// Sends it; a [`Refused`] is what the door says no by.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.with_context(|| {
            format!(
                "the admin door at {} does not answer; start the host by `parlor serve`, or name another door by `--url`",
                self.url
            )
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let refusal: Option<Refusal> = response.json().await.ok();
        let message =
            refusal.map_or_else(|| "it does not say why".to_owned(), |refusal| refusal.error.message);
        Err(Refused { status, message }.into())
    }
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; `parlor token --role admin` with that host's configuration makes a token, which `--token` takes"
        }
        _ => "",
    }
}

fn address(config: &Config) -> anyhow::Result<Url> {
    let admin = config.admin.as_ref().context(
        "the configuration keeps the admin door closed; open it by `admin.enabled`, or name another by `--url`",
    )?;
    let address = SocketAddr::new(reached(admin.listen.ip()), admin.listen.port());
    format!("http://{address}").parse().context("`admin.listen` is no address")
}

/// A door on all addresses of this machine is reached on its own.
fn reached(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(all) if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(all) if all.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        one => one,
    }
}

/// A token for this call alone, by whoever may read the secret.
fn issue(config: &Config, role: Role) -> anyhow::Result<String> {
    let issuer = config.auth.issuers.first().context("`auth.issuer` names no issuer")?;
    let audience = config.auth.audience.first().context("`auth.audience` names no audience")?;
    let issuer = Issuer::new(&config.auth.jwt_secret, issuer, audience, Arc::new(SystemClock));
    Ok(issuer.issue(&[role.scope()], TOKEN_LIFE, Some(SUBJECT))?)
}
