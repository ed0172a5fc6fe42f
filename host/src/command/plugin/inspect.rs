//! `parlor plugin inspect`: what a file is, without judging it.

use std::io::stdout;
use std::path::{Path, PathBuf};

use super::{describe, trust};
use crate::command::paint;
use crate::plugin::inspection::Inspection;
use crate::plugin::signature::Trust;

#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The plugin's `.wasm` file
    file: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Path, wanted: &Inspect) -> anyhow::Result<()> {
    // Without a sound configuration a file can be looked at all the same.
    let trust = trust::configured(config).ok().flatten().unwrap_or_else(Trust::anybody);
    let seen = Inspection::of(&wanted.file, &trust)?;
    if wanted.json {
        println!("{}", describe::json(&seen));
    } else {
        print!("{}", describe::text(&seen, paint::has_colours(&stdout())));
    }
    Ok(())
}
