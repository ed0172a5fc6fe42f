//! `cargo xtask planted [NAME…]`: plants each known bug into a copy of the tree and lets the simulation look for it.
//!
//! The bugs are the patches of `host/tests/simulation/planted`. The copy has a target folder of its own, so that nothing
//! that was built with a bug in it is ever taken for sound. Each bug takes a build of the host and then seeds until one
//! finds it; a bug that all seeds pass over fails the command.

use crate::build;
use crate::command;
use crate::setup::{self, Environment};
use crate::test;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PATCHES: &str = "host/tests/simulation/planted";
/// What the simulation says of the seed that failed.
const FOUND: &str = "--- seed ";

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let environment = setup::prepare(workspace)?;
    build::plugins(workspace, &environment)?;
    build::test_guests(workspace, &environment)?;
    let folder = workspace.target.join("planted");
    let copy = folder.join("tree");
    copy_tree(&workspace.root, &copy)?;
    let mut rows = Vec::new();
    for patch in chosen(&workspace.root, args)? {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        eprintln!("── {name}");
        apply(&copy, &patch, &[])?;
        let found = look(workspace, &environment, &folder)?;
        apply(&copy, &patch, &["--reverse"])?;
        let row = format!("{name:30} {}", found.as_deref().unwrap_or("NOT FOUND"));
        println!("{row}");
        rows.push((row, found.is_some()));
    }
    let table: Vec<&str> = rows.iter().map(|(row, _)| row.as_str()).collect();
    println!("\n{}", table.join("\n"));
    ensure!(rows.iter().all(|(_, is_found)| *is_found), "not every planted bug was found");
    Ok(())
}

fn chosen(root: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root.join(PATCHES)).with_context(|| format!("cannot read `{PATCHES}`"))?;
    let mut patches: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    let is_named = |path: &PathBuf| names.iter().any(|name| path.file_stem() == Some(name.as_ref()));
    if let Some(unknown) =
        names.iter().find(|name| !patches.iter().any(|path| path.file_stem() == Some(name.as_ref())))
    {
        bail!("there is no planted bug `{unknown}` in `{PATCHES}`");
    }
    patches.retain(|path| names.is_empty() || is_named(path));
    Ok(patches)
}

/// What git knows of the tree, as it lies there now.
fn copy_tree(root: &Path, copy: &Path) -> Result<()> {
    if copy.exists() {
        fs::remove_dir_all(copy).with_context(|| format!("cannot remove `{}`", copy.display()))?;
    }
    let listed = command::output(Command::new("git").args(["ls-files"]).current_dir(root))?;
    for file in listed.lines() {
        let to = copy.join(file);
        fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        fs::copy(root.join(file), &to).with_context(|| format!("cannot copy `{file}`"))?;
    }
    Ok(())
}

/// The copy lies in the tree's own target folder: git has to take it for a folder of its own, or it passes over every
/// file of the patch without a word.
fn apply(copy: &Path, patch: &Path, more: &[&str]) -> Result<()> {
    let above = copy.parent().context("the copy lies in a folder")?;
    let mut git = Command::new("git");
    git.current_dir(copy).env("GIT_CEILING_DIRECTORIES", above);
    command::run(git.arg("apply").args(more).arg(patch))
}

/// Runs the seeds; what the first one that failed says.
fn look(workspace: &Workspace, environment: &Environment, folder: &Path) -> Result<Option<String>> {
    let mut cargo = environment.cargo();
    cargo.current_dir(folder.join("tree")).env("CARGO_TARGET_DIR", folder.join("target"));
    cargo.env("PARLOR_TEST_PLUGINS", workspace.plugins_folder());
    cargo.env("PARLOR_TEST_GUESTS", workspace.test_guests_folder());
    cargo.arg("test").args(test::FEATURES).args(["--test", "simulation", "no_seed"]);
    let output = cargo.output().context("cannot run cargo")?;
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let found = said.lines().find_map(|line| line.strip_prefix(FOUND)).map(str::to_owned);
    ensure!(found.is_some() || output.status.success(), "the simulation does not run:\n{said}");
    Ok(found)
}
