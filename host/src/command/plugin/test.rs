//! `parlor plugin test X.wasm --vectors FILE`: one verdict a line, exit code 1 on a mismatch.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::telemetry::log::Format;
use crate::trial::{self, Outcome, Trial, Verdict};

#[derive(Debug, clap::Args)]
pub struct Test {
    /// The adapter's `.wasm` file
    file: PathBuf,
    /// A JSON file with a list `vectors` of `{id, algo, inputs, expected}`
    #[arg(long)]
    vectors: PathBuf,
    /// Show what the host logs meanwhile
    #[arg(long)]
    verbose: bool,
}

pub async fn run(test: Test, log: &str) -> anyhow::Result<()> {
    if test.verbose {
        crate::telemetry::log::init(Format::Plain, log)?;
    }
    let text = std::fs::read_to_string(&test.vectors)
        .with_context(|| format!("cannot read `{}`", test.vectors.display()))?;
    let rows = trial::rows(&text).with_context(|| format!("`{}`", test.vectors.display()))?;
    let folder = Folder::new()?;
    let compiler = std::env::current_exe().context("this program's own file cannot be found")?;
    let trial = Trial::new(&test.file, &folder.0, compiler)
        .await
        .with_context(|| format!("`{}`", test.file.display()))?;
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
