//! `parlor plugin compile`: the child process that `serve` starts, so that it never compiles itself.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::plugin::compile::compile_here;
use crate::plugin::package::Package;
use crate::plugin::signature::Trust;

#[derive(Debug, clap::Args)]
pub struct Compile {
    /// The plugin's `.wasm` file
    file: PathBuf,
    /// Where the compiled file goes
    #[arg(long)]
    output: PathBuf,
    /// SHA-256 that the file must have
    #[arg(long)]
    expect: Option<String>,
}

pub fn run(wanted: &Compile) -> anyhow::Result<()> {
    let name = || format!("`{}`", wanted.file.display());
    // Whoever asks has verified it, and says by its digest which file that was.
    let package = Package::read(&wanted.file, &Trust::anybody()).with_context(name)?;
    let is_expected = wanted.expect.as_ref().is_none_or(|digest| *digest == package.digest);
    anyhow::ensure!(is_expected, "{} is not the file that was checked; it changed meanwhile", name());
    compile_here(&package, &wanted.output)
}
