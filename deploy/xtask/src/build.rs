//! Building the host and the plugins.
//!
//! A plugin is found by its folder below `plugins/`, built for `wasm32-wasip2`, and put into `target/plugins` under
//! the name of that folder. Guests for tests go the same way into a folder of their own. What is inside a plugin is
//! the SDK's affair.

use crate::command;
use crate::scripted;
use crate::setup::{self, Environment};
use crate::workspace::{Plugin, Workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::{env, fs};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
}

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let profile = match args {
        [] => Profile::Dev,
        [flag] if flag == "--release" => Profile::Release,
        _ => bail!("`build` takes `--release` or nothing, but there is `{}`", args.join(" ")),
    };
    let environment = setup::prepare(workspace)?;
    println!("{}", host(workspace, &environment, profile)?.display());
    print_all(&plugins(workspace, &environment)?);
    Ok(())
}

pub fn run_plugins(workspace: &Workspace, args: &[String]) -> Result<()> {
    let is_all = match args {
        [] => false,
        [flag] if flag == "--all" => true,
        _ => bail!("`plugins` takes `--all` or nothing, but there is `{}`", args.join(" ")),
    };
    let environment = setup::prepare(workspace)?;
    print_all(&plugins(workspace, &environment)?);
    if is_all {
        print_all(&scripted::plugins(workspace)?);
    }
    Ok(())
}

pub fn run_cargo(workspace: &Workspace, args: &[String]) -> Result<()> {
    command::run(setup::prepare(workspace)?.cargo().args(args))
}

/// The path of `parlor`.
pub fn host(workspace: &Workspace, environment: &Environment, profile: Profile) -> Result<PathBuf> {
    eprintln!("building the host: 10 to 20 minutes the first time on two cores, seconds later");
    let mut cargo = environment.cargo();
    cargo.args(["build", "--package", "parlor", "--bin", "parlor"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)?;
    let folder = if profile == Profile::Release { "release" } else { "debug" };
    Ok(workspace.target.join(folder).join("parlor"))
}

/// The paths of the built plugins.
pub fn plugins(workspace: &Workspace, environment: &Environment) -> Result<Vec<PathBuf>> {
    let plugins = workspace.plugins()?;
    eprintln!("building {} plugins: about a minute the first time", plugins.len());
    components(workspace, environment, &plugins, &workspace.plugins_folder())
}

/// The paths of the built plugins that only tests of the host load.
pub fn test_guests(workspace: &Workspace, environment: &Environment) -> Result<Vec<PathBuf>> {
    components(workspace, environment, &workspace.test_guests()?, &workspace.test_guests_folder())
}

fn components(
    workspace: &Workspace,
    environment: &Environment,
    plugins: &[Plugin],
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let mut cargo = environment.cargo();
    cargo.args(["build", "--profile", "plugin", "--target", "wasm32-wasip2", "--lib"]);
    cargo.args(["--config", &nameless(&workspace.root)?]);
    command::run(cargo.args(packages(plugins)))?;

    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    plugins.iter().map(|plugin| place(plugin, &workspace.target, folder)).collect()
}

/// A setting of cargo by which no plugin tells in its panics where it was built: that is nobody's business, and a tree
/// would make other plugins on another machine.
fn nameless(root: &Path) -> Result<String> {
    let own = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = own.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("cargo has no home folder")?;
    let crates = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let folders = crates.map(|entry| (entry.path(), "crates")).chain([(root.to_owned(), ".")]);
    let flags: Vec<String> =
        folders.map(|(folder, shown)| format!("--remap-path-prefix={}={shown}", folder.display())).collect();
    Ok(format!("target.wasm32-wasip2.rustflags = {flags:?}"))
}

/// `--package` for each of them.
pub fn packages(plugins: &[Plugin]) -> impl Iterator<Item = &str> {
    plugins.iter().flat_map(|plugin| ["--package", plugin.package.as_str()])
}

/// Copies beside the place and renames, since a running host watches the folder and must never see half a file.
fn place(plugin: &Plugin, target: &Path, folder: &Path) -> Result<PathBuf> {
    let file = format!("{}.wasm", plugin.package.replace('-', "_"));
    let built = target.join("wasm32-wasip2").join("plugin").join(file);
    let new = folder.join(format!(".{}.new", plugin.name));
    let placed = folder.join(format!("{}.wasm", plugin.name));
    if fs::read(&built).ok() == fs::read(&placed).ok().filter(|bytes| !bytes.is_empty()) {
        return Ok(placed);
    }
    fs::copy(&built, &new).with_context(|| format!("cannot copy `{}`", built.display()))?;
    fs::rename(&new, &placed).with_context(|| format!("cannot rename to `{}`", placed.display()))?;
    Ok(placed)
}

fn print_all(paths: &[PathBuf]) {
    for path in paths {
        println!("{}", path.display());
    }
}
