//! Clients that are slow, silent or too many, against the real binary: the short forms of F11 and F12. The long
//! ones, with figures, are `cargo xtask faults`.
#![cfg(target_os = "linux")]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use support::{Host, Platform, Settings, client, eventually, raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Slow connections of one attack.
const SLOW: usize = 300;
/// What an attack may cost, as F11 has it.
const ATTACK_BYTES_MAX: u64 = 100 << 20;
/// What an idle connection may cost, as F12 has it.
const IDLE_BYTES_MAX: u64 = 40 << 10;
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

/// A host that gives up on slow clients soon, with something behind each kind of path.
fn impatient(platform: &Platform, connections: usize) -> Settings {
    let limits = json!({ "header_timeout": "1s", "body_timeout": "2s", "connections": connections });
    platform
        .join_webhook(Settings::new(), json!({}), false)
        .set("models.echo", json!({ "backend": "echo" }))
        .set("default_model", "echo")
        .set("chat", json!({}))
        .set("limits", limits)
}

fn resident_bytes(host: &Host) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Open files, connections among them.
fn descriptors(host: &Host) -> usize {
    fs::read_dir(format!("/proc/{}/fd", host.process_id())).unwrap().count()
}

/// CPU time that the host has used.
fn cpu(host: &Host) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.process_id())).unwrap();
    let behind_name = stat.rsplit_once(") ").unwrap().1;
    let ticks = behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap());
    TICK * ticks.sum::<u32>()
}

/// slowhttptest to its end, at most some seconds.
async fn attack(host: &Host, path: &str, arguments: &[&str]) -> Output {
    let program = std::env::var_os("PARLOR_TEST_SLOWHTTPTEST").expect(
        "`PARLOR_TEST_SLOWHTTPTEST` names no slowhttptest: run `cargo xtask test`, or type `sudo apt-get install -y \
         slowhttptest` and `export PARLOR_TEST_SLOWHTTPTEST=$(command -v slowhttptest)`",
    );
    let mut command = tokio::process::Command::new(program);
    let connections = SLOW.to_string();
    command.args(["-c", &connections, "-r", &connections, "-i", "1", "-l", "6", "-p", "30"]);
    command.args(arguments).args(["-u", &host.url(path)]).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.unwrap()
}

/// What was seen of a host while it was under attack.
#[derive(Debug, Default)]
struct Seen {
    descriptors: usize,
    resident_bytes: u64,
    answers: usize,
}

/// Asks for `/health` for as long as the attack lasts; each answer has to be a 200.
async fn watch(host: &Host, attack: impl Future<Output = Output>) -> Seen {
    let mut seen = Seen::default();
    let look = async {
        loop {
            let response = client().get(host.url("/health")).send().await.unwrap();
            assert_eq!(response.status(), 200, "while {} descriptors were open", descriptors(host));
            seen.answers += 1;
            seen.descriptors = seen.descriptors.max(descriptors(host));
            seen.resident_bytes = seen.resident_bytes.max(resident_bytes(host));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let output = tokio::select! {
        output = attack => output,
        () = look => unreachable!("it looks for ever"),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    seen
}

/// One attack: others are served, memory stays bounded, and every connection ends by the host's own timers or
/// with the attack.
async fn survives(path: &str, arguments: &[&str]) {
    let platform = Platform::start().await;
    let host = Host::start(&impatient(&platform, 1024)).await;
    assert_eq!(client().get(host.url("/health")).send().await.unwrap().status(), 200);
    let (descriptors_before, resident_before) = (descriptors(&host), resident_bytes(&host));
    let seen = watch(&host, attack(&host, path, arguments)).await;
    assert!(seen.descriptors > descriptors_before + SLOW / 2, "there was an attack: {seen:?}");
    assert!(seen.answers > 1, "{seen:?}");
    assert!(seen.resident_bytes < resident_before + ATTACK_BYTES_MAX, "{resident_before} {seen:?}");
    eventually("the connections are gone", || (descriptors(&host) <= descriptors_before + 2).then_some(()))
        .await;
}

#[tokio::test]
async fn slow_heads_harm_nobody() {
    survives("/", &["-H", "-x", "24"]).await;
}

#[tokio::test]
async fn slow_bodies_harm_nobody() {
    survives("/webhook/hook", &["-B", "-s", "8192", "-x", "10"]).await;
}

#[tokio::test]
async fn slow_readers_harm_nobody() {
    survives("/page/page.js", &["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5", "-k", "3"]).await;
}

async fn ask_health(stream: &mut TcpStream) -> String {
    stream.write_all(HEALTH).await.unwrap();
    let mut said = [0; 12];
    stream.read_exact(&mut said).await.unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

/// Connections that have asked once and then keep silent.
async fn idle(address: SocketAddr, number: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..number {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask_health(&mut stream).await, "HTTP/1.1 200");
        open.push(stream);
    }
    open
}

fn assert_turned_away(said: &str) {
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {said:?}"));
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("connection: close"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["error"]["code"], "overloaded");
}

#[tokio::test]
async fn idle_connections_are_cheap_and_one_too_many_is_told_so() {
    const IDLE: usize = 500;
    let platform = Platform::start().await;
    let host = Host::start(&impatient(&platform, IDLE)).await;
    // What the first ones touch for all of them is not theirs.
    drop(idle(host.address(), 50).await);
    let at_rest = descriptors(&host);
    eventually("they are gone", || (descriptors(&host) < at_rest.max(50)).then_some(())).await;
    let before = resident_bytes(&host);
    let mut open = idle(host.address(), IDLE).await;
    let each = resident_bytes(&host).saturating_sub(before) / IDLE as u64;
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes for an idle connection");
    for _ in 0..3 {
        assert_turned_away(&raw(host.address(), HEALTH).await);
    }
    for stream in &mut open {
        assert!(stream.try_read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0), "the rest of its answer");
    }
    drop(open.pop());
    let host_address = host.address();
    let served =
        async || raw(host_address, b"GET /health HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200");
    while !served().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_host_with_few_descriptors_keeps_some_for_itself() {
    let platform = Platform::start().await;
    let mut host = Host::at_rest(&impatient(&platform, 1024));
    let plain = host.command(&["serve"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 128; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    limited.stdin(Stdio::null());
    host.begin_with(limited);
    host.serves().await;
    let told = host.wait_for_line(&["fewer file descriptors than `limits.connections` needs"]).await;
    assert!(told.contains("64"), "{told}");
    let mut open = idle(host.address(), 64).await;
    for _ in 0..20 {
        assert_turned_away(&raw(host.address(), HEALTH).await);
    }
    for stream in &mut open {
        assert!(stream.try_read(&mut [0; 4096]).is_ok());
        assert_eq!(ask_health(stream).await, "HTTP/1.1 200");
    }
    assert!(host.lines_with("cannot accept").is_empty());
}

#[tokio::test]
async fn a_host_that_runs_out_of_descriptors_rests_and_goes_on() {
    const WAITING: usize = 30;
    let platform = Platform::start().await;
    let host = Host::start(&impatient(&platform, 1024)).await;
    assert!(raw(host.address(), b"GET /health HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"));
    let process = Pid::from_raw(i32::try_from(host.process_id()).unwrap());
    let before = prlimit(process, Resource::Nofile, few(descriptors(&host) as u64)).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..WAITING {
        let mut stream = TcpStream::connect(host.address()).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await.unwrap();
        waiting.push(stream);
    }
    host.wait_for_line(&["cannot accept connections"]).await;
    let (began, used) = (Instant::now(), cpu(&host));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = cpu(&host) - used;
    assert!(used < began.elapsed() / 2, "it spins: {used:?} of CPU");
    prlimit(process, Resource::Nofile, before).unwrap();
    for mut stream in waiting {
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.0 200"), "{said}");
    }
    assert_eq!(host.lines_with("cannot accept connections").len(), 1, "told once, not at each attempt");
}

/// No more descriptors than are open, and room to grow again.
fn few(open: u64) -> Rlimit {
    Rlimit { current: Some(open), maximum: rustix::process::getrlimit(Resource::Nofile).maximum }
}
