//! `parlor plugin test X.wasm`: the conformance suite, or an adapter's vectors; one verdict a line, exit code 1 if
//! one is bad.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::conformance::{self, Bench};
use crate::telemetry::log::Format;
use crate::trial::{self, Outcome, Trial, Verdict};

#[derive(Debug, clap::Args)]
pub struct Test {
    /// The plugin's `.wasm` file
    file: PathBuf,
    /// Drive an adapter by this JSON file with a list `vectors` of `{id, algo, inputs, expected}`, and not by the
    /// conformance suite
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Show what the host logs meanwhile
    #[arg(long)]
    verbose: bool,
}

pub async fn run(test: Test, log: &str) -> anyhow::Result<()> {
    if test.verbose {
        crate::telemetry::log::init(Format::Plain, log)?;
    }
    let folder = Folder::new()?;
    let compiler = std::env::current_exe().context("this program's own file cannot be found")?;
    let trial = Trial::new(&test.file, &folder.0, compiler)
        .await
        .with_context(|| format!("`{}`", test.file.display()))?;
    match &test.vectors {
        Some(vectors) => judge(&trial, vectors).await,
        None => conform(&trial).await,
    }
}

async fn conform(trial: &Trial) -> anyhow::Result<()> {
    let bench = Bench::new(trial.release().clone());
    let cases = conformance::cases_of(bench.manifest.kind);
    let mut failed = 0usize;
    for case in &cases {
        match case.try_on(&bench).await {
            Ok(()) => println!("ok    {}", case.name),
            Err(what) => {
                failed += 1;
                println!("FAIL  {}: {what}", case.name);
            }
        }
    }
    println!("{} passed, {failed} failed", cases.len() - failed);
    anyhow::ensure!(failed == 0, "{failed} of {} cases show that it does not keep the contract", cases.len());
    Ok(())
}

async fn judge(trial: &Trial, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let rows = trial::rows(&text).with_context(|| format!("`{}`", file.display()))?;
    let mut counts = [0usize; 3];
    for row in &rows {
        let verdict = trial.judge(row).await;
        println!("{}", line(&verdict));
        counts[verdict.outcome as usize] += 1;
    }
    let [passed, failed, skipped] = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    anyhow::ensure!(failed == 0, "{failed} of {} vectors did not come out as expected", rows.len());
    Ok(())
}

fn line(verdict: &Verdict) -> String {
    let word = match verdict.outcome {
        Outcome::Passed => "ok  ",
        Outcome::Failed => "FAIL",
        Outcome::Skipped => "skip",
    };
    format!("{word}  {}  expected: {}  got: {}", verdict.id, verdict.expected, verdict.got)
}

/// A folder of this run's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        let path = std::env::temp_dir().join(format!("parlor-trial-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
