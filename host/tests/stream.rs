//! A platform that pushes over a socket, through the real binary: from a registration to what a person sees, against a
//! gateway that lets go of sockets, forgets nothing that is not acknowledged, and gives each ticket out once.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use support::distinct::Original;
use support::{Callback, Gateway, Host, Model, Platform, Settings, client, eventually, plugins};

/// Long enough for a second answer to show up if there were one.
const MOMENT: Duration = Duration::from_millis(300);

struct Scene {
    host: Host,
    platform: Platform,
    gateway: Gateway,
    model: Model,
}

impl Scene {
    async fn start() -> Scene {
        let mut scene = Scene::at_rest().await;
        scene.host.run().await;
        scene.gateway.has_lines(1).await;
        scene
    }

    async fn at_rest() -> Scene {
        let (platform, model) = (Platform::start().await, Model::start().await);
        let gateway = Gateway::start(&platform).await;
        let host = Host::at_rest(&model.join(gateway.join(Settings::new())));
        Scene { host, platform, gateway, model }
    }

    /// Pushes what a person writes.
    fn push(&self, conversation: &str, text: &str) -> Callback {
        let callback = self.platform.direct(conversation, text);
        self.gateway.push(&callback);
        callback
    }

    async fn sees(&self, conversation: &str, messages: usize) -> Vec<String> {
        eventually(&format!("{messages} messages in `{conversation}`"), || {
            let seen = self.platform.seen(conversation);
            (seen.len() >= messages).then_some(seen)
        })
        .await
    }

    /// The platform and its gateway had nothing to complain of.
    fn is_sound(&self) {
        assert_eq!(
            (self.gateway.wrongs(), self.platform.codes()),
            (Vec::<String>::new(), Vec::<Value>::new())
        );
    }

    async fn operator(&self, method: http::Method, path: &str) -> (u16, Value) {
        let token = self.host.token_with(&["--role", "operator"]);
        let url = self.host.admin_url(&format!("/api/v1/admin{path}"));
        let response = client().request(method, url).bearer_auth(token).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Installs a release as an administrator does.
    async fn install(&self, release: Vec<u8>) {
        let token = self.host.token_with(&["--role", "admin"]);
        let install = client().post(self.host.admin_url("/api/v1/admin/plugins")).bearer_auth(token);
        let install = install.header("content-type", "application/wasm").body(release);
        let response = install.send().await.unwrap();
        let (status, told) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success() && told.contains("serves"), "{status}: {told}");
    }

    async fn connection(&self) -> Value {
        self.operator(http::Method::GET, "/channels/team").await.1["connection"].clone()
    }

    /// What `/ready` says of the connection, and whether the host is ready.
    async fn readiness(&self) -> (u16, Value) {
        let response = client().get(self.host.url("/ready")).send().await.unwrap();
        let status = response.status().as_u16();
        let told: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let checks = told["checks"].as_array().unwrap();
        (status, checks.iter().find(|check| check["name"] == "connection team").cloned().unwrap())
    }
}

#[tokio::test]
async fn a_pushed_message_is_acknowledged_and_answered_once() {
    let scene = Scene::start().await;
    let callback = scene.push("ann", "canary one");
    assert_eq!(scene.gateway.taken(&callback.id).await, 1);
    assert_eq!(scene.sees("ann", 1).await, [Model::answer_to("canary one")]);
    tokio::time::sleep(MOMENT).await;
    assert_eq!((scene.platform.seen("ann").len(), scene.model.times_asked("canary one")), (1, 1));
    assert_eq!(scene.gateway.registrations(), 1);
    scene.is_sound();
}

#[tokio::test]
async fn what_the_model_takes_its_time_for_is_acknowledged_at_once() {
    let scene = Scene::start().await;
    scene.model.hold("canary slow");
    let callback = scene.push("ann", "canary slow");
    assert_eq!(scene.gateway.taken(&callback.id).await, 1);
    assert!(scene.platform.seen("ann").is_empty());
    scene.model.release("canary slow");
    scene.sees("ann", 1).await;
}

#[tokio::test]
async fn the_systems_pings_are_echoed() {
    let scene = Scene::start().await;
    scene.gateway.tell("ping", &json!({ "opaque": "16829367-6f8d" }));
    eventually("an echo", || (scene.gateway.echoes() == 1).then_some(())).await;
    for topic in ["CONNECTED", "REGISTERED", "KEEPALIVE"] {
        scene.gateway.tell(topic, &json!({}));
    }
    scene.push("ann", "canary after");
    scene.sees("ann", 1).await;
    scene.is_sound();
}

#[tokio::test]
async fn a_repeat_under_a_new_header_is_acknowledged_and_not_answered_again() {
    let scene = Scene::start().await;
    let callback = scene.push("ann", "canary once");
    scene.gateway.taken(&callback.id).await;
    scene.sees("ann", 1).await;
    let again = Callback { id: "again".to_owned(), ..callback };
    scene.gateway.push(&again);
    scene.gateway.taken("again").await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(scene.platform.seen("ann").len(), 1);
    scene.is_sound();
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_kill_between_commit_and_acknowledgement_answers_once() {
    let mut scene = Scene::at_rest().await;
    scene.host.begin_with_environment(&[("PARLOR_KILL_AT", "intake::after_commit")]);
    scene.gateway.has_lines(1).await;
    let callback = scene.push("ann", "canary stored");
    scene.host.ended().await;
    assert!(!scene.gateway.pushed(&callback.id).is_settled, "it was stored and not acknowledged");
    scene.host.run_with(&[]).await;
    assert!(scene.gateway.taken(&callback.id).await > 1, "the platform brought it again");
    scene.sees("ann", 1).await;
    scene.push("ann", "canary last");
    assert_eq!(
        scene.sees("ann", 2).await,
        [Model::answer_to("canary stored"), Model::answer_to("canary last")]
    );
    assert_eq!(scene.model.times_asked("canary stored"), 1);
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_kill_before_the_commit_loses_nothing() {
    let mut scene = Scene::at_rest().await;
    scene.host.begin_with_environment(&[("PARLOR_KILL_AT", "intake::before_commit")]);
    scene.gateway.has_lines(1).await;
    let callback = scene.push("ann", "canary unstored");
    scene.host.ended().await;
    scene.host.run_with(&[]).await;
    assert!(scene.gateway.taken(&callback.id).await > 1);
    assert_eq!(scene.sees("ann", 1).await, [Model::answer_to("canary unstored")]);
}

/// Several times under a stream of messages, each socket is let go as the platform does it.
#[tokio::test]
async fn sockets_that_are_let_go_under_load_lose_and_double_nothing() {
    const MESSAGES: usize = 120;
    let scene = Scene::start().await;
    let mut pushed = Vec::new();
    for at in 0..MESSAGES {
        pushed.push(scene.push(&format!("person{}", at % 12), &format!("canary {at}.")));
        if at % 30 == 29 {
            scene.gateway.let_go();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for callback in &pushed {
        scene.gateway.taken(&callback.id).await;
    }
    eventually("every answer", || (scene.platform.seen_in_all() >= MESSAGES).then_some(())).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(scene.platform.seen_in_all(), MESSAGES);
    for person in 0..12 {
        let wanted: Vec<String> = (0..MESSAGES)
            .filter(|at| at % 12 == person)
            .map(|at| Model::answer_to(&format!("canary {at}.")))
            .collect();
        let mut seen = scene.platform.seen(&format!("person{person}"));
        seen.sort();
        let mut wanted = wanted;
        wanted.sort();
        assert_eq!(seen, wanted);
    }
    assert!(scene.gateway.lines_max() >= 2, "the new socket was open before the old one closed");
    assert!(scene.gateway.registrations() >= 3, "{}", scene.gateway.registrations());
    scene.is_sound();
}

#[tokio::test]
async fn a_socket_that_breaks_is_dialled_again_and_nothing_is_lost() {
    let scene = Scene::start().await;
    scene.gateway.cut();
    let callback = scene.push("ann", "canary meanwhile");
    scene.gateway.has_lines(1).await;
    scene.gateway.taken(&callback.id).await;
    scene.sees("ann", 1).await;
    assert_eq!(scene.gateway.registrations(), 2);
    scene.host.wait_for_line(&["connection ended"]).await;
}

#[tokio::test]
async fn a_gateway_that_is_away_is_told_of_and_found_again() {
    let mut scene = Scene::at_rest().await;
    scene.gateway.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    scene.host.run().await;
    eventually("an attempt", || (scene.gateway.registrations() >= 1).then_some(())).await;
    scene.host.wait_for_line(&["no connection; it is dialled again"]).await;
    let (status, check) = scene.readiness().await;
    assert_eq!((status, &check["ok"]), (200, &json!(true)), "other channels serve all the same");
    assert!(check["detail"].as_str().unwrap().contains("503"), "{check}");
    let connection = scene.connection().await;
    assert!(connection["why"].as_str().unwrap().contains("503"), "{connection}");
    scene.gateway.refuse(None);
    assert_eq!(scene.operator(http::Method::POST, "/channels/team/dial").await.0, 202);
    scene.gateway.has_lines(1).await;
    scene.push("ann", "canary back");
    scene.sees("ann", 1).await;
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_what_to_compare() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let gateway = Gateway::start(&platform).await;
    let settings = model.join(gateway.join(Settings::new()));
    let host = Host::start(&settings.set("channels.team.secrets.app_secret", "secret-canary-other")).await;
    host.wait_for_line(&["no connection", "app_secret"]).await;
    assert_eq!(gateway.registrations(), 1, "asked again a minute later, not at once");
}

#[tokio::test]
async fn operators_see_how_the_connection_does() {
    let scene = Scene::start().await;
    let callback = scene.push("ann", "canary one");
    scene.gateway.taken(&callback.id).await;
    let connection = scene.connection().await;
    assert_eq!((&connection["state"], &connection["sockets"]), (&json!("open"), &json!(1)), "{connection}");
    assert!(connection["frames"].as_u64().unwrap() >= 1 && connection["last_heard_at"].is_string());
    let (status, check) = scene.readiness().await;
    assert!(status == 200 && check["detail"].as_str().unwrap().starts_with("open since"), "{check}");
    let (status, _) = scene.operator(http::Method::POST, "/channels/none/dial").await;
    assert_eq!(status, 404);
    let token = scene.host.token_with(&["--scope", "metrics:read"]);
    let figures = client().get(scene.host.url("/metrics")).bearer_auth(token).send().await.unwrap();
    let figures = figures.text().await.unwrap();
    assert!(figures.contains("parlor_platform_connections{channel=\"team\"} 1"), "{figures}");
    let attempts = "parlor_platform_connection_attempts_total{channel=\"team\",outcome=\"opened\"} 1";
    assert!(figures.contains(attempts), "{figures}");
}

/// What `parlor doctor` says of the connection: its level, and what.
fn told_by_the_doctor(host: &Host) -> (String, String) {
    let output = host.output(&["doctor", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = told["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == "connection").expect("a finding");
    assert_eq!(finding["about"], "team");
    (finding["level"].as_str().unwrap().to_owned(), finding["what"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_doctor_tells_how_the_connection_does() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let gateway = Gateway::start(&platform).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = model.join(gateway.join(Settings::new())).set("listen", format!("127.0.0.1:{port}"));
    let mut host = Host::at_rest(&settings);
    assert_eq!(told_by_the_doctor(&host).0, "skip");
    host.run().await;
    gateway.has_lines(1).await;
    let (level, what) = told_by_the_doctor(&host);
    assert!(level == "ok" && what.starts_with("open since"), "{level}: {what}");
    gateway.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    gateway.cut();
    host.wait_for_line(&["no connection", "503"]).await;
    let (level, what) = told_by_the_doctor(&host);
    assert!(level == "warn" && (what.contains("503") || what.starts_with("dials")), "{level}: {what}");
}

#[tokio::test]
async fn a_drain_closes_the_socket_and_leaves_nothing_unacknowledged_for_long() {
    let mut scene = Scene::start().await;
    scene.host.terminate();
    assert!(scene.host.ended().await.success());
    scene.gateway.has_lines(0).await;
    let callback = scene.push("ann", "canary while away");
    scene.host.run_with(&[]).await;
    scene.gateway.taken(&callback.id).await;
    assert_eq!(scene.sees("ann", 1).await, [Model::answer_to("canary while away")]);
}

#[tokio::test]
async fn a_channel_that_webhooks_serve_opens_no_socket() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let gateway = Gateway::start(&platform).await;
    let settings = gateway.join(Settings::new()).set("channels.team.settings.mode", "webhook");
    let host = Host::start(&model.join(settings)).await;
    assert_eq!(platform.direct("ann", "canary hook").post(&host.url("/webhook/team")).await, Some(200));
    eventually("an answer", || (platform.seen("ann").len() == 1).then_some(())).await;
    assert_eq!(gateway.registrations(), 0);
}

/// The gateway is what the real one is to the official client, a failing handler and a socket that is let go included.
#[tokio::test]
async fn the_official_client_takes_what_the_gateway_brings() {
    let packages = std::env::var_os("PARLOR_TEST_PYTHONPATH")
        .expect("`PARLOR_TEST_PYTHONPATH` names no folder of packages: run `cargo xtask test`");
    let platform = Platform::start().await;
    let gateway = Gateway::start(&platform).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/dingtalk.py");
    let mut python = tokio::process::Command::new("python3");
    python.arg(script).arg(gateway.in_the_open()).args([support::APP_KEY, support::APP_SECRET]);
    python.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").env("no_proxy", "*");
    let piped = std::process::Stdio::piped;
    let mut running = python.stdin(piped()).stdout(piped()).kill_on_drop(true).spawn().expect("python3 runs");
    gateway.has_lines(1).await;
    gateway.tell("ping", &json!({ "opaque": "16829367-6f8d" }));
    let first = platform.direct("ann", "canary one");
    gateway.push(&first);
    assert!(gateway.taken(&first.id).await > 1, "its handler failed at first");
    let codes: Vec<_> = gateway.pushed(&first.id).codes.into_values().collect();
    assert!(codes.contains(&Some(500)) && codes.contains(&Some(200)), "{codes:?}");
    gateway.let_go();
    let second = platform.direct("ann", "canary two");
    gateway.push(&second);
    gateway.taken(&second.id).await;
    drop(running.stdin.take());
    let output = running.wait_with_output().await.unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).expect("it tells what came of it as JSON");
    let texts: Vec<_> = told["taken"].as_array().unwrap().iter().map(|taken| taken["text"].clone()).collect();
    // It takes the second once more if the socket on which it was to be acknowledged was closed meanwhile.
    assert!(texts[0] == "canary one" && texts[1..].iter().all(|text| text == "canary two"), "{told}");
    assert!(texts.len() >= 2, "{told}");
    assert_eq!(told["failed"], json!([first.id]));
    assert!(gateway.registrations() >= 2, "it came back with a new ticket");
    assert!(gateway.echoes() >= 1 && gateway.wrongs().is_empty(), "{:?}", gateway.wrongs());
}

/// A release of the plugin's own code under another digest, as a newer version would be.
fn another_release(adapter: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(support::plugins().join(format!("{adapter}.wasm"))).unwrap();
    // A custom section that nobody reads: its length, the length of its name, its name.
    bytes.extend_from_slice(&[0, 6, 5]);
    bytes.extend_from_slice(b"newer");
    bytes
}

#[tokio::test]
async fn a_release_that_is_swapped_hears_the_next_frame_of_the_same_socket() {
    let scene = Scene::start().await;
    let first = scene.push("ann", "canary before");
    scene.gateway.taken(&first.id).await;
    scene.sees("ann", 1).await;
    scene.install(another_release(scene.platform.adapter())).await;
    scene.push("ann", "canary after");
    assert_eq!(
        scene.sees("ann", 2).await,
        [Model::answer_to("canary before"), Model::answer_to("canary after")]
    );
    assert_eq!((scene.gateway.registrations(), scene.gateway.lines_max()), (1, 1), "the socket is the same");
    scene.is_sound();
}

/// The adapter with sockets in other modes than its own author has them in.
fn release_that_connects(modes: &str) -> Vec<u8> {
    let manifest = include_str!("../../plugins/adapters/dingtalk/plugin.toml");
    let original = Original::read(&plugins(), "dingtalk", manifest);
    original.release(&[("connects = { mode = \"stream\" }", modes)])
}

#[tokio::test]
async fn a_release_with_other_sockets_closes_and_opens_them_without_a_restart() {
    let scene = Scene::start().await;
    scene.install(release_that_connects("connects = { mode = \"webhook\" }")).await;
    scene.gateway.has_lines(0).await;
    assert_eq!(
        (scene.connection().await, scene.operator(http::Method::POST, "/channels/team/dial").await.0),
        (Value::Null, 404)
    );
    let (status, _) = scene.operator(http::Method::POST, "/plugins/dingtalk/rollback").await;
    assert_eq!(status, 204);
    scene.gateway.has_lines(1).await;
    scene.push("ann", "canary again");
    assert_eq!(scene.sees("ann", 1).await, [Model::answer_to("canary again")]);
    scene.is_sound();
}
