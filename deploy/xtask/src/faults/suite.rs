//! The faults that are tests of the host (`host/tests/faults.rs`), with their long rounds, one after the other, against
//! a release build. Each test hands in one row; this puts the rows into a table.
//!
//! It knows the cells of a row and nothing of what a fault is.

use crate::setup::Environment;
use crate::test;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The cells of a row, as `host/tests/faults/row.rs` writes them.
const HEAD: [&str; 11] = [
    "fault",
    "how",
    "rounds",
    "lost",
    "doubled",
    "out of order",
    "refused by the platform",
    "cards left open",
    "time to recover",
    "figures",
    "verdict",
];

pub struct Told {
    pub table: String,
    pub holds: bool,
}

/// Runs the tests whose names begin so. What their figures are made of lies in `raw.jsonl` in the folder.
pub fn run(
    workspace: &Workspace,
    environment: &Environment,
    parlor: &Path,
    names: &[&str],
    folder: &Path,
) -> Result<Told> {
    let (report, raw) = (folder.join("rows.txt"), folder.join("raw.jsonl"));
    for file in [&report, &raw] {
        fs::write(file, "").with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    let mut cargo = test::prepared(workspace, environment)?;
    cargo.args(["--test", "faults", "--", "--test-threads=1"]);
    cargo.args(names.iter().map(|name| format!("::{name}_")));
    cargo.env("PARLOR_TEST_FAULTS", "long").env("PARLOR_TEST_FAULTS_REPORT", &report);
    cargo.env("PARLOR_TEST_FAULTS_RAW", &raw);
    let (count, status) = test::counted(cargo.env("PARLOR_TEST_HOST", parlor))?;
    let mut rows = fs::read_to_string(&report)?;
    let missing = missing(&rows, names, count.passed + count.failed);
    rows.extend(missing.iter().map(|row| format!("{}\n", row.join("\t"))));
    Ok(Told { table: table(&rows), holds: status.success() && missing.is_empty() })
}

/// Rows for faults of which no test told anything, and for tests that told nothing. A name may go on as those of the
/// fault's tests do: `f9_a_neighbour`.
fn missing(rows: &str, names: &[&str], tests: u64) -> Vec<[String; HEAD.len()]> {
    let row = |name: &str, why: &str| {
        let mut cells: [String; HEAD.len()] = Default::default();
        (cells[0], cells[1]) = (name.to_uppercase(), why.to_owned());
        "FAILED".clone_into(&mut cells[HEAD.len() - 1]);
        cells
    };
    let silent = names.iter().filter(|name| !has(rows, name));
    let mut missing: Vec<_> = silent.map(|name| row(name, "no test of it told anything")).collect();
    let told = rows.lines().count() as u64;
    if told != tests {
        missing.push(row("all", &format!("{tests} tests ran, and {told} rows came")));
    }
    missing
}

fn has(rows: &str, name: &str) -> bool {
    let name = name.split('_').next().unwrap_or(name);
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
    fn rows_become_a_table() {
        let lines: Vec<String> =
            table("F1\tkill\t200\t0\t0\t0\t3\t0\t0.4 s\t\tok\n").lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], "| F1 | kill | 200 | 0 | 0 | 0 | 3 | 0 | 0.4 s |  | ok |");
    }

    #[test]
    fn a_fault_without_a_row_and_a_test_without_one_are_noticed() {
        let rows = "F1\tkill\nF6\tone\n";
        let told = |names: &[&str], tests| {
            missing(rows, names, tests).into_iter().map(|[fault, ..]| fault).collect::<Vec<_>>()
        };
        assert_eq!(told(&["f1", "f6"], 2), Vec::<String>::new());
        assert_eq!(told(&["f1", "f2", "f6"], 2), ["F2"]);
        assert_eq!(told(&["f1_a_part"], 2), Vec::<String>::new());
        assert_eq!(told(&["f1", "f6"], 3), ["ALL"]);
        assert_eq!(told(&["f1", "f6"], 0), ["ALL"]);
    }
}
