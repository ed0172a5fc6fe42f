//! F12: 10,000 connections that ask nothing, kept alive or as WebSockets. All are taken, each costs little memory and
//! no CPU; those past the cap are told 503 and closed.

use super::Line;
use super::host::{CONNECTIONS, Host};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

const IDLE: usize = 10_000;
/// Opened and closed before anything is counted: what they touch for all of them is not the others'.
const WARM_UP: usize = 500;
const BYTES_MAX: u64 = 40_000;
/// Over which the host's CPU is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Share of one CPU that a host may use with nothing to do but to turn clients away.
const CPU_MAX: f64 = 0.2;
const KEEP_ALIVE: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

pub fn run(host: &Host) -> Result<Vec<Line>> {
    let mut lines = hold(host, "keep-alive", KEEP_ALIVE, "HTTP/1.1 200")?;
    // RFC 6455, 1.3: any sixteen bytes in base64.
    let socket = format!(
        "GET /chat?token={} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        host.token
    );
    if host.says("GET /chat HTTP/1.0\r\n\r\n")?.contains(" 404 ") {
        eprintln!("this build has no WebSocket door: keep-alive connections alone");
    } else {
        lines.extend(hold(host, "WebSocket", &socket, "HTTP/1.1 101")?);
    }
    Ok(lines)
}

/// Opens them all, and what they cost; then goes past the cap.
fn hold(host: &Host, kind: &str, request: &str, expected: &str) -> Result<Vec<Line>> {
    eprintln!("{IDLE} idle {kind} connections");
    let at_rest = host.descriptors()?;
    drop(open(host, WARM_UP, request, expected)?);
    gone(host, at_rest)?;
    let before = host.resident()?;
    let began = Instant::now();
    let mut held = open(host, IDLE, request, expected)?;
    let (took, each) = (began.elapsed(), host.resident()?.saturating_sub(before) / IDLE as u64);
    let idle_cpu = cpu(host, LOOK)?;
    let open_now = host.descriptors()?.saturating_sub(at_rest);
    held.extend(open(host, CONNECTIONS - IDLE, request, expected)?);
    let began = Instant::now();
    let used = host.cpu()?;
    let mut turned_away = 0;
    while began.elapsed() < LOOK {
        turned_away += usize::from(is_turned_away(host)?);
        sleep(Duration::from_millis(10));
    }
    let cap_cpu = (host.cpu()? - used).as_secs_f64() / began.elapsed().as_secs_f64();
    let failed = host.log_lines_with("cannot accept")?;
    drop(held);
    gone(host, at_rest)?;
    let name = |what: &str| format!("F12 {kind}: {what}");
    let percent = |share: f64| format!("{:.1} % of a CPU", share * 100.0);
    Ok(vec![
        Line::new(
            name("taken"),
            format!("{open_now} in {:.1} s", took.as_secs_f64()),
            format!("{IDLE}"),
            open_now >= IDLE,
        ),
        Line::new(
            name("memory of one"),
            format!("{:.1} kB", each as f64 / 1e3),
            "40 kB at most",
            each <= BYTES_MAX,
        ),
        Line::new(name("CPU at rest"), percent(idle_cpu), "20 % at most", idle_cpu <= CPU_MAX),
        Line::new(name("past the cap, 503 and closed"), turned_away.to_string(), "all", turned_away > 100),
        Line::new(name("CPU at the cap"), percent(cap_cpu), "20 % at most", cap_cpu <= CPU_MAX),
        Line::new(name("failed accepts"), failed.to_string(), "0", failed == 0),
    ])
}

fn open(host: &Host, number: usize, request: &str, expected: &str) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(number);
    for count in 0..number {
        let mut stream = host.connect().with_context(|| format!("connection {count}"))?;
        stream.write_all(request.as_bytes())?;
        let mut said = [0; 12];
        stream.read_exact(&mut said).with_context(|| format!("connection {count}"))?;
        let said = String::from_utf8_lossy(&said);
        ensure!(said == expected, "connection {count} was answered `{said}`");
        held.push(stream);
    }
    Ok(held)
}

/// Waits until the host has closed its ends.
fn gone(host: &Host, at_rest: usize) -> Result<()> {
    let began = Instant::now();
    while host.descriptors()? > at_rest + 2 {
        ensure!(began.elapsed() < Duration::from_secs(30), "the host keeps connections that are closed");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn is_turned_away(host: &Host) -> Result<bool> {
    let said = host.says(KEEP_ALIVE)?;
    ensure!(said.starts_with("HTTP/1.1 503") && said.contains("overloaded"), "past the cap: {said}");
    Ok(true)
}

fn cpu(host: &Host, time: Duration) -> Result<f64> {
    let (before, began) = (host.cpu()?, Instant::now());
    sleep(time);
    Ok((host.cpu()? - before).as_secs_f64() / began.elapsed().as_secs_f64())
}
