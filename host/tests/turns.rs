//! Whole turns through the real binary: from a platform's request to what a person sees, and what a log must
//! not tell (each `Host` looks through its own when it is dropped).
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Envelope, Host, Model, Platform, Settings, Way, client, eventually, fickle};

/// Long enough for a second answer to show up if there were one.
const MOMENT: Duration = Duration::from_millis(300);
const TEAM: &str = "/webhook/team";
const HOOK: &str = "/webhook/hook";

/// A host with the platform's channel `team` and a model.
async fn team() -> (Host, Platform, Model) {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let host = Host::start(&model.join(platform.join(Settings::new()))).await;
    (host, platform, model)
}

/// A host with the generic webhook's channel `hook` and a model.
async fn hook(own: Value, is_pushed: bool) -> (Host, Platform, Model) {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let host = Host::start(&model.join(platform.join_webhook(Settings::new(), own, is_pushed))).await;
    (host, platform, model)
}

async fn sees(platform: &Platform, conversation: &str, messages: usize) -> Vec<String> {
    eventually(&format!("{messages} messages in `{conversation}`"), || {
        let seen = platform.seen(conversation);
        (seen.len() >= messages).then_some(seen)
    })
    .await
}

#[tokio::test]
async fn a_signed_callback_gets_one_answer() {
    let (host, platform, model) = team().await;
    assert_eq!(platform.direct("ann", "canary one").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(sees(&platform, "ann", 1).await, [Model::answer_to("canary one")]);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(platform.seen("ann").len(), 1);
    assert_eq!(model.times_asked("canary one"), 1);
    assert_eq!(platform.seen_by("ann")[0].way, Way::Session);
    assert!(platform.codes().is_empty(), "{:?}", platform.codes());
}

#[tokio::test]
async fn who_is_not_the_platform_is_refused_and_nothing_happens() {
    let (host, platform, model) = team().await;
    let honest = platform.direct("ann", "canary stolen");
    let refused = async |callback: &support::Callback| {
        assert_eq!(callback.post(&host.url(TEAM)).await, Some(401));
    };
    let mut forged = honest.clone();
    forged.sign = support::robot_sign("another secret", &forged.timestamp);
    refused(&forged).await;
    let another: u64 = honest.timestamp.parse::<u64>().unwrap() + 1;
    let moved = support::Callback { timestamp: another.to_string(), ..honest.clone() };
    refused(&moved).await;
    let hour = Duration::from_secs(3600).as_millis() as u64;
    refused(&platform.signed("stale".to_owned(), honest.body.clone(), support::now_ms() - hour - 1000)).await;
    refused(&platform.signed("early".to_owned(), honest.body.clone(), support::now_ms() + hour + 5000)).await;
    let unsigned = client().post(host.url(TEAM)).body(honest.body.to_string()).send().await.unwrap();
    assert_eq!(unsigned.status(), 401);
    tokio::time::sleep(MOMENT).await;
    assert_eq!((platform.seen_in_all(), model.asked().len()), (0, 0));
    assert!(host.lines_with("message stored").is_empty());
    assert_eq!(host.lines_with("\"security\"").len(), 5, "each refusal is in the log for security");
}

#[tokio::test]
async fn a_repeat_is_acknowledged_and_not_answered_again() {
    let (mut host, platform, model) = team().await;
    let callback = platform.direct("ann", "canary once");
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 1).await;
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    host.restart().await;
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200), "its id outlives the process");
    assert_eq!(platform.direct("ann", "canary next").post(&host.url(TEAM)).await, Some(200));
    let seen = sees(&platform, "ann", 2).await;
    assert_eq!(seen, [Model::answer_to("canary once"), Model::answer_to("canary next")]);
    assert_eq!(model.times_asked("canary once"), 1);
}

#[tokio::test]
async fn a_conversation_keeps_its_order_and_holds_up_no_other() {
    let (host, platform, model) = team().await;
    model.hold("canary first");
    for text in ["canary first", "canary second", "canary third"] {
        assert_eq!(platform.group("ours", text).post(&host.url(TEAM)).await, Some(200));
    }
    eventually("the first turn asks", || (model.times_asked("canary first") == 1).then_some(())).await;
    assert_eq!(platform.group("theirs", "canary aside").post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "theirs", 1).await;
    assert!(platform.seen("ours").is_empty());
    assert_eq!(model.times_asked("canary second"), 0, "the second turn waits for the first");
    model.release("canary first");
    let seen = sees(&platform, "ours", 3).await;
    for (seen, text) in seen.iter().zip(["canary first", "canary second", "canary third"]) {
        assert!(seen.ends_with(&Model::answer_to(text)), "{seen:?} is the answer to {text:?}");
    }
}

#[tokio::test]
async fn what_was_said_reaches_the_model_in_the_next_turn() {
    let (mut host, platform, model) = team().await;
    assert_eq!(platform.direct("ann", "canary my name is Ann").post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 1).await;
    host.restart().await;
    assert_eq!(platform.direct("bob", "canary I am Bob").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(platform.direct("ann", "canary who am I").post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 2).await;
    let asked = model.asked();
    let prompt = asked.iter().find(|prompt| prompt.to_string().contains("who am I")).unwrap();
    let said: Vec<_> =
        prompt.as_array().unwrap().iter().skip(1).map(|said| (&said["role"], &said["content"])).collect();
    let answer = json!(Model::answer_to("canary my name is Ann"));
    assert_eq!(
        said,
        [
            (&json!("user"), &json!("canary my name is Ann")),
            (&json!("assistant"), &answer),
            (&json!("user"), &json!("canary who am I")),
        ]
    );
}

#[tokio::test]
async fn a_session_that_has_expired_is_replaced_by_the_api_and_one_token() {
    let (host, platform, _model) = team().await;
    let callbacks: Vec<_> = ["ann", "bob", "eve"].map(|person| platform.direct(person, "canary late")).into();
    let grouped = platform.group("ours", "canary late");
    platform.end_sessions();
    for callback in callbacks.iter().chain([&grouped]) {
        assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    }
    for person in ["ann", "bob", "eve"] {
        assert_eq!(sees(&platform, person, 1).await, [Model::answer_to("canary late")]);
        assert_eq!(platform.seen_by(person)[0].way, Way::Direct);
    }
    sees(&platform, "ours", 1).await;
    assert_eq!(platform.seen_by("ours")[0].way, Way::Group);
    assert_eq!(platform.mints(), 1, "one token for all");
    assert_eq!(platform.codes(), vec![json!(300_001); 4], "each tried its session first, and once");
}

#[tokio::test]
async fn a_session_near_its_end_is_not_tried() {
    let (host, platform, _model) = team().await;
    let mut callback = platform.direct("ann", "canary late");
    callback.body["sessionWebhookExpiredTime"] = json!(support::now_ms() + 30_000);
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 1).await;
    assert_eq!(platform.seen_by("ann")[0].way, Way::Direct);
    assert!(platform.codes().is_empty());
}

#[tokio::test]
async fn a_group_robot_signs_what_it_sends() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_as(Settings::new(), "team", json!({ "destination": "group-robot" }));
    let host = Host::start(&model.join(settings)).await;
    assert_eq!(platform.group("ours", "canary aloud").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(sees(&platform, "robot", 1).await, [Model::answer_to("canary aloud")]);
    assert!(platform.codes().is_empty(), "{:?}", platform.codes());
}

/// A gateway's throttling, which says for how long.
#[tokio::test]
async fn an_answer_that_is_throttled_comes_later_and_once() {
    let (host, platform, model) = team().await;
    platform.refuse_with(429, Some(1), None);
    assert_eq!(platform.direct("ann", "canary patience").post(&host.url(TEAM)).await, Some(200));
    host.wait_for_line(&["it is tried again"]).await;
    assert!(platform.seen("ann").is_empty());
    assert_eq!(sees(&platform, "ann", 1).await, [Model::answer_to("canary patience")]);
    host.wait_for_line(&["turn ends", "delivered"]).await;
    assert_eq!(platform.seen("ann").len(), 1);
    assert_eq!(model.times_asked("canary patience"), 1, "the answer was stored");
}

/// The platform's own, which lasts a minute: the host's clock is set ahead by a restart.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_robot_that_sent_too_fast_waits_a_minute_and_does_not_forget() {
    let (mut host, platform, model) = team().await;
    platform.throttle_next();
    assert_eq!(platform.direct("ann", "canary patience").post(&host.url(TEAM)).await, Some(200));
    host.wait_for_line(&["it is tried again"]).await;
    host.restart().await;
    tokio::time::sleep(MOMENT).await;
    assert!(platform.seen("ann").is_empty(), "a restart does not cut the pause short");
    host.terminate();
    host.ended().await;
    host.run_with(&[("FAILPOINTS", "clock::ahead=return(61000)")]).await;
    assert_eq!(sees(&platform, "ann", 1).await, [Model::answer_to("canary patience")]);
    assert_eq!(model.times_asked("canary patience"), 1, "the answer was stored");
}

#[tokio::test]
async fn a_long_answer_comes_in_parts_and_each_of_them_once() {
    let (host, platform, model) = team().await;
    let words: Vec<String> = (0..3000).map(|number| format!("w{number}字")).collect();
    model.script("canary at length", &words.join(" "));
    assert_eq!(platform.direct("ann", "canary at length").post(&host.url(TEAM)).await, Some(200));
    host.wait_for_line(&["turn ends", "delivered"]).await;
    let seen = platform.seen("ann");
    assert!(seen.len() > 2, "{} parts", seen.len());
    let shown: Vec<&str> = seen.iter().flat_map(|part| part.split_whitespace()).collect();
    assert!(shown == words, "all words, each once and in order");
    assert!(platform.codes().is_empty(), "{:?}", platform.codes());
}

#[tokio::test]
async fn when_the_model_fails_for_good_the_person_is_told_in_his_language() {
    let (mut host, platform, model) = team().await;
    model.refuse("canary", 400, usize::MAX);
    assert_eq!(platform.direct("ann", "canary hello").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(platform.direct("bo", "你好 canary").post(&host.url(TEAM)).await, Some(200));
    let ann = sees(&platform, "ann", 1).await;
    assert_eq!(ann, ["Sorry, I cannot answer right now. Please try again later."]);
    assert_eq!(sees(&platform, "bo", 1).await, ["抱歉，我现在无法回答，请稍后再试。"]);
    host.restart().await;
    model.refuse("canary", 400, 0);
    assert_eq!(platform.direct("ann", "canary again").post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 2).await;
    let asked = model.asked();
    let last = asked.last().unwrap().to_string();
    assert!(!last.contains("Sorry"), "an apology enters no history: {last}");
}

#[tokio::test]
async fn a_model_that_stumbles_is_asked_again() {
    let (host, platform, model) = team().await;
    model.refuse("canary try", 503, 2);
    assert_eq!(platform.direct("ann", "canary try").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(sees(&platform, "ann", 1).await, [Model::answer_to("canary try")]);
    assert_eq!(model.times_asked("canary try"), 3);
}

#[tokio::test]
async fn the_generic_webhook_answers_in_the_response() {
    let (host, platform, model) = hook(json!({}), false).await;
    let envelope = Envelope::new("m1", "s1", "canary now");
    let (status, answer) = envelope.post(&host.url(HOOK)).await.unwrap();
    assert_eq!((status, &answer["reply"]), (200, &json!(Model::answer_to("canary now"))));
    assert_eq!(answer["finished"], true);
    let (status, again) = envelope.post(&host.url(HOOK)).await.unwrap();
    assert_eq!((status, again), (200, answer), "who asks again gets the same answer");
    assert_eq!(model.times_asked("canary now"), 1);
    assert_eq!(platform.seen_in_all(), 0);
}

#[tokio::test]
async fn who_could_not_wait_asks_again_and_gets_the_answer() {
    let (mut host, _platform, model) = hook(json!({ "wait_ms": 50 }), false).await;
    model.hold("canary slow");
    let envelope = Envelope::new("m1", "s1", "canary slow");
    let (status, answer) = envelope.post(&host.url(HOOK)).await.unwrap();
    assert_eq!((status, &answer["finished"]), (202, &json!(false)));
    model.release("canary slow");
    host.wait_for_line(&["turn ends", "held"]).await;
    host.restart().await;
    let (status, answer) = envelope.post(&host.url(HOOK)).await.unwrap();
    assert_eq!((status, &answer["reply"]), (200, &json!(Model::answer_to("canary slow"))));
    assert_eq!(model.times_asked("canary slow"), 1);
    Envelope::new("m2", "s1", "canary and then").post(&host.url(HOOK)).await.unwrap();
    eventually("the second turn asks", || (model.times_asked("canary and then") == 1).then_some(())).await;
    let prompt = model.asked().last().unwrap().to_string();
    assert!(prompt.contains("answer to <canary slow>"), "what was handed over is history: {prompt}");
}

/// WeChat's way: the platform hangs up after a few seconds and asks the same again, and what it is told meanwhile a
/// person would see.
#[tokio::test]
async fn a_line_is_held_until_the_platform_hangs_up_and_asks_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fickle.wasm"), fickle::release("first", "holds")).unwrap();
    let settings = Settings::new()
        .set("plugins.folder", folder.path().to_str().unwrap())
        .set("models", json!({ "echo": { "backend": "echo" } }))
        .set("default_model", "echo")
        .set("channels.team", json!({ "adapter": "fickle", "pipelines": [] }));
    let host = Host::start(&Settings { is_warm: false, ..settings }).await;
    let said = json!({ "id": "m1", "conversation": "ann", "text": "hello again" });
    let mut held = 0;
    let told: Value = loop {
        let asked = client().post(host.url("/webhook/team")).json(&said).timeout(Duration::from_secs(1));
        match asked.send().await {
            Ok(response) => break response.json().await.unwrap(),
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
        held += 1;
    };
    assert!(held >= 2, "the line was held {held} times");
    assert_eq!(told["text"], "hello again");
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_is_pushed() {
    let (host, platform, model) = hook(json!({ "wait_ms": 50 }), true).await;
    model.hold("canary slow");
    let (status, _) = Envelope::new("m1", "s1", "canary slow").post(&host.url(HOOK)).await.unwrap();
    assert_eq!(status, 202);
    model.release("canary slow");
    assert_eq!(sees(&platform, "s1", 1).await, [Model::answer_to("canary slow")]);
    let (status, answer) = Envelope::new("m2", "s1", "canary quick").post(&host.url(HOOK)).await.unwrap();
    if status == 200 {
        assert_eq!(answer["reply"], json!(Model::answer_to("canary quick")));
    } else {
        assert_eq!(sees(&platform, "s1", 2).await[1], Model::answer_to("canary quick"));
    }
    assert_eq!(model.times_asked("canary"), 2);
}

/// A host with the chat door open.
async fn chat() -> (Host, Model) {
    let model = Model::start().await;
    let settings = Settings::new().set("chat", json!({ "pipelines": ["assistant"] }));
    (Host::start(&model.join(settings)).await, model)
}

async fn ask(host: &Host, token: &str, body: Value) -> reqwest::Response {
    let request = client().post(host.url("/api/v1/chat")).bearer_auth(token);
    request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
}

#[tokio::test]
async fn the_chat_door_answers_as_json_and_as_events() {
    let (host, model) = chat().await;
    let token = host.token();
    let response = ask(&host, &token, json!({ "query": "canary hello", "session_id": "s" })).await;
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["reply"], json!(Model::answer_to("canary hello")));
    let response =
        ask(&host, &token, json!({ "query": "canary more", "session_id": "s", "stream": true })).await;
    let events = response.text().await.unwrap();
    let data: Vec<Value> = events
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let deltas: Vec<_> = data.iter().filter_map(|data| data["text"].as_str()).collect();
    assert!(!deltas.is_empty());
    assert_eq!(deltas.concat(), Model::answer_to("canary more"));
    assert_eq!(data.last().unwrap()["reply"], json!(Model::answer_to("canary more")));
    assert!(model.asked()[1].to_string().contains("canary hello"), "one session is one conversation");
    let stranger = client().post(host.url("/api/v1/chat")).body("{}").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn a_chat_client_that_leaves_ends_the_models_work() {
    let (host, model) = chat().await;
    let token = host.token();
    model.hold("canary slow");
    let mut response = ask(&host, &token, json!({ "query": "canary slow", "stream": true })).await;
    let first = response.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("answer"), "the first words came");
    drop(response);
    eventually("the model's caller leaves", || (model.left() == 1).then_some(())).await;
    host.wait_for_line(&["turn ends", "withdrawn"]).await;
}

#[tokio::test]
async fn a_shutdown_lets_the_turn_under_way_finish() {
    let (mut host, platform, model) = team().await;
    model.hold("canary slow");
    assert_eq!(platform.direct("ann", "canary slow").post(&host.url(TEAM)).await, Some(200));
    eventually("the turn asks", || (model.times_asked("canary slow") == 1).then_some(())).await;
    host.terminate();
    host.wait_for_line(&["signal: finishing"]).await;
    assert!(platform.seen("ann").is_empty());
    model.release("canary slow");
    assert!(host.ended().await.success());
    assert_eq!(platform.seen("ann"), [Model::answer_to("canary slow")]);
    assert!(host.lines_with("grace period").is_empty());
}

#[tokio::test]
async fn a_turn_that_outlasts_the_grace_period_goes_on_at_the_next_start() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = Settings::new().set("limits", json!({ "grace_period": "100ms" }));
    let mut host = Host::start(&model.join(platform.join(settings))).await;
    model.hold("canary slow");
    assert_eq!(platform.direct("ann", "canary slow").post(&host.url(TEAM)).await, Some(200));
    eventually("the turn asks", || (model.times_asked("canary slow") == 1).then_some(())).await;
    host.terminate();
    assert!(host.ended().await.success());
    assert_eq!(host.lines_with("grace period is over").len(), 1);
    model.release("canary slow");
    host.run().await;
    assert_eq!(sees(&platform, "ann", 1).await, [Model::answer_to("canary slow")]);
}

#[tokio::test]
async fn the_callers_request_id_follows_a_turn_into_every_line() {
    let (host, platform, _model) = team().await;
    let mut callback = platform.direct("ann", "canary trace");
    // The adapter logs that this address is none of the platform's, and answers by the API instead.
    callback.body["sessionWebhook"] = json!("https://example.com/robot/sendBySession?session=1");
    callback.request_id = Some("trace-7.42".to_owned());
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 1).await;
    for part in
        ["answered", "message stored", "a callback names a session webhook", "turn begins", "turn ends"]
    {
        let line = host.wait_for_line(&["trace-7.42", part]).await;
        let fields: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(fields["http.request.id"], "trace-7.42", "{line}");
    }
    let plugins_line = host.lines_with("a callback names a session webhook").remove(0);
    assert!(plugins_line.contains("\"labels.plugin\""), "{plugins_line}");
}

#[tokio::test]
async fn a_canary_in_the_log_is_found() {
    let (host, _platform, _model) = team().await;
    let id = "request-canary-1";
    client().get(host.url("/health")).header("x-request-id", id).send().await.unwrap();
    client().get(host.url("/nothing")).header("x-request-id", id).send().await.unwrap();
    host.wait_for_line(&[id]).await;
    let search = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(host)));
    assert!(search.is_err(), "the search through the log finds what it looks for");
}

/// Neither the host nor the platform can tell whether it came through: one repeat, and no more.
#[tokio::test]
async fn a_message_that_may_have_come_through_is_sent_once_more_at_most() {
    let (host, platform, _model) = team().await;
    platform.garble(true);
    assert_eq!(platform.direct("ann", "canary echo").post(&host.url(TEAM)).await, Some(200));
    host.wait_for_line(&["turn ends", "\"dead\""]).await;
    assert_eq!(platform.seen("ann").len(), 2);
    platform.garble(false);
    assert_eq!(platform.direct("ann", "canary next").post(&host.url(TEAM)).await, Some(200));
    let seen = sees(&platform, "ann", 3).await;
    assert_eq!(seen[2], Model::answer_to("canary next"), "a dead turn holds up nobody");
}

/// Found by the simulation: a question that failed once took one of the attempts at the delivery with it.
#[tokio::test]
async fn a_question_that_failed_is_no_failed_delivery() {
    const TRIES_OF_ONE_QUESTION: usize = 4;
    let (host, platform, model) = team().await;
    model.refuse("canary stumble", 503, TRIES_OF_ONE_QUESTION);
    platform.garble(true);
    assert_eq!(platform.direct("ann", "canary stumble").post(&host.url(TEAM)).await, Some(200));
    host.wait_for_line(&["turn ends", "\"dead\""]).await;
    assert_eq!(platform.seen("ann").len(), 2, "as many attempts as without");
    assert_eq!(model.times_asked("canary stumble"), TRIES_OF_ONE_QUESTION + 1);
}

#[tokio::test]
async fn a_session_that_ends_between_two_parts_is_replaced_for_the_rest() {
    let (host, platform, model) = team().await;
    let parts: Vec<String> = (1..=3).map(|part| format!("part {part} {}", "字".repeat(3000))).collect();
    model.script("canary at length", &parts.join("\n\n"));
    platform.mute(true);
    assert_eq!(platform.direct("ann", "canary at length").post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 1).await;
    platform.end_sessions();
    platform.mute(false);
    host.wait_for_line(&["turn ends", "delivered"]).await;
    let seen = platform.seen_by("ann");
    assert_eq!(
        seen.iter().map(|seen| seen.way).collect::<Vec<_>>(),
        [Way::Session, Way::Direct, Way::Direct]
    );
    assert!(
        seen.iter().zip(&parts).all(|(seen, part)| seen.text.contains(&part[..6])),
        "each once, in order"
    );
}

#[tokio::test]
async fn a_token_that_the_platform_forgot_is_minted_anew_once() {
    let (host, platform, _model) = team().await;
    for (person, mints) in [("ann", 1), ("bob", 2)] {
        let callback = platform.direct(person, "canary late");
        platform.end_sessions();
        assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
        assert_eq!(sees(&platform, person, 1).await, [Model::answer_to("canary late")]);
        assert_eq!(platform.mints(), mints);
        // A token that is younger than a second counts as somebody's new one.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        platform.forget_tokens();
    }
}

/// A platform gives one message's id to every robot that it is for.
#[tokio::test]
async fn one_message_to_two_channels_is_answered_by_both() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_as(platform.join(Settings::new()), "other", json!({}));
    let host = Host::start(&model.join(settings)).await;
    let callback = platform.group("ours", "canary both");
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    assert_eq!(callback.post(&host.url("/webhook/other")).await, Some(200));
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ours", 2).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!((platform.seen("ours").len(), model.times_asked("canary both")), (2, 2));
}

#[tokio::test]
async fn a_turn_that_takes_too_long_ends_with_an_apology() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join(Settings::new()).set("channels.team.limits", json!({ "time": "300ms" }));
    let host = Host::start(&model.join(settings)).await;
    model.hold("canary endless");
    assert_eq!(platform.direct("ann", "canary endless").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(
        sees(&platform, "ann", 1).await,
        ["Sorry, I cannot answer right now. Please try again later."]
    );
    eventually("the model's caller leaves", || (model.left() == 1).then_some(())).await;
    host.wait_for_line(&["turn ends", "apologised"]).await;
}

/// The search through the store's files finds what it looks for.
#[tokio::test]
async fn a_secret_in_the_store_is_found() {
    let (host, platform, _model) = team().await;
    assert_eq!(platform.direct("ann", "canary one").post(&host.url(TEAM)).await, Some(200));
    sees(&platform, "ann", 1).await;
    std::fs::write(host.data().join("stray"), "a secret-canary").unwrap();
    let search = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(host)));
    assert!(search.is_err());
}
