//! `parlor plugin …`: one plugin's file.

mod test;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use crate::plugin::package::Package;

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Drive a built adapter in the real host over HTTP by a file of test vectors
    Test(test::Test),
    /// Compile a plugin's file to machine code; `serve` runs this in a child process
    #[cfg(feature = "compile")]
    Compile(Compile),
}

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

pub async fn run(plugin: Plugin, log: &str) -> anyhow::Result<()> {
    match plugin {
        Plugin::Test(test) => test::run(test, log).await,
        #[cfg(feature = "compile")]
        Plugin::Compile(compile) => compile_file(&compile),
    }
}

#[cfg(feature = "compile")]
fn compile_file(wanted: &Compile) -> anyhow::Result<()> {
    let package = Package::read(&wanted.file).with_context(|| format!("`{}`", wanted.file.display()))?;
    let is_expected = wanted.expect.as_ref().is_none_or(|digest| *digest == package.digest);
    anyhow::ensure!(
        is_expected,
        "`{}` is not the file that was checked; it changed meanwhile",
        wanted.file.display()
    );
    crate::plugin::compile::compile_here(&package, &wanted.output)
}
