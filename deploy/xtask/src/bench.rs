//! `cargo xtask bench plugins`: what plugins cost, against the same code without a sandbox, and what the host costs
//! that has loaded them.
//!
//! Programs that time themselves take turns here, round by round, so that a busy machine is busy for all of them.
//! The raw figures go to `target/bench/*.json`, the table there and to the terminal. It judges nothing: figures
//! depend on the machine. Look next at `worker` (rounds of calls), `start` (the host) and `report`.

mod report;
mod start;
mod worker;

use crate::build::{self, Profile};
use crate::command;
use crate::setup::{self, Environment};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use report::Report;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use worker::Worker;

/// The plugin that is timed, by the vectors that lie beside it.
const PLUGIN: &str = "dingtalk";
const PACKAGE: &str = "parlor-dingtalk";
const VECTORS: &str = "plugins/adapters/dingtalk/tests/fixtures/dingtalk.json";
const ALGORITHM: &str = "dingtalk-http-callback-verify";

const ROUNDS: usize = 31;
const STARTS: usize = 11;

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let rounds = match args {
        [what] if what == "plugins" => ROUNDS,
        [what, rounds] if what == "plugins" => number(rounds)?,
        _ => {
            bail!("`bench` takes `plugins` and perhaps a number of rounds, but there is `{}`", args.join(" "))
        }
    };
    let environment = setup::prepare(workspace)?;
    let built = Built::make(workspace, &environment)?;
    let folder = workspace.target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;

    eprintln!("{rounds} rounds of calls");
    let calls = worker::rounds(built.workers(workspace)?, rounds)?;
    eprintln!("{STARTS} starts of the host");
    let starts = start::starts(&built.parlor, &workspace.plugins_folder(), &folder.join("host"), STARTS)?;
    let sizes = sizes(&built, &folder)?;
    Report { calls, starts, sizes }.write(&folder)
}

fn number(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("`{text}` is no number of rounds"),
    }
}

struct Built {
    parlor: PathBuf,
    plugins: Vec<PathBuf>,
    /// Calls through the host.
    sandboxed: PathBuf,
    /// The plugin as an ordinary library, at the optimisation of its component and at the host's.
    native: [PathBuf; 2],
}

impl Built {
    fn make(workspace: &Workspace, environment: &Environment) -> Result<Built> {
        let bench = |package: &str, profile: &str, name: &str| {
            let mut cargo = environment.cargo();
            cargo.args(["build", "--package", package, "--profile", profile, "--bench", name]);
            executable(&mut cargo, name)
        };
        Ok(Built {
            parlor: build::host(workspace, environment, Profile::Release)?,
            plugins: build::plugins(workspace, environment)?,
            sandboxed: bench("parlor", "release", "plugins")?,
            native: [bench(PACKAGE, "plugin", "native")?, bench(PACKAGE, "release", "native")?],
        })
    }

    fn workers(&self, workspace: &Workspace) -> Result<Vec<Worker>> {
        let vectors = workspace.root.join(VECTORS);
        let native = |program: &Path, as_what| {
            Worker::start(as_what, Command::new(program).arg(&vectors).arg(ALGORITHM))
        };
        let plugin = workspace.plugins_folder().join(PLUGIN).with_extension("wasm");
        let mut sandboxed = Command::new(&self.sandboxed);
        sandboxed.args([&self.parlor, &plugin, &vectors]).arg(ALGORITHM);
        Ok(vec![
            native(&self.native[0], "plugin profile")?,
            native(&self.native[1], "release profile")?,
            Worker::start("wasm", &mut sandboxed)?,
        ])
    }
}

/// Builds one bench and finds it by what cargo tells of it.
fn executable(cargo: &mut Command, name: &str) -> Result<PathBuf> {
    let told = command::output(cargo.arg("--message-format=json-render-diagnostics"))?;
    path_of_bench(&told, name).with_context(|| format!("cargo built no bench `{name}`"))
}

fn path_of_bench(told: &str, name: &str) -> Option<PathBuf> {
    let is_it =
        |line: &&str| line.contains(r#""kind":["bench"]"#) && line.contains(&format!(r#""name":"{name}""#));
    let line = told.lines().find(is_it)?;
    let (_, rest) = line.split_once(r#""executable":""#)?;
    Some(rest.split('"').next()?.into())
}

fn sizes(built: &Built, folder: &Path) -> Result<Vec<(String, u64)>> {
    let bytes = |path: &Path| {
        let meta = fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()));
        Ok::<_, anyhow::Error>(meta?.len())
    };
    let mut sizes = vec![("parlor, as built".to_owned(), bytes(&built.parlor)?)];
    let stripped = folder.join("parlor-stripped");
    command::run(Command::new("strip").arg("-o").arg(&stripped).arg(&built.parlor))?;
    sizes.push(("parlor, stripped".to_owned(), bytes(&stripped)?));
    for plugin in &built.plugins {
        let name = plugin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let compiled = start::compiled(&folder.join("host"), plugin)?;
        sizes.push((name.clone(), bytes(plugin)?));
        sizes.push((name.replace(".wasm", ".cwasm"), bytes(&compiled)?));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_is_found_among_what_cargo_tells() {
        let told = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"it"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"it"},"executable":"/t/it-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(path_of_bench(told, "it"), Some("/t/it-1".into()));
        assert_eq!(path_of_bench(told, "other"), None);
    }

    #[test]
    fn a_number_of_rounds_is_one_at_least() {
        assert_eq!(number("7").unwrap(), 7);
        assert_eq!(number("0").unwrap_err().to_string(), "`0` is no number of rounds");
    }
}
