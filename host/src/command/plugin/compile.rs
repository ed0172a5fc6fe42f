//! `parlor plugin compile`: machine code of one plugin, for the process that asked or for a host without a compiler.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::plugin::compile::{self, Cache, Compiled};
use crate::plugin::package::Package;
use crate::plugin::signature::Trust;
use crate::store::vault::Vault;

#[derive(Debug, clap::Args)]
pub struct Compile {
    /// The plugin's `.wasm` file
    file: PathBuf,
    /// Where the compiled file goes
    #[arg(long, required_unless_present = "into", conflicts_with = "into")]
    output: Option<PathBuf>,
    /// The data folder of a host without a compiler: the compiled file goes into its cache, sealed by its `host.key`
    #[arg(long)]
    into: Option<PathBuf>,
    /// What it runs on, such as `x86_64-unknown-linux-gnu`: any processor of that kind. This machine's own if unset
    #[arg(long)]
    target: Option<String>,
    /// SHA-256 that the file must have
    #[arg(long)]
    expect: Option<String>,
}

pub fn run(wanted: &Compile) -> anyhow::Result<()> {
    // Whoever asks has verified it, and says by its digest which file that was.
    let package = Package::read(&wanted.file, &Trust::anybody())
        .with_context(|| format!("`{}`", wanted.file.display()))?;
    let is_expected = wanted.expect.as_ref().is_none_or(|digest| *digest == package.digest);
    anyhow::ensure!(
        is_expected,
        "`{}` is not the file that was checked; it changed meanwhile",
        wanted.file.display()
    );
    let compiled = compile::compile_here(&package, wanted.target.as_deref())?;
    match (&wanted.output, &wanted.into) {
        (Some(output), _) => std::fs::write(output, compiled.code)
            .with_context(|| format!("cannot write `{}`", output.display())),
        (None, Some(data)) => lay(&package, &compiled, data),
        (None, None) => Ok(()),
    }
}

fn lay(package: &Package, compiled: &Compiled, data: &Path) -> anyhow::Result<()> {
    let key = Vault::open(data)?.subkey(compile::SEAL);
    let cache = Cache::open(&data.join(compile::FOLDER), key, PathBuf::new())?;
    println!("{}", cache.lay(package, compiled)?.display());
    Ok(())
}
