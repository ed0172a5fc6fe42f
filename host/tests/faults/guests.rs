//! F9: plugins that misbehave in every way that we know of. Each hurts its own call, in its own time and memory, and
//! leaves nothing behind; a neighbour works on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bodies::{peak_bytes, reset_peak};
use crate::holdings::Holdings;
use crate::neighbour::{neighbour, two_adapters};
use crate::row::{Row, ms, rounds};
use crate::support::{Host, Model, Settings, client, guests, keeping};

/// `limits` in the guests' manifests.
const DEADLINE: Duration = Duration::from_secs(2);
const MEMORY_BYTES: u64 = 16 << 20;
/// A loop is over this long after its deadline.
const STOPPED_WITHIN: Duration = Duration::from_millis(100);
/// What a call may cost beside the guest's own memory.
const BESIDE_BYTES: u64 = 16_000_000;
/// What ten thousand traps may leave behind.
const LEAK_BYTES: u64 = 5_000_000;

/// Each misdeed by its path, what the log tells of it, and whether its time ends it.
const MISDEEDS: [(&str, &str, bool); 12] = [
    ("trap", "this guest gives up", false),
    ("abort", "the plugin trapped", false),
    ("loop", "for longer than 2000 ms of its own time", true),
    ("sleep", "for longer than 2000 ms of its own time", true),
    ("recurse", "the plugin trapped", false),
    ("grow", "memory was refused after 1", false),
    ("output", "the plugin trapped", false),
    ("log", "further log lines of this call are dropped", false),
    ("long-log", "further log lines of this call are dropped", false),
    ("storm", "the adapter did not read the webhook", false),
    ("random", "exceeds limit", false),
    ("guess", "more than 1000 operations on secrets in one call", false),
];

/// Fields that hold too much, each with its name in the refusal.
const FIELDS: [(&str, &str); 15] = [
    ("id", "`message.id` has 3145728 bytes, and at most 2048 are taken"),
    ("conversation", "`message.conversation` has"),
    ("album", "`message.album` has"),
    ("sender", "`message.sender.id` has"),
    ("name", "`message.sender.name` has"),
    ("text", "`message.text` has"),
    ("quoted", "`message.quoted` has"),
    ("address", "`message.address` has"),
    ("extra", "`message` has 629"),
    ("reference", "`attachment.reference` has"),
    ("withdrawn", "`withdrawn` has 3145728 bytes"),
    ("many-withdrawn", "`withdrawn` has 100000 entries, and at most 1000 are taken"),
    ("many-messages", "`messages` has 2001 entries"),
    ("body", "`response.body` has"),
    ("header", "`response.headers` has"),
];

/// In each line of the log that is about it.
fn request_id(misdeed: &str) -> String {
    format!("misdeed-{}", misdeed.replace('/', "-"))
}

async fn ask_for(host: &Host, misdeed: &str) -> (u16, Duration) {
    let request = client()
        .get(host.url(&format!("/webhook/wild/{misdeed}")))
        .header("x-request-id", request_id(misdeed));
    let began = Instant::now();
    let response = request.send().await.unwrap();
    (response.status().as_u16(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_each_misdeed_ends_its_own_call_in_its_time_and_memory() {
    let mut row =
        Row::new("F9", "trap, loop, recursion, memory, output, log, storm, sleep, guesses, huge fields");
    row.rounds = rounds(1, 5);
    let (host, _model) = two_adapters().await;
    assert_eq!(ask_for(&host, "ok").await.0, 200);
    let (mut latest, mut most) = (Duration::ZERO, 0);
    let fields = FIELDS.map(|(field, trace)| (format!("huge/{field}"), trace, false));
    let misdeeds = MISDEEDS.map(|(deed, trace, is_late)| (deed.to_owned(), trace, is_late));
    for _ in 0..row.rounds {
        for (misdeed, trace, is_late) in misdeeds.iter().chain(&fields) {
            reset_peak(&host);
            let before = peak_bytes(&host);
            let ((status, took), _) = tokio::join!(ask_for(&host, misdeed), neighbour(&host, 5));
            row.holds(status == 500, format!("{misdeed}: {status}"));
            host.wait_for_line(&[&format!("\"{}\"", request_id(misdeed)), trace]).await;
            let grown = peak_bytes(&host).saturating_sub(before);
            row.holds(grown <= MEMORY_BYTES + BESIDE_BYTES, format!("{misdeed}: {grown} bytes more"));
            most = most.max(grown);
            if *is_late {
                row.holds(took >= DEADLINE, format!("{misdeed} ended after {}", ms(took)));
                latest = latest.max(took.saturating_sub(DEADLINE));
            }
        }
        let (status, _) = ask_for(&host, "huge/fault").await;
        row.holds(status == 400, format!("a fault with 3 MiB of words: {status}"));
    }
    row.in_time(latest <= STOPPED_WITHIN, format!("ended {} after the deadline", ms(latest)));
    row.figure(format!("memory +{:.1} MB", most as f64 / 1e6));
    let longest = host.log_text().lines().map(str::len).max().unwrap_or_default();
    row.holds(longest < 32 << 10, format!("a line of {longest} bytes in the log"));
    row.holds(
        host.lines_with("this guest talks too much").len() <= 100 * row.rounds,
        "more than 100 lines of a call",
    );
    row.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_traps_leave_no_memory_and_no_descriptor_behind() {
    let mut row = Row::new("F9", "traps one after another");
    row.rounds = rounds(500, 10_000);
    let (host, _model) = two_adapters().await;
    let (client, url) = (keeping(), host.url("/webhook/wild/trap"));
    let trap = async |times: usize| {
        for _ in 0..times {
            assert_eq!(client.get(&url).send().await.unwrap().status().as_u16(), 500);
        }
    };
    // What the first calls allocate stays for all later ones.
    trap(row.rounds / 5).await;
    let before = Holdings::of(&host);
    trap(row.rounds).await;
    let after = Holdings::of(&host);
    let descriptors = format!("descriptors from {} to {}", before.descriptors, after.descriptors);
    // One that is opened at its own time is no leak: traps that opened some would have opened thousands.
    row.holds(after.descriptors <= before.descriptors + row.rounds / 1000, &descriptors);
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    row.in_time(grown <= LEAK_BYTES, format!("memory +{:.1} MB", grown as f64 / 1e6));
    row.figure(descriptors);
    row.holds(neighbour(&host, 10).await.count() == 10, "the neighbour is gone");
    row.close();
}

/// What the guest's log line says that came of a deed of the delivery.
async fn outcome(host: &Host, deed: &str) -> String {
    let url = host.url(&format!("/webhook/wild/later/{deed}"));
    let status = client().post(&url).header("x-request-id", deed).send().await.unwrap().status();
    assert_eq!(status, 200, "{deed}");
    let line = host.wait_for_line(&["deed done", &format!("id={deed} ")]).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let fields = line.as_object().unwrap().values().find_map(|value| value.as_str()?.split_once("outcome="));
    fields.expect("an outcome").1.to_owned()
}

/// How much of a thing the outcome counts.
fn counted(outcome: &str) -> usize {
    outcome.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(usize::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_flood_of_the_store_and_of_requests_ends_at_its_quota() {
    let mut row = Row::new("F9", "store flood, hoarded keys, endless requests");
    row.rounds = 1;
    let (listener, target) = sink().await;
    let settings = Settings::new()
        .set("plugins.folder", guests().to_str().unwrap())
        .set("channels.wild", json!({ "adapter": "unruly" }))
        .insert("endpoints", "https://echo.example.com", target);
    let model = Model::start().await;
    let host = Host::start(&model.join(settings)).await;
    let flood = outcome(&host, "flood").await;
    row.holds(counted(&flood) == 64, format!("4 MiB of writes: {flood}"));
    let hoard = outcome(&host, "hoard").await;
    row.holds(counted(&hoard) <= 1000, format!("keys: {hoard}"));
    let sent = outcome(&host, "requests").await;
    row.holds(sent.contains("more than 256 HTTP requests in one call"), &sent);
    row.holds(counted(&sent) == 256, &sent);
    row.figure(format!("{flood}; {hoard}; {}", sent.split(',').next().unwrap_or_default()));
    listener.abort();
    row.close();
}

/// Somebody who answers whatever comes.
async fn sink() -> (tokio::task::JoinHandle<()>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async || "{}");
    (tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }), origin)
}

/// A pipeline's misdeeds by the first word of the message, and what the log tells of each.
const IN_A_TURN: [(&str, &str); 11] = [
    ("say", "`reply.text` has 3145728 bytes"),
    ("suggest", "`reply.suggestions` has 100000 entries"),
    ("ask", "`prompt` has 6291456 bytes"),
    ("history", "`turn.history` has 20000 entries"),
    ("fault", "the turn failed"),
    ("trap", "this guest gives up"),
    ("grow", "the pipelines made more than 1 MiB of an answer"),
    ("burst", "`flow.show` has 3145728 bytes"),
    ("stop", "`reply.text` has 3145728 bytes"),
    ("choke", "this guest gives up"),
    ("loop", "for longer than 2000 ms of its own time"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_pipeline_that_misbehaves_costs_its_own_turn() {
    let mut row =
        Row::new("F9", "pipelines: text without end, traps in filters, huge prompts, questions for ever");
    let settings = Settings::new()
        .set("plugins.folder", guests().to_str().unwrap())
        .set("chat", json!({ "pipelines": ["spate"] }));
    let model = Model::start().await;
    let host = Host::start(&model.join(settings)).await;
    let token = host.token();
    let ask = async |query: String| {
        let asked = client().post(host.url("/api/v1/chat")).bearer_auth(&token);
        asked.json(&json!({ "query": query })).send().await.unwrap().status().as_u16()
    };
    let mut most = 0;
    for (deed, trace) in IN_A_TURN.iter().chain(&[("again", "asked more than 8 times")]) {
        model.script(deed, "one two three four five six seven eight");
        reset_peak(&host);
        let before = peak_bytes(&host);
        let (failed, well) = tokio::join!(ask(format!("{deed} canary")), ask("well canary".to_owned()));
        row.rounds += 1;
        row.holds(failed >= 500, format!("{deed}: {failed}"));
        row.holds(well == 200, format!("beside {deed}: {well}"));
        host.wait_for_line(&[trace]).await;
        let grown = peak_bytes(&host).saturating_sub(before);
        row.holds(grown <= MEMORY_BYTES + BESIDE_BYTES, format!("{deed}: {grown} bytes more"));
        most = most.max(grown);
    }
    row.figure(format!("memory +{:.1} MB", most as f64 / 1e6));
    row.close();
}
