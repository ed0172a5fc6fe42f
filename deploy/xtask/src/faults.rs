//! `cargo xtask faults [--dev] [NAME…]`: a release build of the host under every fault that we know how to bring about,
//! with figures and a verdict on each, on the terminal and in `target/faults/report.md`.
//!
//! Most of them are tests of the host with more rounds (`host/tests/faults.rs`, run by `suite`). F11 is 2,000 slow
//! connections of each kind, F12 10,000 idle ones, whose short forms are `host/tests/slow_clients.rs`. All need
//! minutes, some thousands of descriptors, and a machine that does nothing else. With `--dev` it is the debug build,
//! whose times say nothing. A fault that could not be brought about is a row that failed, and the rest goes on.
//! Look next at `suite`, and at `host` (the one under test), `slow` (F11) and `idle` (F12).

mod host;
mod idle;
mod latency;
mod slow;
pub mod suite;

use crate::build::{self, Profile};
use crate::command;
use crate::setup;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use host::Host;
use std::fs;
use std::path::Path;
use std::process::Command;

/// For the idle connections and whatever else both ends have open.
const DESCRIPTORS: u64 = 12_000;
/// The debug build instead of the release build.
const DEV: &str = "--dev";
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

const FAULTS: [Fault; 20] = [
    tests("f1"),
    tests("f2"),
    tests("f3"),
    tests("f4"),
    tests("f5"),
    tests("f6"),
    tests("f7"),
    tests("f8"),
    tests("f9"),
    tests("f10"),
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

    fn broke_off(name: &str, error: &anyhow::Error) -> Line {
        Line::new(name.to_uppercase(), format!("broke off: {error:#}"), "carried through", false)
    }

    /// Of a table in Markdown, so that it can be put anywhere.
    fn row(&self) -> String {
        let verdict = if self.holds { "ok" } else { "FAILED" };
        format!("| {} | {} | {} | {verdict} |", self.what, self.figure, self.bound)
    }
}

const LINES_HEAD: &str = "| what | figure | bound | verdict |\n| --- | --- | --- | --- |";

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let (profile, chosen) = chosen(args)?;
    if !has_descriptors()? {
        return run_with_more(args);
    }
    let environment = setup::prepare(workspace)?;
    let parlor = build::host(workspace, &environment, profile)?;
    build::plugins(workspace, &environment)?;
    let folder = workspace.target.join("faults");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let mut tables = vec![origin(workspace, profile)];
    let (mut lines, mut names) = (Vec::new(), Vec::new());
    for fault in chosen {
        match fault.way {
            Way::Tests => names.push(fault.name),
            Way::Crowd(run) => {
                eprintln!("── {}", fault.name);
                let told = crowd(run, &parlor, &workspace.plugins_folder(), &folder.join(fault.name));
                lines.extend(told.unwrap_or_else(|error| vec![Line::broke_off(fault.name, &error)]));
            }
        }
    }
    let mut holds = lines.iter().all(|line| line.holds);
    if !lines.is_empty() {
        let rows = lines.iter().map(Line::row);
        tables.push(std::iter::once(LINES_HEAD.to_owned()).chain(rows).collect::<Vec<_>>().join("\n"));
    }
    if !names.is_empty() {
        let told = suite::run(workspace, &environment, &parlor, &names, &folder);
        let told = told.unwrap_or_else(|error| suite::Told { table: format!("{error:#}"), holds: false });
        tables.push(told.table);
        holds &= told.holds;
    }
    let (report, text) = (folder.join("report.md"), tables.join("\n\n") + "\n");
    println!("\n{text}");
    fs::write(&report, text).with_context(|| format!("cannot write `{}`", report.display()))?;
    ensure!(holds, "not everything holds: see `{}`", report.display());
    Ok(())
}

/// One crowd at a host of its own.
fn crowd(
    run: fn(&Host) -> Result<Vec<Line>>,
    parlor: &Path,
    plugins: &Path,
    folder: &Path,
) -> Result<Vec<Line>> {
    let host = Host::start(parlor, plugins, folder)?;
    let lines = run(&host)?;
    host.stop()?;
    Ok(lines)
}

/// What was tried, and on what.
pub fn origin(workspace: &Workspace, profile: Profile) -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(&workspace.root);
    let commit = command::output(&mut git).unwrap_or_else(|_| "a tree without git".to_owned());
    let build = if profile == Profile::Release { "release" } else { "debug" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{commit}, {build} build, {cores} processors")
}

fn chosen(args: &[String]) -> Result<(Profile, Vec<&'static Fault>)> {
    let (flags, names): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| *arg == DEV);
    if let Some(unknown) = names.iter().find(|name| FAULTS.iter().all(|fault| fault.name != **name)) {
        let known: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        bail!("there is no fault `{unknown}`, but {}", known.join(", "));
    }
    let profile = if flags.is_empty() { Profile::Release } else { Profile::Dev };
    let is_chosen = |fault: &&Fault| names.is_empty() || names.iter().any(|name| *name == fault.name);
    Ok((profile, FAULTS.iter().filter(is_chosen).collect()))
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
        let names =
            |args: &[&str]| chosen(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()).unwrap();
        assert_eq!(names(&[]).1.len(), FAULTS.len());
        let (profile, faults) = names(&["f3", "--dev"]);
        assert!(profile == Profile::Dev && faults.iter().map(|fault| fault.name).eq(["f3"]));
    }
}
