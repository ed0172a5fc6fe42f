//! `parlor plugin pack`: makes a plugin of a component that another language's tools built.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::file;
use crate::plugin::manifest::Manifest;
use crate::plugin::pack;
use crate::plugin::package::{self, Package};
use crate::plugin::signature::{self, Trust};

#[derive(Debug, clap::Args)]
pub struct Pack {
    /// The component; contract and manifest are put into it, instead of those that it has
    file: PathBuf,
    /// The manifest; `plugin.toml` beside the component or in this folder if left out
    #[arg(long, value_name = "TOML")]
    manifest: Option<PathBuf>,
    /// Where the plugin goes, instead of into the component's place
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take off the signature that the file has: it would not fit any more
    #[arg(long)]
    unsign: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(wanted: &Pack) -> anyhow::Result<()> {
    let manifest = manifest_file(wanted)?;
    let to = wanted.output.as_deref().unwrap_or(&wanted.file);
    let package = packed(&wanted.file, &manifest, to, wanted.unsign)?;
    let name = &package.manifest.name;
    if wanted.json {
        println!(
            "{}",
            json!({ "file": to, "name": name, "version": package.manifest.version, "digest": package.digest })
        );
    } else {
        println!(
            "{}: the plugin {name} {}, not signed; sign it by `parlor plugin sign`",
            to.display(),
            package.manifest.version
        );
    }
    Ok(())
}

/// Packs a component, and writes it only if a host could load it.
pub fn packed(component: &Path, manifest: &Path, to: &Path, may_unsign: bool) -> anyhow::Result<Package> {
    let text = std::fs::read_to_string(manifest).with_context(|| {
        format!("cannot read the manifest `{}`; name one by `--manifest`", manifest.display())
    })?;
    // By itself first, so that its problems come with the file's own name.
    Manifest::parse(&text).map_err(|problems| {
        let lines: String =
            problems.iter().map(|problem| format!("\n{}: {problem}", manifest.display())).collect();
        anyhow::anyhow!("the manifest has problems:{lines}")
    })?;
    let bytes = package::load(component)?;
    let name = || format!("`{}`", component.display());
    let is_signed = signature::split(&bytes).with_context(name)?.is_some();
    ensure!(
        may_unsign || !is_signed,
        "{} is signed, and its signature would not fit any more; pack the component that its build gave, or add `--unsign`",
        name()
    );
    let bytes = pack::pack(&bytes, &text).with_context(name)?;
    let package = Package::check(to.to_owned(), bytes, &Trust::anybody()).with_context(name)?;
    file::replace(to, &package.bytes)?;
    Ok(package)
}

fn manifest_file(wanted: &Pack) -> anyhow::Result<PathBuf> {
    if let Some(path) = &wanted.manifest {
        return Ok(path.clone());
    }
    let beside = wanted.file.with_file_name(MANIFEST);
    let places = [beside, PathBuf::from(MANIFEST)];
    places.into_iter().find(|path| path.is_file()).with_context(|| {
        format!(
            "there is no `{MANIFEST}` beside `{}` or in this folder; name one by `--manifest`",
            wanted.file.display()
        )
    })
}

pub const MANIFEST: &str = "plugin.toml";
