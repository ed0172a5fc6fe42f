//! `parlor model verify [NAME|FILE]`: whether files are whole and the ones that they must be.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::progress::Bar;
use super::{Candidate, candidates};
use crate::download::Progress as _;
use crate::weights;

#[derive(Debug, clap::Args)]
pub struct Verify {
    /// A model's name in the configuration, or a file; else every file that `parlor model list` shows
    which: Option<String>,
    /// What the file must be: 64 hexadecimal digits
    #[arg(long, requires = "which")]
    sha256: Option<String>,
    /// One JSON array
    #[arg(long)]
    json: bool,
}

/// What came out for one file.
struct Verdict {
    path: PathBuf,
    name: Option<String>,
    /// Its SHA-256, or what is wrong.
    outcome: Result<String, String>,
    /// What it was compared with.
    expected: Option<String>,
}

pub fn run(path: &Path, wanted: &Verify) -> anyhow::Result<()> {
    let chosen = chosen(path, wanted)?;
    let verdicts: Vec<Verdict> = chosen.into_iter().map(|candidate| judge(candidate, wanted)).collect();
    if wanted.json {
        println!("{}", Value::Array(verdicts.iter().map(Verdict::json).collect()));
    } else {
        verdicts.iter().for_each(|verdict| println!("{}", verdict.line()));
    }
    let broken = verdicts.iter().filter(|verdict| verdict.outcome.is_err()).count();
    anyhow::ensure!(broken == 0, "{broken} of {} files cannot be used", verdicts.len());
    Ok(())
}

fn chosen(path: &Path, wanted: &Verify) -> anyhow::Result<Vec<Candidate>> {
    let config = super::configured(path)?;
    let mut all =
        candidates(config.as_ref(), &super::folder(path)).context("cannot list the folder of models")?;
    let Some(which) = &wanted.which else {
        anyhow::ensure!(
            !all.is_empty(),
            "there is no file of a model to verify; get one by `parlor model pull`"
        );
        return Ok(all);
    };
    let file = Path::new(which);
    let at = all.iter().position(|one| {
        one.name.as_ref() == Some(which) || (file.exists() && super::is_same(&one.path, file))
    });
    match at {
        Some(at) => Ok(vec![all.swap_remove(at)]),
        None if file.exists() => Ok(vec![Candidate { name: None, path: file.to_owned(), sha256: None }]),
        None => {
            let names: Vec<_> = all.iter().filter_map(|one| one.name.as_deref()).collect();
            let there = if names.is_empty() { "none is configured" } else { "there are: " };
            anyhow::bail!("`{which}` is neither a file nor a model in a file; {there}{}", names.join(", "))
        }
    }
}

fn judge(candidate: Candidate, wanted: &Verify) -> Verdict {
    let given = wanted.sha256.as_ref().map(|digest| digest.to_ascii_lowercase());
    let noted = || weights::noted(&candidate.path).digest().map(str::to_owned);
    let expected = given.or_else(|| candidate.sha256.clone()).or_else(noted);
    let outcome =
        weights::inspect(&candidate.path).and_then(|_| digest(&candidate.path, expected.as_deref()));
    if let (Ok(found), Some(_)) = (&outcome, &expected) {
        // The note is for `list`; a folder that others own has none.
        let _ = weights::note(&candidate.path, found);
    }
    Verdict { path: candidate.path, name: candidate.name, outcome, expected }
}

fn digest(path: &Path, expected: Option<&str>) -> Result<String, String> {
    let bar = Bar::new();
    bar.begins(0, std::fs::metadata(path).map(|found| found.len()).ok());
    let found = weights::sha256_of(path, &|bytes| bar.has(bytes));
    bar.end();
    let found = found.map_err(|error| format!("cannot read `{}` ({error})", path.display()))?;
    match expected {
        Some(expected) if expected != found => Err(format!(
            "its SHA-256 is `{found}` and must be `{expected}`; fetch the model again, or correct the checksum"
        )),
        _ => Ok(found),
    }
}

impl Verdict {
    fn line(&self) -> String {
        let file = self.path.display();
        match (&self.outcome, &self.expected) {
            (Ok(sha256), Some(_)) => format!("ok    {file}  {sha256}"),
            (Ok(sha256), None) => {
                format!(
                    "ok    {file}  {sha256}  whole; nobody said what its SHA-256 must be: set `sha256` of the model"
                )
            }
            (Err(problem), _) => format!("FAIL  {file}  {problem}"),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "file": self.path, "ok": self.outcome.is_ok(), "sha256": self.outcome.as_ref().ok(),
            "expected": self.expected, "problem": self.outcome.as_ref().err(),
        })
    }
}
