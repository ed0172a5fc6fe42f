//! `parlor plugin approve`: a yes to what a waiting release asks for. Without the digest that was looked at, it says
//! what that is.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use reqwest::Method;
use serde_json::json;

use super::deployed::{self, Waiting, change, changed, lines, short};
use super::install::says_yes;
use crate::auth::Role;
use crate::command::door::{Door, Entry};

#[derive(Debug, clap::Args)]
pub struct Approve {
    /// The plugin
    name: String,
    /// Of the release that waits; its beginning is enough
    digest: Option<String>,
    #[command(flatten)]
    entry: Entry,
    /// One JSON object: the plugin as it serves then
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Path, wanted: &Approve) -> anyhow::Result<()> {
    let name = &wanted.name;
    let door = Door::open(config, &wanted.entry, Role::Admin)?;
    let waiting = deployed::one(&door, name).await?.deployment.waiting;
    let waiting = waiting.with_context(|| format!("no release of `{name}` waits for a yes"))?;
    wanted.ensure_meant(&waiting)?;
    let url = deployed::at(&door, &[name, "approve"])?;
    let yes = change(&door, Method::POST, url).json(&json!({ "digest": waiting.digest }));
    let plugin = changed(&door, name, yes).await?;
    deployed::tell(&plugin, wanted.json)
}

impl Approve {
    /// A yes is to what was seen.
    fn ensure_meant(&self, waiting: &Waiting) -> anyhow::Result<()> {
        let Waiting { digest, asks } = waiting;
        let (name, short) = (&self.name, short(digest));
        if let Some(meant) = &self.digest {
            let is_meant = !meant.is_empty() && digest.starts_with(meant.as_str());
            ensure!(is_meant, "it is the release {short} of `{name}` that waits for a yes, not `{meant}`");
            return Ok(());
        }
        eprint!("{name} {short} asks for more than the release that serves:\n{}", lines(asks));
        if !says_yes()? {
            bail!("nothing was changed; say yes by `parlor plugin approve {name} {short}`");
        }
        Ok(())
    }
}
