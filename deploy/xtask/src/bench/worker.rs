//! Programs that make calls when they are told to, and the rounds in which they take turns.
//!
//! A worker names its cases in its first line. To `CASE CALLS` it answers with nanoseconds of CPU and of wall time.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Calls before the first round, which also tell how long one takes.
const CALLS_TO_WARM_UP: u32 = 2000;

pub struct Worker {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    cases: Vec<String>,
    /// CPU time of one case in one round.
    round: Duration,
}

/// One case of one worker, round by round.
#[derive(Debug, PartialEq)]
pub struct Series {
    pub case: String,
    pub worker: &'static str,
    pub calls: u32,
    /// Nanoseconds of all calls of a round: CPU, wall.
    pub rounds: Vec<(u64, u64)>,
}

impl Worker {
    pub fn start(name: &'static str, command: &mut Command, round: Duration) -> Result<Worker> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{shown}`"))?;
        let input = child.stdin.take().context("the input was asked for as a pipe")?;
        let output = child.stdout.take().context("the output was asked for as a pipe")?;
        let output = BufReader::new(output);
        let mut worker = Worker { name, child, input, output, cases: Vec::new(), round };
        let first = worker.read().context("the vectors have to come out right before anything is timed")?;
        worker.cases = first.split_whitespace().map(str::to_owned).collect();
        Ok(worker)
    }

    fn read(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "`{}` ended early", self.name);
        Ok(line)
    }

    fn time(&mut self, case: &str, calls: u32) -> Result<(u64, u64)> {
        writeln!(self.input, "{case} {calls}")?;
        let line = self.read()?;
        parse(&line).with_context(|| format!("`{}` answered `{}`", self.name, line.trim()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<(u64, u64)> {
    let (cpu, wall) = line.trim().split_once(' ')?;
    Some((cpu.parse().ok()?, wall.parse().ok()?))
}

/// Each case of each worker once a round.
pub fn rounds(mut workers: Vec<Worker>, rounds: usize) -> Result<Vec<Series>> {
    let mut series = Vec::new();
    for worker in &mut workers {
        series.push(warm_up(worker)?);
    }
    for _ in 0..rounds {
        for (worker, series) in workers.iter_mut().zip(&mut series) {
            for one in series {
                one.rounds.push(worker.time(&one.case, one.calls)?);
            }
        }
    }
    Ok(series.into_iter().flatten().collect())
}

fn warm_up(worker: &mut Worker) -> Result<Vec<Series>> {
    let mut series = Vec::new();
    for case in worker.cases.clone() {
        let (cpu, _) = worker.time(&case, CALLS_TO_WARM_UP)?;
        let calls = calls_of_a_round(cpu, worker.round);
        series.push(Series { case, worker: worker.name, calls, rounds: Vec::new() });
    }
    Ok(series)
}

fn calls_of_a_round(warm_up_ns: u64, round: Duration) -> u32 {
    let calls = round.as_nanos() * u128::from(CALLS_TO_WARM_UP) / u128::from(warm_up_ns.max(1));
    u32::try_from(calls.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Worker> {
        Worker::start("shell", Command::new("sh").args(["-c", script]), Duration::from_millis(50))
    }

    #[test]
    fn workers_take_turns_and_each_case_has_its_rounds() {
        let worker = || shell("echo a b; while read case calls; do echo 4000 5000; done").unwrap();
        let series = rounds(vec![worker(), worker()], 3).unwrap();
        let cases: Vec<&str> = series.iter().map(|series| series.case.as_str()).collect();
        assert_eq!(cases, ["a", "b", "a", "b"]);
        assert!(series.iter().all(|series| series.rounds == [(4000, 5000); 3]));
        assert_eq!(series[0].calls, 25_000_000);
    }

    #[test]
    fn a_worker_that_fails_its_vectors_is_not_timed() {
        let error = shell("exit 1").map(drop).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "`shell` ended early");
    }

    #[test]
    fn an_odd_answer_is_shown() {
        let error = rounds(vec![shell("echo a; read line; echo what").unwrap()], 1).unwrap_err();
        assert_eq!(error.to_string(), "`shell` answered `what`");
    }
}
