//! Replies through the Adapter trait: where they go, in which parts, and what DingTalk's answers mean.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_dingtalk::DingTalk;
use parlor_sdk::{
    Adapter, FaultKind, Outbound, Reply,
    http::{Failure, FailureKind},
    testing::Host,
};
use serde_json::{Value as Json, json};

const NOW_MS: u64 = 1_700_000_000_000;
const WEBHOOK: &str = "https://oapi.dingtalk.com/robot/sendBySession?session=6d69";
const OK: &str = "{\"errcode\":0,\"errmsg\":\"ok\"}";
const SENT_BY_API: &str = "{\"processQueryKey\":\"pqk\"}";

fn host() -> Host {
    Host::new()
        .clock_ms(NOW_MS)
        .setting("app_key", "\"key\"")
        .secret("app_secret", "s")
        .secret("robot_token", "TOK")
}

fn address(until_ms: u64, group: bool) -> Vec<u8> {
    let address = json!({"webhook": WEBHOOK, "webhook_until_ms": until_ms, "conversation": "cid",
        "group": group, "staff": "user123", "robot_code": "robot"});
    address.to_string().into_bytes()
}

fn live() -> Vec<u8> {
    address(NOW_MS + 3_600_000, true)
}

fn deliver(host: &Host, address: &[u8], text: &str) -> Result<Vec<String>, FaultKind> {
    host.deliver(&DingTalk, address, "key", &Reply::new(text)).map_err(|fault| fault.kind)
}

fn body(request: &Outbound) -> Json {
    serde_json::from_str(&request.body_text()).unwrap()
}

#[test]
fn a_group_robots_url_is_signed_as_five_libraries_sign_it() {
    let file: Json = serde_json::from_str(include_str!("fixtures/dingtalk.json")).unwrap();
    let rows = file["vectors"].as_array().unwrap().iter().filter(|row| row["algo"] == "dingtalk-robot-sign");
    let mut count = 0;
    for row in rows {
        let host = Host::new()
            .clock_ms(row["inputs"]["timestamp_ms"].as_str().unwrap().parse().unwrap())
            .secret("robot_secret", row["inputs"]["secret"].as_str().unwrap());
        host.respond_json(200, OK);
        deliver(&host, b"", "hi").unwrap();
        let url = host.sent()[0].url.replace("${secret:robot_token}", "TOK");
        assert_eq!(url, row["expected"]["outgoing_url"].as_str().unwrap(), "{}", row["id"]);
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn a_live_session_webhook_takes_the_reply_and_mentions_who_asked() {
    let host = host();
    host.respond_json(200, OK);
    assert_eq!(deliver(&host, &live(), "**hello**"), Ok(vec![]));
    let sent = &host.sent()[0];
    assert_eq!((sent.url.as_str(), sent.limit_key.as_deref()), (WEBHOOK, Some("cid")));
    let expected = json!({"msgtype": "markdown",
        "markdown": {"title": "hello", "text": "@user123\n\n**hello**"},
        "at": {"atUserIds": ["user123"], "isAtAll": false}});
    assert_eq!(body(sent), expected);
    let host = self::host().setting("mention_sender", "false");
    host.respond_json(200, OK);
    deliver(&host, &live(), "hi").unwrap();
    assert_eq!(body(&host.sent()[0])["at"]["atUserIds"], json!([]));
}

#[test]
fn what_nobody_asked_for_mentions_nobody() {
    let host = host();
    host.respond_json(200, OK);
    let reply = Reply { extra: vec![("unasked".to_owned(), String::new())], ..Reply::new("hello") };
    host.deliver(&DingTalk, &live(), "key", &reply).unwrap();
    assert_eq!(body(&host.sent()[0])["at"]["atUserIds"], json!([]));
    assert_eq!(body(&host.sent()[0])["markdown"]["text"], "hello");
}

#[test]
fn an_expired_session_falls_back_to_the_openapi() {
    let host = host();
    host.respond_json(200, SENT_BY_API);
    assert_eq!(deliver(&host, &address(NOW_MS + 59_999, true), "hi"), Ok(vec!["pqk".into()]));
    let sent = &host.sent()[0];
    assert_eq!(sent.url, "https://api.dingtalk.com/v1.0/robot/groupMessages/send");
    let token = ("x-acs-dingtalk-access-token".to_owned(), "${token:access_token}".to_owned());
    assert!(sent.headers.contains(&token));
    let body = self::body(sent);
    assert_eq!((&body["openConversationId"], &body["robotCode"]), (&json!("cid"), &json!("robot")));
    let param: Json = serde_json::from_str(body["msgParam"].as_str().unwrap()).unwrap();
    assert_eq!(param, json!({"title": "hi", "text": "hi"}));
}

#[test]
fn a_session_that_dingtalk_calls_dead_falls_back_in_the_next_call() {
    let host = host();
    host.respond_json(200, "{\"errcode\":300001,\"errmsg\":\"session 不存在\"}")
        .respond_json(200, SENT_BY_API);
    assert_eq!(deliver(&host, &address(u64::MAX, false), "hi"), Ok(vec!["pqk".into()]));
    let sent = host.sent();
    assert_eq!(sent[1].url, "https://api.dingtalk.com/v1.0/robot/oToMessages/batchSend");
    assert_eq!(body(&sent[1])["userIds"], json!(["user123"]));
}

#[test]
fn a_stale_token_is_renewed_once() {
    let stale = "{\"code\":\"InvalidAuthentication\",\"message\":\"x\"}";
    let host = host();
    host.respond_json(400, stale).respond_json(200, SENT_BY_API);
    assert_eq!(deliver(&host, &address(0, true), "hi"), Ok(vec!["pqk".into()]));
    assert_eq!(host.expired_tokens(), ["access_token"]);
    let host = self::host();
    host.respond_json(401, stale).respond_json(401, stale);
    assert_eq!(deliver(&host, &address(0, true), "hi"), Err(FaultKind::Unauthorized));
    assert_eq!(host.expired_tokens().len(), 1);
}

#[test]
fn a_long_reply_is_sent_in_numbered_parts_that_fit() {
    let texts = ["你好，世界。".repeat(3000), "\"quoted\" \\ ".repeat(3000), "👨‍👩‍👧‍👦".repeat(3000)];
    for text in texts {
        for address in [live(), address(0, true)] {
            let host = host();
            for _ in 0..50 {
                host.respond_json(200, "{\"errcode\":0,\"processQueryKey\":\"pqk\"}");
            }
            deliver(&host, &address, &text).unwrap();
            let sent = host.sent();
            assert!(sent.len() > 1);
            let mut whole = String::new();
            for (index, request) in sent.iter().enumerate() {
                let body = body(request);
                assert!(request.body_text().len() <= 20_000);
                let markdown = match body["msgParam"].as_str() {
                    Some(param) => {
                        assert!(param.len() <= 15_000);
                        serde_json::from_str(param).unwrap()
                    }
                    None => body["markdown"].clone(),
                };
                let title = markdown["title"].as_str().unwrap();
                assert!(title.ends_with(&format!("({}/{})", index + 1, sent.len())), "{title}");
                let part = markdown["text"].as_str().unwrap().trim_start_matches("@user123\n\n");
                assert!(part.chars().count() <= 3500);
                whole.push_str(part);
            }
            assert_eq!(whole.replace(' ', ""), text.replace(' ', ""));
        }
    }
}

#[test]
fn a_delivery_goes_on_where_the_checkpoint_says() {
    let text = "word ".repeat(2000);
    let host = host();
    host.respond_json(200, OK);
    let reply = Reply::new(text);
    let first = DingTalk.finish(&live(), "key", b"", &reply).unwrap();
    let parlor_sdk::Delivered::More(checkpoint) = first else { panic!("{first:?}") };
    host.respond_json(200, OK);
    DingTalk.finish(&live(), "key", &checkpoint, &reply).unwrap();
    let titles: Vec<_> =
        host.sent().iter().map(|sent| body(sent)["markdown"]["title"].as_str().unwrap().to_owned()).collect();
    assert!(titles[0].ends_with("(1/3)") && titles[1].ends_with("(2/3)"), "{titles:?}");
}

#[test]
fn a_model_cannot_call_everyone() {
    for text in ["@all wake up", "@ALL", "＠所有人", "@所有人 hi", "@ all", "@everyone"] {
        let host = host();
        host.respond_json(200, OK);
        deliver(&host, &live(), text).unwrap();
        let body = body(&host.sent()[0]);
        for part in [&body["markdown"]["text"], &body["markdown"]["title"]] {
            let part = part.as_str().unwrap().replace("@user123", "");
            let after = part.split(['@', '＠']).nth(1).unwrap();
            assert!(after.starts_with('\u{200b}'), "{part:?}");
        }
        assert_eq!(body["at"]["isAtAll"], false);
    }
    let host = host();
    host.respond_json(200, OK);
    deliver(&host, &live(), "mail me@example.org").unwrap();
    assert!(host.sent()[0].body_text().contains("me@example.org"));
}

#[test]
fn a_staff_id_from_a_forged_body_calls_nobody_else() {
    for staff in ["all", "a b", "@所有人", "x\n@all"] {
        let address = json!({"webhook": WEBHOOK, "conversation": "c", "group": true, "staff": staff});
        let host = host();
        host.respond_json(200, OK);
        deliver(&host, address.to_string().as_bytes(), "hi").unwrap();
        assert_eq!(body(&host.sent()[0])["markdown"]["text"], "hi", "{staff}");
    }
}

#[test]
fn what_the_robot_door_answers_decides_about_a_retry() {
    let cases = [
        (200, "{\"errcode\":130101}", FaultKind::Throttled),
        (200, "{\"errcode\":-1}", FaultKind::Unavailable),
        (200, "{\"errcode\":310000,\"errmsg\":\"sign not match\"}", FaultKind::Unauthorized),
        (200, "{\"errcode\":460101}", FaultKind::Invalid),
        (200, "{\"errcode\":40035}", FaultKind::Invalid),
        (200, "{\"errcode\":999}", FaultKind::Other),
        (200, "<html>", FaultKind::Uncertain),
        (502, "", FaultKind::Uncertain),
        (503, "", FaultKind::Unavailable),
        (429, "", FaultKind::Throttled),
    ];
    for (status, answer, kind) in cases {
        let host = host();
        host.respond_json(status, answer);
        assert_eq!(deliver(&host, &live(), "hi"), Err(kind), "{status} {answer}");
    }
}

#[test]
fn what_the_openapi_answers_decides_about_a_retry() {
    let cases = [
        (403, "{\"code\":\"Forbidden.AccessDenied.QpsLimitForAppkeyAndApi\"}", FaultKind::Throttled),
        (403, "{\"code\":\"Forbidden.AccessDenied.AccessTokenPermissionDenied\"}", FaultKind::Unauthorized),
        (400, "{\"code\":\"invalidParameter.msgParam.tooLong\"}", FaultKind::Invalid),
        (500, "{\"code\":\"unknownError\"}", FaultKind::Uncertain),
        (200, "{\"flowControlledStaffIdList\":[\"user123\"]}", FaultKind::Throttled),
        (200, "{\"invalidStaffIdList\":[\"user123\"]}", FaultKind::Gone),
    ];
    for (status, answer, kind) in cases {
        let host = host();
        host.respond_json(status, answer);
        assert_eq!(deliver(&host, &address(0, false), "hi"), Err(kind), "{status} {answer}");
    }
}

#[test]
fn a_request_that_may_have_got_through_is_uncertain() {
    let failure = |request_sent| Failure {
        kind: FailureKind::TimedOut,
        reason: "too slow".into(),
        request_sent,
        retry_after_ms: None,
    };
    for (request_sent, kind) in [(true, FaultKind::Uncertain), (false, FaultKind::Unavailable)] {
        let host = host();
        host.respond(Err(failure(request_sent)));
        assert_eq!(deliver(&host, &live(), "hi"), Err(kind));
    }
}

#[test]
fn a_private_reply_never_lands_in_the_group_robot() {
    let host = host();
    let nowhere = json!({"webhook": null, "group": false, "robot_code": ""}).to_string();
    assert_eq!(deliver(&host, nowhere.as_bytes(), "hi"), Err(FaultKind::Gone));
    assert!(host.sent().is_empty());
    let host = host.setting("destination", "\"group-robot\"");
    host.respond_json(200, OK);
    assert!(deliver(&host, nowhere.as_bytes(), "hi").is_ok());
    assert!(host.sent()[0].url.starts_with("https://oapi.dingtalk.com/robot/send?"));
}

#[test]
fn an_attachment_is_located_by_the_openapi() {
    let host = host();
    host.respond_json(200, "{\"downloadUrl\":\"https://down-cdn.dingtalk.com/x\"}");
    let reference = "{\"robotCode\":\"r\",\"downloadCode\":\"d\"}";
    let download = DingTalk.locate(reference).unwrap();
    assert_eq!(download.request, Outbound::get("https://down-cdn.dingtalk.com/x"));
    assert_eq!(body(&host.sent()[0]), json!({"robotCode": "r", "downloadCode": "d"}));
    assert_eq!(DingTalk.locate("x").unwrap_err().kind, FaultKind::Invalid);
}
