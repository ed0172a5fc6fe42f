//! The operators' door of the real binary: who may what, what is seen and changed, and that all of it is written
//! down.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use support::{Host, Model, Platform, Settings, client, eventually};

const TEAM: &str = "/webhook/team";
const ADMIN: &str = "/api/v1/admin";
const ROLES: [&str; 3] = ["viewer", "operator", "admin"];

/// A host with the platform's channel `team`, a chat door and a model.
async fn team() -> (Host, Platform, Model) {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new())).set("chat", json!({}));
    (Host::start(&settings).await, platform, model)
}

/// Someone with a token at a host's admin door.
struct Operator<'h> {
    host: &'h Host,
    token: String,
}

impl<'h> Operator<'h> {
    fn new(host: &'h Host, role: &str) -> Self {
        let token = host.token_with(&["--role", role, "--subject", "olga"]);
        Operator { host, token }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = self.host.admin_url(&format!("{ADMIN}{path}"));
        let mut request = client().request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn status(&self, method: Method, path: &str) -> u16 {
        self.ask(method, path, None).await.0
    }

    /// What the audit says of whom, the latest first.
    async fn acts(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let entries = self.get("/audit").await["items"].as_array().unwrap().clone();
        let entry = |entry: &Value| (text(&entry["person"]), text(&entry["role"]), text(&entry["act"]));
        entries.iter().map(entry).collect()
    }
}

/// A message whose answer could not be delivered.
async fn dead_letter(host: &Host, platform: &Platform) {
    platform.garble(true);
    assert_eq!(platform.direct("ann", "canary lost").post(&host.url(TEAM)).await, Some(200));
    host.wait_for_line(&["turn ends", "\"dead\""]).await;
    platform.garble(false);
}

async fn document(host: &Host) -> Value {
    client().get(host.admin_url("/api/v1/openapi.json")).send().await.unwrap().json().await.unwrap()
}

/// Each operation with a path that names nothing that there is, and the one scope that it needs.
fn operations(document: &Value) -> Vec<(Method, String, String)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let scopes = operation["security"][0]["token"].as_array().expect("it says who may");
            assert_eq!(scopes.len(), 1, "{method} {path}");
            let path = path.replace("{id}", "0").replace("{channel}", "x").replace("{conversation}", "x");
            let path = path.replace("{plugin}", "x").strip_prefix(ADMIN).unwrap().to_owned();
            let method = method.to_uppercase().parse().unwrap();
            operations.push((method, path, scopes[0].as_str().unwrap().to_owned()));
        }
    }
    operations
}

/// Every operation that the host itself says it has, with every kind of token: no role does what a higher one may.
#[tokio::test]
async fn each_role_may_what_is_its_own_and_no_more() {
    let (host, _platform, _model) = team().await;
    let document = document(&host).await;
    let operations = operations(&document);
    assert!(operations.len() >= 18, "{operations:?}");
    let methods = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    let names: BTreeSet<&str> = methods.map(|(_, it)| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), operations.len(), "each has a name of its own: {names:?}");
    let mut tokens: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (at, role) in ROLES.iter().enumerate() {
        tokens.insert(role, ROLES[..=at].iter().map(|role| format!("role:{role}")).collect());
    }
    tokens.insert("chat", Vec::new());
    tokens.insert("logs", vec!["logs:read".to_owned()]);
    for (bearer, may) in &tokens {
        let token = match *bearer {
            "chat" => host.token_with(&["--scope", "chat:write", "--scope", "metrics:read"]),
            "logs" => host.token_with(&["--scope", "logs:read"]),
            role => host.token_with(&["--role", role]),
        };
        let operator = Operator { host: &host, token };
        for (method, path, needed) in &operations {
            let status = operator.status(method.clone(), path).await;
            if may.contains(needed) {
                assert!(![401, 403].contains(&status), "{bearer}: {method} {path}: {status}");
            } else {
                assert_eq!(status, 403, "{bearer}: {method} {path}");
            }
        }
    }
    for token in [String::new(), "x".to_owned(), host.token() + "x"] {
        let nobody = Operator { host: &host, token };
        for (method, path, _) in &operations {
            assert_eq!(nobody.status(method.clone(), path).await, 401, "{method} {path}");
        }
    }
    assert!(Operator::new(&host, "admin").acts().await.is_empty(), "nothing was there to do anything to");
}

#[tokio::test]
async fn channels_and_plugins_are_shown_without_a_secret() {
    let (host, platform, model) = team().await;
    assert_eq!(platform.direct("ann", "canary one").post(&host.url(TEAM)).await, Some(200));
    host.wait_for_line(&["turn ends", "delivered"]).await;
    let viewer = Operator::new(&host, "viewer");

    let channels = viewer.get("/channels").await;
    let names: Vec<&str> =
        channels["items"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["team", "chat"]);
    let team = viewer.get("/channels/team").await;
    assert_eq!((&team["door"], &team["adapter"]), (&json!("webhook"), &json!(platform.adapter())));
    assert_eq!(team["queue"], json!({ "unfinished": 0, "dead": 0 }));
    assert!(team["secrets"].as_array().unwrap().contains(&json!("app_secret")), "{team}");
    assert!(!team.to_string().contains("secret-canary"), "a secret's name is shown, never its value");
    assert_eq!(viewer.status(Method::GET, "/channels/none").await, 404);

    let plugins = viewer.get("/plugins").await;
    assert_eq!(plugins["rejected"], json!([]));
    let one = viewer.get(&format!("/plugins/{}", platform.adapter())).await;
    assert_eq!((one["used_by"].clone(), one["kind"].clone()), (json!(["team"]), json!("adapter")));
    assert_eq!(one["digest"].as_str().unwrap().len(), 64);
    let listed = plugins["items"].as_array().unwrap().iter().find(|listed| listed["name"] == one["name"]);
    assert_eq!(listed.unwrap()["deployment"], one["deployment"], "the list tells all that serves");
    assert!(one["egress"].as_array().unwrap().iter().all(|to| to["to"].is_string()), "{one}");
    assert_eq!(viewer.status(Method::GET, "/plugins/none").await, 404);

    model.hold("canary slow");
    assert_eq!(platform.direct("ann", "canary slow").post(&host.url(TEAM)).await, Some(200));
    eventually("the turn asks", || (model.times_asked("canary slow") == 1).then_some(())).await;
    assert_eq!(viewer.get("/channels/team").await["running"], json!(1));
    assert_eq!(viewer.get("/limits").await["host"]["running"], json!(1), "and not what waits for one");
    model.release("canary slow");

    let overview = viewer.get("/overview").await;
    assert_eq!((&overview["is_ready"], &overview["channels"]), (&json!(true), &json!(2)));
    assert_eq!(overview["you"], json!({ "person": "olga", "role": "viewer" }));
}

#[tokio::test]
async fn a_dead_letter_is_seen_and_replayed() {
    let (host, platform, model) = team().await;
    dead_letter(&host, &platform).await;
    let seen = platform.seen("ann").len();
    let (viewer, operator) = (Operator::new(&host, "viewer"), Operator::new(&host, "operator"));

    let listed = viewer.get("/dead-letters?channel=team").await;
    let letter = &listed["items"][0];
    assert_eq!((listed["items"].as_array().unwrap().len(), &letter["is_answered"]), (1, &json!(true)));
    assert!(letter["reason"].as_str().unwrap().len() > 10, "{letter}");
    assert!(!listed.to_string().contains("canary lost"), "a viewer does not see what people say");
    let id = letter["id"].as_i64().unwrap();
    let whole = operator.get(&format!("/dead-letters/{id}")).await;
    assert_eq!(
        (&whole["text"], &whole["answer"]),
        (&json!("canary lost"), &json!(Model::answer_to("canary lost")))
    );

    let replay = format!("/dead-letters/{id}/replay");
    let (status, refused) = operator.ask(Method::POST, &replay, Some(json!({ "ask": true }))).await;
    assert_eq!(status, 400, "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("ask_again"), "{refused}");
    assert_eq!(operator.ask(Method::POST, &replay, None).await.0, 204);
    let all = eventually("the answer", || Some(platform.seen("ann")).filter(|all| all.len() > seen)).await;
    assert_eq!(all.last().unwrap(), &Model::answer_to("canary lost"));
    assert_eq!(model.times_asked("canary lost"), 1, "what is answered is not asked again");
    assert_eq!(operator.ask(Method::POST, &replay, None).await.0, 404, "it is dead no more");

    let acts = Operator::new(&host, "admin").acts().await;
    let by_olga = |act: &str| ("olga".to_owned(), "operator".to_owned(), act.to_owned());
    assert_eq!(acts, [by_olga("dead-letter.replay"), by_olga("conversation.read")]);
}

#[tokio::test]
async fn a_dead_letter_is_asked_again_or_laid_to_rest() {
    let (host, platform, model) = team().await;
    let operator = Operator::new(&host, "operator");
    dead_letter(&host, &platform).await;
    let seen = platform.seen("ann").len();
    let id = operator.get("/dead-letters").await["items"][0]["id"].as_i64().unwrap();
    let again = Some(json!({ "ask_again": true }));
    assert_eq!(operator.ask(Method::POST, &format!("/dead-letters/{id}/replay"), again).await.0, 204);
    eventually("the answer", || Some(()).filter(|()| platform.seen("ann").len() > seen)).await;
    assert_eq!(model.times_asked("canary lost"), 2);

    platform.garble(true);
    assert_eq!(platform.direct("bob", "canary gone").post(&host.url(TEAM)).await, Some(200));
    let dead = || (host.lines_with("\"dead\"").len() > 1).then_some(());
    eventually("a second dead letter", dead).await;
    let id = operator.get("/dead-letters").await["items"][0]["id"].as_i64().unwrap();
    assert_eq!(operator.status(Method::DELETE, &format!("/dead-letters/{id}")).await, 204);
    assert_eq!(operator.get("/dead-letters").await["items"], json!([]));
}

#[tokio::test]
async fn a_conversation_is_read_and_forgotten_and_both_are_written_down() {
    let (host, platform, _model) = team().await;
    for person in ["ann", "bob", "cid"] {
        assert_eq!(platform.direct(person, "canary hello").post(&host.url(TEAM)).await, Some(200));
        eventually("the answer", || (platform.seen(person).len() == 1).then_some(())).await;
    }
    let listed = || async { Operator::new(&host, "viewer").get("/conversations").await["items"].clone() };
    let three = async || Some(listed().await).filter(|items| items.as_array().unwrap().len() == 3);
    let mut items = three().await;
    while items.is_none() {
        items = three().await;
    }
    let items = items.unwrap();
    assert!(!items.to_string().contains("hello"), "a viewer does not see what people say");

    let viewer = Operator::new(&host, "viewer");
    let first = viewer.get("/conversations?limit=2").await;
    let rest = viewer.get(&format!("/conversations?limit=2&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(rest.get("next"), None);
    let both = [first["items"].as_array().unwrap().clone(), rest["items"].as_array().unwrap().clone()];
    assert_eq!(Value::from(both.concat()), items, "the pieces are the whole");

    let operator = Operator::new(&host, "operator");
    let name = items[0]["conversation"].as_str().unwrap();
    let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let path = format!("/channels/team/conversations/{}", encoded.replace('+', "%20"));
    let said = operator.get(&path).await["said"].clone();
    assert_eq!((said[0]["role"].clone(), said[0]["text"].clone()), (json!("user"), json!("canary hello")));
    assert_eq!(operator.status(Method::DELETE, &path).await, 204);
    assert_eq!(operator.status(Method::GET, &path).await, 404);
    assert_eq!(operator.status(Method::DELETE, &path).await, 404);

    let admin = Operator::new(&host, "admin");
    let acts: Vec<String> = admin.acts().await.into_iter().map(|(_, _, act)| act).collect();
    assert_eq!(acts, ["conversation.forget", "conversation.read"]);
    let check = admin.get("/audit/check").await;
    assert_eq!(
        (&check["is_whole"], &check["entries"], &check["last_seq"]),
        (&json!(true), &json!(2), &json!(2))
    );
}

async fn chat(host: &Host, token: &str) -> u16 {
    let asked =
        client().post(host.url("/api/v1/chat")).bearer_auth(token).json(&json!({ "query": "canary hi" }));
    asked.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_revoked_token_opens_no_door_any_more() {
    let (mut host, _platform, _model) = team().await;
    let (leaked, kept) = (host.token(), host.token());
    assert_eq!(chat(&host, &leaked).await, 200);
    let admin = Operator::new(&host, "admin");
    let (status, revoked) = admin.ask(Method::POST, "/tokens/revoke", Some(json!({ "token": leaked }))).await;
    assert_eq!(status, 200, "{revoked}");
    assert_eq!((chat(&host, &leaked).await, chat(&host, &kept).await), (401, 200));
    assert_eq!(admin.get("/tokens/revoked").await["items"], json!([revoked]));
    let (status, _) = admin.ask(Method::POST, "/tokens/revoke", Some(json!({ "token": leaked }))).await;
    assert_eq!(status, 404, "it counts here no more");
    for wrong in [json!({}), json!({ "id": "" }), json!({ "id": "a", "token": "b" }), json!([1])] {
        assert_eq!(admin.ask(Method::POST, "/tokens/revoke", Some(wrong)).await.0, 400);
    }
    let token = admin.token;
    let (status, _) = Operator { host: &host, token: token.clone() }
        .ask(Method::POST, "/tokens/revoke", Some(json!({ "id": "x-1" })))
        .await;
    assert_eq!(status, 200);
    host.restart().await;
    assert_eq!((chat(&host, &leaked).await, chat(&host, &kept).await), (401, 200));
    let listed = Operator { host: &host, token }.get("/tokens/revoked").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_log_is_searched_by_who_has_its_scope() {
    let (host, platform, _model) = team().await;
    assert_eq!(platform.direct("ann", "canary one").post(&host.url(TEAM)).await, Some(200));
    let ended: Value = serde_json::from_str(&host.wait_for_line(&["turn ends", "delivered"]).await).unwrap();
    let reader = Operator { host: &host, token: host.token_with(&["--scope", "logs:read"]) };
    let id = ended["http.request.id"].as_str().unwrap();
    let of_turn = reader.get(&format!("/logs?request_id={id}&channel=team")).await["items"].clone();
    assert!(of_turn.as_array().unwrap().contains(&ended), "{of_turn}");
    let is_of_turn = |line: &Value| line["http.request.id"] == *id && line["labels.channel"] == "team";
    assert!(of_turn.as_array().unwrap().iter().all(is_of_turn), "{of_turn}");

    let first = reader.get("/logs?limit=3&text=plugin").await;
    let next = first["next"].as_str().unwrap();
    let rest = reader.get(&format!("/logs?limit=3&text=plugin&after={next}")).await;
    assert_ne!(first["items"], rest["items"]);
    assert_eq!(reader.get("/logs?level=error").await["items"], json!([]));
    assert_eq!(reader.get("/logs?until=2020-01-01T00:00:00Z").await["items"], json!([]));
    assert_ne!(reader.get("/logs?since=2020-01-01T00:00:00Z&level=info").await["items"], json!([]));
    for wrong in ["level=loud", "since=yesterday", "limit=0", "limit=501", "limit=many"] {
        let (status, refused) = reader.ask(Method::GET, &format!("/logs?{wrong}"), None).await;
        assert_eq!(status, 400, "{wrong}");
        let field = wrong.split('=').next().unwrap();
        assert!(refused["error"]["message"].as_str().unwrap().contains(field), "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn used_allowances_are_shown() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new()));
    let settings = settings.set("channels.team.limits", json!({ "person_rate": "5/1h", "rate": "100/1h" }));
    let host = Host::start(&settings).await;
    assert_eq!(platform.direct("ann", "canary one").post(&host.url(TEAM)).await, Some(200));
    let limits = Operator::new(&host, "viewer").get("/limits").await;
    assert_eq!(limits["channels"]["team"]["person_rate"], json!({ "interval_ms": 720_000.0, "burst": 5 }));
    let used: Vec<&str> =
        limits["used"].as_array().unwrap().iter().map(|used| used["limit"].as_str().unwrap()).collect();
    assert_eq!(used, ["person", "channel", "client"], "those first who wait longest: {limits}");
}

#[tokio::test]
async fn the_door_answers_to_this_machines_names_alone() {
    let (host, _platform, _model) = team().await;
    let metrics = |name: &'static str| {
        let request = client().get(host.admin_url("/metrics")).header("host", name);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(metrics("localhost:8080").await, 200, "figures need no token here");
    assert_eq!(metrics("evil.example").await, 421);
    let public = client().get(host.url("/metrics")).send().await.unwrap();
    assert_eq!(public.status(), 401, "and one at the door that others reach");
    for path in [format!("{ADMIN}/overview"), "/api/v1/openapi.json".to_owned()] {
        let elsewhere = client().get(host.url(&path)).send().await.unwrap();
        assert_eq!(elsewhere.status(), 404, "operators have a door of their own");
    }
    let answer = client().get(host.admin_url("/health")).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn the_door_can_be_closed_or_kept_for_some() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new()));
    let host = Host::start(&settings.clone().set("admin", json!({ "enabled": false }))).await;
    assert!(host.lines_with("admin door open").is_empty());
    drop(host);
    let admin = json!({ "listen": "127.0.0.1:0", "allow": ["192.0.2.0/24"] });
    let host = Host::start(&settings.set("admin", admin)).await;
    let refused = client().get(host.admin_url("/health")).send().await.unwrap();
    assert_eq!(refused.status(), 403);
}

/// The document that the host serves, held against the host by a program that tries what it says and what it does
/// not: status codes, shapes, refusals of wrong input, methods and missing tokens.
#[tokio::test]
async fn the_api_does_what_its_document_says() {
    let (host, platform, _model) = team().await;
    dead_letter(&host, &platform).await;
    let token = host.token_with(&["--role", "admin", "--scope", "logs:read"]);
    let packages = std::env::var_os("PARLOR_TEST_PYTHONPATH");
    let packages = packages.expect("`PARLOR_TEST_PYTHONPATH` is not set: run `cargo xtask test`");
    let mut schemathesis = Command::new("python3");
    schemathesis
        .args(["-m", "schemathesis.cli", "run", &host.admin_url("/api/v1/openapi.json")])
        .args(["--url", &host.admin_url("")])
        .args(["--header", &format!("Authorization: Bearer {token}"), "--checks", "all"])
        .args(["--max-examples", "15", "--seed", "1", "--no-color"])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("no_proxy", "*")
        .current_dir(host.folder());
    let output = tokio::task::spawn_blocking(move || schemathesis.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let all = operations(&document(&host).await).len();
    assert!(told.contains(&format!("Tested: {all}")), "{told}");
}
