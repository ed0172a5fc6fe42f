//! What a build needs beyond cargo: a C++ compiler, the `wasm32-wasip2` target, cmake and libclang.
//!
//! What can be got is got; for the rest the error says the one command to type. The outcome is an `Environment`,
//! from which every child cargo is started. Look next at `tools` for cmake and libclang.

use crate::command;
use crate::debian;
use crate::tools;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLUGIN_TARGET: &str = "wasm32-wasip2";

/// How a child cargo is started: where, and with which variables.
pub struct Environment {
    root: PathBuf,
    variables: Vec<(&'static str, OsString)>,
}

impl Environment {
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root).envs(self.variables.iter().map(|(name, value)| (name, value)));
        // With it ggml takes reproducible to mean SSE2 only and a prompt takes eight times as long, without a word.
        cargo.env_remove("SOURCE_DATE_EPOCH");
        // `cargo run` describes xtask to xtask. Build scripts that watch these would run again after a plain `cargo`.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        cargo
    }
}

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("`setup` takes no argument, but there is `{arg}`");
    }
    prepare(workspace)?;
    println!("everything that a build needs is there");
    Ok(())
}

pub fn prepare(workspace: &Workspace) -> Result<Environment> {
    ensure_compiler()?;
    ensure_plugin_target(&workspace.root)?;
    let mut variables = tools::variables(workspace)?;
    variables.push(("CARGO_TARGET_DIR", workspace.target.clone().into()));
    Ok(Environment { root: workspace.root.clone(), variables })
}

/// rustfmt and clippy, which `rustup`'s minimal profile leaves out and only `test` needs.
pub fn ensure_components(environment: &Environment) -> Result<()> {
    for component in ["rustfmt", "clippy"] {
        let subcommand = component.trim_start_matches("rust");
        let version = environment.cargo().args([subcommand, "--version"]).output();
        if !version.is_ok_and(|output| output.status.success()) {
            rustup(&environment.root, &["component", "add", component])?;
        }
    }
    Ok(())
}

fn ensure_compiler() -> Result<()> {
    if command::succeeds("gcc", &["--version"]) && command::succeeds("g++", &["--version"]) {
        return Ok(());
    }
    debian::install("build-essential", "a C and C++ compiler (gcc and g++)")
}

fn ensure_plugin_target(root: &Path) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = command::output(Command::new(rustc).args(["--print", "sysroot"]).current_dir(root))?;
    if Path::new(&sysroot).join("lib/rustlib").join(PLUGIN_TARGET).join("lib").is_dir() {
        return Ok(());
    }
    eprintln!("adding the Rust target {PLUGIN_TARGET} (about 30 MB, once)");
    rustup(root, &["target", "add", PLUGIN_TARGET])
}

fn rustup(root: &Path, args: &[&str]) -> Result<()> {
    if !command::succeeds("rustup", &["--version"]) {
        bail!(
            "this Rust was not installed by rustup, so `rustup {}` cannot be run; type: \
             curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
            args.join(" ")
        );
    }
    command::run(Command::new("rustup").args(args).current_dir(root))
}
