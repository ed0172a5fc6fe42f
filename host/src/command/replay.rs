//! `parlor replay`: dead letters, and another try for them. Without a number they are listed.
//!
//! On the data itself while no host serves from it (`stopped`), else through that host's admin door (`served`).

mod served;
mod stopped;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::door::{Door, Entry};
use crate::auth::Role;
use crate::config::Config;
use crate::store::sqlite;
use served::Served;
use stopped::Stopped;

#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Dead letters by their numbers; without any they are listed
    letters: Vec<i64>,
    /// Every dead letter, the oldest first
    #[arg(long, conflicts_with = "letters")]
    all: bool,
    /// Of this channel alone
    #[arg(long, conflicts_with = "letters")]
    channel: Option<String>,
    /// Ask the model anew, also where an answer is stored that could not be delivered
    #[arg(long)]
    ask_again: bool,
    #[command(flatten)]
    entry: Entry,
    /// One JSON array: the list, or what came of each
    #[arg(long)]
    json: bool,
}

/// A dead letter, without what was said.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    id: i64,
    channel: String,
    message_id: String,
    died_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// There is an answer, which could not be delivered.
    is_answered: bool,
}

/// Where the dead letters are.
enum Place {
    Stopped(Stopped),
    Served(Served),
}

impl Place {
    /// The latest first.
    async fn list(&self, channel: Option<&str>) -> anyhow::Result<Vec<Letter>> {
        match self {
            Place::Stopped(data) => data.list(channel).await,
            Place::Served(host) => host.list(channel).await,
        }
    }

    /// Whether there was such a dead letter.
    async fn replay(&self, letter: i64, asks: bool) -> anyhow::Result<bool> {
        match self {
            Place::Stopped(data) => data.replay(letter, asks).await,
            Place::Served(host) => host.replay(letter, asks).await,
        }
    }

    fn when(&self) -> &'static str {
        match self {
            Place::Stopped(_) => "is tried again when the host starts",
            Place::Served(_) => "is tried again now",
        }
    }
}

pub async fn run(path: &Path, wanted: &Replay) -> anyhow::Result<()> {
    let config = super::load(path)?;
    let place = place(&config, wanted)?;
    if wanted.letters.is_empty() && !wanted.all {
        return show(&place.list(wanted.channel.as_deref()).await?, wanted.json);
    }
    let letters = match wanted.all {
        true => place.list(wanted.channel.as_deref()).await?.iter().rev().map(|letter| letter.id).collect(),
        false => wanted.letters.clone(),
    };
    replay(&place, &letters, wanted).await
}

fn place(config: &Config, wanted: &Replay) -> anyhow::Result<Place> {
    // What several nodes share is theirs to change: any of them will do.
    let serves = config.redis.is_some() || sqlite::is_in_use(&config.data);
    let is_named = wanted.entry.url.is_some();
    if !is_named && !serves {
        return Ok(Place::Stopped(Stopped::open(&config.data)?));
    }
    anyhow::ensure!(
        is_named || config.admin.is_some(),
        "a host serves from `{}`, and its admin door is closed; stop it, or open the door by `admin.enabled`",
        config.data.display()
    );
    Ok(Place::Served(Served(Door::of(config, &wanted.entry, Role::Operator)?)))
}

async fn replay(place: &Place, letters: &[i64], wanted: &Replay) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    let mut outcomes = Vec::new();
    for letter in letters {
        let is_found = place.replay(*letter, wanted.ask_again).await?;
        if is_found && !wanted.json {
            println!("{letter} {}", place.when());
        }
        if !is_found {
            missing.push(letter.to_string());
        }
        outcomes.push(serde_json::json!({ "id": letter, "replayed": is_found }));
    }
    if wanted.json {
        println!("{}", serde_json::Value::from(outcomes));
    } else if letters.is_empty() {
        println!("there are no dead letters");
    }
    anyhow::ensure!(
        missing.is_empty(),
        "no dead letter has the number {}; `parlor replay` lists those that there are",
        missing.join(", ")
    );
    Ok(())
}

fn show(letters: &[Letter], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(letters)?);
    } else if letters.is_empty() {
        println!("there are no dead letters");
    }
    for letter in letters.iter().filter(|_| !json) {
        let Letter { id, channel, died_at, .. } = letter;
        let what = if letter.is_answered { "answered" } else { "unanswered" };
        println!(
            "{id:>6}  {died_at}  {channel}  {what}  {}",
            letter.reason.as_deref().unwrap_or("no reason is known")
        );
    }
    Ok(())
}
