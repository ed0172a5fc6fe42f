//! Packages of the system, where it is a Debian and nobody needs to be asked; elsewhere the words to say.
//!
//! It does not know what the packages are for.

use crate::command;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Unpacks a Debian package into a folder of its own, without installing anything.
pub fn unpack(package: &str, what: &str, folder: &Path) -> Result<()> {
    let manual = format!("{what} is missing; type: sudo apt-get install -y {package}");
    if !command::succeeds("apt-get", &["--version"]) {
        bail!("{what} is missing: install it by your system's package manager (on Debian `{package}`)");
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    eprintln!("getting {package} by apt-get");
    let script = r#"apt-get download -qq "$0" && dpkg -x "$0"_*.deb . && rm "$0"_*.deb"#;
    command::run(Command::new("sh").args(["-c", script, package]).current_dir(folder)).context(manual)
}

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
