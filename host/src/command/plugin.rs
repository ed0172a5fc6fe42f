//! `parlor plugin …`: one plugin's file, from its first line to its signature, and its releases on a host that serves.

mod approve;
mod build;
mod candidate;
mod check;
#[cfg(feature = "compile")]
mod compile;
mod deployed;
mod describe;
mod dev;
mod file;
mod inspect;
mod install;
mod keys;
mod list;
mod new;
mod pack;
mod sign;
mod step;
mod test;
mod trust;
mod verify;

use std::path::Path;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Begin a plugin in Rust: a crate that builds, passes its tests and serves as it is
    New(new::New),
    /// Build a crate to a plugin's file
    Build(build::Build),
    /// Build a crate whenever a file is saved, and put the plugin where a running host takes it
    Dev(dev::Dev),
    /// Make a plugin of a component that another language's tools built
    Pack(pack::Pack),
    /// Try a file in the real host: its golden requests, and an adapter by a file of test vectors over HTTP
    Test(test::Test),
    /// Say what a file may do, and whether it would serve here
    Check(check::Check),
    /// Say what a file is, without judging it
    Inspect(inspect::Inspect),
    /// Sign a file, or make a key pair to sign with
    Sign(sign::Sign),
    /// Say whether a trusted key signed a file
    Verify(verify::Verify),
    /// Compile a file to machine code; `serve` runs this in a child process
    #[cfg(feature = "compile")]
    Compile(compile::Compile),
    /// What serves on a host, what is tried there, and what does not serve and why
    List(list::List),
    /// Bring a release to a host that serves
    Install(install::Install),
    /// Say yes to what a release that waits asks for beyond the stable one
    Approve(approve::Approve),
    /// Try a release beside the stable one, change its share, or end the trial
    Candidate(candidate::Candidate),
    /// Make the release on trial the stable one
    Promote(step::Step),
    /// Go back to the release before the stable one
    Rollback(step::Step),
}

pub async fn run(config: &Path, plugin: Plugin, log: &str) -> anyhow::Result<()> {
    match plugin {
        Plugin::New(wanted) => new::run(&wanted),
        Plugin::Build(wanted) => build::run(&wanted),
        Plugin::Dev(wanted) => dev::run(config, &wanted).await,
        Plugin::Pack(wanted) => pack::run(&wanted),
        Plugin::Test(wanted) => test::run(wanted, log).await,
        Plugin::Check(wanted) => check::run(config, wanted).await,
        Plugin::Inspect(wanted) => inspect::run(config, &wanted),
        Plugin::Sign(wanted) => sign::run(&wanted),
        Plugin::Verify(wanted) => verify::run(config, &wanted),
        #[cfg(feature = "compile")]
        Plugin::Compile(wanted) => compile::run(&wanted),
        Plugin::List(wanted) => list::run(config, &wanted).await,
        Plugin::Install(wanted) => install::run(config, &wanted).await,
        Plugin::Approve(wanted) => approve::run(config, &wanted).await,
        Plugin::Candidate(wanted) => candidate::run(config, &wanted).await,
        Plugin::Promote(wanted) => step::run(config, &wanted, "promote").await,
        Plugin::Rollback(wanted) => step::run(config, &wanted, "rollback").await,
    }
}
