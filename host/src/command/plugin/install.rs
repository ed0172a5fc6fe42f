//! `parlor plugin install`: brings a release to a host that serves. Exit code 1 if it does not come to serve, also
//! where it only waits for a yes.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::deployed::{self, change, lines, short};
use crate::auth::Role;
use crate::command::ask::{Ask as _, Terminal};
use crate::command::door::{Door, Entry};
use crate::plugin::package;

#[derive(Debug, clap::Args)]
pub struct Install {
    /// The plugin's `.wasm` file
    file: PathBuf,
    #[command(flatten)]
    trial: Trial,
    /// Say yes to what it asks for beyond the stable release
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    entry: Entry,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What a release on trial gets to do.
#[derive(Debug, clap::Args)]
pub struct Trial {
    /// It serves so many of a hundred conversations, always the same ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub weight: Option<u8>,
    /// It runs beside the stable release and is compared with it; nothing of it is sent
    #[arg(long, conflicts_with = "weight")]
    pub shadow: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    plugin: String,
    version: String,
    digest: String,
    /// `serves`, `on-trial` or `waits`.
    outcome: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asks: Vec<String>,
}

pub async fn run(config: &Path, wanted: &Install) -> anyhow::Result<()> {
    let bytes = Bytes::from(package::load(&wanted.file)?);
    let door = Door::open(config, &wanted.entry, Role::Admin)?;
    let mut outcome = wanted.bring(&door, &bytes, wanted.approve).await?;
    if outcome.waits() && !wanted.json {
        print!("{}", outcome.asked());
        if says_yes()? {
            outcome = wanted.bring(&door, &bytes, true).await?;
        }
    }
    if wanted.json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    if outcome.waits() {
        bail!("it does not serve yet; {}", wanted.way_to_say_yes(&outcome));
    }
    if !wanted.json {
        println!("{}", wanted.told(&outcome));
    }
    Ok(())
}

/// Whether somebody at the terminal does.
pub fn says_yes() -> anyhow::Result<bool> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    Ok(is_terminal && Terminal.yes("Shall it have that?", false)?)
}

impl Install {
    async fn bring(&self, door: &Door, bytes: &Bytes, is_approved: bool) -> anyhow::Result<Outcome> {
        let mut url = deployed::at(door, &[])?;
        let mut query = url.query_pairs_mut();
        query.extend_pairs(self.trial.weight.map(|weight| ("weight", weight.to_string())));
        query.extend_pairs(self.trial.shadow.then_some(("shadow", "true")));
        query.extend_pairs(is_approved.then_some(("approve", "true")));
        drop(query);
        door.read(change(door, Method::POST, url).body(bytes.clone())).await
    }

    fn told(&self, outcome: &Outcome) -> String {
        let Outcome { plugin, .. } = outcome;
        let release = outcome.release();
        match (outcome.outcome.as_str(), self.trial.weight) {
            ("serves", _) => format!("{release} serves"),
            (_, Some(weight)) => format!(
                "{release} serves {weight} of a hundred conversations; `parlor plugin promote {plugin}` gives it all of them"
            ),
            (_, None) => format!(
                "{release} runs as a shadow; `parlor plugin candidate {plugin} --weight 10` gives it conversations"
            ),
        }
    }

    /// A yes at the door lets it serve at once: who wants a trial brings it again.
    fn way_to_say_yes(&self, outcome: &Outcome) -> String {
        if self.trial.shadow || self.trial.weight.is_some() {
            return "say yes by the same command with `--approve`".to_owned();
        }
        format!("say yes by `parlor plugin approve {} {}`", outcome.plugin, short(&outcome.digest))
    }
}

impl Outcome {
    fn waits(&self) -> bool {
        self.outcome == "waits"
    }

    fn release(&self) -> String {
        format!("{} {} ({})", self.plugin, self.version, short(&self.digest))
    }

    fn asked(&self) -> String {
        format!("{} asks for more than the release that serves:\n{}", self.release(), lines(&self.asks))
    }
}
