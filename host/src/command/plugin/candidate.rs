//! `parlor plugin candidate`: what the release on trial gets to do, or which one is, or the end of the trial.

use std::path::Path;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::json;

use super::deployed::{self, change, changed};
use super::install::Trial;
use crate::auth::Role;
use crate::command::door::{Door, Entry};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["weight", "shadow", "withdraw"])))]
pub struct Candidate {
    /// The plugin
    name: String,
    /// Of a release that the host keeps, its beginning is enough; without it the one that is on trial
    #[arg(conflicts_with = "withdraw")]
    digest: Option<String>,
    #[command(flatten)]
    trial: Trial,
    /// End the trial: the stable release serves alone
    #[arg(long)]
    withdraw: bool,
    #[command(flatten)]
    entry: Entry,
    /// One JSON object: the plugin as it serves then
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Path, wanted: &Candidate) -> anyhow::Result<()> {
    let door = Door::open(config, &wanted.entry, Role::Operator)?;
    let url = deployed::at(&door, &[&wanted.name, "candidate"])?;
    let request = if wanted.withdraw {
        change(&door, Method::DELETE, url)
    } else {
        let digest = wanted.digest(&door).await?;
        change(&door, Method::PUT, url).json(&json!({ "digest": digest, "weight": wanted.trial.weight }))
    };
    let plugin = changed(&door, &wanted.name, request).await?;
    deployed::tell(&plugin, wanted.json)
}

impl Candidate {
    async fn digest(&self, door: &Door) -> anyhow::Result<String> {
        if let Some(digest) = &self.digest {
            return Ok(digest.clone());
        }
        let candidate = deployed::one(door, &self.name).await?.deployment.candidate;
        let candidate = candidate.with_context(|| {
            format!(
                "`{}` has no release on trial; name one by the digest that `parlor plugin list` shows",
                self.name
            )
        })?;
        Ok(candidate.release.digest)
    }
}
