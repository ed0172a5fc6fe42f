//! `parlor plugin dev`: builds a crate whenever one of its files is saved, and puts the plugin where a host takes it.
//!
//! The running host watches its plugin folder; this watches the crate. It looks instead of being told: a crate has few
//! files, and a network's folder or a container's tells nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{build, file};
use crate::plugin::package::Package;

/// How soon a saved file is seen.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// What a build writes and what no build reads.
const SKIPPED: [&str; 2] = ["target", "node_modules"];
/// A crate with more is the wrong folder.
const FILES_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
pub struct Dev {
    /// The crate's folder, with `Cargo.toml` and `plugin.toml` in it
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the host takes plugins from, instead of the configuration's `plugins.folder`
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Paths, with what tells one state of a file from another without reading it.
type Look = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

pub async fn run(config: &Path, wanted: &Dev) -> anyhow::Result<()> {
    let plugins = plugins_folder(config, wanted)?;
    ensure!(
        plugins.is_dir(),
        "there is no folder `{}`; make it, or name another by `--plugins`",
        plugins.display()
    );
    loop {
        let seen = look(&wanted.folder)?;
        match placed(&wanted.folder, &plugins) {
            Ok((to, package)) => tell_placed(wanted, &to, &package),
            Err(error) => tell_failed(wanted, &error),
        }
        until_saved(&wanted.folder, seen).await?;
    }
}

fn plugins_folder(config: &Path, wanted: &Dev) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &wanted.plugins {
        return Ok(folder.clone());
    }
    let plugins = crate::command::load(config)
        .context("name the folder that the host takes plugins from by `--plugins`, or its configuration by `--config`")?
        .plugins;
    ensure!(
        plugins.allow_unsigned,
        "the host of `{}` loads signed plugins alone; set `plugins.allow_unsigned: true` while you develop",
        config.display()
    );
    Ok(plugins.folder)
}

/// Builds the crate, and renames the plugin into its place: a host never sees half of it.
fn placed(folder: &Path, plugins: &Path) -> anyhow::Result<(PathBuf, Package)> {
    let (_, package) = build::built(folder, None)?;
    let to = plugins.join(format!("{}.wasm", package.manifest.name));
    file::replace(&to, &package.bytes)?;
    Ok((to, package))
}

fn tell_placed(wanted: &Dev, to: &Path, package: &Package) {
    let digest = &package.digest;
    if wanted.json {
        println!("{}", json!({ "placed": to, "digest": digest }));
    } else {
        println!(
            "{}: in place, {}…; save a file to build it again, Ctrl-C ends",
            to.display(),
            &digest[..12]
        );
    }
}

fn tell_failed(wanted: &Dev, error: &anyhow::Error) {
    if wanted.json {
        println!("{}", json!({ "failed": format!("{error:#}") }));
    } else {
        eprintln!("parlor: {error:#}; what was in place before still serves");
    }
}

/// Waits for a change, and then until nothing changes any more: editors save in several steps.
async fn until_saved(folder: &Path, mut seen: Look) -> anyhow::Result<()> {
    let mut is_changing = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = look(folder)?;
        if is_changing && now == seen {
            return Ok(());
        }
        is_changing = is_changing || now != seen;
        seen = now;
    }
}

fn look(folder: &Path) -> anyhow::Result<Look> {
    let mut look = Look::new();
    let mut open = vec![folder.to_owned()];
    while let Some(below) = open.pop() {
        // Whatever is gone since it was listed is no source any more.
        for entry in std::fs::read_dir(&below).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            let name = entry.file_name();
            if found.is_dir() && is_source(&name.to_string_lossy()) {
                open.push(entry.path());
            } else if found.is_file() && !is_made(&name.to_string_lossy()) {
                look.insert(entry.path(), (found.len(), found.modified().ok()));
            }
        }
        ensure!(
            look.len() <= FILES_MAX,
            "`{}` holds over {FILES_MAX} files; name a crate's folder",
            folder.display()
        );
    }
    Ok(look)
}

/// What the build itself writes.
fn is_made(file: &str) -> bool {
    file.ends_with(".wasm") || file.starts_with('.') || file == "Cargo.lock"
}

fn is_source(folder: &str) -> bool {
    !folder.starts_with('.') && !SKIPPED.contains(&folder)
}
