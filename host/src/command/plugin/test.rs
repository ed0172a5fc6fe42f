//! `parlor plugin test X.wasm --vectors FILE`: one verdict a line, exit code 1 on a mismatch. Without vectors its golden
//! requests are all that is tried.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

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
