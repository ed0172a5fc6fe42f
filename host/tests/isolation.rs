//! A plugin can hurt only its own call: an adapter that misbehaves on request, in the real host, beside a
//! neighbour that must notice nothing.
//!
//! The misdeeds are in `guests/unruly`; here stands what becomes of each, seen from outside: the response, the
//! log, the figures and the memory of the process. More of them, with their bounds, are in `faults/guests.rs`.
#![cfg(target_os = "linux")]

#[path = "isolation/canaries.rs"]
mod canaries;
#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;
#[path = "isolation/thieves.rs"]
mod thieves;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Host, Model, Settings, client};

/// `limits.time` in the guest's manifest.
const DEADLINE: Duration = Duration::from_secs(2);
/// Between the end of a call and the response on a busy machine.
const SLACK: Duration = Duration::from_secs(4);
/// What all misdeeds together may add to the process: a guest's memory of 16 MiB, and what a working process
/// takes anyhow.
const GROWTH_MIB_MAX: u64 = 16 + 32;
/// How often the neighbour is called: all of it is in the log.
const PAUSE: Duration = Duration::from_millis(20);
/// More at a time than there are places for webhooks.
const CROWD: usize = 150;
/// Of one call, whatever the guest writes.
const LOG_LINES_MAX: usize = 100;
/// Each misdeed by its path, and what the log tells of it.
const MISDEEDS: [(&str, &str); 9] = [
    ("trap", "this guest gives up"),
    ("loop", "for longer than 2000 ms of its own time"),
    ("recurse", "the plugin trapped"),
    ("grow", "memory was refused after 1"),
    ("output", "the plugin trapped"),
    ("log", "further log lines of this call are dropped"),
    ("storm", "the plugin "),
    ("random", "the plugin trapped"),
    ("sleep", "for longer than 2000 ms of its own time"),
];

/// A host with two channels of the same adapter: `wild`, and its neighbour `calm`.
async fn two_channels() -> (Host, Model) {
    let guests = std::env::var("PARLOR_TEST_GUESTS")
        .expect("`PARLOR_TEST_GUESTS` names no folder of built test guests: run `cargo xtask test`");
    let channel = json!({ "adapter": "unruly" });
    let settings = Settings { is_warm: false, ..Settings::new() }
        .set("plugins.folder", guests)
        .set("channels.wild", channel.clone())
        .set("channels.calm", channel);
    let model = Model::start().await;
    (Host::start(&model.join(settings)).await, model)
}

async fn get(url: &str, request_id: &str) -> (u16, String) {
    let response = client().get(url).header("x-request-id", request_id).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Asks for a misdeed; its name is in each line of the log that is about it.
async fn ask_for(host: &Host, misdeed: &str) -> (u16, String) {
    get(&host.url(&format!("/webhook/wild/{misdeed}")), &request_id(misdeed)).await
}

fn request_id(misdeed: &str) -> String {
    format!("misdeed-{misdeed}")
}

/// Calls a neighbour again and again until it is asked how that went: the answers that were none.
struct Neighbour {
    is_over: Arc<AtomicBool>,
    calls: tokio::task::JoinHandle<(usize, Vec<(u16, String)>)>,
}

impl Neighbour {
    fn of(host: &Host) -> Neighbour {
        let (url, is_over) = (host.url("/webhook/calm/ok"), Arc::new(AtomicBool::new(false)));
        let over = is_over.clone();
        let calls = async move {
            let (mut count, mut bad) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                let answer = get(&url, "neighbour").await;
                count += 1;
                if answer != (200, "well behaved".to_owned()) {
                    bad.push(answer);
                }
                tokio::time::sleep(PAUSE).await;
            }
            (count, bad)
        };
        Neighbour { is_over, calls: tokio::spawn(calls) }
    }

    async fn noticed_nothing(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (count, bad) = self.calls.await.unwrap();
        assert!(count > 0 && bad.is_empty(), "of {count} calls {} failed: {bad:?}", bad.len());
    }
}

/// A figure of the process in MiB, such as `VmRSS` (now) and `VmHWM` (the most there ever was).
fn memory_mib(host: &Host, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).expect("the kernel tells this figure");
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

/// How many calls of `receive` ended so, as the metrics tell.
async fn calls(host: &Host, outcome: &str) -> u64 {
    let token = host.output(&["token", "--scope", "metrics:read"]).stdout;
    let token = String::from_utf8(token).unwrap();
    let request = client().get(host.url("/metrics")).bearer_auth(token.trim());
    let figures = request.send().await.unwrap().text().await.unwrap();
    let labels = ["plugin_calls_total", "plugin=\"unruly\"", "function=\"receive\""];
    let outcome = format!("outcome=\"{outcome}\"");
    let is_it = |line: &&str| labels.iter().all(|label| line.contains(label)) && line.contains(&outcome);
    figures.lines().find(is_it).map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_misdeed_ends_its_own_call_and_no_other() {
    let (host, _model) = two_channels().await;
    assert_eq!(ask_for(&host, "ok").await.0, 200);
    let before = memory_mib(&host, "VmRSS");
    let neighbour = Neighbour::of(&host);
    for (misdeed, trace) in MISDEEDS {
        let began = Instant::now();
        let (status, text) = ask_for(&host, misdeed).await;
        let took = began.elapsed();
        assert_eq!(status, 500, "/{misdeed}: {text}");
        assert!(took < DEADLINE + SLACK, "/{misdeed} took {took:?}");
        host.wait_for_line(&[&request_id(misdeed), trace]).await;
    }
    neighbour.noticed_nothing().await;
    let most = memory_mib(&host, "VmHWM");
    assert!(most <= before + GROWTH_MIB_MAX, "from {before} MiB to {most} MiB");
    let (traps, timeouts) = (calls(&host, "trap").await, calls(&host, "timeout").await);
    assert!(timeouts >= 2, "`loop` and `sleep` are timeouts: {timeouts}");
    assert_eq!(traps + timeouts, MISDEEDS.len() as u64);
    assert!(host.lines_with("this guest talks too much").len() <= LOG_LINES_MAX);
}

/// Found by review: the places for webhooks were one heap, and who hung in all of them kept every other adapter out.
#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_hangs_in_all_its_places_keeps_no_other_from_its_own() {
    let settings = Settings { is_warm: false, ..Settings::new() }
        .set("plugins.folder", support::guests().to_str().unwrap())
        .set("channels.wild", json!({ "adapter": "unruly" }))
        .set("channels.other", json!({ "adapter": "slate" }));
    let model = Model::start().await;
    let host = Host::start(&model.join(settings)).await;
    let client = client();
    for misdeed in ["sleep", "loop"] {
        let ask = || client.get(host.url(&format!("/webhook/wild/{misdeed}"))).send();
        let crowd: Vec<_> = (0..CROWD).map(|_| tokio::spawn(ask())).collect();
        let mut calls = 0;
        while !crowd.iter().all(tokio::task::JoinHandle::is_finished) {
            let response = client.post(host.url("/webhook/other")).body("{}").send().await.unwrap();
            assert_eq!(response.status(), 400, "`slate` reads it and wants more than that, /{misdeed}");
            calls += 1;
            tokio::time::sleep(PAUSE).await;
        }
        assert!(calls > 1);
        let (mut hung, mut refused) = (0, 0);
        for response in crowd {
            let response = response.await.unwrap().unwrap();
            match response.status().as_u16() {
                500 => hung += 1,
                503 => {
                    assert!(response.headers().contains_key("retry-after"), "{response:?}");
                    refused += 1;
                }
                status => panic!("/{misdeed}: {status}"),
            }
        }
        assert!(hung > 0 && refused > 0, "/{misdeed}: {hung} hung, {refused} found no place");
    }
    assert_eq!(ask_for(&host, "ok").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_nothing_of_the_machine_and_sends_nothing_while_it_receives() {
    let (host, _model) = two_channels().await;
    let nothing = "variables 0, arguments 0, folder false, file false, network false, listens false, \
                   datagrams false, names false"
        .to_owned();
    assert_eq!(ask_for(&host, "env").await, (200, nothing));
    assert_eq!(ask_for(&host, "http").await, (200, "Denied, sent: false".to_owned()));
    assert_eq!(calls(&host, "ok").await, 2);
}
