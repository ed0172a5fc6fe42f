//! Packages of the system, where it is a Debian and nobody needs to be asked; elsewhere the words to say.
//!
//! It does not know what the packages are for.

use crate::command;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Installs a Debian package where that is possible without asking, else says how.
pub fn install(package: &str, what: &str) -> Result<()> {
    let manual = format!("{what} is missing; type: sudo apt-get install -y {package}");
    if !command::succeeds("apt-get", &["--version"]) {
        bail!("{what} is missing: install it by your system's package manager (on Debian `{package}`)");
    }
    if command::output(Command::new("id").arg("-u"))? != "0" {
        bail!(manual);
    }
    eprintln!("installing {package} by apt-get");
    let apt = |args: &[&str]| {
        command::run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let quietly = ["install", "-y", "-qq", "-o", "Dpkg::Use-Pty=0", package];
    apt(&["update", "-qq"]).and_then(|()| apt(&quietly)).context(manual)
}
