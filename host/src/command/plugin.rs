//! `parlor plugin …`: one plugin's file.

#[cfg(feature = "compile")]
mod compile;
mod test;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Drive a built plugin in the real host: by the conformance suite, or an adapter by a file of test vectors
    Test(test::Test),
    /// Compile a plugin's file to machine code, also for a host without a compiler; `serve` runs this in a child process
    #[cfg(feature = "compile")]
    Compile(compile::Compile),
}

pub async fn run(plugin: Plugin, log: &str) -> anyhow::Result<()> {
    match plugin {
        Plugin::Test(test) => test::run(test, log).await,
        #[cfg(feature = "compile")]
        Plugin::Compile(wanted) => compile::run(&wanted),
    }
}
