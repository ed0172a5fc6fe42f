//! `parlor plugin test X.wasm --vectors FILE`: one verdict a line, exit code 1 on a mismatch. Without vectors its golden
//! requests are tried, and with `--conformance` the suite that every plugin of a kind passes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::conformance::{self, Bench};
use crate::scratch::Scratch;
use crate::telemetry::log::Format;
use crate::trial::{self, Outcome, Trial, Verdict};

#[derive(Debug, clap::Args)]
pub struct Test {
    /// The plugin's `.wasm` file
    file: PathBuf,
    /// A JSON file with a list `vectors` of `{id, algo, inputs, expected}`; without it the golden requests alone are tried
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Run the conformance suite: one list of cases for every plugin of a kind
    #[arg(long)]
    conformance: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Show what the host logs meanwhile
    #[arg(long)]
    verbose: bool,
}

pub async fn run(test: Test, log: &str) -> anyhow::Result<()> {
    if test.verbose {
        crate::telemetry::log::init(Format::Plain, log)?;
    }
    let rows = test.vectors.as_deref().map(rows).transpose()?.unwrap_or_default();
    let folder = Scratch::new()?;
    let compiler = std::env::current_exe().context("this program's own file cannot be found")?;
    let trial = Trial::new(&test.file, folder.path(), compiler).await;
    let trial = trial.with_context(|| format!("`{}`", test.file.display()))?;
    tell_golden(&trial, test.json);
    if test.conformance {
        conform(&trial, test.json).await?;
    }
    let mut counts = [0usize; 3];
    for row in &rows {
        let verdict = trial.judge(row).await;
        println!("{}", if test.json { json(&verdict) } else { line(&verdict) });
        counts[verdict.outcome as usize] += 1;
    }
    let [passed, failed, skipped] = counts;
    if test.vectors.is_some() && !test.json {
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
    anyhow::ensure!(failed == 0, "{failed} of {} vectors did not come out as expected", rows.len());
    Ok(())
}

async fn conform(trial: &Trial, as_json: bool) -> anyhow::Result<()> {
    let bench = Bench::new(trial.release().clone());
    let cases = conformance::cases_of(bench.manifest.kind);
    let mut failed = 0usize;
    for case in &cases {
        let outcome = case.try_on(&bench).await;
        failed += usize::from(outcome.is_err());
        println!("{}", if as_json { case_json(case.name, &outcome) } else { case_line(case.name, &outcome) });
    }
    if !as_json {
        println!("{} passed, {failed} failed", cases.len() - failed);
    }
    anyhow::ensure!(failed == 0, "{failed} of {} cases show that it does not keep the contract", cases.len());
    Ok(())
}

fn case_line(name: &str, outcome: &Result<(), String>) -> String {
    match outcome {
        Ok(()) => format!("ok    {name}"),
        Err(what) => format!("FAIL  {name}: {what}"),
    }
}

fn case_json(name: &str, outcome: &Result<(), String>) -> String {
    let word = if outcome.is_ok() { "passed" } else { "failed" };
    serde_json::json!({ "case": name, "outcome": word, "what": outcome.as_ref().err() }).to_string()
}

fn rows(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    trial::rows(&text).with_context(|| format!("`{}`", path.display()))
}

/// They were tried when it was loaded.
fn tell_golden(trial: &Trial, as_json: bool) {
    let manifest = trial.manifest();
    for test in &manifest.selftests {
        if as_json {
            println!("{}", serde_json::json!({ "id": test.name, "outcome": "passed", "golden": true }));
        } else {
            println!("ok    golden request: {}", test.name);
        }
    }
    if manifest.selftests.is_empty() && !as_json {
        println!("ok    {} loads; its manifest has no golden requests", manifest.name);
    }
}

fn json(verdict: &Verdict) -> String {
    let outcome = match verdict.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    };
    let Verdict { id, expected, got, .. } = verdict;
    serde_json::json!({ "id": id, "outcome": outcome, "expected": expected, "got": got }).to_string()
}

fn line(verdict: &Verdict) -> String {
    let word = match verdict.outcome {
        Outcome::Passed => "ok  ",
        Outcome::Failed => "FAIL",
        Outcome::Skipped => "skip",
    };
    format!("{word}  {}  expected: {}  got: {}", verdict.id, verdict.expected, verdict.got)
}
