//! `cargo xtask`: Parlor's own commands, for a machine that has rustup, gcc, g++, Python 3 with pip and git.
//!
//! Each command implies the ones it needs: `serve` and `test` start with `setup`, so that a newcomer types one line.
//! It does not know how the host or a plugin works, only how they are built, started and tested.
//! Look next at `setup` (what a build needs), `model` (the default weights), `serve` and `test`.

mod bench;
mod build;
mod clients;
mod command;
mod debian;
mod faults;
mod freeze;
mod model;
mod pip;
mod planted;
mod scripted;
mod serve;
mod setup;
mod test;
mod tools;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;
use workspace::Workspace;

struct Task {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&Workspace, &[String]) -> Result<()>,
}

const TASKS: &[Task] = &[
    Task {
        name: "serve",
        usage: "serve [-- ARGS]",
        about: "set up, build, get the default model and serve on 127.0.0.1:18789",
        run: serve::run,
    },
    Task {
        name: "test",
        usage: "test [STEP…] [-- ARGS]",
        about: "set up and run every check and test, or the named steps; ARGS go to `cargo test`",
        run: test::run,
    },
    Task {
        name: "build",
        usage: "build [--release]",
        about: "build the host and all plugins",
        run: build::run,
    },
    Task {
        name: "plugins",
        usage: "plugins [--all]",
        about: "build the plugins in Rust into target/plugins, with --all the others into target/scripted",
        run: build::run_plugins,
    },
    Task {
        name: "clients",
        usage: "clients",
        about: "get the official clients, browser and load tools of the tests, print their variables",
        run: clients::run,
    },
    Task {
        name: "model",
        usage: "model",
        about: "get the default model, check it, print where it is",
        run: model::run,
    },
    Task {
        name: "bench",
        usage: "bench WHAT [ROUNDS]",
        about: "`plugins`: calls against native ones, the host's start and sizes; `swaps`, `scale`, `neighbours`",
        run: bench::run,
    },
    Task {
        name: "faults",
        usage: "faults [--dev] [NAME…]",
        about: "kills, full disks, ill models, wrong clocks, crowds and more against a release build, with figures",
        run: faults::run,
    },
    Task {
        name: "planted",
        usage: "planted [NAME…]",
        about: "plant each known bug into a copy of the tree and let the simulation look for it",
        run: planted::run,
    },
    Task {
        name: "freeze",
        usage: "freeze CONTRACT",
        about: "freeze a contract of wit/ for good and archive the plugins of today as its witnesses",
        run: freeze::run,
    },
    Task { name: "setup", usage: "setup", about: "get what a build needs", run: setup::run },
    Task {
        name: "cargo",
        usage: "cargo ARGS",
        about: "run cargo with the tools that `setup` got, as in `cargo xtask cargo check -p parlor`",
        run: build::run_cargo,
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        bail!("name a command\n\n{}", usage());
    };
    if ["help", "--help", "-h"].contains(&name.as_str()) {
        println!("{}", usage());
        return Ok(());
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        bail!("there is no command `{name}`\n\n{}", usage());
    };
    (task.run)(&Workspace::find()?, rest)
}

fn usage() -> String {
    let width = TASKS.iter().map(|task| task.usage.chars().count()).max().unwrap_or(0);
    let rows: Vec<String> =
        TASKS.iter().map(|task| format!("  {:width$}  {}", task.usage, task.about)).collect();
    format!("cargo xtask COMMAND\n\n{}", rows.join("\n"))
}
