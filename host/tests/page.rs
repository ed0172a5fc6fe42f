//! The chat page in a real browser: the real binary, a model under control, and Chromium, which
//! `clients/page.mjs` drives. That file has the cases; this one starts what they need and passes on what they say.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::net::SocketAddr;
use std::process::Stdio;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Host, Model, Settings};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

/// What the driver tells the model to do.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// Waits in the midst of answers to questions with this text.
    Hold(String),
    Release(String),
    /// Answers questions with the first text by the second.
    Script(String, String),
    /// Refuses questions with this text once.
    Refuse(String),
}

async fn obey(State(model): State<Model>, Json(order): Json<Order>) {
    match order {
        Order::Hold(text) => model.hold(&text),
        Order::Release(text) => model.release(&text),
        Order::Script(text, answer) => model.script(&text, &answer),
        Order::Refuse(text) => model.refuse(&text, 400, 1),
    }
}

/// What the model saw: the last message of each request, and how many answers were left before their end.
async fn seen(State(model): State<Model>) -> Json<Value> {
    let asked = model.asked();
    let last: Vec<&Value> =
        asked.iter().filter_map(|messages| messages.as_array()?.last()?.get("content")).collect();
    Json(json!({ "asked": last, "left": model.left() }))
}

/// The driver's hold on the model.
async fn strings_of(model: Model) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/order", post(obey)).route("/seen", get(seen)).with_state(model);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn needed(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("`{variable}` is not set: run the tests by `cargo xtask test`"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_in_a_real_browser() {
    let model = Model::start().await;
    let settings = model.join_as("local", Settings::new()).set("default_model", "local");
    let settings = settings.set("chat", json!({ "open_page": true }));
    let open = Host::start(&settings).await;
    let closed = Host::start(&settings.set("chat", json!({ "open_page": false }))).await;
    let world = json!({
        "chromium": needed("PARLOR_TEST_CHROMIUM"),
        "modules": needed("PARLOR_TEST_NODE_MODULES"),
        "open": open.url(""),
        "closed": closed.url(""),
        "token": closed.token(),
        "model": format!("http://{}", strings_of(model).await),
    });
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/page.mjs");
    let mut node = tokio::process::Command::new(needed("PARLOR_TEST_NODE"))
        .arg(driver)
        .env("PARLOR_TEST_WORLD", world.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("`PARLOR_TEST_NODE` starts");
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        println!("{line}");
    }
    assert!(node.wait().await.unwrap().success(), "a case failed; see its line");
}
