//! Whole turns on a real model: the real binary, the weights file of the first run, a faithful stand-in for the
//! platform. They fail, and never skip, without the file.
#![cfg(all(unix, feature = "native"))]

#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use support::{Host, Platform, Settings, client};

/// For one answer on a busy machine without a graphics card.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host with the native model, greedy and brief, on one thread: two on a busy machine wait for each other.
fn native(settings: Settings) -> Settings {
    let path = std::env::var("PARLOR_TEST_MODEL")
        .expect("`PARLOR_TEST_MODEL` names no weights file; run `cargo xtask test`");
    let model = json!({
        "backend": "gguf", "path": path, "context": 1024, "max_batch_size": 2, "threads": 1,
        "max_tokens": 24, "temperature": 0.0,
    });
    let chat = json!({ "pipelines": ["assistant"], "history": 0 });
    settings.set("models.local", model).set("default_model", "local").set("chat", chat)
}

async fn ask(host: &Host, query: &str) -> Value {
    let asked = client().post(host.url("/api/v1/chat")).bearer_auth(host.token()).timeout(PATIENCE);
    let answer = asked.json(&json!({ "query": query })).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// When each delta of one streamed answer arrived.
async fn deltas(host: &Host, query: &str) -> Vec<Instant> {
    let asked = client().post(host.url("/api/v1/chat")).bearer_auth(host.token()).timeout(PATIENCE);
    let answer = asked.json(&json!({ "query": query, "stream": true })).send().await.unwrap();
    let mut stream = answer.bytes_stream();
    let mut arrived = Vec::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.unwrap();
        let events = std::str::from_utf8(&bytes).unwrap_or_default().matches("event: delta").count();
        arrived.extend(std::iter::repeat_n(Instant::now(), events));
    }
    arrived
}

#[tokio::test]
async fn a_signed_callback_is_answered_by_the_real_model() {
    let platform = Platform::start().await;
    let host = Host::start(&native(platform.join(Settings::new()))).await;
    let callback = platform.direct("ann", "What is the capital of France? canary");
    assert_eq!(callback.post(&host.url("/webhook/team")).await, Some(200));
    let began = Instant::now();
    while platform.seen("ann").is_empty() {
        assert!(began.elapsed() < PATIENCE, "no answer: {}", host.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = platform.seen("ann").remove(0);
    assert!(seen.split_whitespace().count() >= 2, "{seen:?} is no sentence of a model");
    assert!(platform.codes().is_empty(), "{:?}", platform.codes());
}

#[tokio::test]
async fn temperature_zero_gives_one_text_twice() {
    let host = Host::start(&native(Settings::new())).await;
    let first = ask(&host, "Name the capital of France. canary").await;
    let second = ask(&host, "Name the capital of France. canary").await;
    assert!(first["reply"].as_str().is_some_and(|reply| !reply.trim().is_empty()), "{first}");
    assert_eq!(first["reply"], second["reply"]);
}

#[tokio::test]
async fn two_streams_that_start_together_interleave() {
    let host = Host::start(&native(Settings::new())).await;
    let (first, second) = tokio::join!(
        deltas(&host, "Count from one to twenty in words. canary"),
        deltas(&host, "List ten European countries. canary"),
    );
    let begins = |deltas: &[Instant]| *deltas.first().expect("the answer has text");
    let ends = |deltas: &[Instant]| *deltas.last().expect("the answer has text");
    assert!(
        begins(&first) < ends(&second) && begins(&second) < ends(&first),
        "one stream waited for the other"
    );
}
