//! `parlor model pull ADDRESS`: a file from a hub, checked, in the folder `models`; then what to write where.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::progress::Bar;
use crate::command::load;
use crate::download::{self, Checked, Order, Pulled, Source};
use crate::weights;

#[derive(Debug, clap::Args)]
pub struct Pull {
    /// An address at Hugging Face or ModelScope, `hf:organisation/repository/file.gguf`, `ms:…`, or any https
    /// address of a `.gguf` file
    address: String,
    /// What the file must be: 64 hexadecimal digits
    #[arg(long, value_parser = digest)]
    sha256: Option<String>,
    /// Where it goes, a file or a folder; else into `models` beside the configuration
    #[arg(long)]
    to: Option<PathBuf>,
    /// The outcome as one JSON object
    #[arg(long)]
    json: bool,
}

fn digest(text: &str) -> Result<String, &'static str> {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { Ok(text.to_ascii_lowercase()) } else { Err("expected 64 hexadecimal digits") }
}

pub async fn run(config: &Path, wanted: Pull) -> anyhow::Result<()> {
    let pulled = pull(config, &wanted.address, wanted.sha256, wanted.to).await?;
    if wanted.json {
        println!("{}", told(&pulled));
    } else {
        print!("{}", advice(&pulled, config));
    }
    Ok(())
}

/// Downloads an address into the folder for models, or to `to`.
pub async fn pull(
    config: &Path,
    address: &str,
    sha256: Option<String>,
    to: Option<PathBuf>,
) -> anyhow::Result<Pulled> {
    let source = Source::parse(address, sha256.is_some(), &|name| std::env::var(name).ok())?;
    let to = match to {
        Some(folder) if folder.is_dir() => folder.join(&source.name),
        Some(file) => file,
        None => super::folder(config).join(&source.name),
    };
    let bar = Bar::new();
    let accept = |path: &Path| weights::inspect(path).map(drop);
    eprintln!("getting {} into {}", source.name, to.display());
    let order = Order { source, to, sha256, kind: "GGUF", magic: weights::MAGIC, accept: &accept };
    let pulled = download::pull(order, &bar).await;
    bar.end();
    let pulled = pulled?;
    weights::note(&pulled.path, &pulled.sha256)
        .with_context(|| format!("cannot note the checksum beside `{}`", pulled.path.display()))?;
    Ok(pulled)
}

fn told(pulled: &Pulled) -> serde_json::Value {
    let checked = match pulled.checked {
        Checked::Caller => "given",
        Checked::Hub => "hub",
        Checked::Nobody => "nobody",
    };
    json!({
        "file": pulled.path, "bytes": pulled.bytes, "sha256": pulled.sha256,
        "checked_against": checked, "was_there": pulled.was_there,
    })
}

/// What came of it, and what to write into the configuration.
fn advice(pulled: &Pulled, config: &Path) -> String {
    let verb = if pulled.was_there { "was there already" } else { "is there" };
    let checked = match pulled.checked {
        Checked::Caller => "its SHA-256 is the given one",
        Checked::Hub => "its SHA-256 is the one that the hub names",
        Checked::Nobody => "nobody said what its SHA-256 must be; compare it with the file's page",
    };
    format!(
        "{} {verb}; {checked}.\nThe configuration, in {}:\n\n{}",
        pulled.path.display(),
        config.display(),
        snippet(&pulled.path, &pulled.sha256, config)
    )
}

/// The model's part of a configuration.
pub fn snippet(file: &Path, sha256: &str, config: &Path) -> String {
    let name = name(file);
    let path = quoted(&from(config, file));
    format!(
        "default_model: {name}\nmodels:\n  {name}:\n    backend: gguf\n    path: {path}\n    sha256: {sha256}\n"
    )
}

/// A model's name out of its file's.
pub fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches(['.', '_', '-']).to_owned();
    if name.is_empty() { "local".to_owned() } else { name.chars().take(63).collect() }
}

/// A path as the configuration writes it: relative to its folder where it lies below.
pub fn from(config: &Path, file: &Path) -> PathBuf {
    let absolute = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let (Ok(folder), Ok(file)) = (absolute(&load::folder(config)), absolute(file)) else {
        return file.to_owned();
    };
    match file.strip_prefix(&folder) {
        Ok(below) => Path::new(".").join(below),
        Err(_) => file,
    }
}

/// A YAML scalar: plain where nothing in it means something, else in single quotes.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "._-/".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "''").replace('$', "$$")) }
}
