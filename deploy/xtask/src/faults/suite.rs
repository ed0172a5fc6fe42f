//! The faults that are tests of the host (`host/tests/faults.rs`), with their long rounds, one after the other, against
//! a release build. Each test hands in one row; this puts the rows into a table.
//!
//! It knows the cells of a row and nothing of what a fault is.

use crate::setup::Environment;
use crate::test;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// The cells of a row, as `host/tests/faults/row.rs` writes them.
const HEAD: [&str; 9] =
    ["fault", "how", "rounds", "lost", "doubled", "out of order", "time to recover", "figures", "verdict"];

pub struct Told {
    pub table: String,
    pub holds: bool,
}

pub fn run(
    workspace: &Workspace,
    environment: &Environment,
    parlor: &Path,
    names: &[&str],
    folder: &Path,
) -> Result<Told> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let report = folder.join("rows.txt");
    fs::write(&report, "").with_context(|| format!("cannot write `{}`", report.display()))?;
    let mut cargo = test::prepared(workspace, environment)?;
    cargo.args(["--test", "faults", "--", "--test-threads=1"]);
    cargo.args(names.iter().map(|name| format!("::{name}_")));
    cargo.env("PARLOR_TEST_FAULTS", "long").env("PARLOR_TEST_FAULTS_REPORT", &report);
    let status = cargo.env("PARLOR_TEST_HOST", parlor).status().context("cannot run cargo")?;
    let rows = fs::read_to_string(&report)?;
    let missing: Vec<&str> = names.iter().copied().filter(|name| !has(&rows, name)).collect();
    ensure!(missing.is_empty() || !status.success(), "these tests told nothing: {}", missing.join(", "));
    Ok(Told { table: table(&rows), holds: status.success() })
}

fn has(rows: &str, name: &str) -> bool {
    rows.lines().any(|row| row.split('\t').next().is_some_and(|fault| fault.eq_ignore_ascii_case(name)))
}

/// As Markdown, so that it can be put anywhere.
fn table(rows: &str) -> String {
    let row = |cells: &[&str]| format!("| {} |", cells.join(" | "));
    let rows = rows.lines().map(|line| row(&line.split('\t').collect::<Vec<_>>()));
    [row(&HEAD), row(&["---"; HEAD.len()])].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_table_and_a_missing_one_is_noticed() {
        let rows = "F1\tkill\t200\t0\t0\t0\t0.4 s\t\tok\n";
        assert!(has(rows, "f1") && !has(rows, "f2"));
        let lines: Vec<String> = table(rows).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], "| F1 | kill | 200 | 0 | 0 | 0 | 0.4 s |  | ok |");
    }
}
