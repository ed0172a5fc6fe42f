//! `parlor model pull|list|verify`: the weights files that models run from.

mod list;
mod progress;
pub(super) mod pull;
mod verify;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::config::{Backend, Config};

/// Where files are looked for and put, beside the configuration.
const FOLDER: &str = "models";

#[derive(Debug, Subcommand)]
pub enum Model {
    /// Download a model, going on from where an earlier download stopped
    Pull(pull::Pull),
    /// What is configured, and what lies in the folder `models` beside the configuration
    List(list::List),
    /// Check files: SHA-256, and that nothing of them is missing
    Verify(verify::Verify),
}

pub async fn run(path: &Path, model: Model) -> anyhow::Result<()> {
    match model {
        Model::Pull(wanted) => pull::run(path, wanted).await,
        Model::List(wanted) => list::run(path, &wanted),
        Model::Verify(wanted) => verify::run(path, &wanted),
    }
}

/// The folder for files of models.
pub(super) fn folder(config: &Path) -> PathBuf {
    let beside = super::load::folder(config);
    if beside == Path::new(".") { PathBuf::from(FOLDER) } else { beside.join(FOLDER) }
}

/// The configuration if there is a file for it; a file with problems is an error.
fn configured(path: &Path) -> anyhow::Result<Option<Config>> {
    if path.try_exists().unwrap_or(true) { super::load(path).map(Some) } else { Ok(None) }
}

/// A file that a model may run from.
struct Candidate {
    /// The model that is configured to run from it.
    name: Option<String>,
    path: PathBuf,
    /// What the configuration says that it must be.
    sha256: Option<String>,
}

/// The files that are configured, then those that lie in the folder beside them.
fn candidates(config: Option<&Config>, folder: &Path) -> std::io::Result<Vec<Candidate>> {
    let models = config.iter().flat_map(|config| &config.models);
    let mut found: Vec<Candidate> = models
        .filter_map(|(name, model)| match &model.backend {
            Backend::Gguf(local) => Some(Candidate {
                name: Some(name.clone()),
                path: local.path.clone(),
                sha256: local.sha256.clone(),
            }),
            _ => None,
        })
        .collect();
    for path in lying(folder)? {
        if !found.iter().any(|known| is_same(&known.path, &path)) {
            found.push(Candidate { name: None, path, sha256: None });
        }
    }
    Ok(found)
}

fn lying(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}
