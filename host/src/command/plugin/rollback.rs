//! `parlor plugin rollback`: the release before the stable one serves again. Nothing is compiled for it.

use std::path::Path;

use reqwest::Method;

use super::deployed::{self, change, changed};
use crate::auth::Role;
use crate::command::door::{Door, Entry};

#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The plugin
    name: String,
    #[command(flatten)]
    entry: Entry,
    /// One JSON object: the plugin as it serves then
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Path, wanted: &Rollback) -> anyhow::Result<()> {
    let door = Door::open(config, &wanted.entry, Role::Operator)?;
    let url = deployed::at(&door, &[&wanted.name, "rollback"])?;
    let plugin = changed(&door, &wanted.name, change(&door, Method::POST, url)).await?;
    deployed::tell(&plugin, wanted.json)
}
