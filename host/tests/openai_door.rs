//! The door for clients of OpenAI's API, byte by byte: the shapes that it reads and writes, what it refuses and in
//! which words, and what of a request reaches the model. `openai_clients.rs` holds it against the official clients.
#![cfg(unix)]

#[path = "openai_door/endpoint.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod endpoint;
#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

use endpoint::{Endpoint, Script};
use futures_util::StreamExt as _;
use reqwest::Response;
use serde_json::{Value, json};
use support::{Host, Settings, client, eventually};

/// A host that offers a model behind the endpoint, and what else a test sets.
struct House {
    host: Host,
    endpoint: Endpoint,
    token: String,
}

fn model(endpoint: &Endpoint) -> Value {
    json!({ "backend": "openai", "endpoint": endpoint.url, "model": "m" })
}

fn settings(endpoint: &Endpoint) -> Settings {
    Settings::new().set("models.fake", model(endpoint)).set("openai", json!({}))
}

impl House {
    async fn open() -> House {
        House::with(|settings| settings).await
    }

    async fn with(change: impl FnOnce(Settings) -> Settings) -> House {
        let endpoint = Endpoint::start().await;
        let host = Host::start(&change(settings(&endpoint))).await;
        let token = host.token();
        House { host, endpoint, token }
    }

    async fn post(&self, body: &Value) -> Response {
        let request = client().post(self.host.url("/v1/chat/completions")).bearer_auth(&self.token);
        request.body(body.to_string()).send().await.unwrap()
    }

    /// Asks the model `fake`, with more parameters.
    async fn ask(&self, text: &str, more: Value) -> Response {
        let mut body = json!({ "model": "fake", "messages": [{ "role": "user", "content": text }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(&body).await
    }

    async fn answer(&self, text: &str, more: Value) -> Value {
        let response = self.ask(text, more).await;
        let status = response.status();
        let answer = response.json().await.unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What the model was asked last with this word in it.
    fn seen(&self, word: &str) -> Value {
        self.endpoint.calls(word).pop().unwrap_or_else(|| panic!("no request with `{word}`")).body
    }
}

/// Status and the error's fields: `[status, type, param, code]`.
async fn refusal(response: Response) -> Value {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    json!([status, error["type"], error["param"], error["code"]])
}

/// The data of each event.
async fn events(response: Response) -> Vec<String> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let events =
        text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").expect(event).to_owned());
    events.collect()
}

fn text_of(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

async fn chunks(response: Response) -> Vec<Value> {
    let mut events = events(response).await;
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[tokio::test]
async fn a_rate_of_the_door_is_told_with_the_time_to_come_again() {
    let limits = json!({ "person_rate": "1/1h", "person_burst": 1 });
    let house = House::with(|settings| settings.set("openai", json!({ "limits": limits }))).await;
    house.answer("canary first", json!({})).await;
    let response = house.ask("canary second", json!({})).await;
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(refusal(response).await, json!([429, "requests", null, "rate_limit_exceeded"]));
    assert!(house.endpoint.calls("canary second").is_empty(), "no model is asked");
}

const INVALID: &str = "invalid_request_error";

#[tokio::test]
async fn an_answer_has_the_shape_of_the_api() {
    let house = House::open().await;
    let mut answer = house.answer("canary whole", json!({})).await;
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    for field in ["id", "created"] {
        answer[field] = Value::Null;
    }
    let expected = json!({
        "id": null, "object": "chat.completion", "created": null, "model": "fake",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": "answer to <canary whole>", "refusal": null },
            "logprobs": null, "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6 },
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_stream_has_the_shape_of_the_api() {
    let house = House::open().await;
    let wish = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let chunks = chunks(house.ask("canary stream", wish).await).await;
    let id = &chunks[0]["id"];
    for chunk in &chunks {
        assert_eq!((&chunk["id"], &chunk["object"]), (id, &json!("chat.completion.chunk")));
        assert_eq!(chunk["model"], "fake");
    }
    let first = json!({ "role": "assistant", "content": "", "refusal": null });
    assert_eq!(chunks[0]["choices"][0]["delta"], first);
    assert_eq!(text_of(&chunks), "answer to <canary stream>");
    let [before @ .., end, usage] = &chunks[..] else { panic!("{chunks:?}") };
    assert!(before.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    assert!(before.iter().all(|chunk| chunk.get("usage").is_some_and(Value::is_null)));
    let choice = json!({ "index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop" });
    assert_eq!(end["choices"], json!([choice]));
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], json!({ "prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6 }));
}

#[tokio::test]
async fn a_stream_tells_no_usage_unasked() {
    let house = House::open().await;
    let chunks = chunks(house.ask("canary", json!({ "stream": true })).await).await;
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "{chunks:?}");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_and_not_as_if_it_were_whole() {
    let house = House::open().await;
    house.endpoint.script("break", Script::Break);
    let events = events(house.ask("canary break", json!({ "stream": true })).await).await;
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(
        (&last["error"]["type"], &last["error"]["code"]),
        (&json!("server_error"), &json!("answer_broken"))
    );
    let whole = refusal(house.ask("canary break", json!({})).await).await;
    assert_eq!(whole, json!([502, "server_error", null, "answer_broken"]));
}

#[tokio::test]
async fn calls_of_tools_have_the_shape_of_the_api() {
    let house = House::open().await;
    house.endpoint.script("call", Script::Call("f", "{}"));
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let answer = house.answer("canary call", json!({ "tools": tools })).await;
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let message = json!({ "role": "assistant", "content": null, "refusal": null, "tool_calls": [call] });
    assert_eq!(answer["choices"][0]["message"], message);
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    let chunks = chunks(house.ask("canary call", json!({ "tools": tools, "stream": true })).await).await;
    let mut indexed = call;
    indexed["index"] = json!(0);
    let [.., delta, end] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(delta["choices"][0]["delta"], json!({ "tool_calls": [indexed] }));
    assert_eq!(end["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_api() {
    let house = House::with(|settings| settings.set("limits", json!({ "body": "2KiB" }))).await;
    let url = house.host.url("/v1/chat/completions");
    let keyless = client().post(&url).body("{}").send().await.unwrap();
    assert!(keyless.headers().contains_key("www-authenticate"));
    assert_eq!(refusal(keyless).await, json!([401, INVALID, null, "invalid_api_key"]));
    let metrics = house.host.output(&["token", "--scope", "metrics:read"]);
    let metrics = String::from_utf8(metrics.stdout).unwrap();
    let other = client().post(&url).bearer_auth(metrics.trim()).body("{}").send().await.unwrap();
    assert_eq!(refusal(other).await, json!([403, INVALID, null, "missing_scope"]));
    for (body, expected) in [
        (json!("x".repeat(3000)), json!([413, INVALID, null, "body_too_large"])),
        (json!([]), json!([400, INVALID, null, "invalid_json"])),
        (json!({}), json!([400, INVALID, "model", "missing_required_parameter"])),
        (json!({ "model": 7 }), json!([400, INVALID, "model", "invalid_value"])),
        (json!({ "model": "gpt" }), json!([404, INVALID, "model", "model_not_found"])),
        (json!({ "model": "fake" }), json!([400, INVALID, "messages", "missing_required_parameter"])),
    ] {
        assert_eq!(refusal(house.post(&body).await).await, expected, "{body}");
    }
    let get = |path: &str| client().get(house.host.url(path)).bearer_auth(&house.token).send();
    let unknown = get("/v1/models/gpt").await.unwrap();
    assert_eq!(refusal(unknown).await, json!([404, INVALID, "model", "model_not_found"]));
    let elsewhere = get("/v1/embeddings").await.unwrap();
    assert_eq!(refusal(elsewhere).await, json!([404, INVALID, null, "unknown_url"]));
    let keyless = client().get(house.host.url("/v1/models")).send().await.unwrap();
    assert_eq!(keyless.status(), 401);
    for (path, allowed) in [("/v1/chat/completions", "POST"), ("/v1/models/fake", "GET,HEAD")] {
        let other = client().delete(house.host.url(path)).send().await.unwrap();
        assert_eq!(other.headers()["allow"], allowed);
        assert_eq!(refusal(other).await, json!([405, INVALID, null, "method_not_allowed"]));
    }
}

/// Every parameter of `completion_create_params` in the official client for Python, 3.54.0, with a value that asks
/// for something: what is to become of it.
const PARAMETERS: &str = r#"{
    "audio": { "voice": "alloy", "format": "wav" }, "frequency_penalty": 0.5, "function_call": "auto",
    "functions": [{ "name": "f" }], "logit_bias": { "50256": -100 }, "logprobs": true, "metadata": { "a": "b" },
    "modalities": ["text", "audio"], "moderation": { "model": "m" }, "n": 2, "parallel_tool_calls": false,
    "prediction": { "type": "content", "content": "x" }, "presence_penalty": -1, "prompt_cache_options": {},
    "prompt_cache_retention": "24h", "reasoning_effort": "low", "service_tier": "flex", "store": true,
    "top_logprobs": 3, "verbosity": "low", "web_search_options": {}
}"#;
const IDLE: &str = r#"{
    "frequency_penalty": 0, "logit_bias": {}, "logprobs": false, "metadata": {}, "modalities": ["text"], "n": 1,
    "parallel_tool_calls": true, "presence_penalty": 0.0, "prompt_cache_key": "k",
    "prompt_cache_retention": "in_memory", "safety_identifier": "s", "service_tier": "auto", "store": false,
    "top_logprobs": 0, "user": "u", "verbosity": "medium", "tools": [], "tool_choice": "auto", "stop": null,
    "audio": null, "response_format": { "type": "text" }, "temperature": null, "reasoning_effort": null
}"#;

#[tokio::test]
async fn what_nobody_here_can_do_is_refused_by_name() {
    let house = House::open().await;
    let refused: serde_json::Map<String, Value> = serde_json::from_str(PARAMETERS).unwrap();
    for (name, value) in refused {
        let response = house.ask("canary", json!({ name.clone(): value })).await;
        assert_eq!(refusal(response).await, json!([400, INVALID, name, "unsupported_parameter"]));
    }
    let unknown = house.ask("canary", json!({ "top_k": 40 })).await;
    assert_eq!(refusal(unknown).await, json!([400, INVALID, "top_k", "unknown_parameter"]));
    assert!(house.endpoint.calls("canary").is_empty(), "no model was asked");
}

#[tokio::test]
async fn what_asks_for_nothing_is_taken() {
    let house = House::open().await;
    house.answer("canary idle", serde_json::from_str(IDLE).unwrap()).await;
    let seen = house.seen("idle");
    let sent: Vec<_> = seen.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(sent, ["model", "messages", "stream", "stream_options"], "{seen}");
}

#[tokio::test]
async fn wishes_reach_the_model() {
    let house = House::open().await;
    let form = json!({ "type": "json_schema", "json_schema": {
        "name": "n", "description": "d", "strict": true, "schema": { "type": "object" },
    } });
    let tool = json!({ "type": "function", "function": {
        "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true,
    } });
    let choice = json!({ "type": "function", "function": { "name": "f" } });
    let wishes = json!({
        "max_completion_tokens": 9, "temperature": 0.3, "top_p": 0.8, "seed": -5, "stop": "END",
        "response_format": form, "tools": [tool], "tool_choice": choice,
    });
    house.answer("canary wishes", wishes).await;
    let seen = house.seen("wishes");
    let of_seen = |name: &str| seen[name].clone();
    assert_eq!(of_seen("max_tokens"), 9);
    assert_eq!(
        [of_seen("temperature"), of_seen("top_p"), of_seen("seed")],
        [json!(0.3), json!(0.8), json!(-5)]
    );
    assert_eq!([of_seen("stop"), of_seen("response_format")], [json!(["END"]), form]);
    assert_eq!([of_seen("tools"), of_seen("tool_choice")], [json!([tool]), choice]);
}

#[tokio::test]
async fn values_out_of_bounds_are_refused_by_name() {
    let house = House::open().await;
    let json_schema =
        |schema: Value| json!({ "response_format": { "type": "json_schema", "json_schema": schema } });
    for (wish, param) in [
        (json!({ "temperature": 2.1 }), "temperature"),
        (json!({ "temperature": "hot" }), "temperature"),
        (json!({ "top_p": -0.1 }), "top_p"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "max_tokens": 1, "max_completion_tokens": 2 }), "max_tokens"),
        (json!({ "seed": 0.5 }), "seed"),
        (json!({ "stop": ["1", "2", "3", "4", "5"] }), "stop"),
        (json!({ "stop": "" }), "stop"),
        (json!({ "stop": [7] }), "stop"),
        (json!({ "stream": "yes" }), "stream"),
        (json!({ "stream_options": { "include_usage": true } }), "stream_options"),
        (json!({ "stream": true, "stream_options": { "include_usage": 1 } }), "stream_options.include_usage"),
        (json!({ "stream": true, "stream_options": { "x": 1 } }), "stream_options.x"),
        (json!({ "response_format": { "type": "xml" } }), "response_format.type"),
        (json!({ "response_format": { "type": "text", "x": 1 } }), "response_format.x"),
        (json_schema(json!({ "name": "a b", "schema": {} })), "response_format.json_schema.name"),
        (json_schema(json!({ "name": "n" })), "response_format.json_schema.schema"),
        (json_schema(json!({ "name": "n", "schema": true })), "response_format.json_schema.schema"),
        (json!({ "tools": {} }), "tools"),
        (json!({ "tools": [{ "type": "custom", "custom": {} }] }), "tools[0].type"),
        (json!({ "tools": [{ "type": "function", "function": {} }] }), "tools[0].function.name"),
        (json!({ "tool_choice": "required" }), "tool_choice"),
        (json!({ "tool_choice": { "type": "allowed_tools" } }), "tool_choice.type"),
    ] {
        let refused = refusal(house.ask("canary", wish.clone()).await).await;
        assert_eq!((&refused[0], &refused[2]), (&json!(400), &json!(param)), "{wish}: {refused}");
    }
}

#[tokio::test]
async fn messages_are_read_strictly() {
    let house = House::open().await;
    let image = json!({ "type": "image_url", "image_url": { "url": "data:," } });
    for (messages, param) in [
        (json!("hello"), "messages"),
        (json!([]), "messages"),
        (json!(["hello"]), "messages[0]"),
        (json!([{ "content": "x" }]), "messages[0].role"),
        (json!([{ "role": "robot", "content": "x" }]), "messages[0].role"),
        (json!([{ "role": "user" }]), "messages[0].content"),
        (json!([{ "role": "user", "content": 7 }]), "messages[0].content"),
        (json!([{ "role": "user", "content": [image] }]), "messages[0].content[0].type"),
        (json!([{ "role": "user", "content": [{ "type": "text" }] }]), "messages[0].content[0].text"),
        (json!([{ "role": "user", "content": "x", "name": "ann" }]), "messages[0].name"),
        (json!([{ "role": "user", "content": "x", "mood": "good" }]), "messages[0].mood"),
        (json!([{ "role": "assistant" }]), "messages[0].content"),
        (json!([{ "role": "assistant", "audio": { "id": "a" } }]), "messages[0].audio"),
        (
            json!([{ "role": "assistant", "tool_calls": [{ "id": "c" }] }]),
            "messages[0].tool_calls[0].function",
        ),
        (json!([{ "role": "tool", "content": "x" }]), "messages[0].tool_call_id"),
        (json!([{ "role": "function", "name": "f", "content": "x" }]), "messages[0].name"),
    ] {
        let refused = refusal(house.ask("canary", json!({ "messages": messages })).await).await;
        assert_eq!((&refused[0], &refused[2]), (&json!(400), &json!(param)), "{messages}: {refused}");
    }
}

#[tokio::test]
async fn a_model_gets_the_conversation_as_it_is() {
    let house = House::open().await;
    let parts = json!([{ "type": "text", "text": "canary one" }, { "type": "text", "text": "two" }]);
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let messages = json!([
        { "role": "developer", "content": "canary rules" },
        { "role": "user", "content": parts },
        { "role": "assistant", "content": null, "refusal": null, "tool_calls": [call], "annotations": [] },
        { "role": "tool", "tool_call_id": "c1", "content": "1" },
        { "role": "assistant", "content": null, "function_call": { "name": "g", "arguments": "[]" } },
        { "role": "function", "name": "g", "content": "2" },
        { "role": "assistant", "refusal": "no" },
        { "role": "system", "content": "canary last" },
    ]);
    house.answer("", json!({ "messages": messages })).await;
    let older = json!({ "id": "call_4", "type": "function", "function": { "name": "g", "arguments": "[]" } });
    let expected = json!([
        { "role": "system", "content": "canary rules" },
        { "role": "user", "content": "canary one\ntwo" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "content": "1", "tool_call_id": "c1" },
        { "role": "assistant", "content": null, "tool_calls": [older] },
        { "role": "tool", "content": "2", "tool_call_id": "call_4" },
        { "role": "assistant", "content": "no" },
        { "role": "system", "content": "canary last" },
    ]);
    assert_eq!(house.seen("last")["messages"], expected);
}

#[tokio::test]
async fn nothing_is_remembered_from_one_request_to_the_next() {
    let house = House::open().await;
    for text in ["canary first", "canary second"] {
        house.answer(text, json!({})).await;
    }
    assert_eq!(house.seen("second")["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_requests_of_one_caller_do_not_wait_for_each_other() {
    let house = House::open().await;
    house.endpoint.script("hang", Script::Hang);
    let hanging = house.ask("canary hang", json!({ "stream": true })).await;
    house.answer("canary quick", json!({})).await;
    drop(hanging);
    eventually("the model is left", || (house.endpoint.left() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_caller_who_leaves_stops_the_model_streaming_or_not() {
    let house = House::open().await;
    house.endpoint.script("hang", Script::Hang);
    let mut stream = house.ask("canary hang", json!({ "stream": true })).await.bytes_stream();
    while !String::from_utf8_lossy(&stream.next().await.unwrap().unwrap()).contains("so far") {}
    drop(stream);
    eventually("the stream's model is left", || (house.endpoint.left() == 1).then_some(())).await;
    let asking = house.ask("canary hang", json!({}));
    let until_asked =
        eventually("the model is asked", || (house.endpoint.calls("hang").len() == 2).then_some(()));
    tokio::select! {
        response = asking => panic!("{response:?}"),
        () = until_asked => {}
    }
    eventually("the other's model is left", || (house.endpoint.left() == 2).then_some(())).await;
    house.host.wait_for_line(&["turn ends", "withdrawn"]).await;
}

#[tokio::test]
async fn a_callers_wishes_and_a_pipelines_own_are_joined() {
    let house = House::with(|settings| {
        let own = json!({
            "assistant.max_tokens": 50, "assistant.stop": ["A"], "assistant.temperature": 0.1,
        });
        let desk = json!({ "pipelines": ["assistant"], "model": "fake", "settings": own });
        settings.set("openai.assistants", json!({ "desk": desk }))
    })
    .await;
    for (wish, expected) in [
        (json!({}), json!([50, 0.1, ["A"]])),
        (json!({ "max_tokens": 80, "stop": ["B", "A"] }), json!([50, 0.1, ["A", "B"]])),
        (json!({ "max_tokens": 20, "temperature": 1 }), json!([20, 1.0, ["A"]])),
    ] {
        let mut more = wish.clone();
        more["model"] = json!("desk");
        house.answer("canary joined", more).await;
        let seen = house.seen("joined");
        assert_eq!(json!([seen["max_tokens"], seen["temperature"], seen["stop"]]), expected, "{wish}");
    }
}

#[tokio::test]
async fn nobody_wishes_for_a_longer_answer_than_the_operator_allows() {
    let house = House::with(|settings| settings.set("models.fake.max_tokens", 30)).await;
    for (wish, expected) in
        [(json!({}), 30), (json!({ "max_tokens": 99 }), 30), (json!({ "max_tokens": 9 }), 9)]
    {
        house.answer("canary length", wish).await;
        assert_eq!(house.seen("length")["max_tokens"], expected);
    }
}

#[tokio::test]
async fn an_assistant_asks_for_something_that_a_person_says() {
    let house = House::with(|settings| {
        let desk = json!({ "pipelines": ["assistant"], "model": "fake" });
        settings.set("openai.assistants", json!({ "desk": desk }))
    })
    .await;
    let said = |role: &str, text: &str| json!({ "role": role, "content": text });
    for messages in [
        json!([said("user", "canary"), said("assistant", "canary")]),
        json!([said("system", "canary")]),
        json!([said("user", " ")]),
        Value::from(vec![said("user", "canary"); 901]),
    ] {
        let refused = house.post(&json!({ "model": "desk", "messages": messages })).await;
        assert_eq!(refusal(refused).await, json!([400, INVALID, "messages", "invalid_value"]));
    }
    let many = Value::from(vec![said("user", "canary"); 900]);
    assert_eq!(house.post(&json!({ "model": "desk", "messages": many })).await.status(), 200);
}

/// A line with a pipeline that answers by itself, is silent, and stops the model.
async fn warded() -> House {
    let guests = std::env::var("PARLOR_TEST_GUESTS")
        .expect("`PARLOR_TEST_GUESTS` names no folder of built test guests: run `cargo xtask test`");
    let warded = |settings: Settings| {
        let ward = json!({ "pipelines": ["warden"], "model": "fake" });
        let settings = settings.set("openai.assistants", json!({ "ward": ward }));
        Settings { is_warm: false, ..settings }.set("plugins.folder", guests)
    };
    House::with(warded).await
}

#[tokio::test]
async fn a_pipeline_that_stops_the_model_is_a_content_filter() {
    let house = warded().await;
    house.endpoint.script("secret", Script::Text("it is forbidden to say"));
    let answer = house.answer("canary secret", json!({ "model": "ward" })).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["content"], "let us talk of something else");
    assert_eq!((&choice["finish_reason"], &answer["model"]), (&json!("content_filter"), &json!("ward")));
    let chunks = chunks(house.ask("canary secret", json!({ "model": "ward", "stream": true })).await).await;
    assert!(text_of(&chunks).ends_with("let us talk of something else"), "{chunks:?}");
    assert!(!text_of(&chunks).contains("forbidden"));
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "content_filter");
}

/// An assistant takes an empty answer for a failure, and clients would ask again and again.
#[tokio::test]
async fn a_stop_or_a_length_that_leaves_nothing_is_an_empty_answer_and_no_failure() {
    let house = House::with(|settings| {
        let desk = json!({ "pipelines": ["assistant"], "model": "fake" });
        settings.set("openai.assistants", json!({ "desk": desk }))
    })
    .await;
    house.endpoint.script("pensive", Script::Text(" and so on"));
    house.endpoint.script("mute", Script::Text(""));
    for model in ["fake", "desk"] {
        for (text, mut wish, finish, said) in [
            ("canary stop", json!({ "stop": "answer" }), "stop", ""),
            ("canary pensive", json!({ "max_tokens": 1 }), "length", if model == "fake" { " " } else { "" }),
        ] {
            wish["model"] = json!(model);
            let answer = house.answer(text, wish.clone()).await;
            let choice = &answer["choices"][0];
            assert_eq!(
                (&choice["message"]["content"], &choice["finish_reason"]),
                (&json!(said), &json!(finish))
            );
            assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
            wish["stream"] = json!(true);
            let chunks = chunks(house.ask(text, wish).await).await;
            assert_eq!(text_of(&chunks).trim(), "");
            assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], finish);
        }
    }
    let mute = house.ask("canary mute", json!({ "model": "desk" })).await;
    assert_eq!(refusal(mute).await, json!([500, "server_error", null, "internal"]), "nobody cut that short");
}

/// What a filter says instead of the model's words is said to a person like any other reply.
#[tokio::test]
async fn the_reply_of_a_filter_that_stops_passes_the_pipelines_in_front_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (variable, name) in [("PARLOR_TEST_PLUGINS", "wordguard"), ("PARLOR_TEST_GUESTS", "warden")] {
        let built =
            std::env::var(variable).unwrap_or_else(|_| panic!("`{variable}`: run `cargo xtask test`"));
        let file = format!("{name}.wasm");
        std::fs::copy(std::path::Path::new(&built).join(&file), folder.path().join(&file)).unwrap();
    }
    let house = House::with(|settings| {
        let ward = json!({
            "pipelines": ["wordguard", "warden"], "model": "fake",
            "settings": { "wordguard.words": ["something"] },
        });
        let settings = settings.set("openai.assistants", json!({ "ward": ward }));
        Settings { is_warm: false, ..settings }.set("plugins.folder", folder.path().to_str().unwrap())
    })
    .await;
    house.endpoint.script("secret", Script::Text("it is forbidden to say"));
    let answer = house.answer("canary secret", json!({ "model": "ward" })).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["content"], format!("let us talk of {} else", "＊".repeat(9)));
    assert_eq!(choice["finish_reason"], "content_filter");
}

#[tokio::test]
async fn a_pipeline_answers_without_a_model_or_not_at_all() {
    let house = warded().await;
    for (text, said) in [("help canary", "help yourself"), ("hush canary", "")] {
        let answer = house.answer(text, json!({ "model": "ward" })).await;
        assert_eq!(answer["choices"][0]["message"]["content"], said);
        assert_eq!(answer["usage"]["total_tokens"], 0);
        let chunks = chunks(house.ask(text, json!({ "model": "ward", "stream": true })).await).await;
        assert_eq!(text_of(&chunks), said);
    }
    assert!(house.endpoint.calls("canary").is_empty());
    let failed = house.ask("fail canary", json!({ "model": "ward" })).await;
    assert_eq!(refusal(failed).await, json!([500, "server_error", null, "internal"]));
}

#[tokio::test]
async fn a_models_trouble_reaches_the_caller_as_what_it_is() {
    let house = House::with(|settings| {
        let nowhere = json!({ "backend": "openai", "endpoint": "http://127.0.0.1:9/v1", "model": "m", "timeout": "1s" });
        settings.set("models.nowhere", nowhere).set("openai.limits", json!({ "time": "2s" }))
    })
    .await;
    house.endpoint.script("hang", Script::Hang);
    let error = |message: &str| json!({ "error": { "message": message } });
    house.endpoint.script("bad", Script::Refuse(422, None, error("no such thing")));
    house.endpoint.script("unpaid", Script::Refuse(402, None, error("pay first")));
    let slow = house.ask("canary hang", json!({})).await;
    assert_eq!(refusal(slow).await, json!([504, "server_error", null, "timeout"]));
    let bad = house.ask("canary bad", json!({})).await;
    assert_eq!(refusal(bad).await, json!([400, INVALID, null, "model_refused"]));
    let unpaid = house.ask("canary unpaid", json!({})).await;
    assert_eq!(refusal(unpaid).await, json!([500, "server_error", null, "internal"]), "the operator's fault");
    let gone = house.ask("canary gone", json!({ "model": "nowhere" })).await;
    assert_eq!(gone.headers()["retry-after"], "5");
    assert_eq!(refusal(gone).await, json!([503, "server_error", null, "unavailable"]));
}

#[tokio::test]
async fn a_pipeline_in_between_hides_nothing_of_a_models_trouble() {
    let house = House::with(|settings| {
        let desk = json!({ "pipelines": ["assistant"], "model": "fake" });
        settings.set("models.fake.timeout", "2s").set("openai.assistants", json!({ "desk": desk }))
    })
    .await;
    let message = "maximum context length is 4096 tokens, and there are 5000";
    let too_long = json!({ "error": { "message": message, "code": "context_length_exceeded" } });
    house.endpoint.script("too long", Script::Refuse(400, None, too_long));
    let refused = house.ask("canary too long", json!({ "model": "desk" })).await;
    assert_eq!(refusal(refused).await, json!([400, INVALID, "messages", "context_length_exceeded"]));
    for (asked, stream) in [("fake", false), ("fake", true), ("desk", false)] {
        house.endpoint.script("busy", Script::Refuse(429, Some(7), json!({})));
        let response = house.ask("canary busy", json!({ "model": asked, "stream": stream })).await;
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(refusal(response).await, json!([429, "requests", null, "rate_limit_exceeded"]));
    }
}

#[tokio::test]
async fn what_a_backend_cannot_do_is_refused_before_it_is_asked() {
    let house = House::with(|settings| settings.set("models.echo", json!({ "backend": "echo" }))).await;
    let tool = json!({ "type": "function", "function": { "name": "f" } });
    for (wish, param) in [
        (json!({ "tools": [tool] }), "tools"),
        (json!({ "response_format": { "type": "json_object" } }), "response_format"),
    ] {
        let mut wish = wish;
        wish["model"] = json!("echo");
        let refused = house.ask("canary", wish).await;
        assert_eq!(refusal(refused).await, json!([400, INVALID, param, "unsupported_parameter"]));
    }
    let answer = house.answer("canary up to END of it", json!({ "model": "echo", "stop": "END" })).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "canary up to ");
}

#[tokio::test]
async fn models_are_offered_as_the_configuration_says() {
    let house = House::with(|settings| {
        let door = json!({
            "models": ["fake"],
            "assistants": { "desk": { "pipelines": ["assistant"], "model": "hidden" } },
        });
        let hidden = json!({ "backend": "echo" });
        settings.set("models.hidden", hidden).set("openai", door)
    })
    .await;
    let models = client().get(house.host.url("/v1/models")).bearer_auth(&house.token).send().await.unwrap();
    let models: Value = models.json().await.unwrap();
    assert_eq!(models["object"], "list");
    let card = |id: &str| json!([id, "model", "parlor"]);
    let cards: Vec<_> = models["data"].as_array().unwrap().iter().collect();
    let cards: Vec<_> =
        cards.iter().map(|card| json!([card["id"], card["object"], card["owned_by"]])).collect();
    assert_eq!(cards, [card("fake"), card("desk")]);
    let hidden = house.ask("canary", json!({ "model": "hidden" })).await;
    assert_eq!(hidden.status(), 404);
    let answer = house.answer("canary behind the desk", json!({ "model": "desk" })).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "canary behind the desk");
}

#[tokio::test]
async fn without_the_key_the_door_is_closed() {
    let endpoint = Endpoint::start().await;
    let host = Host::start(&Settings::new().set("models.fake", model(&endpoint))).await;
    for path in ["/v1/models", "/v1/chat/completions"] {
        let response = client().get(host.url(path)).bearer_auth(host.token()).send().await.unwrap();
        assert_eq!(response.status(), 404);
    }
}

#[tokio::test]
async fn the_chat_door_tells_model_and_usage_too() {
    let endpoint = Endpoint::start().await;
    let settings = settings(&endpoint).set("chat", json!({ "model": "fake" }));
    let host = Host::start(&settings).await;
    let ask = client().post(host.url("/api/v1/chat")).bearer_auth(host.token());
    let answer: Value =
        ask.json(&json!({ "query": "canary chat" })).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["model"], "fake");
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 2, "completion_tokens": 4 }));
}

#[test]
fn a_door_that_makes_no_sense_is_told_line_by_line() {
    let host = Host::at_rest(&Settings::new().set("models.fake", json!({ "backend": "echo" })).set(
        "openai",
        json!({
            "models": ["fake", "fake", "fak"],
            "assistants": {
                "fake": { "pipelines": ["assistant"], "model": "fake" },
                "empty": { "pipelines": [], "model": "fake" },
                "none": { "model": "fake" },
                "stray": { "pipelines": ["assistant"], "model": "fake", "settings": { "own": 1, "other.x": 1 } },
            },
        }),
    ));
    let output = host.output(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    for problem in [
        "openai.models[1]: `fake` is in the list already",
        "openai.models[2]: unknown model `fak`; did you mean `fake`?",
        "openai.assistants.fake: `fake` is offered as a model already; choose another name",
        "openai.assistants.empty.pipelines: is empty; an assistant without pipelines is a model",
        "openai.assistants.none.pipelines: missing",
        "openai.assistants.stray.settings.own: there is no adapter here whose setting this could be",
        "unknown pipeline `other`",
    ] {
        assert!(told.contains(problem), "{problem}\n{told}");
    }
}
