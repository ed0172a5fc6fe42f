//! `parlor plugin verify`: whether a trusted key signed a file. Exit code 1 if none did.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{describe, trust};
use crate::plugin::package;
use crate::plugin::signature::{Provenance, Trust};

#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The plugin's `.wasm` file
    file: PathBuf,
    /// A public key (`RW…`) or its `.pub` file, instead of the configuration's `plugins.trusted_keys`
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Path, wanted: &Verify) -> anyhow::Result<()> {
    let trust = trust(config, &wanted.keys)?;
    let bytes = package::load(&wanted.file)?;
    let provenance = trust.verify(&bytes);
    if wanted.json {
        println!("{}", describe::provenance_json(&provenance));
    }
    let provenance = provenance.with_context(|| format!("`{}`", wanted.file.display()))?;
    if let (Provenance::Signed(signer), false) = (&provenance, wanted.json) {
        println!("{}: signed by {}", wanted.file.display(), describe::signer(signer));
    }
    Ok(())
}

/// The keys that were named or configured; whatever the configuration lets in, here a signature is wanted.
fn trust(config: &Path, named: &[String]) -> anyhow::Result<Trust> {
    if !named.is_empty() {
        return Ok(Trust::new(trust::keys(named)?, false));
    }
    let keys = trust::configured(config)?.map(Trust::into_keys).unwrap_or_default();
    anyhow::ensure!(
        !keys.is_empty(),
        "there is no key to verify with; name its author's by `--key RW…`, or by `plugins.trusted_keys` in `{}`",
        config.display()
    );
    Ok(Trust::new(keys, false))
}
