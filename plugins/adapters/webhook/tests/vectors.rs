//! Every row of `fixtures/generic.json` through the Adapter trait, and what no row covers.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_sdk::{
    Adapter, FaultKind, HttpRequest, Inquiry, Message, Reception, Reply, Role, Snapshot,
    encoding::{base64, base64_decode, hex},
    http::{Failure, FailureKind},
    json::Value,
    secrets::{self, Digest, KeyForm, Part},
    testing::Host,
};
use parlor_webhook::Webhook;
use proptest::prelude::*;
use serde_json::Value as Json;

const NOW_MS: u64 = 1_700_000_000_000;

fn rows(algo: &str) -> Vec<Json> {
    let file: Json = serde_json::from_str(include_str!("fixtures/generic.json")).unwrap();
    let rows = file["vectors"].as_array().unwrap().clone();
    let rows: Vec<_> = rows.into_iter().filter(|row| row["algo"] == algo).collect();
    assert!(!rows.is_empty());
    rows
}

fn text<'a>(row: &'a Json, part: &str, name: &str) -> &'a str {
    row[part][name].as_str().unwrap_or_default()
}

fn host(secret: &str) -> Host {
    Host::new().secret("secret", secret).clock_ms(NOW_MS)
}

/// The refusal's kind, or the inquiry.
fn receive(host: &Host, request: &HttpRequest) -> Result<Inquiry, FaultKind> {
    match host.receive(&Webhook, request) {
        Ok(Reception::Inquire(inquiry)) => Ok(inquiry),
        Ok(other) => panic!("{other:?}"),
        Err(fault) => Err(fault.kind),
    }
}

fn message(inquiry: Inquiry) -> Message {
    inquiry.messages.into_iter().next().unwrap()
}

#[test]
fn envelopes_get_their_verdict() {
    for row in rows("generic-envelope-hmac-jcs") {
        let now_ms = row["inputs"]["now_s"].as_u64().unwrap() * 1000;
        let host = Host::new().secret("secret", text(&row, "inputs", "secret")).clock_ms(now_ms);
        let got = receive(&host, &HttpRequest::post(text(&row, "inputs", "raw_body")));
        let id = row["id"].as_str().unwrap();
        match (&row["expected"]["accept"], id) {
            (Json::Bool(true), _) | (_, "policy-milliseconds" | "replay-second-delivery") => {
                assert_eq!(got.expect(id).message_id, "msg-0001", "{id}");
            }
            (Json::Bool(false), _) => assert_eq!(got.unwrap_err(), FaultKind::Unauthorized, "{id}"),
            (_, "policy-string-timestamp" | "neg-dup-key") => {
                assert_eq!(got.unwrap_err(), FaultKind::Invalid, "{id}");
            }
            (verdict, id) => panic!("no rule for {id}: {verdict}"),
        }
    }
}

#[test]
fn canonical_text_is_what_the_libraries_write() {
    for row in rows("jcs") {
        let value = Value::read(text(&row, "inputs", "json")).unwrap();
        assert_eq!(value.canonical(), text(&row, "expected", "canonical"), "{}", row["id"]);
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let host = host("s");
        let _ = receive(&host, &HttpRequest::post(bytes.clone()));
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = Value::read(text);
        }
    }
}

#[test]
fn hub_signatures_get_their_verdict() {
    for row in rows("x-hub-signature-256") {
        let host = host(text(&row, "inputs", "secret"));
        let header = [text(&row, "inputs", "header"), text(&row, "expected", "header")].concat();
        let body = text(&row, "inputs", "body");
        let request = HttpRequest::post(body).with_header("x-hub-signature-256", header.as_str());
        let got = receive(&host, &request);
        if row["expected"]["accept"] == false {
            assert_eq!(got.unwrap_err(), FaultKind::Unauthorized, "{}", row["id"]);
            continue;
        }
        let message = message(got.unwrap());
        let is_envelope = body.starts_with('{');
        assert_eq!(message.text, if is_envelope { "你好, what is 1+1? 😀" } else { body });
        assert_eq!(message.id, if is_envelope { "msg-0001" } else { &header["sha256=".len()..] });
        let upper = format!("sha256={}", header["sha256=".len()..].to_ascii_uppercase());
        let request = HttpRequest::post(body).with_header("x-hub-signature-256", upper);
        assert_eq!(receive(&host, &request), Err(FaultKind::Unauthorized));
    }
}

#[test]
fn githubs_delivery_id_is_the_message_id() {
    let host = host("It's a Secret to Everybody");
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let request = HttpRequest::post("Hello, World!")
        .with_header("X-Hub-Signature-256", signature)
        .with_header("X-GitHub-Delivery", "72d3162e");
    assert_eq!(receive(&host, &request).unwrap().message_id, "72d3162e");
}

/// The specification's own example: secret, id, timestamp and body.
const SPEC_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SPEC_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SPEC_SECONDS: u64 = 1_614_265_330;
const SPEC_BODY: &str = "{\"test\": 2432232314}";
const SPEC_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn standard(signature: &str, seconds: &str) -> HttpRequest {
    HttpRequest::post(SPEC_BODY)
        .with_header("webhook-id", SPEC_ID)
        .with_header("webhook-timestamp", seconds)
        .with_header("webhook-signature", signature)
}

#[test]
fn the_specifications_example_verifies() {
    for offset in [0, 300, -300] {
        let now_ms = SPEC_SECONDS.checked_add_signed(offset).unwrap() * 1000;
        let host = Host::new().secret("secret", SPEC_SECRET).clock_ms(now_ms);
        let inquiry = receive(&host, &standard(SPEC_SIGNATURE, "1614265330")).unwrap();
        assert_eq!(inquiry.message_id, SPEC_ID);
        assert_eq!(message(inquiry).text, SPEC_BODY);
    }
}

#[test]
fn one_of_several_standard_signatures_is_enough() {
    let host = Host::new().secret("secret", SPEC_SECRET).clock_ms(SPEC_SECONDS * 1000);
    let several = format!("v1,AAAA v1a,AAAA {SPEC_SIGNATURE} v2,zzzz");
    assert!(receive(&host, &standard(&several, "1614265330")).is_ok());
}

#[test]
fn standard_requests_that_do_not_hold_are_refused() {
    let host = Host::new().secret("secret", SPEC_SECRET).clock_ms(SPEC_SECONDS * 1000);
    let unpadded = SPEC_SIGNATURE.trim_end_matches('=');
    let other_version = SPEC_SIGNATURE.replace("v1,", "v2,");
    let cases = [
        ("v1,AAAA", "1614265330"),
        (unpadded, "1614265330"),
        (&other_version, "1614265330"),
        ("", "1614265330"),
        (SPEC_SIGNATURE, "1614265331"),
        (SPEC_SIGNATURE, "1614265330000"),
        (SPEC_SIGNATURE, "soon"),
        (SPEC_SIGNATURE, ""),
    ];
    for (signature, seconds) in cases {
        let got = receive(&host, &standard(signature, seconds));
        assert_eq!(got, Err(FaultKind::Unauthorized), "{signature} {seconds}");
    }
    host.step_ms(301_000);
    assert!(receive(&host, &standard(SPEC_SIGNATURE, "1614265330")).is_err());
}

#[test]
fn no_way_to_sign_stands_in_for_another() {
    let row = &rows("generic-envelope-hmac-jcs")[0];
    let body = text(row, "inputs", "raw_body");
    let host = host(text(row, "inputs", "secret"));
    assert!(receive(&host, &HttpRequest::post(body)).is_ok());
    for header in ["x-hub-signature-256", "webhook-signature"] {
        let request = HttpRequest::post(body).with_header(header, "sha256=00");
        assert_eq!(receive(&host, &request), Err(FaultKind::Unauthorized), "{header}");
    }
    let host = host.setting("scheme", "\"hub\"");
    assert_eq!(receive(&host, &HttpRequest::post(body)), Err(FaultKind::Unauthorized));
}

fn signed_envelope(_secret_is_set_in: &Host, envelope: &str) -> HttpRequest {
    let canonical = Value::read(envelope).unwrap().canonical_without("signature");
    let signature =
        secrets::hmac("secret", Digest::Sha256, &[Part::Secret(KeyForm::Raw)], &[canonical.into()]).unwrap();
    HttpRequest::post(envelope.replacen('{', &format!("{{\"signature\":\"{}\",", hex(&signature)), 1))
}

#[test]
fn history_comes_along_untrusted_and_bounded() {
    let host = host("s");
    let entry = |role: &str, content: &str| format!("{{\"role\":\"{role}\",\"content\":\"{content}\"}}");
    let mut entries = vec![entry("user", "too old"); 60];
    entries.extend([entry("system", "rules"), entry("tool", "x"), entry("assistant", "ok")]);
    let envelope = format!(
        "{{\"header\":{{\"message_id\":\"m\",\"timestamp\":1700000000}},\"payload\":{{\"query\":\"q\",\
         \"context\":{{\"history\":[{}]}}}}}}",
        entries.join(",")
    );
    let context = message(receive(&host, &signed_envelope(&host, &envelope)).unwrap()).context;
    assert_eq!(context.len(), 50);
    assert_eq!(context[49].role, Role::Assistant);
    assert_eq!((context[48].role, context[48].text().as_str()), (Role::User, "rules"));
}

#[test]
fn a_platform_that_is_set_must_match() {
    let host = host("s").setting("platform", "\"crm\"");
    let envelope = |platform: &str| {
        format!(
            "{{\"header\":{{\"message_id\":\"m\",\"timestamp\":1700000000,\"platform\":\"{platform}\"}},\
             \"payload\":{{\"query\":\"q\"}}}}"
        )
    };
    assert!(receive(&host, &signed_envelope(&host, &envelope("crm"))).is_ok());
    let got = receive(&host, &signed_envelope(&host, &envelope("other")));
    assert_eq!(got, Err(FaultKind::Invalid));
}

#[test]
fn a_reply_is_presented_whole_or_as_far_as_it_is() {
    let row = &rows("generic-envelope-hmac-jcs")[0];
    let host = host(text(row, "inputs", "secret")).setting("wait_ms", "5000");
    let inquiry = receive(&host, &HttpRequest::post(text(row, "inputs", "raw_body"))).unwrap();
    assert_eq!(inquiry.wait_ms, 5000);
    let snapshot = |finished| Snapshot { reply: Reply::new("4\"2"), finished, asked: 1 };
    let whole = Webhook.present(&inquiry.context, Some(snapshot(true)));
    let response = whole.response.unwrap();
    assert!(whole.complete);
    assert_eq!(response.status, 200);
    let json: Json = serde_json::from_slice(&response.body).unwrap();
    let expected = serde_json::json!({
        "message_id": "msg-0001", "session_id": "sess-1", "reply": "4\"2", "finished": true
    });
    assert_eq!(json, expected);
    let partial = Webhook.present(&inquiry.context, Some(snapshot(false)));
    assert_eq!(partial.response.unwrap().status, 202);
    assert!(!partial.complete && partial.again_within_ms.is_some());
}

fn callback_host() -> Host {
    host("generic-shared-secret")
        .secret("callback_secret", SPEC_SECRET)
        .setting("callback_url", "\"https://example.org/replies\"")
        .setting("answer", "\"callback\"")
}

#[test]
fn a_pushed_reply_is_signed_as_standard_webhooks() {
    let row = &rows("generic-envelope-hmac-jcs")[0];
    let host = callback_host();
    let request = HttpRequest::post(text(row, "inputs", "raw_body"));
    let Reception::Accept(acceptance) = host.receive(&Webhook, &request).unwrap() else { panic!() };
    assert_eq!(acceptance.response.status, 202);
    host.respond_json(204, "");
    let address = &acceptance.messages[0].address;
    host.deliver(&Webhook, address, "key-1", &Reply::new("42")).unwrap();
    let sent = host.sent().pop().unwrap();
    assert_eq!(sent.url, "https://example.org/replies");
    let header = |name: &str| sent.headers.iter().find(|(key, _)| key == name).unwrap().1.clone();
    assert_eq!(header("webhook-id"), "key-1");
    let message = format!("key-1.1700000000.{}", sent.body_text());
    let form = KeyForm::Base64("whsec_".into());
    let expected =
        secrets::hmac("callback_secret", Digest::Sha256, &[Part::Secret(form)], &[message.into()]).unwrap();
    assert_eq!(header("webhook-signature"), format!("v1,{}", base64(&expected)));
    assert!(base64_decode(&base64(&expected)).is_some());
    let json: Json = serde_json::from_str(&sent.body_text()).unwrap();
    assert_eq!((&json["reply"], &json["message_id"]), (&"42".into(), &"msg-0001".into()));
}

#[test]
fn what_the_callback_says_decides_about_a_retry() {
    let address = b"{\"message_id\":\"m\",\"session_id\":\"s\"}";
    let cases = [
        (500, FaultKind::Unavailable),
        (429, FaultKind::Throttled),
        (410, FaultKind::Gone),
        (401, FaultKind::Unauthorized),
        (302, FaultKind::Invalid),
    ];
    for (status, kind) in cases {
        let host = callback_host();
        host.respond_json(status, "");
        let fault = host.deliver(&Webhook, address, "k", &Reply::new("x")).unwrap_err();
        assert_eq!(fault.kind, kind, "{status}");
    }
    let host = callback_host();
    let failure = Failure {
        kind: FailureKind::Broken,
        reason: "broken".into(),
        request_sent: true,
        retry_after_ms: None,
    };
    host.respond(Err(failure));
    let fault = host.deliver(&Webhook, address, "k", &Reply::new("x")).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
    let host = self::host("s");
    let fault = host.deliver(&Webhook, address, "k", &Reply::new("x")).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Gone);
}
