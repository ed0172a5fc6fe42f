//! Limits through the real binary: who is over one hears so in plain words and when to come back, and nothing
//! that was acknowledged is passed over in silence.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use serde_json::{Value, json};
use support::{Envelope, Host, Model, Platform, Settings, client, eventually};

const TEAM: &str = "/webhook/team";
const HOOK: &str = "/webhook/hook";
const CHAT: &str = "/api/v1/chat";
/// No test lasts as long: what is used up stays used up.
const SELDOM: &str = "1/1h";

async fn sees(platform: &Platform, conversation: &str, messages: usize) -> Vec<String> {
    eventually(&format!("{messages} messages in `{conversation}`"), || {
        let seen = platform.seen(conversation);
        (seen.len() >= messages).then_some(seen)
    })
    .await
}

/// Status, `Retry-After` in seconds, and the body.
async fn answer_of(request: reqwest::RequestBuilder) -> (u16, Option<u64>, Value) {
    let response = request.send().await.unwrap();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    let status = response.status().as_u16();
    (status, retry_after, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

fn ask(host: &Host, token: &str, query: &str) -> reqwest::RequestBuilder {
    client().post(host.url(CHAT)).bearer_auth(token).body(json!({ "query": query }).to_string())
}

fn token_of(host: &Host, person: &str) -> String {
    let output = host.output(&["token", "--subject", person]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn figures(host: &Host) -> String {
    let output = host.output(&["token", "--scope", "metrics:read"]);
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    client().get(host.url("/metrics")).bearer_auth(token).send().await.unwrap().text().await.unwrap()
}

fn refused(answer: &(u16, Option<u64>, Value), status: u16, code: &str) -> String {
    assert_eq!((answer.0, answer.2["error"]["code"].as_str()), (status, Some(code)), "{answer:?}");
    answer.2["error"]["message"].as_str().unwrap().to_owned()
}

async fn chat(limits: Value) -> (Host, Model) {
    let model = Model::start().await;
    let settings = model.join(Settings::new()).set("chat", json!({ "pipelines": [], "limits": limits }));
    (Host::start(&settings).await, model)
}

#[tokio::test]
async fn a_webhook_too_many_gets_429_and_is_answered_when_the_platform_brings_it_again() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new()));
    let host = Host::start(&settings.set("channels.team.limits", json!({ "rate": "2/3s" }))).await;
    let mut late = Vec::new();
    for number in 0..4 {
        let callback = platform.direct(&format!("person {number}"), &format!("canary {number}"));
        match callback.post(&host.url(TEAM)).await {
            Some(200) => {}
            Some(429) => late.push((number, callback)),
            other => panic!("{other:?}"),
        }
    }
    assert!(!late.is_empty(), "four at once are more than two");
    for (_, callback) in &late {
        assert!(callback.deliver(host.whereabouts(), TEAM).await.unwrap() >= 1);
    }
    for number in 0..4 {
        let seen = sees(&platform, &format!("person {number}"), 1).await;
        assert_eq!(seen, [Model::answer_to(&format!("canary {number}"))]);
    }
    let figures = figures(&host).await;
    assert!(figures.contains("parlor_limited_total{channel=\"team\",limit=\"client\"}"), "{figures}");
}

#[tokio::test]
async fn a_flood_from_elsewhere_uses_up_nothing_of_the_platforms() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new()));
    let settings = settings
        .set("channels.team.limits", json!({ "rate": SELDOM, "burst": 3 }))
        .set("trusted_proxies", json!(["127.0.0.1"]));
    let host = Host::start(&settings).await;
    let from = |address: &str| client().post(host.url(TEAM)).header("x-forwarded-for", address);
    let mut answers = Vec::new();
    for number in 0..10 {
        answers.push(answer_of(from(&format!("2001:db8::{number}")).body("garbage")).await);
    }
    assert!(answers[..3].iter().all(|answer| answer.0 == 401), "{answers:?}");
    for answer in &answers[3..] {
        let said = refused(answer, 429, "rate_limited");
        assert!(said.starts_with("too many requests from your address"), "one site is one client: {said}");
        assert!((3500..=3600).contains(&answer.1.unwrap()), "{answer:?}");
    }
    let honest = async |number: usize| {
        let callback = platform.direct(&format!("person {number}"), &format!("canary {number}"));
        let request = from(&format!("203.0.113.{number}")).header("timestamp", &callback.timestamp);
        answer_of(request.header("sign", &callback.sign).body(callback.body.to_string())).await
    };
    for number in 0..3 {
        assert_eq!(honest(number).await.0, 200);
    }
    let answer = honest(3).await;
    assert!(
        refused(&answer, 429, "rate_limited").starts_with("too many requests to this channel"),
        "{answer:?}"
    );
    for number in 0..3 {
        let seen = sees(&platform, &format!("person {number}"), 1).await;
        assert_eq!(seen, [Model::answer_to(&format!("canary {number}"))]);
    }
    assert!(platform.seen("person 3").is_empty() && host.lines_with("message stored").len() == 3);
}

#[tokio::test]
async fn a_person_over_the_limit_is_told_once_and_holds_up_nobody() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let limits = json!({ "person_rate": SELDOM, "person_burst": 2 });
    let settings = model.join(platform.join(Settings::new())).set("channels.team.limits", limits);
    let mut host = Host::start(&settings).await;
    for number in 0..6 {
        let callback = platform.direct("ann", &format!("canary {number}"));
        assert_eq!(callback.post(&host.url(TEAM)).await, Some(200), "stored, whoever writes it");
        assert_eq!(callback.post(&host.url(TEAM)).await, Some(200), "a repeat is not counted again");
    }
    assert_eq!(platform.direct("bob", "canary 消息").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(sees(&platform, "bob", 1).await, [Model::answer_to("canary 消息")]);
    eventually("all turns end", || (host.lines_with("turn ends").len() >= 7).then_some(())).await;
    let seen = platform.seen("ann");
    assert_eq!(seen[..2], [Model::answer_to("canary 0"), Model::answer_to("canary 1")]);
    assert!(seen[2].starts_with("You are asking faster than I may answer. Please ask again in "), "{seen:?}");
    assert_eq!(
        (seen.len(), model.asked().len()),
        (3, 3),
        "one sentence for four messages, and no model is asked"
    );
    for number in 2..5 {
        assert_eq!(
            platform.direct("bob", &format!("canary 第{number}")).post(&host.url(TEAM)).await,
            Some(200)
        );
    }
    let seen = sees(&platform, "bob", 3).await;
    assert!(seen[2].starts_with("你发得太快了，请等 "), "in the language that he writes: {seen:?}");
    let figures = figures(&host).await;
    assert!(figures.contains("parlor_limited_total{channel=\"team\",limit=\"person\"} 6"), "{figures}");
    assert_eq!(host.lines_with("over a limit").len(), 2, "once a minute for each person");
    host.restart().await;
    assert!(platform.seen("ann").len() == 3, "nothing is said again after a restart");
}

#[tokio::test]
async fn who_waits_on_the_line_is_told_each_time() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join_webhook(Settings::new(), json!({}), false));
    let limits = json!({ "person_rate": SELDOM });
    let host = Host::start(&settings.set("channels.hook.limits", limits)).await;
    let replies = async |id: &str| {
        let envelope = Envelope::new(id, "session", &format!("canary {id}"));
        let (status, answer) = envelope.post(&host.url(HOOK)).await.unwrap();
        assert_eq!(status, 200);
        answer["reply"].as_str().unwrap().to_owned()
    };
    assert_eq!(replies("m-1").await, Model::answer_to("canary m-1"));
    let told = replies("m-2").await;
    assert!(told.starts_with("You are asking faster than I may answer."), "{told}");
    assert!(replies("m-3").await.starts_with("You are asking faster"));
    assert_eq!(replies("m-1").await, Model::answer_to("canary m-1"), "a repeat gets what it got");
    assert_eq!(replies("m-2").await, told);
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn what_is_not_said_to_the_bot_takes_nothing_from_what_is() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new()));
    let host = Host::start(&settings.set("channels.team.limits", json!({ "person_rate": SELDOM }))).await;
    for number in 0..4 {
        let mut aside = platform.group("ours", &format!("canary aside {number}"));
        aside.body["isInAtList"] = json!(false);
        aside.body["atUsers"] = json!([]);
        assert_eq!(aside.post(&host.url(TEAM)).await, Some(200));
    }
    assert_eq!(platform.group("ours", "canary asked").post(&host.url(TEAM)).await, Some(200));
    eventually("all turns end", || (host.lines_with("turn ends").len() == 5).then_some(())).await;
    let seen = platform.seen("ours");
    assert!(seen.last().unwrap().ends_with(&Model::answer_to("canary asked")), "{seen:?}");
    assert!(
        !seen.iter().any(|seen| seen.contains("You are asking")),
        "nobody asked, nobody is told: {seen:?}"
    );
    assert!(model.times_asked("aside") <= 1, "asides are bounded as well");
}

#[tokio::test]
async fn a_person_a_token_and_the_door_each_have_a_rate() {
    for (limits, key_rate, said, limit) in [
        (json!({ "rate": SELDOM, "burst": 3 }), None, "too many requests to this channel", "channel"),
        (json!({ "person_rate": SELDOM, "person_burst": 3 }), None, "you ask faster than you may", "person"),
        (json!({}), Some(3), "too many requests with this token", "key"),
    ] {
        let model = Model::start().await;
        let mut settings =
            model.join(Settings::new()).set("chat", json!({ "pipelines": [], "limits": limits }));
        if let Some(burst) = key_rate {
            settings = settings.set("limits", json!({ "key_rate": SELDOM, "key_burst": burst }));
        }
        let host = Host::start(&settings).await;
        let (ann, ann_again, bob) =
            (token_of(&host, "ann-canary"), token_of(&host, "ann-canary"), token_of(&host, "bob-canary"));
        for number in 0..3 {
            let answer = answer_of(ask(&host, &ann, &format!("canary {number}"))).await;
            assert_eq!(answer.0, 200, "{answer:?}");
        }
        let answer = answer_of(ask(&host, &ann, "canary more")).await;
        assert!(refused(&answer, 429, "rate_limited").starts_with(said), "{answer:?}");
        assert!((3500..=3600).contains(&answer.1.unwrap()), "{answer:?}");
        assert_eq!(
            answer_of(ask(&host, &ann_again, "canary")).await.0,
            if limit == "key" { 200 } else { 429 }
        );
        assert_eq!(answer_of(ask(&host, &bob, "canary")).await.0, if limit == "channel" { 429 } else { 200 });
        assert_eq!(model.times_asked("canary more"), 0);
        let figures = figures(&host).await;
        assert!(
            figures.contains(&format!("limited_total{{channel=\"chat\",limit=\"{limit}\"}}")),
            "{figures}"
        );
    }
}

#[tokio::test]
async fn a_question_behind_too_many_is_refused_at_once() {
    let (host, model) = chat(json!({ "concurrent": 1, "queue": 1 })).await;
    let token = host.token();
    model.hold("canary held");
    let held = tokio::spawn(ask(&host, &token, "canary held").send());
    eventually("the first turn asks", || (model.times_asked("canary held") == 1).then_some(())).await;
    let waiting = tokio::spawn(ask(&host, &token, "canary waiting").send());
    eventually("the second one is stored", || (host.lines_with("message stored").len() == 2).then_some(()))
        .await;
    let answer = answer_of(ask(&host, &token, "canary third")).await;
    assert_eq!(refused(&answer, 503, "overloaded"), "too many questions are waiting; ask again in a moment");
    assert_eq!(answer.1, Some(5));
    model.release("canary held");
    for answered in [held, waiting] {
        assert_eq!(answered.await.unwrap().unwrap().status(), 200);
    }
    eventually("their places are free", || {
        let stored = host.lines_with("turn ends").len();
        (stored == 2).then_some(())
    })
    .await;
    assert_eq!(answer_of(ask(&host, &token, "canary fourth")).await.0, 200);
    let figures = figures(&host).await;
    assert!(figures.contains("parlor_limited_total{channel=\"chat\",limit=\"queue\"} 1"), "{figures}");
}

#[tokio::test]
async fn conversations_past_a_channels_bound_wait_and_hold_up_no_other_channel() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_webhook(platform.join(Settings::new()), json!({}), false);
    let settings = model.join(settings).set("channels.team.limits", json!({ "concurrent": 2 }));
    let host = Host::start(&settings).await;
    for person in ["ann", "bob", "cem"] {
        model.hold(&format!("canary {person}"));
        let callback = platform.direct(person, &format!("canary {person}"));
        assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    }
    eventually("two turns ask", || (model.asked().len() == 2).then_some(())).await;
    let aside = Envelope::new("m-1", "session", "canary aside").post(&host.url(HOOK)).await.unwrap();
    assert_eq!(aside.1["reply"], Model::answer_to("canary aside"), "the dispatcher goes on");
    assert_eq!(model.times_asked("canary cem"), 0, "two at a time");
    model.release("canary ann");
    sees(&platform, "ann", 1).await;
    eventually("the third asks", || (model.times_asked("canary cem") == 1).then_some(())).await;
    for person in ["bob", "cem"] {
        model.release(&format!("canary {person}"));
        assert_eq!(sees(&platform, person, 1).await, [Model::answer_to(&format!("canary {person}"))]);
    }
}

#[tokio::test]
async fn a_request_ends_in_its_time_whether_it_runs_or_waits() {
    let (host, model) = chat(json!({ "concurrent": 1, "time": "1s" })).await;
    let token = host.token();
    model.hold("canary");
    let both = [ask(&host, &token, "canary runs"), ask(&host, &token, "canary waits")].map(answer_of);
    for answer in futures_util::future::join_all(both).await {
        let said = refused(&answer, 504, "timed_out");
        assert_eq!(said, "there was no whole answer within 1 s; ask again");
    }
    eventually("the model is let go", || (model.left() >= 1).then_some(())).await;
    model.release("canary");
    assert_eq!(answer_of(ask(&host, &token, "after")).await.0, 200, "the place and the turn are free again");
    let streamed = client().post(host.url(CHAT)).bearer_auth(&token);
    model.hold("canary streamed");
    let streamed = streamed.body(json!({ "query": "canary streamed", "stream": true }).to_string());
    let text = streamed.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("event: error\ndata: {\"code\":\"timed_out\""), "{text}");
}

#[tokio::test]
async fn a_channel_is_open_to_its_list_alone() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new()));
    let settings = settings
        .set("channels.team.allow", json!(["203.0.113.0/24"]))
        .set("trusted_proxies", json!(["127.0.0.1"]));
    let host = Host::start(&settings).await;
    let callback = platform.direct("ann", "canary one");
    assert_eq!(callback.post(&host.url(TEAM)).await, Some(403));
    let through_proxy = async |address: &str| {
        let request = client().post(host.url(TEAM)).header("x-forwarded-for", address);
        let request = request.header("timestamp", &callback.timestamp).header("sign", &callback.sign);
        request.body(callback.body.to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(through_proxy("203.0.113.9, 198.51.100.7").await, 403);
    assert_eq!(through_proxy("198.51.100.7, 203.0.113.9").await, 200);
    sees(&platform, "ann", 1).await;
    assert_eq!(client().get(host.url("/health")).send().await.unwrap().status(), 200);
    assert!(host.lines_with("198.51.100.7").is_empty(), "an address is personal");
    assert_eq!(host.lines_with("an address is not allowed").len(), 2);
}
