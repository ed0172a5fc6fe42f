//! Dead letters of a host that serves, through its admin door.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Letter;
use crate::auth::{Issuer, Role};
use crate::clock::SystemClock;
use crate::config::Config;

const PATH: &str = "/api/v1/admin/dead-letters";
/// A person waits in front of the terminal.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longer than any replay takes.
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// Read at a time.
const PIECE: u32 = 200;

pub(super) struct Door {
    client: reqwest::Client,
    url: Url,
    token: String,
}

#[derive(Deserialize)]
struct Piece {
    items: Vec<Letter>,
    next: Option<String>,
}

/// Why the door says no.
#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
}

impl Door {
    pub(super) fn new(url: Url, token: Option<String>, config: &Config) -> anyhow::Result<Door> {
        // A second call finds the first one's provider, which is the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("parlor/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        let token = token.map_or_else(|| issue(config), Ok)?;
        Ok(Door { client, url, token })
    }

    pub(super) async fn list(&self, channel: Option<&str>) -> anyhow::Result<Vec<Letter>> {
        let (mut letters, mut after) = (Vec::new(), None);
        loop {
            let mut url = self.url.join(PATH)?;
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &PIECE.to_string());
            query.extend_pairs(channel.map(|channel| ("channel", channel)));
            query.extend_pairs(after.as_deref().map(|after: &str| ("after", after)));
            drop(query);
            let piece: Piece = self.ask(self.client.get(url)).await?.json().await?;
            letters.extend(piece.items);
            match piece.next {
                Some(next) => after = Some(next),
                None => return Ok(letters),
            }
        }
    }

    pub(super) async fn replay(&self, letter: i64, asks: bool) -> anyhow::Result<bool> {
        let url = self.url.join(&format!("{PATH}/{letter}/replay"))?;
        let how = serde_json::json!({ "ask_again": asks }).to_string();
        let request = self.client.post(url).header("content-type", "application/json").body(how);
        let response = self.send(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        allowed(response).await.map(|_| true)
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<reqwest::Response> {
        allowed(self.send(request).await?).await
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let response = request.bearer_auth(&self.token).send().await;
        response
            .with_context(|| format!("the admin door at {} does not answer; name it by `--url`", self.url))
    }
}

async fn allowed(response: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let refusal: Option<Refusal> = response.json().await.ok();
    let why = refusal.map_or_else(|| "it does not say why".to_owned(), |refusal| refusal.error.message);
    anyhow::bail!("the admin door says no ({status}): {why}")
}

/// A token for this call alone, by whoever may read the secret.
fn issue(config: &Config) -> anyhow::Result<String> {
    let issuer = config.auth.issuers.first().context("`auth.issuer` names no issuer")?;
    let audience = config.auth.audience.first().context("`auth.audience` names no audience")?;
    let issuer = Issuer::new(&config.auth.jwt_secret, issuer, audience, Arc::new(SystemClock));
    Ok(issuer.issue(&[Role::Operator.scope()], TOKEN_LIFE, Some("parlor replay"))?)
}
