//! `parlor plugin check`: what a file may do, and whether it would serve here. Exit code 1 if it would not.

use std::io::stdout;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::{describe, trust};
use crate::command::paint;
use crate::plugin::compile::Cache;
use crate::plugin::inspection::Inspection;
use crate::plugin::manifest::grown;
use crate::plugin::package::{self, Package};
use crate::plugin::signature::Trust;
use crate::plugin::{Loader, engine};
use crate::scratch::Scratch;

#[derive(Debug, clap::Args)]
pub struct Check {
    /// The plugin's `.wasm` file
    file: PathBuf,
    /// Another release of it: also say what this one asks for beyond that one
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Path, wanted: Check) -> anyhow::Result<()> {
    let configured = trust::configured(config)?;
    let is_configured = configured.is_some();
    let trust = configured.unwrap_or_else(Trust::anybody);
    let seen = Inspection::of(&wanted.file, &trust)?;
    let more = wanted.against.as_ref().map(|old| more(old, &seen)).transpose()?;
    let mut told = describe::json(&seen);
    let mut text = describe::text(&seen, paint::has_colours(&stdout()));
    let refusal = refusal(seen, trust).await?;
    if wanted.json {
        told["serves"] = json!(refusal.is_none());
        told["refusal"] = json!(refusal);
        if let Some(more) = more {
            told["asks_for_more"] = json!(more);
        }
        println!("{told}");
    } else {
        text.push_str(&more_text(more.as_deref()));
        if refusal.is_none() {
            text.push_str(
                "it would serve here: it compiles, fits the contract, and its golden requests come out\n",
            );
        }
        if !is_configured {
            text.push_str(&format!(
                "signatures were not judged: there is no configuration `{}` with `plugins.trusted_keys`\n",
                config.display()
            ));
        }
        print!("{text}");
    }
    refusal.map_or(Ok(()), |reason| Err(anyhow::anyhow!("it would not serve here: {reason}")))
}

fn more(old: &Path, seen: &Inspection) -> anyhow::Result<Vec<String>> {
    let bytes = package::load(old)?;
    let old = Package::check(old.to_owned(), bytes, &Trust::anybody())
        .with_context(|| format!("`{}`", old.display()))?;
    let new =
        seen.manifest.as_ref().context("its manifest cannot be read, so there is nothing to compare")?;
    Ok(grown(&old.manifest, new))
}

fn more_text(more: Option<&[String]>) -> String {
    match more {
        None => String::new(),
        Some([]) => "it asks for nothing more\n".to_owned(),
        Some(more) => {
            let lines: String = more.iter().map(|line| format!("  + {line}\n")).collect();
            format!("it asks for more, so that an upgrade waits for a yes:\n{lines}")
        }
    }
}

/// Takes it the whole way that `serve` takes it; why it does not get there.
async fn refusal(seen: Inspection, trust: Trust) -> anyhow::Result<Option<String>> {
    let package = match seen.package {
        Ok(package) => package,
        Err(error) => return Ok(Some(crate::telemetry::chain(&error))),
    };
    let folder = Scratch::new()?;
    let compiler = std::env::current_exe().context("this program's own file cannot be found")?;
    let cache = Cache::open(folder.path(), [0; 32], compiler)?;
    let built = engine::build().map_err(|error| anyhow::anyhow!("wasmtime cannot start: {error:#}"))?;
    engine::tick(&built.engine).context("no thread for the plugin's deadlines")?;
    let loader = Loader::new(built, cache, Arc::new(|_| ()), trust);
    let outcome = loader.load(package).await;
    Ok(outcome.err().map(|error| crate::telemetry::chain(&error)))
}
