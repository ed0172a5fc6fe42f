//! `cargo xtask faults [NAME…]`: a release build of the host under every fault that we know how to bring about, with
//! figures and a verdict on each.
//!
//! Most of them are tests of the host with more rounds (`host/tests/faults.rs`, run by `suite`). F11 is 2,000 slow
//! connections of each kind, F12 10,000 idle ones, whose short forms are `host/tests/slow_clients.rs`. All need
//! minutes, some thousands of descriptors, and a machine that does nothing else. Look next at `suite`, and at `host`
//! (the one under test), `slow` (F11) and `idle` (F12).

mod host;
mod idle;
mod latency;
mod slow;
mod suite;

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
    way: Way,
}

enum Way {
    /// By the host's own tests of that name.
    Tests,
    /// By a crowd that this process is.
    Crowd(fn(&Host) -> Result<Vec<Line>>),
}

const fn tests(name: &'static str) -> Fault {
    Fault { name, way: Way::Tests }
}

const FAULTS: [Fault; 19] = [
    tests("f1"),
    tests("f2"),
    tests("f3"),
    tests("f4"),
    tests("f5"),
    tests("f6"),
    tests("f7"),
    tests("f8"),
    tests("f9"),
    Fault { name: "f11", way: Way::Crowd(slow::run) },
    Fault { name: "f12", way: Way::Crowd(idle::run) },
    tests("f13"),
    tests("f14"),
    tests("f15"),
    tests("f16"),
    tests("f18"),
    tests("f19"),
    tests("f20"),
    tests("rate"),
];

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
    let (mut lines, mut names) = (Vec::new(), Vec::new());
    for fault in chosen {
        match fault.way {
            Way::Tests => names.push(fault.name),
            Way::Crowd(run) => {
                eprintln!("── {}", fault.name);
                let host = Host::start(&parlor, &workspace.plugins_folder(), &folder.join(fault.name))?;
                lines.extend(run(&host)?);
                host.stop()?;
            }
        }
    }
    let mut table: Vec<String> = lines.iter().map(Line::row).collect();
    let mut holds = lines.iter().all(|line| line.holds);
    if !names.is_empty() {
        let told = suite::run(workspace, &environment, &parlor, &names, &folder)?;
        table.push(told.table);
        holds &= told.holds;
    }
    println!("\n{}", table.join("\n"));
    let report = folder.join("report.txt");
    fs::write(&report, table.join("\n") + "\n")
        .with_context(|| format!("cannot write `{}`", report.display()))?;
    ensure!(holds, "not everything holds");
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
        let error = chosen(&["f99".to_owned()]).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("there is no fault `f99`, but f1, f2, "), "{error}");
        assert_eq!(chosen(&[]).unwrap().len(), FAULTS.len());
    }
}
