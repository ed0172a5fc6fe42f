//! `parlor plugin build`: from a crate to a plugin's file, by cargo.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::file;
use super::pack::{self, MANIFEST};
use crate::plugin::manifest::Manifest;
use crate::plugin::package::{self, Package, PackageError};
use crate::plugin::signature::Trust;

const TARGET: &str = "wasm32-wasip2";

#[derive(Debug, clap::Args)]
pub struct Build {
    /// The crate's folder, with `Cargo.toml` and `plugin.toml` in it
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the plugin's file goes; `NAME.wasm` in the crate's folder if left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(wanted: &Build) -> anyhow::Result<()> {
    let (to, package) = built(&wanted.folder, wanted.output.as_deref())?;
    let Manifest { name, version, .. } = &package.manifest;
    if wanted.json {
        let bytes = package.bytes.len();
        println!(
            "{}",
            json!({ "file": to, "name": name, "version": version, "digest": package.digest, "bytes": bytes })
        );
    } else {
        let (to, bytes) = (to.display(), package.bytes.len());
        println!("{to}: {name} {version}, {bytes} bytes, not signed\nnext: parlor plugin check {to}");
    }
    Ok(())
}

/// Builds and packs the crate of a folder; where its file is, and what it is.
pub fn built(folder: &Path, output: Option<&Path>) -> anyhow::Result<(PathBuf, Package)> {
    let manifest = folder.join(MANIFEST);
    ensure!(
        manifest.is_file() && folder.join("Cargo.toml").is_file(),
        "`{}` holds no plugin to build: there is no `Cargo.toml` with a `{MANIFEST}` beside it; begin one by `parlor plugin new`",
        folder.display()
    );
    let component = component(folder)?;
    let bytes = package::load(&component)?;
    let package = match Package::check(component.clone(), bytes, &Trust::anybody()) {
        // A crate that does not use the SDK's macros.
        Err(PackageError::Foreign(_)) => pack::packed(&component, &manifest, &component, false)?,
        package => package.with_context(|| format!("`{}`", component.display()))?,
    };
    let to = output.map_or_else(|| folder.join(format!("{}.wasm", package.manifest.name)), Path::to_owned);
    file::replace(&to, &package.bytes)?;
    Ok((to, package))
}

/// Runs cargo, which shows what it does, and finds what it made.
fn component(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--lib",
        "--target",
        TARGET,
        "--message-format",
        "json-render-diagnostics",
    ]);
    let child = cargo.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.context("cargo cannot be started; install Rust from https://rustup.rs")?;
    let made = artefact(&mut child)?;
    if !child.wait()?.success() {
        bail!("cargo could not build it; {}", advice());
    }
    made.context("cargo made no component; the crate needs `crate-type = [\"cdylib\"]` under `[lib]`")
}

/// The last library that cargo tells of is the crate's own.
fn artefact(child: &mut Child) -> anyhow::Result<Option<PathBuf>> {
    let output = child.stdout.take().context("the output was asked for as a pipe")?;
    let mut found = None;
    for line in BufReader::new(output).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found = files.filter(|file| file.ends_with(".wasm")).map(PathBuf::from).next_back().or(found);
    }
    Ok(found)
}

fn advice() -> &'static str {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match folder {
        Ok(folder) if Path::new(&folder).is_dir() => "see what it says above",
        _ => "run `rustup target add wasm32-wasip2` and try again",
    }
}
