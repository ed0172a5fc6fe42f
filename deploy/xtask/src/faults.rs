//! `cargo xtask faults [f11] [f12]`: a release build of the host under clients that are slow, silent or too many, with
//! figures and a verdict on each.
//!
//! F11 is 2,000 slow connections of each kind, F12 10,000 idle ones. The short forms are tests of the host
//! (`host/tests/slow_clients.rs`); these need minutes, thousands of descriptors and a machine that does nothing else.
//! Look next at `host` (the one under test), `slow` (F11) and `idle` (F12).

mod host;
mod idle;
mod latency;
mod slow;

use crate::build::{self, Profile};
use crate::command;
use crate::setup;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use host::Host;
use std::fs;
use std::process::Command;

/// For the idle connections and whatever else both ends have open.
const DESCRIPTORS: u64 = 12_000;
/// Says that the limit of descriptors is set.
const RAISED: &str = "PARLOR_XTASK_DESCRIPTORS";

struct Fault {
    name: &'static str,
    run: fn(&Host) -> Result<Vec<Line>>,
}

const FAULTS: [Fault; 2] = [Fault { name: "f11", run: slow::run }, Fault { name: "f12", run: idle::run }];

/// One figure, what it must be, and whether it is.
pub struct Line {
    what: String,
    figure: String,
    bound: String,
    holds: bool,
}

impl Line {
    pub fn new(what: impl Into<String>, figure: String, bound: impl Into<String>, holds: bool) -> Line {
        Line { what: what.into(), figure, bound: bound.into(), holds }
    }

    fn row(&self) -> String {
        let verdict = if self.holds { "ok" } else { "FAILED" };
        format!("{:44} {:>26}   {:28} {verdict}", self.what, self.figure, self.bound)
    }
}

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let chosen = chosen(args)?;
    if !has_descriptors()? {
        return run_with_more(args);
    }
    let environment = setup::prepare(workspace)?;
    let parlor = build::host(workspace, &environment, Profile::Release)?;
    build::plugins(workspace, &environment)?;
    let folder = workspace.target.join("faults");
    let mut lines = Vec::new();
    for fault in chosen {
        eprintln!("── {}", fault.name);
        let host = Host::start(&parlor, &workspace.plugins_folder(), &folder.join(fault.name))?;
        lines.extend((fault.run)(&host)?);
        host.stop()?;
    }
    let table: Vec<String> = lines.iter().map(Line::row).collect();
    println!("\n{}", table.join("\n"));
    let report = folder.join("report.txt");
    fs::write(&report, table.join("\n") + "\n")
        .with_context(|| format!("cannot write `{}`", report.display()))?;
    ensure!(lines.iter().all(|line| line.holds), "not everything holds");
    Ok(())
}

fn chosen(args: &[String]) -> Result<Vec<&'static Fault>> {
    if let Some(unknown) = args.iter().find(|arg| FAULTS.iter().all(|fault| fault.name != *arg)) {
        let known: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        bail!("there is no fault `{unknown}`, but {}", known.join(", "));
    }
    Ok(FAULTS.iter().filter(|fault| args.is_empty() || args.iter().any(|arg| arg == fault.name)).collect())
}

/// Whether this process may open as many connections as it needs.
fn has_descriptors() -> Result<bool> {
    let limits =
        fs::read_to_string("/proc/self/limits").context("no `/proc/self/limits`: this needs Linux")?;
    let soft = soft_limit(&limits).context("no `Max open files` in `/proc/self/limits`")?;
    ensure!(
        soft >= DESCRIPTORS || std::env::var_os(RAISED).is_none(),
        "{DESCRIPTORS} descriptors are needed and {soft} allowed; as root, type: ulimit -Hn {DESCRIPTORS}"
    );
    Ok(soft >= DESCRIPTORS)
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// This very command again, with the limit raised as far as the system lets it.
fn run_with_more(args: &[String]) -> Result<()> {
    let own = std::env::current_exe().context("this program's own file cannot be found")?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" faults \"$@\""]).arg(own).args(args);
    command::run(shell.env(RAISED, "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_descriptors_is_read_from_proc() {
        let limits = |soft: &str| {
            format!("Max cpu time  unlimited  unlimited  seconds\nMax open files  {soft}  20000  files\n")
        };
        assert_eq!(soft_limit(&limits("1024")), Some(1024));
        assert_eq!(soft_limit(&limits("unlimited")), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn a_wrong_name_is_refused() {
        let error = chosen(&["f13".to_owned()]).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "there is no fault `f13`, but f11, f12");
        assert_eq!(chosen(&[]).unwrap().len(), 2);
    }
}
