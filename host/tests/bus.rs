//! The message bus through the real binary: what operators who listen hear of what comes in and goes out, and who may
//! not listen.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use serde_json::{Value, json};
use support::{Envelope, Host, Line, Model, Platform, Settings, client};

const TEAM: &str = "/webhook/team";
const HOOK: &str = "/webhook/hook";

/// A host with the platform's channel `team`, a program's channel `hook`, and a bus.
async fn open() -> (Host, Platform, Model) {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_webhook(platform.join(Settings::new()), json!({}), false);
    let settings = model.join(settings).set("chat", json!({})).set("bus", json!({ "name": "parlor" }));
    (Host::start(&settings).await, platform, model)
}

async fn revoke(host: &Host, token: &str) {
    let admin = host.token_with(&["--role", "admin"]);
    let url = host.admin_url("/api/v1/admin/tokens/revoke");
    let revoked =
        client().post(url).bearer_auth(admin).json(&json!({ "token": token })).send().await.unwrap();
    assert_eq!(revoked.status(), 200);
}

#[tokio::test]
async fn who_listens_hears_each_message_once_as_it_comes_and_goes() {
    let (host, platform, _model) = open().await;
    let token = host.token_with(&["--role", "operator", "--subject", "olga"]);
    let mut line = Line::open(&host, &token, "").await;
    let callback = platform.direct("ann", "canary hello");
    for _ in 0..2 {
        assert_eq!(callback.post(&host.url(TEAM)).await, Some(200));
    }
    let (heard, said) = (line.notice().await, line.notice().await);
    let told = |notice: &Value| {
        ["platform", "channel", "direction", "content"].map(|name| notice[name].as_str().unwrap().to_owned())
    };
    assert_eq!(told(&heard), [platform.adapter(), "team", "in", "canary hello"]);
    let answer = Model::answer_to("canary hello");
    assert_eq!(told(&said), [platform.adapter(), "team", "out", &answer]);
    for same in ["conversation", "message_id", "person", "request_id"] {
        assert_eq!(heard[same], said[same], "{same}");
        assert!(!heard[same].as_str().unwrap().is_empty(), "{same}");
    }
    assert!(heard["timestamp"].as_str().unwrap() <= said["timestamp"].as_str().unwrap());

    // Answered in the response itself; the repeat of the first message is no message.
    let (status, _) = Envelope::new("m1", "s1", "canary now").post(&host.url(HOOK)).await.unwrap();
    assert_eq!(status, 200);
    let (heard, said) = (line.notice().await, line.notice().await);
    assert_eq!(told(&heard), ["webhook", "hook", "in", "canary now"]);
    assert_eq!(told(&said), ["webhook", "hook", "out", &Model::answer_to("canary now")]);

    let chat = client().post(host.url("/api/v1/chat")).bearer_auth(host.token());
    assert_eq!(chat.json(&json!({ "query": "canary here" })).send().await.unwrap().status(), 200);
    let (heard, said) = (line.notice().await, line.notice().await);
    assert_eq!(told(&heard), ["chat", "chat", "in", "canary here"]);
    assert_eq!(told(&said), ["chat", "chat", "out", &Model::answer_to("canary here")]);

    let admin = host.token_with(&["--role", "admin"]);
    let audit = client().get(host.admin_url("/api/v1/admin/audit")).bearer_auth(admin).send().await.unwrap();
    let entry = audit.json::<Value>().await.unwrap()["items"][0].clone();
    assert_eq!(
        (&entry["person"], &entry["act"], &entry["target"]),
        (&json!("olga"), &json!("bus.listen"), &json!("parlor"))
    );
}

#[tokio::test]
async fn a_reply_through_another_channel_says_so_and_one_channel_can_be_heard_alone() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let own = json!({ "answer": "callback" });
    let settings = platform.join_webhook(platform.join(Settings::new()), own, false);
    let settings = settings.set("channels.hook.reply_via", json!({ "channel": "team" }));
    let host = Host::start(&model.join(settings).set("bus", json!({ "name": "parlor" }))).await;
    let token = host.token_with(&["--role", "operator"]);
    let mut line = Line::open(&host, &token, "?channel=hook").await;
    assert_eq!(platform.direct("ann", "canary aside").post(&host.url(TEAM)).await, Some(200));
    let (status, _) = Envelope::new("m1", "s1", "canary aloud").post(&host.url(HOOK)).await.unwrap();
    assert_eq!(status, 202);
    let (heard, said) = (line.notice().await, line.notice().await);
    assert_eq!((&heard["content"], heard.get("via")), (&json!("canary aloud"), None));
    assert_eq!((&said["channel"], &said["via"]), (&json!("hook"), &json!("team")));
    assert_eq!(said["platform"], json!(platform.adapter()));
}

#[tokio::test]
async fn a_line_ends_with_its_token_and_with_the_host() {
    let (mut host, platform, _model) = open().await;
    let (leaked, kept) = (host.token_with(&["--role", "operator"]), host.token_with(&["--role", "operator"]));
    let (mut one, mut other) = (Line::open(&host, &leaked, "").await, Line::open(&host, &kept, "").await);
    revoke(&host, &leaked).await;
    assert_eq!(platform.direct("ann", "canary secret").post(&host.url(TEAM)).await, Some(200));
    assert_eq!(one.next().await, None, "whose token counts no more hears nothing");
    assert_eq!(other.notice().await["content"], "canary secret");
    other.notice().await;
    host.terminate();
    assert_eq!(other.next().await, None);
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn without_a_name_there_is_no_bus_and_a_viewer_may_not_listen() {
    let platform = Platform::start().await;
    let host = Host::start(&Model::start().await.join(platform.join(Settings::new()))).await;
    let status = async |host: &Host, role: &str| {
        let token = host.token_with(&["--role", role]);
        let url = host.admin_url("/api/v1/admin/bus");
        client().get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(&host, "operator").await, status(&host, "viewer").await), (404, 403));
    let (host, _platform, _model) = open().await;
    assert_eq!(status(&host, "viewer").await, 403);
}
