//! The same binary as a function: events of a function platform's emulator, and messages that its queue brings.
//!
//! The emulator (`cargo-lambda`) and the queue (moto's SQS, with signatures checked) are other people's.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

#[path = "support/cloud.rs"]
mod cloud;
#[path = "function/vectors.rs"]
mod vectors;

use std::path::Path;

use cloud::{Function, Queue, batch};
use serde_json::{Value, json};
use support::{Envelope, Host, Model, Platform, Settings, client};

const TEAM: &str = "/webhook/team";
const HOOK: &str = "/webhook/hook";

/// A function with the platform's channel `team`, a model and a queue.
async fn team() -> (Function, Platform, Model, Queue) {
    let (platform, model, queue) = (Platform::start().await, Model::start().await, Queue::start().await);
    let settings = queue.join(model.join(platform.join(Settings::new())));
    (Function::start(&settings).await, platform, model, queue)
}

/// A function with the generic webhook's channel `hook`, which answers in the response, and a model.
async fn hook(own: Value) -> (Function, Model) {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join_webhook(Settings::new(), own, false));
    (Function::start(&settings).await, model)
}

fn failures(response: &Value) -> Vec<&str> {
    let failures = response["batchItemFailures"].as_array().unwrap_or_else(|| panic!("{response}"));
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}

fn id(record: &Value) -> &str {
    record["messageId"].as_str().unwrap()
}

/// A record that nobody of ours put into the queue.
fn poison() -> Value {
    let attributes = json!({ "MessageGroupId": "stray", "ApproximateReceiveCount": "1" });
    json!({
        "messageId": "poison", "receiptHandle": "r", "body": "{\"channel\": \"team\"}", "attributes": attributes,
        "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs", "awsRegion": cloud::REGION,
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:parlor.fifo",
    })
}

#[tokio::test]
async fn a_function_url_is_answered_like_a_connection() {
    let (function, model) = hook(json!({})).await;
    let health = client().get(function.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    assert!(health.headers().contains_key("x-request-id"), "{:?}", health.headers());
    let (status, answer) = Envelope::new("m-1", "s", "canary hi").post(&function.url(HOOK)).await.unwrap();
    assert_eq!((status, &answer["reply"]), (200, &json!(Model::answer_to("canary hi"))));
    let (_, again) = Envelope::new("m-1", "s", "canary hi").post(&function.url(HOOK)).await.unwrap();
    assert_eq!(again, answer);
    assert_eq!(model.times_asked("canary hi"), 1);
    let forged = client().post(function.url(HOOK)).body("{}").send().await.unwrap();
    assert_eq!(forged.status(), 401);
    assert_eq!(client().get(function.url("/none")).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn an_http_api_hands_its_stage_and_a_base64_body_over() {
    let (function, _model) = hook(json!({})).await;
    let body = br#"{"header": {"message_id": "m-1"}, "payload": {"query": "canary api", "session_id": "s"}}"#;
    let sign = hex::encode(support_hmac(Envelope::SECRET, body));
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/prod/webhook/hook", "rawQueryString": "",
        "headers": { "x-hub-signature-256": format!("sha256={sign}"), "content-type": "application/json" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "stage": "prod",
            "http": { "method": "POST", "path": "/prod/webhook/hook", "protocol": "HTTP/1.1",
                      "sourceIp": "203.0.113.7", "userAgent": "test" },
            "requestId": "r", "routeKey": "$default", "time": "24/Nov/2026:00:00:00 +0000", "timeEpoch": 1,
        },
        "body": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, body),
        "isBase64Encoded": true,
    });
    let response = function.invoke(&event).await;
    assert_eq!(response["statusCode"], 200, "{response}");
    assert_eq!(response["isBase64Encoded"], false);
    let answer: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(answer["reply"], Model::answer_to("canary api"));
}

fn support_hmac(secret: &str, body: &[u8]) -> Vec<u8> {
    ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes()), body)
        .as_ref()
        .to_vec()
}

#[tokio::test]
async fn the_host_s_own_door_answers_whole_and_streams_in_one_piece() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings =
        model.join(platform.join_webhook(Settings::new(), json!({}), false)).set("chat", json!({}));
    let function = Function::start(&settings).await;
    let ask = async |stream: bool| {
        let question = json!({ "query": "canary door", "stream": stream });
        let request = client().post(function.url("/api/v1/chat")).bearer_auth(function.host.token());
        request.body(question.to_string()).send().await.unwrap().text().await.unwrap()
    };
    let whole: Value = serde_json::from_str(&ask(false).await).unwrap();
    assert_eq!(whole["reply"], Model::answer_to("canary door"));
    let events = ask(true).await;
    assert!(events.contains("event: delta") && events.contains("event: done"), "{events}");
}

#[tokio::test]
async fn every_vector_is_judged_as_a_server_judges_it() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join_webhook(Settings::new(), json!({}), false));
    let settings = settings.set("channels.hook.secrets.secret", "parlor-test-secret");
    let (server, function) = (Host::start(&settings).await, Function::start(&settings).await);
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/adapters/webhook/tests/fixtures/generic.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let rows = file["vectors"].as_array().unwrap().iter().filter(|row| row["algo"] != "jcs");
    let mut judged = 0;
    for row in rows {
        let inputs = &row["inputs"];
        let body = inputs["raw_body"].as_str().or(inputs["body"].as_str()).unwrap().to_owned();
        let header = inputs["header"].as_str().or(row["expected"]["header"].as_str()).unwrap_or_default();
        let post = async |url: String| {
            let request = client().post(url).header("x-hub-signature-256", header).body(body.clone());
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        let (by_server, by_function) = (post(server.url(HOOK)).await, post(function.url(HOOK)).await);
        assert_eq!(by_server, by_function, "{}", row["id"]);
        judged += 1;
    }
    assert_eq!(judged, 18);
}

/// Signatures, sealed bodies, first calls: what each platform's own libraries made, to a function with a queue.
#[tokio::test]
async fn the_platforms_vectors_are_judged_as_a_server_judges_them() {
    let rows = vectors::rows();
    let mut settings = Settings::new()
        .set("models.echo", json!({ "backend": "echo" }))
        .set("default_model", "echo")
        // What is accepted is answered by the server; nobody listens.
        .insert("endpoints", "https://open.feishu.cn", "http://127.0.0.1:9")
        .insert("endpoints", "https://oapi.dingtalk.com", "http://127.0.0.1:9");
    for (number, row) in rows.iter().enumerate() {
        settings = settings.set(&format!("channels.row{number}"), row.channel.clone());
    }
    let queue = Queue::start().await;
    let (server, function) =
        (Host::start(&settings).await, Function::start(&queue.join(settings.clone())).await);
    for (number, row) in rows.iter().enumerate() {
        let post = async |url: String| {
            let response = row.post(&url).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        let path = format!("/webhook/row{number}");
        let (by_server, by_function) = (post(server.url(&path)).await, post(function.url(&path)).await);
        assert_eq!(by_server.0, by_function.0, "{}", row.id);
        assert!(row.is_sealed || by_server.1 == by_function.1, "{}: {by_server:?} {by_function:?}", row.id);
        let is_accepted = by_function.0 == 200;
        assert!(
            row.is_accepted.is_none_or(|expected| expected == is_accepted),
            "{}: {by_function:?}",
            row.id
        );
    }
    assert_eq!(rows.len(), 33);
    assert!(!queue.take().is_empty(), "what was accepted with a message in it is in the queue");
}

#[tokio::test]
async fn a_callback_is_queued_and_worked_off_by_the_same_function() {
    let (function, platform, model, queue) = team().await;
    let callback = platform.direct("ann", "canary one");
    assert_eq!(callback.post(&function.url(TEAM)).await, Some(200));
    assert_eq!(callback.post(&function.url(TEAM)).await, Some(200));
    assert_eq!(model.asked().len(), 0, "a webhook waits for nobody");
    let records = queue.take();
    assert_eq!(records.len(), 1, "the queue drops a repeat");
    let text = records[0]["body"].as_str().unwrap();
    assert!(
        !text.contains("canary") && !text.contains('{'),
        "what people say lies sealed in the queue: {text}"
    );
    assert_eq!(failures(&function.invoke(&batch(&records)).await), [""; 0]);
    assert_eq!(platform.seen("ann"), [Model::answer_to("canary one")]);
    assert_eq!(failures(&function.invoke(&batch(&records)).await), [""; 0], "a second copy is done already");
    assert_eq!(platform.seen("ann").len(), 1);
}

#[tokio::test]
async fn of_ten_records_with_one_poison_exactly_that_one_is_reported() {
    let (function, platform, _model, queue) = team().await;
    let people = ["ann", "ben", "cem", "dan", "eva", "fay", "gus", "hal", "ida"];
    for person in people {
        assert_eq!(platform.direct(person, "canary hello").post(&function.url(TEAM)).await, Some(200));
    }
    let mut records = queue.take();
    assert_eq!(records.len(), people.len());
    records.insert(4, poison());
    assert_eq!(failures(&function.invoke(&batch(&records)).await), ["poison"]);
    for person in people {
        assert_eq!(platform.seen(person).len(), 1, "{person} has an answer");
    }
}

#[tokio::test]
async fn after_a_failure_the_rest_of_its_group_comes_again_in_order() {
    let (function, platform, _model, queue) = team().await;
    for (person, text) in [("ann", "canary one"), ("ann", "canary two"), ("ben", "canary aside")] {
        assert_eq!(platform.direct(person, text).post(&function.url(TEAM)).await, Some(200));
    }
    let mut records = queue.take();
    let group = records[0]["attributes"]["MessageGroupId"].clone();
    let mut spoilt = poison();
    spoilt["attributes"]["MessageGroupId"] = group.clone();
    let same_group = |record: &Value| record["attributes"]["MessageGroupId"] == group;
    let second =
        records.iter().filter(|record| same_group(record)).nth(1).map(|record| id(record).to_owned());
    records.insert(1, spoilt);
    let response = function.invoke(&batch(&records)).await;
    assert_eq!(failures(&response), ["poison", &second.unwrap()]);
    assert_eq!((platform.seen("ann").len(), platform.seen("ben").len()), (1, 1));
}

#[tokio::test]
async fn what_is_not_done_in_time_is_handed_back_and_done_once_later() {
    let (platform, model, queue) = (Platform::start().await, Model::start().await, Queue::start().await);
    let settings = queue.join(model.join(platform.join(Settings::new())));
    let function = Function::start(&settings.set("channels.team.limits", json!({ "time": "3s" }))).await;
    model.hold("canary slow");
    assert_eq!(platform.direct("ann", "canary slow").post(&function.url(TEAM)).await, Some(200));
    let records = queue.take();
    assert_eq!(failures(&function.invoke(&batch(&records)).await), [id(&records[0])]);
    model.release("canary slow");
    assert_eq!(failures(&function.invoke(&batch(&records)).await), [""; 0]);
    assert_eq!(platform.seen("ann"), [Model::answer_to("canary slow")]);
}

#[tokio::test]
async fn a_queue_that_is_down_is_no_2xx() {
    let (function, platform, _model, mut queue) = team().await;
    queue.stop();
    assert_eq!(platform.direct("ann", "canary one").post(&function.url(TEAM)).await, Some(503));
}

#[tokio::test]
async fn what_the_queue_s_owner_did_not_sign_is_no_2xx() {
    let (platform, model, queue) = (Platform::start().await, Model::start().await, Queue::start().await);
    let settings = queue.join(model.join(platform.join(Settings::new())));
    let function = Function::start(&settings.environment("AWS_SECRET_ACCESS_KEY", "another")).await;
    assert_eq!(platform.direct("ann", "canary one").post(&function.url(TEAM)).await, Some(503));
    assert!(queue.take().is_empty());
    assert!(
        !function.host.lines_with("the queue refuses the message: status 403").is_empty(),
        "{}",
        function.host.log_text()
    );
}

#[tokio::test]
async fn without_a_queue_a_channel_that_answers_later_is_refused_at_the_start() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    // A chat platform, and a webhook whose replies are pushed.
    let settings =
        platform.join_webhook(platform.join(Settings::new()), json!({ "answer": "callback" }), true);
    let mut function = Function::at_rest(&model.join(settings)).await;
    assert_eq!(function.host.ended().await.code(), Some(1));
    let told = function.host.log_text();
    for channel in ["team", "hook"] {
        let line = told.lines().find(|line| line.contains(&format!("channel `{channel}`")));
        assert!(line.is_some_and(|line| line.contains("set `function.queue`")), "{told}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_ready_in_time_is_no_2xx() {
    let (function, model) = hook(json!({ "wait_ms": 200 })).await;
    model.hold("canary slow");
    let (status, _) = Envelope::new("m-1", "s", "canary slow").post(&function.url(HOOK)).await.unwrap();
    assert_eq!(status, 503);
    model.release("canary slow");
    let (status, answer) = Envelope::new("m-1", "s", "canary slow").post(&function.url(HOOK)).await.unwrap();
    assert_eq!((status, &answer["reply"]), (200, &json!(Model::answer_to("canary slow"))));
}

#[tokio::test]
async fn an_event_of_another_kind_is_an_error() {
    let (function, _model) = hook(json!({})).await;
    for event in [json!({}), json!({ "source": "aws.events" }), json!({ "Records": [] }), json!([1])] {
        let response = function.invoke(&event).await;
        let kind = response["errorType"].as_str();
        assert!(matches!(kind, Some("UnknownEvent" | "MalformedEvent")), "{event}: {response}");
    }
}

#[tokio::test]
async fn a_function_that_is_told_to_end_ends() {
    let (mut function, _model) = hook(json!({})).await;
    let (status, _) = Envelope::new("m-1", "s", "canary hi").post(&function.url(HOOK)).await.unwrap();
    assert_eq!(status, 200);
    function.host.terminate();
    assert!(function.host.ended().await.success());
}
