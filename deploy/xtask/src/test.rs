//! Every check and test, in order, in one target folder, each timed; the first failure ends the run.
//!
//! One set of features and one profile for clippy, doc and tests, so that wasmtime and llama.cpp are built once.
//! It knows which commands to run, never what they check.

use crate::build;
use crate::clients;
use crate::command;
use crate::model;
use crate::scripted;
use crate::setup::{self, Environment};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Named places where a test may stop the host. They are on in every step, since each set of features is a build.
pub const FEATURES: [&str; 3] = ["--workspace", "--features", "parlor/failpoints"];
/// Likewise, but without `native`: remote models only and no llama.cpp, as a function in a cloud has it.
const WITHOUT_NATIVE: [&str; 4] =
    ["--workspace", "--no-default-features", "--features", "parlor/compile,parlor/failpoints"];

/// Neither: it serves what another build compiled. The one test of it, since its figures are no others'.
const RUN_ONLY: [&str; 6] =
    ["--workspace", "--no-default-features", "--features", "parlor/failpoints", "--test", "run_only"];

struct Step {
    name: &'static str,
    run: fn(&Run) -> Result<Outcome>,
}

/// What the closing table says beside the time.
type Outcome = String;

const STEPS: &[Step] = &[
    Step { name: "fmt", run: fmt },
    Step { name: "clippy", run: clippy },
    Step { name: "clippy-plugins", run: clippy_plugins },
    Step { name: "doc", run: doc },
    Step { name: "without-native", run: without_native },
    Step { name: "plugins", run: plugins },
    Step { name: "tests", run: tests },
    Step { name: "run-only", run: run_only },
];

struct Run<'a> {
    workspace: &'a Workspace,
    environment: Environment,
    /// For `cargo test`, from the command line.
    args: &'a [String],
}

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let (names, args) = split(args);
    let steps = chosen(names)?;
    let environment = setup::prepare(workspace)?;
    setup::ensure_components(&environment)?;
    run_steps(&steps, &Run { workspace, environment, args })
}

fn run_steps(steps: &[&Step], run: &Run) -> Result<()> {
    let start = Instant::now();
    let mut table = Vec::new();
    for step in steps {
        eprintln!("── {}", step.name);
        let start = Instant::now();
        let outcome = (step.run)(run);
        let shown = outcome.as_deref().unwrap_or("FAILED");
        table.push(row(step.name, start.elapsed(), shown));
        if let Err(error) = outcome {
            println!("\n{}", table.join("\n"));
            return Err(error.context(format!("`{0}` failed; alone: cargo xtask test {0}", step.name)));
        }
    }
    table.push(row("all", start.elapsed(), "ok"));
    println!("\n{}", table.join("\n"));
    Ok(())
}

/// Before `--` the steps, after it what `cargo test` gets.
fn split(args: &[String]) -> (&[String], &[String]) {
    match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[]),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != *name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`, but {}", known.join(", "));
    }
    Ok(STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)).collect())
}

fn row(name: &str, time: Duration, outcome: &str) -> String {
    format!("{name:15} {:3}:{:02}  {outcome}", time.as_secs() / 60, time.as_secs() % 60)
}

fn ok(command: &mut Command) -> Result<Outcome> {
    command::run(command)?;
    Ok("ok".to_owned())
}

fn fmt(run: &Run) -> Result<Outcome> {
    ok(run.environment.cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(run: &Run) -> Result<Outcome> {
    let mut cargo = run.environment.cargo();
    ok(cargo.arg("clippy").args(FEATURES).args(["--all-targets", "--", "-D", "warnings"]))
}

fn clippy_plugins(run: &Run) -> Result<Outcome> {
    let mut plugins = run.workspace.plugins()?;
    plugins.extend(run.workspace.test_guests()?);
    let mut cargo = run.environment.cargo();
    cargo.args(["clippy", "--target", "wasm32-wasip2", "--lib", "--package", "parlor-sdk"]);
    ok(cargo.args(build::packages(&plugins)).args(["--", "-D", "warnings"]))
}

fn doc(run: &Run) -> Result<Outcome> {
    let mut cargo = run.environment.cargo();
    // Naming examples brings the features of the dev-dependencies, hence the builds that clippy made.
    cargo.arg("doc").args(FEATURES).args(["--no-deps", "--lib", "--examples"]);
    ok(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

/// With all members and targets, since alone the host would have other features of its dependencies: a build more.
fn without_native(run: &Run) -> Result<Outcome> {
    ok(run.environment.cargo().arg("check").args(WITHOUT_NATIVE).arg("--all-targets"))
}

fn plugins(run: &Run) -> Result<Outcome> {
    let plugins = build::plugins(run.workspace, &run.environment)?;
    let guests = build::test_guests(run.workspace, &run.environment)?;
    Ok(format!("ok  {} built, and {} for tests", plugins.len(), guests.len()))
}

/// `cargo test` with all that the tests look for.
pub fn prepared(workspace: &Workspace, environment: &Environment) -> Result<Command> {
    let model = model::fetch()?;
    let clients = clients::variables(workspace)?;
    // Fresh after the step before this one; there for whoever runs this step alone.
    build::plugins(workspace, environment)?;
    build::test_guests(workspace, environment)?;
    scripted::plugins(workspace)?;
    let mut cargo = environment.cargo();
    cargo.arg("test").args(FEATURES);
    cargo.env("PARLOR_TEST_MODEL", model).env("PARLOR_TEST_PLUGINS", workspace.plugins_folder());
    cargo.env("PARLOR_TEST_GUESTS", workspace.test_guests_folder());
    cargo.env("PARLOR_TEST_SCRIPTED", workspace.scripted_folder()).envs(clients);
    Ok(cargo)
}

fn tests(run: &Run) -> Result<Outcome> {
    let mut cargo = prepared(run.workspace, &run.environment)?;
    let count = count_while_shown(cargo.arg("--no-fail-fast").args(run.args))?;
    ensure!(count.passed > 0, "no test ran");
    Ok(format!("ok  {} passed, {} failed, {} ignored", count.passed, count.failed, count.ignored))
}

/// After `tests`, which compiles plugins for it.
fn run_only(run: &Run) -> Result<Outcome> {
    let mut cargo = run.environment.cargo();
    cargo.arg("test").args(RUN_ONLY).env("PARLOR_TEST_PLUGINS", run.workspace.plugins_folder());
    let count = count_while_shown(&mut cargo)?;
    ensure!(count.passed > 0, "no test ran");
    Ok(format!("ok  {} passed, {} failed", count.passed, count.failed))
}

#[derive(Debug, Default, PartialEq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

/// Shows all that `cargo test` prints, as it comes, and adds up its closing lines.
fn count_while_shown(cargo: &mut Command) -> Result<Count> {
    let (count, status) = counted(cargo)?;
    ensure!(status.success(), "{} tests failed ({status})", count.failed);
    Ok(count)
}

/// The same, however it ends.
pub fn counted(cargo: &mut Command) -> Result<(Count, ExitStatus)> {
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("the output was asked for as a pipe")?;
    let mut count = Count::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.add(&line);
    }
    Ok((count, child.wait()?))
}

impl Count {
    /// Of a line like `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn closing_lines_are_added_up_and_others_are_not() {
        let mut count = Count::default();
        count.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        count.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        count.add("a test that prints 9 passed; 9 failed");
        assert_eq!(count, Count { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_failing_child_is_an_error_that_counts() {
        let script = "echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101";
        let error = count_while_shown(Command::new("sh").args(["-c", script])).unwrap_err();
        assert_eq!(error.to_string(), "2 tests failed (exit status: 101)");
    }

    #[test]
    fn steps_run_in_their_own_order_and_a_wrong_name_is_refused() {
        let names =
            |text| chosen(&words(text)).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>());
        assert_eq!(names("tests fmt").unwrap(), ["fmt", "tests"]);
        assert_eq!(names("").unwrap().len(), STEPS.len());
        assert!(names("clipy").unwrap_err().to_string().starts_with("there is no step `clipy`"));
    }

    #[test]
    fn what_follows_the_dashes_is_for_cargo_test() {
        let args = words("tests -- --test tidy -- cycle");
        assert_eq!(split(&args), (&args[..1], &args[2..]));
    }
}
