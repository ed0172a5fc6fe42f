//! `cargo xtask bench plugins`: what plugins cost, against the same code without a sandbox, and what the host costs
//! that has loaded them.
//!
//! Programs that time themselves take turns here, round by round, so that a busy machine is busy for all of them; then
//! the instructions of the same calls are counted, which no busy machine changes. The raw figures go to
//! `target/bench/*.json`, the table there and to the terminal. It judges nothing: figures depend on the machine. Look
//! next at `worker` (rounds of calls), `callgrind`, `start` (the host) and `report`.

use super::callgrind::{self, Callgrind};
use super::report::Report;
use super::start;
use super::worker::{self, Worker};
use crate::build::{self, Profile};
use crate::command;
use crate::setup::{self, Environment};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The plugin that is timed, by the vectors that lie beside it.
const PLUGIN: &str = "dingtalk";
const PACKAGE: &str = "parlor-dingtalk";
/// The program that has both behind the host's door, and its package.
const DOOR: &str = "parlor-bench";
const VECTORS: &str = "plugins/adapters/dingtalk/tests/fixtures/dingtalk.json";
const ALGORITHM: &str = "dingtalk-http-callback-verify";

/// Where a message's text stands in a request's body.
const PLACE: &str = "/text/content";

pub const ROUNDS: usize = 31;
const STARTS: usize = 11;
/// CPU time of one case in one round: long beside the clock's own cost, short beside what else the machine does.
const CALLS_ROUND: Duration = Duration::from_millis(50);
/// The same for requests, which share the machine with those who send them.
const REQUESTS_ROUND: Duration = Duration::from_millis(500);

pub fn run(workspace: &Workspace, rounds: usize) -> Result<()> {
    let environment = setup::prepare(workspace)?;
    let callgrind = Callgrind::find(workspace)?;
    let built = Built::make(workspace, &environment)?;
    let folder = workspace.target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;

    eprintln!("{rounds} rounds of calls");
    let calls = worker::rounds(built.workers(workspace)?, rounds)?;
    eprintln!("{rounds} rounds of requests");
    let requests = worker::rounds(vec![built.door(workspace)?], rounds)?;
    eprintln!("instructions of a call");
    let instructions = built.instructions(workspace, &callgrind, &folder)?;
    eprintln!("{STARTS} starts of the host");
    let starts = start::starts(&built.parlor, &workspace.plugins_folder(), &folder.join("host"), STARTS)?;
    let sizes = sizes(&built, &folder)?;
    Report { calls, requests, instructions, starts, sizes }.write(&folder)
}

struct Built {
    parlor: PathBuf,
    plugins: Vec<PathBuf>,
    /// Calls through the host.
    sandboxed: PathBuf,
    /// The plugin as an ordinary library, at the optimisation of its component and at the host's.
    native: [PathBuf; 2],
    /// The host's door, with either behind it.
    door: PathBuf,
}

impl Built {
    fn make(workspace: &Workspace, environment: &Environment) -> Result<Built> {
        let bench = |package: &str, profile: &str, name: &str| {
            let mut cargo = environment.cargo();
            cargo.args(["build", "--package", package, "--profile", profile, "--bench", name]);
            executable(&mut cargo, "bench", name)
        };
        Ok(Built {
            parlor: build::host(workspace, environment, Profile::Release)?,
            plugins: build::plugins(workspace, environment)?,
            sandboxed: bench("parlor", "release", "plugins")?,
            native: [bench(PACKAGE, "plugin", "native")?, bench(PACKAGE, "release", "native")?],
            door: build_door(environment)?,
        })
    }

    fn workers(&self, workspace: &Workspace) -> Result<Vec<Worker>> {
        let worker = |name, command: &mut Command| Worker::start(name, command, CALLS_ROUND);
        Ok(vec![
            worker("plugin profile", &mut self.native(workspace, 0))?,
            worker("release profile", &mut self.native(workspace, 1))?,
            worker("wasm", &mut self.sandboxed(workspace))?,
        ])
    }

    fn door(&self, workspace: &Workspace) -> Result<Worker> {
        let mut door = Command::new(&self.door);
        door.args([&self.parlor, &plugin(workspace), &workspace.root.join(VECTORS)]).arg(ALGORITHM);
        Worker::start("door", &mut door, REQUESTS_ROUND)
    }

    fn native(&self, workspace: &Workspace, profile: usize) -> Command {
        let mut native = Command::new(&self.native[profile]);
        native.arg(workspace.root.join(VECTORS)).arg(ALGORITHM);
        native
    }

    fn sandboxed(&self, workspace: &Workspace) -> Command {
        let mut sandboxed = Command::new(&self.sandboxed);
        sandboxed.args([&self.parlor, &plugin(workspace), &workspace.root.join(VECTORS)]);
        sandboxed.args([ALGORITHM, PLACE]);
        sandboxed
    }

    /// Of a call in each of these cases. The code is for any processor of this kind: what counts has not all that this
    /// one can do.
    fn instructions(
        &self,
        workspace: &Workspace,
        callgrind: &Callgrind,
        folder: &Path,
    ) -> Result<Vec<(String, f64)>> {
        let native = || self.native(workspace, 0);
        let sandboxed = || {
            let mut sandboxed = self.sandboxed(workspace);
            sandboxed.arg(callgrind::target());
            sandboxed
        };
        let mut counted = Vec::new();
        for case in ["native", "native-long"] {
            counted.push((case.to_owned(), callgrind.of_a_call(&native(), case, folder)?));
        }
        for case in ["kept", "kept-long", "fresh", "bare", "bounded"] {
            counted.push((case.to_owned(), callgrind.of_a_call(&sandboxed(), case, folder)?));
        }
        Ok(counted)
    }
}

fn plugin(workspace: &Workspace) -> PathBuf {
    workspace.plugins_folder().join(PLUGIN).with_extension("wasm")
}

/// With the host's package beside its own, so that what both have is built once, with the host's features.
fn build_door(environment: &Environment) -> Result<PathBuf> {
    let mut cargo = environment.cargo();
    cargo.args(["build", "--release", "--package", "parlor", "--package", DOOR, "--bin", DOOR]);
    executable(&mut cargo, "bin", DOOR)
}

/// Builds a program and finds it by what cargo tells of it.
fn executable(cargo: &mut Command, kind: &str, name: &str) -> Result<PathBuf> {
    let told = command::output(cargo.arg("--message-format=json-render-diagnostics"))?;
    path_of(&told, kind, name).with_context(|| format!("cargo built no {kind} `{name}`"))
}

fn path_of(told: &str, kind: &str, name: &str) -> Option<PathBuf> {
    let (kind, name) = (format!(r#""kind":["{kind}"]"#), format!(r#""name":"{name}""#));
    let line = told.lines().find(|line| line.contains(&kind) && line.contains(&name))?;
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
    fn a_program_is_found_among_what_cargo_tells() {
        let told = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"it"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"it"},"executable":"/t/it-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(path_of(told, "bench", "it"), Some("/t/it-1".into()));
        assert_eq!(path_of(told, "bin", "it"), None);
    }
}
