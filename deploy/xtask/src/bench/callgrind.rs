//! Instructions of a call, counted by callgrind: the same number on a busy machine and on an idle one.
//!
//! A worker makes some calls in one run and some more in another; the difference is what the calls between cost, without
//! the start of the program. Valgrind is the system's, else Debian's, unpacked below the target folder.

use crate::command;
use crate::debian;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Both beyond the first calls, which touch what later ones find touched, and few enough for one instance to be kept.
const CALLS: [u32; 2] = [50, 350];

/// Tells a worker to leave the CPU's clock alone, which it would not find.
const COUNTED: &str = "PARLOR_BENCH_COUNTED";

pub struct Callgrind {
    program: PathBuf,
    /// Where an unpacked one has its tools.
    library: Option<PathBuf>,
}

/// What the code has to be compiled for: callgrind knows no processor's newest instructions.
pub fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

impl Callgrind {
    pub fn find(workspace: &Workspace) -> Result<Callgrind> {
        if command::succeeds("valgrind", &["--version"]) {
            return Ok(Callgrind { program: "valgrind".into(), library: None });
        }
        let folder = workspace.target.join("valgrind");
        let program = folder.join("usr/bin/valgrind");
        if !program.is_file() {
            debian::unpack("valgrind", "valgrind, which counts instructions,", &folder)?;
        }
        Ok(Callgrind { program, library: Some(folder.join("usr/libexec/valgrind")) })
    }

    pub fn of_a_call(&self, worker: &Command, case: &str, folder: &Path) -> Result<f64> {
        let [few, many] = CALLS;
        let (fewer, more) = (self.count(worker, case, few, folder)?, self.count(worker, case, many, folder)?);
        ensure!(more > fewer, "{many} calls of `{case}` had no more instructions than {few}");
        Ok((more - fewer) as f64 / f64::from(many - few))
    }

    /// Instructions of the whole program, in which so many calls are made.
    fn count(&self, worker: &Command, case: &str, calls: u32, folder: &Path) -> Result<u64> {
        let out = folder.join("callgrind.out");
        let mut valgrind = Command::new(&self.program);
        valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
        valgrind.arg(worker.get_program()).args(worker.get_args()).env(COUNTED, "1");
        if let Some(library) = &self.library {
            valgrind.env("VALGRIND_LIB", library);
        }
        let mut child = valgrind
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run `{}`", self.program.display()))?;
        let mut input = child.stdin.take().context("the input was asked for as a pipe")?;
        writeln!(input, "{case} {calls}")?;
        drop(input);
        let status = child.wait()?;
        ensure!(status.success(), "`{case}` under callgrind ended badly ({status})");
        let text = fs::read_to_string(&out).with_context(|| format!("cannot read `{}`", out.display()))?;
        total(&text).with_context(|| format!("`{}` tells no total", out.display()))
    }
}

/// Over all threads of a program.
fn total(out: &str) -> Option<u64> {
    let total = out.lines().find_map(|line| line.strip_prefix("totals:"))?;
    total.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_what_callgrind_writes() {
        assert_eq!(
            total("# callgrind format\nevents: Ir\nsummary: 7\n\nfn=(1) main\n3 7\n\ntotals: 7\n"),
            Some(7)
        );
        assert_eq!(total("events: Ir\n"), None);
        assert_eq!(total("totals: many\n"), None);
    }
}
