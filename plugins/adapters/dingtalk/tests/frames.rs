//! Frames of Stream mode through the Connection trait: what the official clients were sent and answered, and what
//! no transcript covers.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_dingtalk::DingTalk;
use parlor_sdk::{
    Connection, FaultKind, Frame, Message, Scope,
    connection::{Action, Outcome},
    testing::Host,
};
use serde_json::{Value as Json, json};

const ANSWER: &str =
    r#"{"endpoint":"wss://wss-open-connection.dingtalk.com:443/connect","ticket":"${ticket:connection}"}"#;

fn host() -> Host {
    Host::new().setting("mode", "\"stream\"").setting("app_key", "\"ding-key\"")
}

/// One official client's transcript.
fn transcript(id: &str) -> Vec<Json> {
    let file: Json = serde_json::from_str(include_str!("fixtures/dingtalk_stream.json")).unwrap();
    let rows = file["vectors"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == id).unwrap();
    row["expected"]["transcript"].as_array().unwrap().clone()
}

/// What the platform sent, each with the client's answer to it if it gave one.
fn exchanges(id: &str) -> Vec<(Json, Option<Json>)> {
    let transcript = transcript(id);
    let frames = |kind: &str| -> Vec<Json> {
        let of_kind = transcript.iter().filter(|event| event["kind"] == kind);
        of_kind.map(|event| event["frame"].clone()).collect()
    };
    let answers = frames("client->server");
    let answer = |frame: &Json| {
        let id = &frame["headers"]["messageId"];
        answers.iter().find(|answer| answer["headers"]["messageId"] == *id).cloned()
    };
    let frames = frames("server->client");
    assert!(!frames.is_empty() && !answers.is_empty());
    frames.into_iter().map(|frame| (frame.clone(), answer(&frame))).collect()
}

fn hear(host: &Host, frame: &Json) -> Outcome {
    host.hear(&DingTalk, b"", &frame.to_string()).unwrap()
}

fn json_of(frame: &Frame) -> Json {
    let Frame::Text(text) = frame else { panic!("{frame:?}") };
    serde_json::from_str(text).unwrap()
}

/// The one frame that goes out, at once or after the commit.
fn answered(outcome: &Outcome) -> Option<Json> {
    let mut frames = outcome.actions.iter().filter_map(|action| match action {
        Action::Send(frame) | Action::Acknowledge(frame) => Some(json_of(frame)),
        _ => None,
    });
    let first = frames.next();
    assert_eq!(frames.next(), None, "{outcome:?}");
    first
}

fn message(outcome: &Outcome) -> &Message {
    match outcome.actions.as_slice() {
        [Action::Message(message), Action::Acknowledge(_)] => message,
        other => panic!("{other:?}"),
    }
}

fn callback(data: &Json) -> Json {
    json!({
        "specVersion": "1.0", "type": "CALLBACK",
        "headers": { "messageId": "header-1", "topic": "/v1.0/im/bot/messages/get", "contentType": "application/json" },
        "data": data.to_string(),
    })
}

#[test]
fn every_frame_of_the_official_clients_transcripts_is_answered_as_they_answer_it() {
    for client in ["stream-python-client", "stream-node-client"] {
        for (frame, theirs) in exchanges(client) {
            let host = host();
            let outcome = hear(&host, &frame);
            let ours = answered(&outcome);
            match (frame["type"].as_str().unwrap(), frame["headers"]["topic"].as_str().unwrap()) {
                ("SYSTEM", "disconnect") => {
                    let why = "connection is expired".to_owned();
                    assert_eq!(outcome.actions, [Action::Replace(why)], "{client}");
                }
                // Neither client answers; the platform would bring it again for ever.
                ("CALLBACK", "/v1.0/unknown/topic") => {
                    assert_eq!(theirs, None, "{client}");
                    assert_eq!(ours.unwrap()["code"], 404, "{client}");
                }
                (kind, topic) => {
                    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
                    assert_eq!(
                        ours["headers"]["messageId"], theirs["headers"]["messageId"],
                        "{client} {topic}"
                    );
                    assert_eq!(ours["headers"]["contentType"], "application/json");
                    // A handler of theirs failed on purpose once.
                    let code = if theirs["code"] == 500 { &json!(200) } else { &theirs["code"] };
                    assert_eq!(&ours["code"], code, "{client} {kind} {topic}");
                    assert!(ours["data"].is_string(), "the data is JSON in a text");
                }
            }
        }
    }
}

#[test]
fn the_transcripts_ping_is_echoed() {
    let (ping, _) = exchanges("stream-node-client").remove(0);
    assert_eq!(ping["headers"]["topic"], "ping");
    assert_eq!(answered(&hear(&host(), &ping)).unwrap()["data"], ping["data"]);
}

#[test]
fn a_repeat_under_another_header_is_the_same_message() {
    let (first, _) = exchanges("stream-python-client")
        .into_iter()
        .find(|(frame, _)| frame["headers"]["topic"] == "/v1.0/im/bot/messages/get")
        .unwrap();
    let mut again = first.clone();
    again["headers"]["messageId"] = json!("another");
    let host = host();
    let (one, other) = (hear(&host, &first), hear(&host, &again));
    assert_eq!(message(&one), message(&other));
    assert_eq!((message(&one).id.as_str(), message(&one).text.as_str()), ("msg0xxxxx==", "你好"));
    assert_eq!(message(&one).scope, Scope::Group);
    assert_eq!(answered(&other).unwrap()["headers"]["messageId"], "another");
}

#[test]
fn a_callback_that_cannot_be_read_is_refused_in_words() {
    let host = host();
    for data in [json!({ "text": { "content": "no id" } }), json!("text"), json!({ "msgId": "" })] {
        let refused = answered(&hear(&host, &callback(&data))).unwrap();
        assert_eq!((&refused["code"], &refused["headers"]["messageId"]), (&json!(400), &json!("header-1")));
    }
    let mut frame = callback(&json!({}));
    frame["data"] = json!("{ not JSON");
    assert_eq!(answered(&hear(&host, &frame)).unwrap()["code"], 400);
}

#[test]
fn garbage_is_a_fault_and_never_a_panic() {
    let host = host();
    for garbage in ["", "{", "[]x", "\u{0}"] {
        let fault = host.hear(&DingTalk, b"", garbage).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Invalid, "{garbage:?}");
    }
    assert!(DingTalk.hear(b"", Frame::Binary(vec![1, 2, 3])).is_err());
    for odd in ["null", "[]", "{}", r#"{"type":7,"headers":[]}"#, r#"{"type":"SYSTEM"}"#] {
        assert!(host.hear(&DingTalk, b"", odd).is_ok(), "{odd}");
    }
}

#[test]
fn news_of_the_system_are_heard_in_silence() {
    for topic in ["CONNECTED", "REGISTERED", "KEEPALIVE"] {
        let frame =
            json!({ "type": "SYSTEM", "headers": { "topic": topic, "messageId": "m" }, "data": "{}" });
        assert_eq!(hear(&host(), &frame), Outcome::default());
    }
}

#[test]
fn a_registration_asks_for_messages_and_never_sees_the_secret_or_the_ticket() {
    let host = host();
    host.respond_json(200, ANSWER);
    let endpoint = DingTalk.dial(b"").unwrap();
    assert_eq!(
        endpoint.url,
        "wss://wss-open-connection.dingtalk.com:443/connect?ticket=${ticket:connection}"
    );
    let sent = host.sent().remove(0);
    assert_eq!(sent.url, "https://api.dingtalk.com/v1.0/gateway/connections/open");
    assert!(sent.headers.iter().any(|(name, value)| name == "accept" && value == "application/json"));
    let body: Json = serde_json::from_str(&sent.body_text()).unwrap();
    assert_eq!(
        (&body["clientId"], &body["clientSecret"]),
        (&json!("ding-key"), &json!("${secret:app_secret}"))
    );
    assert_eq!(body["subscriptions"], json!([{ "type": "CALLBACK", "topic": "/v1.0/im/bot/messages/get" }]));
}

#[test]
fn a_refused_registration_says_what_to_compare() {
    let host = host();
    host.respond_json(400, r#"{"code":"invalidClientIdOrSecret","message":"x"}"#);
    let fault = DingTalk.dial(b"").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(fault.reason.contains("Client ID"), "{fault}");
    host.respond_json(503, "");
    assert_eq!(DingTalk.dial(b"").unwrap_err().kind, FaultKind::Unavailable);
    host.respond_json(429, r#"{"code":"Throttling"}"#);
    assert_eq!(DingTalk.dial(b"").unwrap_err().kind, FaultKind::Throttled);
    host.respond_json(200, "<xml/>");
    assert!(DingTalk.dial(b"").is_err());
}

#[test]
fn without_the_apps_key_nothing_is_asked() {
    let host = Host::new().setting("mode", "\"stream\"");
    let fault = DingTalk.dial(b"").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Invalid);
    assert!(fault.reason.contains("app_key") && host.sent().is_empty());
}
