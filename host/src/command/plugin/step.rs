//! `parlor plugin promote` and `rollback`: the candidate becomes the stable release, or the one before serves again.
//! Nothing is compiled for either.

use std::path::Path;

use reqwest::Method;

use super::deployed::{self, change, changed};
use crate::auth::Role;
use crate::command::door::{Door, Entry};

#[derive(Debug, clap::Args)]
pub struct Step {
    /// The plugin
    name: String,
    #[command(flatten)]
    entry: Entry,
    /// One JSON object: the plugin as it serves then
    #[arg(long)]
    json: bool,
}

/// `step` is what the door calls it.
pub async fn run(config: &Path, wanted: &Step, step: &str) -> anyhow::Result<()> {
    let door = Door::open(config, &wanted.entry, Role::Operator)?;
    let url = deployed::at(&door, &[&wanted.name, step])?;
    let plugin = changed(&door, &wanted.name, change(&door, Method::POST, url)).await?;
    deployed::tell(&plugin, wanted.json)
}
