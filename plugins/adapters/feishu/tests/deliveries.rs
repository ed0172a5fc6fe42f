//! Replies through the Adapter trait: what is sent in which order, and what the platform's answers mean.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_feishu::Feishu;
use parlor_sdk::{
    Adapter, Delivered, FaultKind, HttpResponse, Outbound, Reply,
    http::{Failure, FailureKind},
    testing::Host,
};
use serde_json::{Value as Json, json};

const NOW_MS: u64 = 1_700_000_000_000;
const KEY: &str = "0123456789abcdef0123456789abcdef";
const REPLY: &str = "POST /open-apis/im/v1/messages/om_1/reply";
const CREATE: &str = "POST /open-apis/cardkit/v1/cards";
const WRITE: &str = "PUT /open-apis/cardkit/v1/cards/card_1/elements/answer/content";
const SETTINGS: &str = "PATCH /open-apis/cardkit/v1/cards/card_1/settings";
const REWRITE: &str = "PUT /open-apis/cardkit/v1/cards/card_1";
const REPLACE: &str = "PATCH /open-apis/im/v1/messages/om_reply";

fn host() -> Host {
    Host::new().clock_ms(NOW_MS).setting("app_id", "\"cli_1\"").secret("app_secret", "s")
}

fn address() -> Vec<u8> {
    json!({ "message": "om_1", "chat": "oc_1", "in_thread": false }).to_string().into_bytes()
}

fn done(host: &Host, data: Json) -> &Host {
    host.respond_json(200, &json!({ "code": 0, "msg": "success", "data": data }).to_string())
}

/// The card is made, and shown by a message.
fn opens(host: &Host) {
    done(host, json!({ "card_id": "card_1" }));
    done(host, json!({ "message_id": "om_reply" }));
}

fn refuses(host: &Host, code: i64) -> &Host {
    host.respond_json(400, &json!({ "code": code, "msg": "refused" }).to_string())
}

fn update(checkpoint: Vec<u8>, text: &str) -> Vec<u8> {
    Feishu.update(&address(), KEY, checkpoint, text).unwrap()
}

/// The two updates that open a card, one request each.
fn opened(host: &Host, text: &str) -> Vec<u8> {
    opens(host);
    let made = update(vec![], text);
    assert_eq!(lines(host), [CREATE]);
    let shown = update(made, text);
    assert_eq!(lines(host), [CREATE, REPLY]);
    shown
}

/// Calls `finish` from the checkpoint on to its end, one request a call.
fn finish(host: &Host, mut checkpoint: Vec<u8>, text: &str) -> Result<Vec<String>, FaultKind> {
    for _ in 0..50 {
        let before = host.sent().len();
        let delivered =
            Feishu.finish(&address(), KEY, &checkpoint, &Reply::new(text)).map_err(|fault| fault.kind)?;
        assert!(host.sent().len() - before <= 1, "one request a call");
        match delivered {
            Delivered::More(next) => checkpoint = next,
            Delivered::Done(ids) => return Ok(ids),
        }
    }
    panic!("it never ends");
}

fn lines(host: &Host) -> Vec<String> {
    host.sent()
        .iter()
        .map(|sent| format!("{} {}", sent.method, sent.url.replace("https://open.feishu.cn", "")))
        .collect()
}

fn body(request: &Outbound) -> Json {
    serde_json::from_str(&request.body_text()).unwrap()
}

/// A JSON text inside a body.
fn inner(body: &Json, name: &str) -> Json {
    serde_json::from_str(body[name].as_str().unwrap()).unwrap()
}

fn words(card: &Json) -> &str {
    card["body"]["elements"][0]["content"].as_str().unwrap()
}

#[test]
fn a_reply_that_never_grew_is_one_card() {
    let host = host();
    done(&host, json!({ "message_id": "om_reply" }));
    assert_eq!(finish(&host, vec![], "**hello**"), Ok(vec!["om_reply".into()]));
    let sent = &host.sent()[0];
    assert_eq!(lines(&host), [REPLY]);
    assert!(sent.headers.contains(&("authorization".into(), "Bearer ${token:tenant_token_feishu}".into())));
    assert_eq!(sent.limit_key.as_deref(), Some("oc_1"));
    let body = body(sent);
    assert_eq!((body["msg_type"].as_str(), body.get("reply_in_thread")), (Some("interactive"), None));
    assert!(body["uuid"].as_str().unwrap().len() <= 50);
    let card = inner(&body, "content");
    assert_eq!((card["schema"].as_str(), words(&card)), (Some("2.0"), "**hello**"));
    assert_eq!(card["config"]["update_multi"], true);
    assert_eq!(card["config"]["summary"]["content"], "hello");
}

#[test]
fn a_reply_in_a_thread_stays_there_and_lark_has_its_own_address() {
    let host = host().setting("domain", "\"lark\"");
    done(&host, json!({ "message_id": "om_reply" }));
    let address = json!({ "message": "om_1", "chat": "oc_1", "in_thread": true }).to_string();
    host.deliver(&Feishu, address.as_bytes(), KEY, &Reply::new("hi")).unwrap();
    let sent = &host.sent()[0];
    assert_eq!(sent.url, "https://open.larksuite.com/open-apis/im/v1/messages/om_1/reply");
    assert!(sent.headers.contains(&("authorization".into(), "Bearer ${token:tenant_token_lark}".into())));
    assert_eq!(body(sent)["reply_in_thread"], true);
}

#[test]
fn a_card_opens_at_once_grows_and_closes() {
    let host = host();
    let opened = opened(&host, "");
    for _ in 0..2 {
        done(&host, json!({}));
    }
    let grown = update(update(opened, "one"), "one two");
    for _ in 0..2 {
        done(&host, json!({}));
    }
    assert_eq!(finish(&host, grown, "one two three"), Ok(vec!["om_reply".into()]));
    assert_eq!(lines(&host), [CREATE, REPLY, WRITE, WRITE, WRITE, SETTINGS]);
    let bodies: Vec<Json> = host.sent().iter().map(body).collect();
    assert_eq!(bodies[0]["type"], "card_json");
    let card = inner(&bodies[0], "data");
    assert_eq!((&card["config"]["streaming_mode"], words(&card)), (&json!(true), "…"));
    assert_eq!(card["body"]["elements"][0]["element_id"], "answer");
    assert_eq!(inner(&bodies[1], "content"), json!({ "type": "card", "data": { "card_id": "card_1" } }));
    let said: Vec<_> = bodies[2..5].iter().map(|body| body["content"].as_str().unwrap()).collect();
    assert_eq!(said, ["one", "one two", "one two three"]);
    let sequence: Vec<_> = bodies[2..].iter().map(|body| body["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequence, [1, 2, 3, 4]);
    let settings = inner(&bodies[5], "settings");
    assert_eq!(settings["config"]["streaming_mode"], false);
    assert_eq!(settings["config"]["summary"]["content"], "one two three");
}

/// Beside the requests that the platform's official client was seen to send.
#[test]
fn requests_have_the_form_of_the_official_clients() {
    let file: Json = serde_json::from_str(include_str!("fixtures/client.json")).unwrap();
    let theirs = file["calls"].as_array().unwrap();
    let address =
        json!({ "message": "om_5ce6d572455d361153b7cb51da133945", "chat": "oc_1", "in_thread": true });
    let address = address.to_string().into_bytes();
    let host = host();
    done(&host, json!({ "card_id": "7355372766134157313" }));
    for _ in 0..3 {
        done(&host, json!({ "message_id": "om_reply" }));
    }
    let made = Feishu.update(&address, KEY, vec![], "").unwrap();
    let mut checkpoint = Feishu.update(&address, KEY, made, "").unwrap();
    while let Delivered::More(next) = Feishu.finish(&address, KEY, &checkpoint, &Reply::new("Hello")).unwrap()
    {
        checkpoint = next;
    }
    assert_eq!(host.sent().len(), 4);
    for ours in host.sent() {
        let path = ours.url.replace("https://open.feishu.cn", "").replace("/answer/", "/md1/");
        let same = |call: &&Json| call["method"] == ours.method.as_str() && call["path"] == path.as_str();
        let call = theirs.iter().find(same).unwrap_or_else(|| panic!("the client never calls {path}"));
        for (name, value) in body(&ours).as_object().unwrap() {
            // The client that was recorded set a key for two of its requests only.
            let known = call["body"].get(name).or((name == "uuid").then_some(value));
            let known = known.unwrap_or_else(|| panic!("the client sends no `{name}` to {path}"));
            assert_eq!(std::mem::discriminant(known), std::mem::discriminant(value), "{path} {name}");
        }
    }
}

/// Found by the simulation: the card that people saw stayed open, and a second one that nobody saw got the words.
#[test]
fn an_opening_that_was_not_heard_of_makes_no_second_card() {
    let host = host();
    done(&host, json!({ "card_id": "card_1" }));
    let made = update(vec![], "");
    host.respond_json(502, "");
    assert_eq!(Feishu.update(&address(), KEY, made.clone(), "").unwrap_err().kind, FaultKind::Unavailable);
    done(&host, json!({ "message_id": "om_reply" }));
    let shown = update(made.clone(), "");
    assert_eq!(lines(&host), [CREATE, REPLY, REPLY]);
    let bodies: Vec<Json> = host.sent().iter().map(body).collect();
    assert_eq!(bodies[1], bodies[2], "the same key and the same card: the platform drops the repeat");
    assert_ne!(shown, made);
}

/// Found by the simulation, seed 2162: the reply that showed the card was not heard of, then the message was taken
/// back; the card said "…" for ever.
#[test]
fn a_card_whose_message_takes_no_reply_any_more_is_closed_all_the_same() {
    let host = host();
    done(&host, json!({ "card_id": "card_1" }));
    let made = update(vec![], "");
    host.respond_json(502, "");
    Feishu.update(&address(), KEY, made.clone(), "").unwrap_err();
    refuses(&host, 230_011);
    for _ in 0..2 {
        done(&host, json!({}));
    }
    assert_eq!(finish(&host, made, "stopped"), Err(FaultKind::Gone), "nobody knows whether it was seen");
    assert_eq!(lines(&host), [CREATE, REPLY, REPLY, WRITE, SETTINGS]);
    let sent = host.sent();
    assert_eq!(body(&sent[3])["content"], "stopped");
    assert_eq!(inner(&body(&sent[4]), "settings")["config"]["streaming_mode"], false);
}

/// Found by the simulation: three failures within a moment, and people got the same words twice.
#[test]
fn a_card_that_cannot_be_closed_now_is_tried_again_later_and_never_said_twice() {
    let host = host();
    let shown = opened(&host, "all of it");
    let finish = || Feishu.finish(&address(), KEY, &shown, &Reply::new("all of it"));
    for _ in 0..5 {
        host.respond_json(503, "");
        assert_eq!(finish().unwrap_err().kind, FaultKind::Unavailable, "the host pauses");
    }
    host.respond_json(503, "");
    assert_eq!(finish(), Ok(Delivered::Done(vec!["om_reply".into()])), "the platform closes it by itself");
    assert!(lines(&host)[2..].iter().all(|line| line == SETTINGS));
}

#[test]
fn words_that_cannot_be_put_into_a_card_go_as_a_new_message_in_the_end() {
    let host = host();
    let mut checkpoint = opened(&host, "half");
    for _ in 0..5 {
        host.respond_json(503, "");
        Feishu.finish(&address(), KEY, &checkpoint, &Reply::new("whole")).unwrap_err();
    }
    host.respond_json(503, "");
    match Feishu.finish(&address(), KEY, &checkpoint, &Reply::new("whole")).unwrap() {
        Delivered::More(next) => checkpoint = next,
        done => panic!("{done:?}"),
    }
    done(&host, json!({ "message_id": "om_new" }));
    Feishu.finish(&address(), KEY, &checkpoint, &Reply::new("whole")).unwrap();
    assert_eq!(lines(&host).last().unwrap(), REPLY);
}

#[test]
fn what_is_shown_already_is_not_sent_again() {
    let host = host();
    let opened = opened(&host, "all of it");
    assert_eq!(update(opened.clone(), "all of it"), opened);
    done(&host, json!({}));
    finish(&host, opened, "all of it").unwrap();
    assert_eq!(lines(&host), [CREATE, REPLY, SETTINGS]);
}

/// A crash between the reply and its checkpoint: the card is shown again, and its message is not doubled.
#[test]
fn a_card_whose_checkpoint_was_lost_is_taken_up_again() {
    let host = host();
    opens(&host);
    let made = update(vec![], "");
    drop(update(made.clone(), ""));
    done(&host, json!({ "message_id": "om_reply" }));
    for _ in 0..2 {
        done(&host, json!({}));
    }
    assert_eq!(finish(&host, made, "whole"), Ok(vec!["om_reply".into()]));
    assert_eq!(lines(&host), [CREATE, REPLY, REPLY, WRITE, SETTINGS]);
    let bodies: Vec<Json> = host.sent().iter().map(body).collect();
    assert_eq!(bodies[1], bodies[2], "the same key and the same card: the platform drops the repeat");
}

#[test]
fn a_number_counts_only_once_it_is_accepted() {
    let host = host();
    let opened = opened(&host, "");
    host.respond(Err(failure(FailureKind::TimedOut)));
    assert!(Feishu.update(&address(), KEY, opened.clone(), "one").is_err());
    refuses(&host, 300_317);
    done(&host, json!({}));
    let grown = update(opened, "one two");
    for _ in 0..2 {
        done(&host, json!({}));
    }
    finish(&host, grown, "one two three").unwrap();
    let sent = host.sent();
    let sequence: Vec<_> = sent[2..].iter().map(|sent| body(sent)["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequence, [1, 1, 2, 3, 4], "the one that timed out had been taken");
    assert_ne!(body(&sent[2])["uuid"], body(&sent[3])["uuid"], "other words, another key");
}

#[test]
fn a_card_is_let_grow_on_before_the_platform_stops_it() {
    let host = host();
    let mut checkpoint = opened(&host, "one");
    for minutes in [4, 8, 12, 16, 20] {
        host.step_ms(240_000);
        let before = host.sent().len();
        if minutes % 8 == 0 {
            done(&host, json!({}));
        }
        checkpoint = update(checkpoint, "one");
        assert_eq!(host.sent().len() - before, usize::from(minutes % 8 == 0), "{minutes} minutes");
    }
    let line = lines(&host).pop().unwrap();
    assert!(line.starts_with("PATCH") && line.ends_with("/settings"), "{line}");
    refuses(&host, 300_301);
    host.step_ms(240_000);
    checkpoint = update(checkpoint, "one");
    done(&host, json!({}));
    let checkpoint = update(checkpoint, "one two");
    let line = lines(&host).pop().unwrap();
    assert!(line.ends_with("/content"), "what may not be prolonged is written on: {line}");
    for _ in 0..2 {
        done(&host, json!({}));
    }
    finish(&host, checkpoint, "one two three").unwrap();
}

#[test]
fn a_card_that_lapsed_is_opened_once_more() {
    for code in [200_850, 300_309] {
        let host = host();
        let opened = opened(&host, "");
        refuses(&host, code);
        done(&host, json!({}));
        let reopened = update(opened, "one");
        done(&host, json!({}));
        let grown = update(reopened, "one two");
        refuses(&host, 300_309);
        let over = update(grown, "one two three");
        assert_eq!(update(over.clone(), "one two three four"), over, "it is not tried again");
        done(&host, json!({}));
        assert_eq!(finish(&host, over, "the end"), Ok(vec!["om_reply".into()]));
        assert_eq!(lines(&host)[2..], [WRITE, SETTINGS, WRITE, WRITE, REWRITE]);
        let whole = &body(host.sent().last().unwrap())["card"];
        let card = inner(whole, "data");
        assert_eq!((words(&card), &card["config"]["streaming_mode"]), ("the end", &json!(false)));
    }
}

#[test]
fn a_card_that_lapsed_before_its_last_words_is_written_as_a_whole() {
    let host = host();
    let opened = opened(&host, "one");
    refuses(&host, 200_850);
    done(&host, json!({}));
    assert_eq!(finish(&host, opened, "the end"), Ok(vec!["om_reply".into()]));
    assert_eq!(lines(&host)[2..], [WRITE, REWRITE]);
}

#[test]
fn the_last_words_reach_the_person_though_the_card_is_lost() {
    for code in [300_305, 99_991_672, 300_309] {
        let host = host();
        let opened = opened(&host, "one");
        refuses(&host, code);
        refuses(&host, code);
        done(&host, json!({ "message_id": "om_new" }));
        assert_eq!(finish(&host, opened, "the end"), Ok(vec!["om_new".into()]), "{code}");
        assert_eq!(lines(&host)[2..], [WRITE, REWRITE, REPLY]);
        assert_eq!(words(&inner(&body(host.sent().last().unwrap()), "content")), "the end");
    }
}

#[test]
fn a_card_that_will_not_close_still_has_its_words() {
    let host = host();
    let opened = opened(&host, "one");
    done(&host, json!({}));
    refuses(&host, 300_309);
    assert_eq!(finish(&host, opened, "the end"), Ok(vec!["om_reply".into()]));
    assert_eq!(lines(&host)[2..], [WRITE, SETTINGS]);
}

#[test]
fn an_app_that_may_not_use_growing_cards_replaces_one() {
    let host = host();
    host.respond_json(400, r#"{"code":99991672,"msg":"Access denied. One of the following scopes is required: [cardkit:card:write]"}"#);
    done(&host, json!({ "message_id": "om_reply" }));
    let placed = update(vec![], "");
    assert_eq!(update(placed.clone(), "one"), placed, "not so soon");
    host.step_ms(1_500);
    done(&host, json!({}));
    let replaced = update(placed, "one");
    done(&host, json!({}));
    assert_eq!(finish(&host, replaced, "one two"), Ok(vec!["om_reply".into()]));
    assert_eq!(lines(&host), [CREATE, REPLY, REPLACE, REPLACE]);
    let card = inner(&body(&host.sent()[3]), "content");
    assert_eq!((words(&card), &card["config"]["update_multi"]), ("one two", &json!(true)));
    let told = host.lines().iter().any(|line| format!("{line:?}").contains("cardkit:card:write"));
    assert!(told, "the operator learns which permission is missing");
    // The next reply does not ask again, for a while.
    done(&host, json!({ "message_id": "om_next" }));
    Feishu.update(&address(), "another", vec![], "").unwrap();
    assert_eq!(lines(&host).last().unwrap(), REPLY);
    host.step_ms(600_000);
    done(&host, json!({ "card_id": "card_2" }));
    Feishu.update(&address(), "third", vec![], "").unwrap();
    assert_eq!(lines(&host)[5..], [CREATE]);
}

#[test]
fn a_card_of_a_form_that_is_refused_goes_as_plain_text() {
    let host = host();
    refuses(&host, 230_099);
    done(&host, json!({ "message_id": "om_text" }));
    assert_eq!(finish(&host, vec![], "| a |\n|---|\n"), Ok(vec!["om_text".into()]));
    let bodies: Vec<Json> = host.sent().iter().map(body).collect();
    assert_eq!((&bodies[0]["msg_type"], &bodies[1]["msg_type"]), (&json!("interactive"), &json!("text")));
    assert_eq!(inner(&bodies[1], "content"), json!({ "text": "| a |\n|---|" }));
    assert_ne!(bodies[0]["uuid"], bodies[1]["uuid"]);
    let host = self::host();
    refuses(&host, 230_099).respond_json(400, "{\"code\":230022,\"msg\":\"sensitive\"}");
    assert_eq!(finish(&host, vec![], "x"), Err(FaultKind::Invalid));
}

#[test]
fn replies_are_plain_text_where_the_operator_wants_it() {
    let host = host().setting("reply", "\"text\"");
    assert!(Feishu.update(&address(), KEY, vec![], "").unwrap().is_empty());
    done(&host, json!({ "message_id": "om_text" }));
    finish(&host, vec![], "hi").unwrap();
    assert_eq!(body(&host.sent()[0])["msg_type"], "text");
}

#[test]
fn a_long_reply_goes_on_in_further_cards_that_fit() {
    let texts = ["你好，世界。".repeat(4000), "\"quoted\" \\ \n".repeat(4000), "👨‍👩‍👧‍👦".repeat(3000)];
    for text in texts {
        let host = host();
        let opened = opened(&host, &text);
        for _ in 0..50 {
            done(&host, json!({ "message_id": "om_part" }));
        }
        let ids = finish(&host, opened, &text).unwrap();
        assert!(ids.len() > 1);
        assert_eq!(lines(&host)[2], SETTINGS, "what was shown is the first part");
        let sent = host.sent();
        let mut whole = words(&inner(&body(&sent[0]), "data")).to_owned();
        for sent in &sent[3..] {
            let content = body(sent)["content"].as_str().unwrap().to_owned();
            assert!(content.len() <= 30_000, "{} bytes", content.len());
            whole.push_str(words(&serde_json::from_str(&content).unwrap()));
        }
        let bare = |text: &str| text.replace([' ', '\n'], "");
        assert_eq!(bare(&whole), bare(&text));
        let mut uuids: Vec<String> = sent[3..].iter().map(|sent| body(sent)["uuid"].to_string()).collect();
        uuids.dedup();
        assert_eq!(uuids.len(), sent.len() - 3, "each part has a key of its own");
    }
}

#[test]
fn a_fence_is_closed_and_opened_again_at_a_cut() {
    let host = host();
    for _ in 0..10 {
        done(&host, json!({ "message_id": "om_part" }));
    }
    finish(&host, vec![], &format!("```rust\n{}\n```\nend", "let a = 1;\n".repeat(4000))).unwrap();
    let parts: Vec<String> =
        host.sent().iter().map(|sent| words(&inner(&body(sent), "content")).to_owned()).collect();
    assert!(parts.len() > 1);
    assert!(parts.iter().all(|part| part.matches("```").count().is_multiple_of(2)), "{parts:?}");
}

#[test]
fn a_model_can_mention_nobody() {
    for text in [
        "<at id=all></at>",
        "<at user_id=\"all\">x</at>",
        "<AT ids=ou_1>",
        "< at id=all>",
        "<person id=ou_1>",
        "<at>",
    ] {
        for as_text in [false, true] {
            let host = if as_text { host().setting("reply", "\"text\"") } else { host() };
            done(&host, json!({ "message_id": "om" }));
            finish(&host, vec![], text).unwrap();
            let content = inner(&body(&host.sent()[0]), "content");
            let shown = content["text"].as_str().unwrap_or_else(|| words(&content)).to_owned();
            assert!(shown.starts_with("<\u{200b}"), "{shown:?}");
        }
    }
    let host = host();
    done(&host, json!({ "message_id": "om" }));
    finish(&host, vec![], "a < atom, <attr>").unwrap();
    assert!(host.sent()[0].body_text().contains("a < atom, <attr>"), "other words stay as they are");
}

/// A card with a picture that is not the platform's own is refused as a whole.
#[test]
fn pictures_become_links_but_not_in_code() {
    let host = host();
    done(&host, json!({ "message_id": "om" }));
    finish(&host, vec![], "![cat](https://example.com/cat.png)\n```md\n![cat](x)\n```\n![dog](y)").unwrap();
    let card = inner(&body(&host.sent()[0]), "content");
    assert_eq!(words(&card), "[cat](https://example.com/cat.png)\n```md\n![cat](x)\n```\n[dog](y)");
}

#[test]
fn a_title_stands_above_and_an_empty_reply_sends_nothing() {
    let host = host();
    done(&host, json!({ "message_id": "om" }));
    let reply = Reply { title: Some("Head".into()), ..Reply::new("body") };
    host.deliver(&Feishu, &address(), KEY, &reply).unwrap();
    assert_eq!(words(&inner(&body(&host.sent()[0]), "content")), "**Head**\n\nbody");
    let host = self::host();
    assert_eq!(finish(&host, vec![], ""), Ok(vec![]));
    assert!(host.sent().is_empty());
    let opened = opened(&host, "");
    done(&host, json!({}));
    finish(&host, opened, "").unwrap();
    assert_eq!(lines(&host)[2..], [SETTINGS], "a card that stands is closed all the same");
}

#[test]
fn a_stale_token_is_renewed_once() {
    for code in [99_991_663, 99_991_668, 99_991_677] {
        let host = host();
        refuses(&host, code);
        done(&host, json!({ "message_id": "om" }));
        assert_eq!(finish(&host, vec![], "hi"), Ok(vec!["om".into()]));
        assert_eq!(host.expired_tokens(), ["tenant_token_feishu"]);
        let host = self::host();
        refuses(&host, code);
        refuses(&host, code);
        assert_eq!(finish(&host, vec![], "hi"), Err(FaultKind::Unauthorized));
        assert_eq!(host.expired_tokens().len(), 1);
    }
    let host = host();
    refuses(&host, 99_991_663);
    done(&host, json!({ "card_id": "card_1" }));
    update(vec![], "");
    assert_eq!(lines(&host), [CREATE, CREATE], "an update does not wait for the next one");
}

#[test]
fn what_the_platform_answers_decides_about_a_retry() {
    let cases = [
        (400, 230_020, FaultKind::Throttled),
        (400, 11_232, FaultKind::Throttled),
        (429, 99_991_400, FaultKind::Throttled),
        (400, 230_011, FaultKind::Gone),
        (400, 231_003, FaultKind::Gone),
        (200, 230_002, FaultKind::Gone),
        (400, 99_991_672, FaultKind::Unauthorized),
        (400, 230_006, FaultKind::Unauthorized),
        (500, 2_200, FaultKind::Unavailable),
        (500, 12_345, FaultKind::Unavailable),
    ];
    for (status, code, kind) in cases {
        let host = host();
        host.respond_json(status, &json!({ "code": code, "msg": "secret words" }).to_string());
        let fault = Feishu.finish(&address(), KEY, b"", &Reply::new("hi")).unwrap_err();
        assert_eq!(fault.kind, kind, "{status} {code}");
        assert!(fault.reason.contains(&code.to_string()) && !fault.reason.contains("secret words"));
        assert_eq!(fault.retry_after_ms.is_some(), kind == FaultKind::Throttled);
    }
    for (status, kind) in
        [(502, FaultKind::Unavailable), (429, FaultKind::Throttled), (403, FaultKind::Unauthorized)]
    {
        let host = host();
        host.respond_json(status, "<html>");
        assert_eq!(finish(&host, vec![], "hi"), Err(kind), "{status}");
    }
}

#[test]
fn the_platform_says_when_its_rate_is_free_again_and_which_permission_is_missing() {
    let host = host();
    let response = HttpResponse {
        body: b"{\"code\":99991400,\"msg\":\"frequency\"}".to_vec(),
        ..HttpResponse::new(429)
    };
    host.respond(Ok(response.with_header("x-ogw-ratelimit-reset", "17")));
    let fault = Feishu.finish(&address(), KEY, b"", &Reply::new("hi")).unwrap_err();
    assert_eq!((fault.kind, fault.retry_after_ms), (FaultKind::Throttled, Some(17_000)));
    let msg = "Access denied. One of the following scopes is required: [im:message, im:message:send_as_bot]. 应用尚未开通";
    host.respond_json(400, &json!({ "code": 99_991_672, "msg": msg }).to_string());
    let fault = Feishu.finish(&address(), KEY, b"", &Reply::new("hi")).unwrap_err();
    assert!(fault.reason.contains("im:message, im:message:send_as_bot"), "{}", fault.reason);
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, reason: "no response".into(), request_sent: true, retry_after_ms: None }
}

/// A reply has a key, so that it may be sent again; the group robot's has none.
#[test]
fn a_request_that_may_have_got_through_is_repeated_where_that_does_no_harm() {
    let host = host().secret("robot_token", "TOK");
    for (address, kind) in [(address(), FaultKind::Unavailable), (vec![], FaultKind::Uncertain)] {
        host.respond(Err(failure(FailureKind::TimedOut)));
        let fault = Feishu.finish(&address, KEY, b"", &Reply::new("hi")).unwrap_err();
        assert_eq!(fault.kind, kind);
    }
}

#[test]
fn the_group_robot_signs_as_two_libraries_sign() {
    let file: Json = serde_json::from_str(include_str!("fixtures/feishu.json")).unwrap();
    let rows =
        file["vectors"].as_array().unwrap().iter().filter(|row| row["algo"] == "feishu-custom-bot-sign");
    let mut signs = 0;
    for row in rows.filter(|row| row["inputs"]["timestamp_s"].is_string()) {
        let seconds: u64 = row["inputs"]["timestamp_s"].as_str().unwrap().parse().unwrap();
        let host = Host::new()
            .clock_ms(seconds * 1000 + 999)
            .secret("robot_secret", row["inputs"]["secret"].as_str().unwrap())
            .secret("robot_token", "TOK");
        host.respond_json(200, "{\"code\":0,\"msg\":\"success\",\"data\":{}}");
        host.deliver(&Feishu, b"", KEY, &Reply::new("hi")).unwrap();
        let sent = &host.sent()[0];
        assert_eq!(sent.url, "https://open.feishu.cn/open-apis/bot/v2/hook/${secret:robot_token}");
        let body = body(sent);
        assert_eq!(body["timestamp"], row["inputs"]["timestamp_s"], "seconds, as text");
        let expected = row["expected"].get("sign").or(row["inputs"].get("sign"));
        if let Some(sign) = expected {
            assert_eq!(&body["sign"], sign, "{}", row["id"]);
            signs += 1;
        }
        assert_ne!(Some(&body["sign"]), row["expected"].get("sign_must_not_be"));
        assert_eq!((&body["msg_type"], words(&body["card"])), (&json!("interactive"), "hi"));
    }
    assert_eq!(signs, 5);
}

#[test]
fn the_group_robots_answers_decide_about_a_retry() {
    let cases = [
        (200, "{\"code\":19021,\"msg\":\"sign match fail\"}", FaultKind::Unauthorized),
        (200, "{\"code\":19022}", FaultKind::Unauthorized),
        (200, "{\"code\":19024}", FaultKind::Unauthorized),
        (200, "{\"code\":19001}", FaultKind::Unauthorized),
        (200, "{\"code\":11232}", FaultKind::Throttled),
        (200, "{\"code\":1}", FaultKind::Other),
        (502, "", FaultKind::Uncertain),
        (503, "", FaultKind::Unavailable),
    ];
    for (status, answer, kind) in cases {
        let host = host();
        host.respond_json(status, answer);
        assert_eq!(Feishu.finish(b"", KEY, b"", &Reply::new("hi")).unwrap_err().kind, kind, "{answer}");
    }
    let host = host();
    host.respond_json(200, "{\"code\":9499,\"msg\":\"Bad Request\"}").respond_json(200, "{\"StatusCode\":0}");
    host.deliver(&Feishu, b"", KEY, &Reply::new("hi")).unwrap();
    let bodies: Vec<Json> = host.sent().iter().map(body).collect();
    assert_eq!(
        (bodies[1]["msg_type"].as_str(), &bodies[1]["content"]),
        (Some("text"), &json!({ "text": "hi" }))
    );
    assert!(bodies[0].get("sign").is_none(), "a robot without a secret gets no sign");
}

#[test]
fn long_messages_of_the_group_robot_fit_and_all_replies_go_there_if_the_operator_says_so() {
    let host = host().setting("destination", "\"group-robot\"");
    assert!(Feishu.update(&address(), KEY, vec![], "").unwrap().is_empty());
    for _ in 0..20 {
        host.respond_json(200, "{\"code\":0}");
    }
    host.deliver(&Feishu, &address(), KEY, &Reply::new("你好\"\n".repeat(6000))).unwrap();
    assert!(host.sent().len() > 1);
    assert!(
        host.sent().iter().all(|sent| sent.body_text().len() <= 20_000 && sent.url.contains("/bot/v2/hook/"))
    );
}
