//! `cargo xtask bench WHAT`: figures of a release build. They judge nothing by themselves, since they depend on the
//! machine; what the project aims at stands beside them.
//!
//! `plugins` is what plugins cost, against the same code without a sandbox, and what the host costs that has loaded
//! them; its programs time themselves and take turns. The others are tests of the host with long rounds, as `faults`
//! runs them, and what they must hold they hold. Everything goes to `target/bench`, raw rounds among it.
//! Look next at `plugins`.

mod callgrind;
mod plugins;
mod report;
mod start;
mod worker;

use crate::build::{self, Profile};
use crate::faults::{self, suite};
use crate::setup;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::fs;

/// What is measured by tests of the host, by the beginnings of their names.
const BY_TESTS: [(&str, &[&str]); 3] =
    [("swaps", &["f10"]), ("scale", &["scale"]), ("neighbours", &["f9_a_neighbour"])];

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    match args {
        [what] if what == "plugins" => plugins::run(workspace, plugins::ROUNDS),
        [what, rounds] if what == "plugins" => plugins::run(workspace, number(rounds)?),
        [what] => by_tests(workspace, what),
        _ => bail!("{}", usage(&args.join(" "))),
    }
}

fn by_tests(workspace: &Workspace, what: &str) -> Result<()> {
    let Some((name, tests)) = BY_TESTS.iter().find(|(name, _)| *name == what) else {
        bail!("{}", usage(what));
    };
    let environment = setup::prepare(workspace)?;
    let parlor = build::host(workspace, &environment, Profile::Release)?;
    let folder = workspace.target.join("bench").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let told = suite::run(workspace, &environment, &parlor, tests, &folder)?;
    let text = format!("{}\n\n{}\n", faults::origin(workspace, Profile::Release), told.table);
    let report = folder.join("report.md");
    fs::write(&report, &text).with_context(|| format!("cannot write `{}`", report.display()))?;
    println!("\n{text}");
    eprintln!("raw rounds: {}", folder.join("raw.jsonl").display());
    ensure!(told.holds, "not everything holds: see `{}`", report.display());
    Ok(())
}

fn number(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("`{text}` is no number of rounds"),
    }
}

fn usage(given: &str) -> String {
    let names = BY_TESTS.map(|(name, _)| format!("`{name}`")).join(", ");
    format!("`bench` takes `plugins` and perhaps a number of rounds, or one of {names}; there is `{given}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_rounds_is_one_at_least() {
        assert_eq!(number("7").unwrap(), 7);
        assert_eq!(number("0").unwrap_err().to_string(), "`0` is no number of rounds");
    }

    #[test]
    fn what_nobody_measures_is_refused_with_what_there_is() {
        let workspace = Workspace::find().unwrap();
        let error = run(&workspace, &["swap".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("`swaps`, `scale`, `neighbours`; there is `swap`"), "{error}");
    }
}
