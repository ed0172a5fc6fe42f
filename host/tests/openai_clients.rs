//! The door for clients of OpenAI's API held against the official clients for Python and Node, unmodified: the real
//! binary, a model behind an endpoint that notes what it sees, and once the real weights. Each case is asserted from
//! both sides: what the client made of it, and what the endpoint saw.
#![cfg(unix)]

#[path = "openai_door/endpoint.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod endpoint;
#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use endpoint::{Endpoint, Script};
use serde_json::{Value, json};
use support::{Host, Settings, eventually};
use tokio::process::Command;

/// All cases of one client on a busy machine, a real model among them.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the endpoint asks for, and more than the model `hasty` has time for: so the host hands it on.
const RETRY_AFTER: Duration = Duration::from_secs(3);
/// Timers of a client may be early by one tick.
const TICK: Duration = Duration::from_millis(2);
const PERSONA: &str = "canary persona";

/// A program that runs cases with one client.
#[derive(Clone, Copy)]
enum Client {
    Python,
    Node,
}

impl Client {
    fn command(self) -> Command {
        let script = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        let mut command = match self {
            Client::Python => {
                let mut command = Command::new("python3");
                command.env("PYTHONPATH", variable("PARLOR_TEST_PYTHONPATH"));
                command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script("completions.py"));
                command
            }
            Client::Node => {
                let mut command = Command::new(variable("PARLOR_TEST_NODE"));
                command.env("PARLOR_TEST_NODE_MODULES", variable("PARLOR_TEST_NODE_MODULES"));
                command.arg(script("completions.mjs"));
                command
            }
        };
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }

    /// The facts of each case.
    async fn run(self, host: &Host, cases: &[&str]) -> BTreeMap<String, Value> {
        let mut command = self.command();
        command.arg(host.url("/v1")).arg(host.token()).args(cases);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("the client comes to an end").unwrap();
        let (told, complaints) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{told}\n{complaints}");
        // `--nocapture` shows what the client said
        println!("{told}");
        let facts = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        facts.map(|line| (line["case"].as_str().unwrap().to_owned(), line["facts"].clone())).collect()
    }
}

fn variable(name: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| panic!("`{name}` is not set: run `cargo xtask test`"))
}

/// A host with a model behind the endpoint, one in a hurry, and an assistant.
fn settings(endpoint: &Endpoint) -> Settings {
    let model = |timeout: &str| json!({ "backend": "openai", "endpoint": endpoint.url, "model": "m", "timeout": timeout });
    let helpdesk = json!({
        "pipelines": ["assistant"], "model": "fake", "settings": { "assistant.persona": PERSONA },
    });
    Settings::new()
        .set("models.fake", model("60s"))
        .set("models.hasty", model("3s"))
        .set("openai", json!({ "assistants": { "helpdesk": helpdesk } }))
}

fn refused(status: u16, error: &str, code: &str, param: Option<&str>, kind: &str) -> Value {
    json!({ "error": error, "code": code, "param": param, "type": kind, "status": status, "retry_after": null })
}

fn answer(text: &str, usage: [u32; 3]) -> Value {
    json!({ "text": text, "finish": "stop", "model": "fake", "usage": usage })
}

/// The facts that every client must find, by case.
fn expected() -> BTreeMap<&'static str, Value> {
    let invalid = "invalid_request_error";
    let mut plain = answer("answer to <canary plain>", [2, 4, 6]);
    plain["object"] = json!("chat.completion");
    plain["id"] = json!("chatcmpl-");
    let mut helpdesk = answer("answer to <canary now>", [8, 4, 12]);
    helpdesk["model"] = json!("helpdesk");
    let mut busy = answer("answer to <canary busy>", [2, 4, 6]);
    busy["model"] = json!("hasty");
    let mut impatient = refused(429, "RateLimitError", "rate_limit_exceeded", None, "requests");
    impatient["retry_after"] = json!("3");
    let mut unknown = refused(404, "NotFoundError", "model_not_found", Some("model"), invalid);
    unknown["retry_after"] = Value::Null;
    let unsupported = |param| json!([400, "unsupported_parameter", param]);
    BTreeMap::from([
        ("models", json!({ "ids": ["fake", "hasty", "helpdesk"], "one": "helpdesk" })),
        ("plain", plain),
        (
            "streamed",
            json!({
                "text": "answer to <canary streamed>", "role": "assistant", "finishes": ["stop"],
                "last_choices": 0, "usage": [2, 4, 6], "early_usages": 0,
            }),
        ),
        ("helper", json!({ "text": "answer to <canary helper>" })),
        (
            "asynchronous",
            json!({ "texts": ["answer to <canary 0>", "answer to <canary 1>", "answer to <canary 2>"] }),
        ),
        ("wrong_key", refused(401, "AuthenticationError", "invalid_api_key", None, invalid)),
        ("unknown_model", unknown),
        ("busy", busy),
        ("busy_without_patience", impatient),
        ("abort", json!({ "first": "so far " })),
        ("stop", answer("answer to <canary stop at ", [6, 5, 11])),
        ("max_tokens", json!({ "text": "answer to ", "finish": "length", "newer": "answer to <canary " })),
        ("form", json!({ "city": "Paris" })),
        ("json_object", json!({ "city": "Paris" })),
        (
            "tools",
            json!({
                "finish": "tool_calls", "content": null, "name": "weather", "arguments": { "city": "Paris" },
                "streamed": [0, "weather"], "answer": "answer to <canary sunny>",
            }),
        ),
        ("assistant", helpdesk),
        (
            "unsupported",
            json!({ "refused": [
                unsupported("n"), unsupported("logprobs"), unsupported("frequency_penalty"),
                unsupported("reasoning_effort"), unsupported("store"), unsupported("messages[0].content[0].type"),
                [400, "unknown_parameter", "top_k"], unsupported("tools"),
            ] }),
        ),
        ("without_effect", answer("answer to <canary idle>", [2, 4, 6])),
        (
            "broken",
            json!({
                "error": "APIError", "code": "answer_broken", "param": null, "type": "server_error",
                "text": "so far ",
            }),
        ),
        ("too_long", refused(400, "BadRequestError", "context_length_exceeded", Some("messages"), invalid)),
    ])
}

fn script(endpoint: &Endpoint) {
    let busy = json!({ "error": { "message": "slow down" } });
    let after = Some(RETRY_AFTER.as_secs());
    endpoint.script("busy", Script::Refuse(429, after, busy.clone()));
    endpoint.script("impatient", Script::Refuse(429, after, busy));
    endpoint.script("abort", Script::Hang);
    endpoint.script("form", Script::Text(r#"{"city":"Paris"}"#));
    endpoint.script("weather", Script::Call("weather", r#"{"city":"Paris"}"#));
    endpoint.script("broken", Script::Break);
    let message =
        "This model's maximum context length is 4096 tokens. Your messages resulted in 5000 tokens.";
    let too_long = json!({ "error": { "message": message, "code": "context_length_exceeded" } });
    endpoint.script("too long", Script::Refuse(400, None, too_long));
}

async fn every_case_holds(client: Client) {
    let endpoint = Endpoint::start().await;
    script(&endpoint);
    let host = Host::start(&settings(&endpoint)).await;
    let expected = expected();
    let cases: Vec<_> = expected.keys().copied().collect();
    let facts = client.run(&host, &cases).await;
    for (case, expected) in expected {
        assert_eq!(facts[case], expected, "case `{case}`");
    }
    the_endpoint_saw_it(&endpoint).await;
}

/// The other side of the cases.
async fn the_endpoint_saw_it(endpoint: &Endpoint) {
    let bodies = |word| -> Vec<Value> { endpoint.calls(word).into_iter().map(|call| call.body).collect() };

    let busy = endpoint.calls("canary busy");
    assert_eq!(busy.len(), 2, "one refusal, one answer");
    let waited = busy[1].at - busy[0].at;
    assert!(waited + TICK >= RETRY_AFTER, "the client came back after {waited:?}");
    assert_eq!(endpoint.calls("impatient").len(), 1, "a client without retries asks once");

    eventually("the model's connection ends with the client's", || (endpoint.left() > 0).then_some(())).await;
    assert_eq!(endpoint.left(), 1);

    assert_eq!(bodies("stop at")[0]["stop"], json!(["END", "never"]));
    let lengths: Vec<_> = bodies("one two three").iter().map(|body| body["max_tokens"].clone()).collect();
    assert_eq!(lengths, [2, 3]);

    let forms = bodies("canary form");
    assert_eq!(forms[0]["response_format"]["type"], "json_schema");
    assert_eq!(forms[0]["response_format"]["json_schema"]["strict"], true);
    assert_eq!(forms[0]["response_format"]["json_schema"]["name"], "Capital");
    assert_eq!(forms[1]["response_format"], json!({ "type": "json_object" }));

    let told = &bodies("sunny")[0];
    assert_eq!(told["tools"][0]["function"]["name"], "weather");
    assert_eq!(told["messages"][1]["tool_calls"][0]["function"]["arguments"], r#"{"city":"Paris"}"#);
    assert_eq!(
        told["messages"][2],
        json!({ "role": "tool", "content": "canary sunny", "tool_call_id": "call_1" })
    );

    let asked = &bodies("canary now")[0];
    let messages = json!([
        { "role": "system", "content": PERSONA }, { "role": "user", "content": "canary earlier" },
        { "role": "assistant", "content": "canary reply" }, { "role": "user", "content": "canary now" },
    ]);
    assert_eq!(asked["messages"], messages, "an assistant takes no orders from its callers");
    assert_eq!(asked["temperature"], 0.5);

    let idle = &bodies("idle")[0];
    assert_eq!((&idle["seed"], &idle["top_p"]), (&json!(7), &json!(0.9)));
}

#[tokio::test]
async fn the_official_client_for_python_works_unmodified() {
    every_case_holds(Client::Python).await;
}

#[tokio::test]
async fn the_official_client_for_node_works_unmodified() {
    every_case_holds(Client::Node).await;
}

/// Greedy and on one thread: two on a busy machine wait for each other.
#[cfg(feature = "native")]
#[tokio::test]
async fn a_real_model_keeps_to_form_length_and_stop_for_both_clients() {
    let model = json!({
        "backend": "gguf", "path": variable("PARLOR_TEST_MODEL").to_str().unwrap(), "context": 1024,
        "max_batch_size": 2, "threads": 1, "max_tokens": 64,
    });
    let host = Host::start(&Settings::new().set("models.local", model).set("openai", json!({}))).await;
    for client in [Client::Python, Client::Node] {
        let facts = client.run(&host, &["native"]).await;
        let expected = json!({
            "is_text": true, "short": ["length", 5], "stopped": ["stop", false], "tools": "tools",
        });
        assert_eq!(facts["native"], expected);
    }
}
