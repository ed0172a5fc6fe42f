//! F11: 2,000 connections that send a head, or a body, or read a response as slowly as they can (slowhttptest).
//! Honest requests go on meanwhile, at most twice as slow as before, and memory stays bounded.

use super::Line;
use super::host::Host;
use super::latency::Latencies;
use crate::command;
use crate::debian;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 2000;
/// So long that every attack meets the host's own timers: 10 s for a head, 30 s for a body.
const ATTACK: Duration = Duration::from_secs(45);
const AT_REST: Duration = Duration::from_secs(20);
const MEMORY_MAX: u64 = 100 << 20;
/// Below this the p99 of requests that write to a disk is the disk's noise.
const NOISE: Duration = Duration::from_millis(20);

struct Attack {
    name: &'static str,
    path: &'static str,
    arguments: &'static [&'static str],
}

const ATTACKS: [Attack; 3] = [
    Attack { name: "slow heads", path: "/", arguments: &["-H", "-i", "5", "-x", "24"] },
    Attack {
        name: "slow bodies",
        path: "/webhook/hook",
        arguments: &["-B", "-i", "5", "-s", "8192", "-x", "10"],
    },
    Attack {
        name: "slow readers",
        path: "/page/page.js",
        arguments: &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "5", "-k", "3"],
    },
];

pub fn run(host: &Host) -> Result<Vec<Line>> {
    // Its own `-h` ends as a failure does.
    if !command::succeeds("sh", &["-c", "command -v slowhttptest"]) {
        debian::install("slowhttptest", "slowhttptest")?;
    }
    let mut lines = timers(host)?;
    for attack in &ATTACKS {
        eprintln!("{}: {} connections for {} s", attack.name, CONNECTIONS, ATTACK.as_secs());
        lines.extend(attack.run(host)?);
    }
    Ok(lines)
}

/// How long the host itself waits for one slow client.
fn timers(host: &Host) -> Result<Vec<Line>> {
    let head = until_closed(host, "GET / HTTP/1.1\r\nhost: x\r\n")?;
    let body =
        until_closed(host, "POST /webhook/hook HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\nsome")?;
    let line = |what: &str, took: Duration, seconds: u64| {
        let holds = took.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(1);
        Line::new(what, format!("{:.2} s", took.as_secs_f64()), format!("{seconds} s"), holds)
    };
    Ok(vec![line("F11 a head that does not come", head, 10), line("F11 a body that does not come", body, 30)])
}

fn until_closed(host: &Host, begun: &str) -> Result<Duration> {
    let mut stream = host.connect()?;
    stream.write_all(begun.as_bytes())?;
    let began = Instant::now();
    stream.read_to_end(&mut Vec::new()).context("the host did not close a slow connection")?;
    Ok(began.elapsed())
}

impl Attack {
    fn run(&self, host: &Host) -> Result<Vec<Line>> {
        let began = Instant::now();
        let rest = Latencies::measure(host, || Ok(began.elapsed() < AT_REST))?;
        let (before, at_rest) = (host.resident()?, host.descriptors()?);
        let mut attackers = self.begin(host)?;
        let (mut resident, mut connections) = (0, 0);
        let under = Latencies::measure(host, || {
            resident = resident.max(host.resident()?);
            connections = connections.max(host.descriptors()?.saturating_sub(at_rest));
            Ok(attackers.0.try_wait()?.is_none())
        })?;
        ensure!(
            under.answered() > 100,
            "{}: the attack was over after {} requests",
            self.name,
            under.answered()
        );
        Ok(self.judge(&rest, &under, resident.saturating_sub(before), connections))
    }

    fn begin(&self, host: &Host) -> Result<Attackers> {
        let mut program = Command::new("slowhttptest");
        program.args(["-c", &CONNECTIONS.to_string(), "-r", "1000", "-p", "60"]);
        program.args(["-l", &ATTACK.as_secs().to_string(), "-u", &host.url(self.path)]).args(self.arguments);
        program.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Attackers(program.spawn().context("cannot run `slowhttptest`")?))
    }

    fn judge(&self, rest: &Latencies, under: &Latencies, grown: u64, connections: usize) -> Vec<Line> {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (idle, slow) = (rest.p99(), under.p99());
        let name = |what: &str| format!("F11 {}: {what}", self.name);
        vec![
            Line::new(
                name("connections at once"),
                connections.to_string(),
                "1900 or more",
                connections >= 1900,
            ),
            Line::new(
                name("p99 of honest requests"),
                format!("{:.1} ms, idle {:.1} ms", ms(slow), ms(idle)),
                format!("twice idle, or {} ms", NOISE.as_millis()),
                slow <= (idle * 2).max(NOISE),
            ),
            Line::new(
                name("honest requests"),
                format!("{} of {} answered", under.answered(), under.sent()),
                "all",
                under.answered() == under.sent(),
            ),
            Line::new(
                name("memory"),
                format!("+{:.1} MB", grown as f64 / 1e6),
                "+100 MB at most",
                grown <= MEMORY_MAX,
            ),
        ]
    }
}

/// A running slowhttptest, which does not outlive this.
struct Attackers(Child);

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
