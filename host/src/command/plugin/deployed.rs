//! What serves on a host, as its admin door tells it, and the changes that are asked for there.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::command::door::{Door, Refused};

const PLUGINS: &str = "plugins";
/// A release may be compiled before it serves, for three minutes at most.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(240);
/// Hex digits by which people tell releases apart.
const SHORT: usize = 12;

/// All that serves, and the files that do not.
#[derive(Debug, Serialize, Deserialize)]
pub struct Host {
    /// As the door calls them in its list.
    #[serde(rename(deserialize = "items"))]
    pub plugins: Vec<Plugin>,
    pub rejected: Vec<Rejected>,
    /// Plugins serve that no trusted key has signed.
    pub allow_unsigned: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Rejected {
    pub file: String,
    pub reason: String,
}

/// What serves one name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plugin {
    pub name: String,
    pub kind: String,
    pub used_by: Vec<String>,
    pub deployment: Deployment,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Deployment {
    pub stable: Release,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// Digests, newest first.
    pub previous: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    pub quarantined: Vec<Quarantined>,
    /// Why this host does not serve what is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Release {
    pub digest: String,
    pub version: String,
    /// None: no trusted key did.
    pub signed_by: Option<Signer>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Signer {
    pub key_id: String,
    pub comment: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Candidate {
    #[serde(flatten)]
    pub release: Release,
    /// Of a hundred conversations; none: it is a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub digest: String,
    pub asks: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Quarantined {
    pub digest: String,
    pub reason: String,
    pub at: String,
}

impl Release {
    /// Version and digest.
    pub fn told(&self) -> String {
        format!("{} ({})", self.version, short(&self.digest))
    }
}

/// As much of a digest as people need.
pub fn short(digest: &str) -> &str {
    digest.get(..SHORT).unwrap_or(digest)
}

/// What a release asks for, a line each.
pub fn lines(asks: &[String]) -> String {
    asks.iter().map(|line| format!("  + {line}\n")).collect()
}

pub async fn all(door: &Door) -> anyhow::Result<Host> {
    door.get(&[PLUGINS]).await
}

pub async fn one(door: &Door, name: &str) -> anyhow::Result<Plugin> {
    door.get(&[PLUGINS, name]).await.map_err(told_of_list)
}

/// Where the door has plugins, or what lies below them.
pub fn at(door: &Door, path: &[&str]) -> anyhow::Result<Url> {
    let path: Vec<&str> = std::iter::once(PLUGINS).chain(path.iter().copied()).collect();
    door.at(&path)
}

pub fn change(door: &Door, method: Method, url: Url) -> RequestBuilder {
    door.request(method, url).timeout(CHANGE_TIMEOUT)
}

/// Makes the change; what serves then.
pub async fn changed(door: &Door, name: &str, change: RequestBuilder) -> anyhow::Result<Plugin> {
    door.send(change).await.map_err(told_of_list)?;
    one(door, name).await
}

/// Says what serves after a change.
pub fn tell(plugin: &Plugin, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(plugin)?);
        return Ok(());
    }
    let Plugin { name, deployment, .. } = plugin;
    println!("{name} {} serves", deployment.stable.told());
    if let Some(Candidate { release, weight }) = &deployment.candidate {
        let how = weight
            .map_or_else(|| "a shadow".to_owned(), |weight| format!("{weight} of a hundred conversations"));
        println!("{name} {} is on trial: {how}", release.told());
    }
    Ok(())
}

/// What is not there is looked for in the list.
fn told_of_list(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Refused>() {
        Some(refused) if refused.status == StatusCode::NOT_FOUND => {
            anyhow::anyhow!("{refused}; `parlor plugin list` shows what there is")
        }
        _ => error,
    }
}
