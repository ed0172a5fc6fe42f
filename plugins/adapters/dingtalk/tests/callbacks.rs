//! Callbacks through the Adapter trait: each row of the fixtures, and what no row covers.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_dingtalk::DingTalk;
use parlor_sdk::{
    FaultKind, HttpRequest, MediaKind, Message, Reception, Scope,
    encoding::base64,
    log::Level,
    secrets::{self, Digest, KeyForm, Part},
    testing::Host,
};
use serde_json::{Value as Json, json};

const NOW_MS: u64 = 1_700_000_700_000;
const AES_KEY: &str = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij";

fn rows(file: &str, algo: Option<&str>) -> Vec<Json> {
    let file: Json = serde_json::from_str(file).unwrap();
    let rows = file["vectors"].as_array().unwrap().clone();
    let rows: Vec<_> = rows.into_iter().filter(|row| algo.is_none_or(|algo| row["algo"] == algo)).collect();
    assert!(!rows.is_empty());
    rows
}

fn vectors(algo: &str) -> Vec<Json> {
    rows(include_str!("fixtures/dingtalk.json"), Some(algo))
}

fn host() -> Host {
    Host::new().secret("app_secret", "test-app-secret").clock_ms(NOW_MS)
}

/// A callback signed now with the host's own secret.
fn signed(body: &str) -> HttpRequest {
    let timestamp = parlor_sdk::clock::now_ms().to_string();
    let parts = [Part::from(format!("{timestamp}\n")), Part::Secret(KeyForm::Raw)];
    let sign = secrets::hmac("app_secret", Digest::Sha256, &[Part::Secret(KeyForm::Raw)], &parts).unwrap();
    HttpRequest::post(body).with_header("timestamp", timestamp).with_header("sign", base64(&sign))
}

fn accept(host: &Host, request: &HttpRequest) -> Message {
    match host.receive(&DingTalk, request) {
        Ok(Reception::Accept(acceptance)) => {
            assert_eq!(acceptance.response.status, 200);
            acceptance.messages.into_iter().next().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(host: &Host, request: &HttpRequest) -> FaultKind {
    host.receive(&DingTalk, request).unwrap_err().kind
}

#[test]
fn robot_callbacks_get_their_verdict() {
    for row in vectors("dingtalk-http-callback-verify") {
        let inputs = &row["inputs"];
        let host = Host::new()
            .secret("app_secret", inputs["app_secret"].as_str().unwrap())
            .clock_ms(inputs["now_ms"].as_u64().unwrap());
        let mut request = HttpRequest::post(inputs["body"].as_str().unwrap());
        for name in ["timestamp", "sign"] {
            if let Some(value) = inputs["headers"][name].as_str() {
                request = request.with_header(name, value);
            }
        }
        if row["expected"]["accept"] == true {
            let message = accept(&host, &request);
            assert_eq!((message.id.as_str(), message.text.as_str()), ("msg1==", "hi"));
        } else {
            assert_eq!(refusal(&host, &request), FaultKind::Unauthorized, "{}", row["id"]);
        }
    }
}

#[test]
fn a_signature_holds_for_one_hour_to_the_millisecond() {
    let row = &vectors("dingtalk-http-callback-verify")[0];
    let request = HttpRequest::post(row["inputs"]["body"].as_str().unwrap())
        .with_header("timestamp", "1700000100004")
        .with_header("sign", "W0JkK7q2/ZJ1TlFL09Qy+Lqn/qas0Anp+qZrxqjxj+I=");
    for (now_ms, holds) in [
        (1_700_003_700_004, true),
        (1_700_003_700_005, false),
        (1_699_996_500_004, true),
        (1_699_996_500_003, false),
    ] {
        let host = host().clock_ms(now_ms);
        assert_eq!(host.receive(&DingTalk, &request).is_ok(), holds, "{now_ms}");
    }
}

#[test]
fn events_get_their_verdict_and_a_sealed_answer() {
    for row in vectors("dingtalk-event-callback-crypto") {
        let field = |name: &str| row["inputs"][name].as_str().unwrap();
        let host = Host::new()
            .secret("event_token", field("token"))
            .secret("event_aes_key", field("encoding_aes_key"))
            .setting("app_key", &json!(field("owner_key")).to_string())
            .clock_ms(NOW_MS);
        for name in ["msg_signature", "signature"] {
            let mut request = HttpRequest::post(json!({ "encrypt": field("encrypt") }).to_string());
            request.query = format!(
                "{name}={}&timestamp={}&nonce={}",
                field("msg_signature"),
                field("timestamp"),
                field("nonce")
            );
            if row["expected"]["ok"] == false {
                assert_eq!(refusal(&host, &request), FaultKind::Unauthorized, "{}", row["id"]);
                continue;
            }
            let Reception::Answer(response) = host.receive(&DingTalk, &request).unwrap() else { panic!() };
            let answer: Json = serde_json::from_slice(&response.body).unwrap();
            let part = |name: &str| answer[name].as_str().unwrap();
            let unsealed = secrets::unseal(
                "event_token",
                "event_aes_key",
                part("timeStamp"),
                part("nonce"),
                part("encrypt"),
                part("msg_signature"),
            );
            let unsealed = unsealed.unwrap();
            assert_eq!(unsealed.message, b"success");
            assert_eq!(unsealed.owner, field("owner_key"));
        }
    }
}

#[test]
fn an_event_for_the_organisation_is_answered_too() {
    let row = &vectors("dingtalk-event-callback-crypto")[0];
    let field = |name: &str| row["inputs"][name].as_str().unwrap();
    let host = Host::new()
        .secret("event_token", field("token"))
        .secret("event_aes_key", field("encoding_aes_key"))
        .setting("app_key", "\"dingother\"");
    let mut request = HttpRequest::post(json!({ "encrypt": field("encrypt") }).to_string());
    request.query =
        format!("msg_signature={}&timestamp=1700000000000&nonce=nonce123", field("msg_signature"));
    assert_eq!(refusal(&host, &request), FaultKind::Unauthorized);
    let host = host.setting("corp_id", "\"ding1234567890\"");
    assert!(host.receive(&DingTalk, &request).is_ok());
}

/// One official sample, as a message.
fn sample(id: &str) -> Message {
    let rows = rows(include_str!("fixtures/samples.json"), None);
    let row = rows.iter().find(|row| row["id"] == id).unwrap();
    accept(&host(), &signed(&row["inputs"]["body"].to_string()))
}

#[test]
fn every_sample_is_read() {
    for row in rows(include_str!("fixtures/samples.json"), None) {
        let expected = &row["expected"];
        let message = accept(&host(), &signed(&row["inputs"]["body"].to_string()));
        assert_eq!(message.id, expected["message_id"].as_str().unwrap());
        let group = expected["conversation_type"] == "2";
        assert_eq!(message.scope == Scope::Group, group);
        assert!(message.addressed);
        assert_eq!(message.conversation, row["inputs"]["body"]["conversationId"].as_str().unwrap());
        assert_eq!(message.sent_at_ms, row["inputs"]["body"]["createAt"].as_u64());
        if let Some(texts) = expected["text_list"].as_array() {
            let text: String = texts.iter().map(|text| text.as_str().unwrap()).collect();
            assert_eq!(message.text, text.trim());
        }
        if let Some(codes) = expected["image_download_codes"].as_array() {
            let found: Vec<_> = message.attachments.iter().map(|found| code(&found.reference)).collect();
            assert_eq!(&found, codes);
        }
    }
}

fn code(reference: &str) -> Json {
    serde_json::from_str::<Json>(reference).unwrap()["downloadCode"].clone()
}

#[test]
fn kinds_of_messages_become_text_and_attachments() {
    let message = sample("dingtalk-group-at");
    assert_eq!((message.text.as_str(), message.sender.id.as_str()), ("你好", "user123"));
    assert_eq!(message.sender.name.as_deref(), Some("杨xx"));
    let message = sample("dingtalk-audio");
    assert_eq!(message.text, "钉钉PaaS开放中心，致力为企业……");
    assert_eq!(message.attachments[0].kind, MediaKind::Audio);
    let message = sample("dingtalk-file");
    assert_eq!(message.attachments[0].name.as_deref(), Some("foobar.zip"));
    assert_eq!(message.attachments[0].kind, MediaKind::File);
    assert_eq!(code(&message.attachments[0].reference), "LJYY****bw==");
    assert_eq!(sample("dingtalk-video").attachments[0].kind, MediaKind::Video);
}

#[test]
fn quotes_are_told_and_what_they_carry_comes_along() {
    let message = sample("dingtalk-quote-picture");
    assert_eq!(message.quoted.as_deref(), Some("[picture]"));
    assert_eq!(code(&message.attachments[0].reference), "dl_pic_123");
    assert_eq!(sample("dingtalk-quote-file").quoted.as_deref(), Some("[file report.pdf]"));
    assert!(sample("dingtalk-quote-unknown-file").quoted.unwrap().contains("cannot read"));
    assert_eq!(sample("dingtalk-quote-own-card").quoted.as_deref(), Some("[a card of the bot]"));
    for content in [json!({"text": "earlier"}), json!("{\"text\":\"earlier\"}"), json!("earlier")] {
        let body = json!({"msgId": "m", "msgtype": "text", "conversationType": "1",
            "text": {"content": "and?", "isReplyMsg": true,
                     "repliedMsg": {"msgType": "text", "content": content}}});
        let message = accept(&host(), &signed(&body.to_string()));
        assert_eq!(message.quoted.as_deref(), Some("earlier"));
    }
}

#[test]
fn rich_text_keeps_its_words_and_pictures() {
    let body = json!({"msgId": "m", "msgtype": "richText", "conversationType": "1", "content": {"richText": [
        {"text": "see "}, {"text": "this:"}, {"type": "picture", "downloadCode": "pic"}, {"text": "ok?"}]}});
    let message = accept(&host(), &signed(&body.to_string()));
    assert_eq!(message.text, "see this:\nok?");
    assert_eq!(code(&message.attachments[0].reference), "pic");
}

#[test]
fn what_nobody_has_seen_yet_costs_the_content_and_not_the_message() {
    let odd = [
        json!({"msgId": "m", "msgtype": "unknownMsgType"}),
        json!({"msgId": "m", "msgtype": "novel", "content": {"text": {"deep": 1}}}),
        json!({"msgId": "m", "msgtype": "picture", "content": "text", "atUsers": null}),
    ];
    for body in odd {
        assert!(accept(&host(), &signed(&body.to_string())).text.contains("cannot read"), "{body}");
    }
    let body = json!({"msgId": "m", "msgtype": "text", "text": {"content": "hi", "repliedMsg": 7}});
    assert_eq!(accept(&host(), &signed(&body.to_string())).text, "hi");
}

#[test]
fn a_word_to_everyone_is_not_one_to_the_bot() {
    let addressed = |extra: Json| {
        let mut body = json!({"msgId": "m", "msgtype": "text", "conversationType": "2",
            "text": {"content": "hi"}, "chatbotUserId": "bot"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        accept(&host(), &signed(&body.to_string())).addressed
    };
    assert!(addressed(json!({})));
    assert!(addressed(json!({"isInAtList": true})));
    assert!(!addressed(json!({"isInAtList": false})));
    assert!(!addressed(json!({"isAtAll": true, "isInAtList": true})));
    assert!(addressed(json!({"isAtAll": true, "atUsers": [{"dingtalkId": "bot"}]})));
    assert!(!addressed(json!({"atUsers": [{"dingtalkId": "someone"}]})));
}

#[test]
fn strangers_without_a_conversation_share_no_history() {
    let body = |id: &str| json!({"msgId": id, "msgtype": "text", "text": {"content": "hi"}}).to_string();
    let conversation = |id: &str| accept(&host(), &signed(&body(id))).conversation;
    assert_ne!(conversation("a"), conversation("b"));
}

#[test]
fn a_foreign_session_webhook_is_left_out_and_reported() {
    let traps = [
        "http://oapi.dingtalk.com/robot/sendBySession?session=x",
        "https://oapi.dingtalk.com.evil.example/robot/sendBySession?session=x",
        "https://evil.example/robot/sendBySession?session=x",
        "https://oapi.dingtalk.com@evil.example/robot/sendBySession?session=x",
        "https://oapi.dingtalk.com/robot/send?access_token=x",
        "https://oapi.dingtalk.com/robot/sendBySession?session=x&access_token=${secret:robot_token}",
        "https://oapi.dingtalk.com/robot/sendBySession?session=${secret:robot_token}",
        "https://169.254.169.254/robot/sendBySession?session=x",
    ];
    for trap in traps {
        let host = host();
        let body =
            json!({"msgId": "m", "msgtype": "text", "text": {"content": "hi"}, "sessionWebhook": trap});
        let message = accept(&host, &signed(&body.to_string()));
        assert!(!String::from_utf8(message.address).unwrap().contains("http"), "{trap}");
        assert_eq!(host.lines()[0].level, Level::Security);
    }
}

#[test]
fn an_encrypted_callback_is_opened_and_a_plain_one_refused() {
    let host = host().secret("robot_aes_key", AES_KEY).secret("any", "t");
    let body = json!({"msgId": "m", "msgtype": "text", "text": {"content": "hi"}}).to_string();
    let sealed = secrets::seal("any", "robot_aes_key", "n", body.as_bytes(), "").unwrap();
    let encrypted = json!({ "encrypt": sealed.ciphertext }).to_string();
    assert_eq!(accept(&host, &signed(&encrypted)).text, "hi");
    assert_eq!(refusal(&host, &signed(&body)), FaultKind::Unauthorized);
    assert_eq!(refusal(&host, &signed("{\"encrypt\":\"AAAA\"}")), FaultKind::Unauthorized);
    let host = self::host();
    assert_eq!(refusal(&host, &signed(&encrypted)), FaultKind::Unauthorized);
}

#[test]
fn a_signed_body_that_is_none_is_invalid() {
    let deep = "[".repeat(100_000);
    let deeper = "{\"msgId\":".repeat(100_000);
    for body in ["", "[]", "{}", "{\"msgId\":\"\"}", "{\"msgId\":1}", "{\"msgId\":\"m\"", &deep, &deeper] {
        let host = host();
        assert_eq!(refusal(&host, &signed(body)), FaultKind::Invalid);
    }
    let host = host();
    let mut request = signed("{}");
    request.body = vec![0xff, 0xfe];
    assert_eq!(refusal(&host, &request), FaultKind::Invalid);
}
