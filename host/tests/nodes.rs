//! Several nodes on one Redis: real `parlor` processes that share their messages and behave as one.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "redis/server.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod server;
#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use server::{Server, quick_folder};
use support::{Callback, Host, Line, Model, Platform, Settings, Slate, client, eventually, fickle};
use tempfile::TempDir;

/// Long enough for a second answer to show up if there were one.
const MOMENT: Duration = Duration::from_millis(300);
const TEAM: &str = "/webhook/team";
const BUS: &str = "chat:messages_1";
const SYNCED: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Two nodes of one host with the platform's channel `team`, its own door and a model.
struct Nodes {
    hosts: [Host; 2],
    platform: Platform,
    model: Model,
    redis: Option<Server>,
    folder: TempDir,
}

impl Nodes {
    async fn start() -> Nodes {
        let folder = quick_folder();
        let redis = Server::start(folder.path(), &SYNCED);
        let (platform, model) = (Platform::start().await, Model::start().await);
        let settings = model.join(platform.join(Settings::new()));
        let settings = settings.set("store", json!({ "redis": redis.url() })).set("chat", json!({}));
        let settings = settings.set("bus", json!({ "name": BUS }));
        let hosts = [Host::start(&settings).await, Host::start(&settings).await];
        Nodes { hosts, platform, model, redis: Some(redis), folder }
    }

    async fn post(&self, node: usize, callback: &Callback) -> Option<u16> {
        callback.post(&self.hosts[node].url(TEAM)).await
    }

    /// Posts until it is acknowledged, as the platform does.
    async fn deliver(&self, node: usize, callback: &Callback) {
        let began = tokio::time::Instant::now();
        while self.post(node, callback).await != Some(200) {
            assert!(began.elapsed() < support::PATIENCE, "never acknowledged");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn sees(&self, conversation: &str, messages: usize) -> Vec<String> {
        eventually(&format!("{messages} messages in `{conversation}`"), || {
            let seen = self.platform.seen(conversation);
            (seen.len() >= messages).then_some(seen)
        })
        .await
    }
}

#[tokio::test]
async fn whichever_node_hears_a_message_it_is_answered_once_and_in_order() {
    const CONVERSATIONS: usize = 4;
    const EACH: usize = 12;
    let nodes = Nodes::start().await;
    for number in 0..EACH {
        for conversation in 0..CONVERSATIONS {
            let callback = nodes
                .platform
                .group(&format!("g{conversation}"), &format!("canary {conversation} {number}."));
            let node = (number + conversation) % 2;
            assert_eq!(nodes.post(node, &callback).await, Some(200));
            // The platform sends it again, to the other node.
            assert_eq!(nodes.post(1 - node, &callback).await, Some(200));
        }
    }
    for conversation in 0..CONVERSATIONS {
        nodes.sees(&format!("g{conversation}"), EACH).await;
    }
    tokio::time::sleep(MOMENT).await;
    for conversation in 0..CONVERSATIONS {
        let seen = nodes.platform.seen(&format!("g{conversation}"));
        assert_eq!(seen.len(), EACH, "{seen:?}");
        for (number, seen) in seen.iter().enumerate() {
            let text = format!("canary {conversation} {number}.");
            assert!(seen.ends_with(&Model::answer_to(&text)), "{seen:?} is the answer to {text:?}");
            assert_eq!(nodes.model.times_asked(&text), 1);
        }
    }
    let worked = nodes.hosts.each_ref().map(|host| host.lines_with("turn ends").len());
    assert_eq!(worked.iter().sum::<usize>(), CONVERSATIONS * EACH, "each turn ran once, on one of them");
}

#[tokio::test]
async fn a_conversation_never_runs_on_two_nodes_at_once() {
    let nodes = Nodes::start().await;
    nodes.model.hold("canary first");
    assert_eq!(nodes.post(0, &nodes.platform.group("ours", "canary first")).await, Some(200));
    eventually("the first turn asks", || (nodes.model.times_asked("canary first") == 1).then_some(())).await;
    assert_eq!(nodes.post(1, &nodes.platform.group("ours", "canary second")).await, Some(200));
    assert_eq!(nodes.post(1, &nodes.platform.group("theirs", "canary aside")).await, Some(200));
    nodes.sees("theirs", 1).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(nodes.model.times_asked("canary second"), 0, "it waits for the first, wherever that runs");
    nodes.model.release("canary first");
    let seen = nodes.sees("ours", 2).await;
    for (seen, text) in seen.iter().zip(["canary first", "canary second"]) {
        assert!(seen.ends_with(&Model::answer_to(text)), "{seen:?} is the answer to {text:?}");
    }
}

async fn ask(host: &Host, token: &str, query: &str) -> Value {
    let asked = client().post(host.url("/api/v1/chat")).bearer_auth(token).json(&json!({ "query": query }));
    let response = asked.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// The other node would answer into the void.
#[tokio::test]
async fn who_waits_on_the_line_is_answered_by_the_node_that_he_is_connected_to() {
    let nodes = Nodes::start().await;
    let token = nodes.hosts[0].token();
    for number in 0..10 {
        let query = format!("canary question {number}.");
        let answer = ask(&nodes.hosts[number % 2], &token, &query).await;
        assert!(answer.to_string().contains(&Model::answer_to(&query)), "{answer}");
    }
}

/// He who hears of it is not he who works on it.
#[tokio::test]
async fn a_message_that_is_taken_back_at_one_node_stops_at_the_other() {
    const BOARD: &str = "/webhook/board";
    let folder = quick_folder();
    let redis = Server::start(folder.path(), &SYNCED);
    let (slate, model) = (Slate::start().await, Model::start().await);
    let settings = model.join(slate.join(Settings::new())).set("store", json!({ "redis": redis.url() }));
    let hosts = [Host::start(&settings).await, Host::start(&settings).await];
    let text = "canary one two";
    model.hold(text);
    assert!(Slate::say(&hosts[0].url(BOARD), text, "ann", text).await, "acknowledged");
    eventually("a card is open", || slate.cards("ann").pop()).await;
    let works = hosts.iter().position(|host| !host.lines_with("turn begins").is_empty()).unwrap();
    assert!(Slate::take_back(&hosts[1 - works].url(BOARD), text).await, "acknowledged");
    eventually("the card is closed", || slate.cards("ann").pop().filter(|card| card.is_closed)).await;
    eventually("the model's caller leaves", || (model.left() == 1).then_some(())).await;
    let withdrawn = || hosts[works].lines_with("\"withdrawn\"").len();
    eventually("the turn ends", || (withdrawn() > 0).then_some(())).await;
    assert_eq!(withdrawn(), 1);
    assert_eq!(slate.wrongs(), [""; 0]);
}

/// Says it at a node until it answers.
async fn say(host: &Host, token: &str, key: &str, saying: &Value) -> Value {
    let url = host.admin_url("/api/v1/admin/channels/team/messages");
    let said = client().post(url).bearer_auth(token).header("idempotency-key", key).json(saying);
    let response = said.send().await.unwrap();
    let status = response.status().as_u16();
    let job = response.json().await.unwrap();
    assert!([200, 202].contains(&status), "{status}: {job}");
    job
}

#[tokio::test]
async fn a_job_is_done_once_whichever_nodes_are_told_of_it() {
    const JOBS: usize = 15;
    let nodes = Nodes::start().await;
    let token = nodes.hosts[0].token_with(&["--role", "operator"]);
    assert_eq!(nodes.post(0, &nodes.platform.group("ours", "canary hello.")).await, Some(200));
    nodes.sees("ours", 1).await;
    for number in 0..JOBS {
        let saying = json!({ "text": format!("canary {number}"), "conversation": "ours" });
        let key = format!("k{number}");
        let both = tokio::join!(
            say(&nodes.hosts[0], &token, &key, &saying),
            say(&nodes.hosts[1], &token, &key, &saying)
        );
        assert_eq!(both.0["id"], both.1["id"]);
    }
    nodes.sees("ours", JOBS + 1).await;
    tokio::time::sleep(MOMENT).await;
    let seen = nodes.platform.seen("ours");
    assert_eq!(seen.len(), JOBS + 1, "each once: {seen:?}");
    for (number, seen) in seen[1..].iter().enumerate() {
        assert!(seen.ends_with(&format!("canary {number}")), "in order, but {number} is {seen:?}");
    }
}

#[tokio::test]
async fn a_job_for_later_outlives_the_node_that_was_told_of_it() {
    let mut nodes = Nodes::start().await;
    let token = nodes.hosts[0].token_with(&["--role", "operator"]);
    let at = parlor::clock::rfc3339(support::now_ms() + 2000);
    let job = say(&nodes.hosts[0], &token, "k", &json!({ "text": "canary later", "at": at })).await;
    assert_eq!(job["state"], "waiting");
    nodes.hosts[0].kill();
    assert_eq!(nodes.sees("robot", 1).await, ["canary later"]);
    let url = nodes.hosts[1].admin_url(&format!("/api/v1/admin/jobs/{}", job["id"].as_str().unwrap()));
    let done =
        async || client().get(&url).bearer_auth(&token).send().await.unwrap().json::<Value>().await.unwrap();
    while done().await["state"] != "delivered" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(nodes.platform.seen("robot").len(), 1);
}

/// A program that is none of ours, on the bus's channel of Redis.
struct Subscriber(mpsc::Receiver<Value>);

impl Subscriber {
    fn begin(redis: &Server) -> Subscriber {
        let (mut line, (heard, told)) = (redis.line(), mpsc::channel());
        let (is_ready, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut words = line.as_pubsub();
            words.subscribe(BUS).unwrap();
            is_ready.send(()).unwrap();
            // Ends with Redis, or with whoever wanted to hear.
            while let Ok(word) = words.get_message() {
                if heard.send(serde_json::from_slice(word.get_payload_bytes()).unwrap()).is_err() {
                    return;
                }
            }
        });
        ready.recv().unwrap();
        Subscriber(told)
    }

    /// What was said by now, and until nothing more comes for a moment.
    fn heard(&self) -> Vec<Value> {
        std::iter::from_fn(|| self.0.recv_timeout(MOMENT).ok()).collect()
    }
}

/// What a notice says, but for when and by whom it was told.
fn gist(notice: &Value) -> [String; 4] {
    ["direction", "platform", "content", "conversation"]
        .map(|name| notice[name].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_one_node_is_told_every_other_and_any_subscriber_of_redis_hears_once() {
    let nodes = Nodes::start().await;
    let token = nodes.hosts[0].token_with(&["--role", "operator"]);
    let subscriber = Subscriber::begin(nodes.redis.as_ref().unwrap());
    let mut lines = [
        Line::open(&nodes.hosts[0], &token, "").await,
        Line::open(&nodes.hosts[1], &token, "?channel=team").await,
    ];
    for node in 0..2 {
        let (conversation, text) = (format!("g{node}"), format!("canary at {node}."));
        assert_eq!(nodes.post(node, &nodes.platform.group(&conversation, &text)).await, Some(200));
        nodes.sees(&conversation, 1).await;
        let answer = Model::answer_to(&text);
        for line in &mut lines {
            let (heard, said) = (line.notice().await, line.notice().await);
            assert_eq!(gist(&heard)[..3], ["in", nodes.platform.adapter(), &text]);
            assert_eq!(gist(&said)[..3], ["out", nodes.platform.adapter(), &answer]);
            assert!(heard["timestamp"].as_str().unwrap() <= said["timestamp"].as_str().unwrap());
        }
    }
    let heard = subscriber.heard();
    let told: Vec<_> = heard.iter().map(|notice| gist(notice)[0].clone()).collect();
    assert_eq!(told, ["in", "out", "in", "out"], "each once: {heard:?}");
    assert_ne!(heard[0]["node"], heard[2]["node"], "and by which node");
    assert!(heard.iter().all(|notice| notice["timestamp"].is_string()), "{heard:?}");
}

#[tokio::test]
async fn a_bus_whose_connections_are_cut_holds_up_no_turn_and_is_heard_again() {
    let nodes = Nodes::start().await;
    let token = nodes.hosts[0].token_with(&["--role", "operator"]);
    let redis = nodes.redis.as_ref().unwrap();
    let mut line = Line::open(&nodes.hosts[1], &token, "").await;
    assert_eq!(nodes.post(0, &nodes.platform.group("before", "canary before.")).await, Some(200));
    assert_eq!(line.notice().await["content"], "canary before.");
    line.notice().await;
    let cut: u32 = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).query(&mut redis.line()).unwrap();
    assert_eq!(cut, 4, "each node listens to the others, and on the bus");
    assert_eq!(nodes.post(0, &nodes.platform.group("meanwhile", "canary meanwhile.")).await, Some(200));
    nodes.sees("meanwhile", 1).await;
    let subscribed = || {
        let of_bus: (String, usize) =
            redis::cmd("PUBSUB").arg(&["NUMSUB", BUS]).query(&mut redis.line()).unwrap();
        (of_bus.1 == 2).then_some(())
    };
    eventually("both nodes listen again", subscribed).await;
    assert_eq!(nodes.post(0, &nodes.platform.group("after", "canary after.")).await, Some(200));
    while line.notice().await["content"] != "canary after." {}
}

#[tokio::test]
async fn the_turns_of_a_node_that_was_killed_are_taken_over() {
    let mut nodes = Nodes::start().await;
    nodes.model.hold("canary first");
    assert_eq!(nodes.post(0, &nodes.platform.group("ours", "canary first")).await, Some(200));
    let text = "canary first";
    eventually("the first turn asks", || (nodes.model.times_asked(text) == 1).then_some(())).await;
    let has_it = nodes.hosts.each_ref().map(|host| host.lines_with("turn begins").len());
    let dead = has_it.iter().position(|begun| *begun == 1).unwrap();
    nodes.hosts[dead].kill();
    assert_eq!(nodes.post(1 - dead, &nodes.platform.group("ours", "canary second")).await, Some(200));
    nodes.model.release("canary first");
    let seen = nodes.sees("ours", 2).await;
    assert!(seen[0].ends_with(&Model::answer_to(text)), "{seen:?}");
    assert!(seen[1].ends_with(&Model::answer_to("canary second")), "{seen:?}");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(nodes.platform.seen("ours").len(), 2);
}

#[tokio::test]
async fn without_redis_nothing_is_acknowledged_and_with_it_all_goes_on() {
    let mut nodes = Nodes::start().await;
    for number in 0..6 {
        let callback =
            nodes.platform.direct(&format!("before {number}"), &format!("canary before {number}."));
        assert_eq!(nodes.post(number % 2, &callback).await, Some(200));
    }
    nodes.redis.take().unwrap().kill();
    let late: Vec<_> = (0..6)
        .map(|number| nodes.platform.direct(&format!("late {number}"), &format!("canary late {number}.")))
        .collect();
    for (number, callback) in late.iter().enumerate() {
        assert_eq!(nodes.post(number % 2, callback).await, Some(503), "nothing keeps it");
    }
    nodes.redis = Some(Server::start(nodes.folder.path(), &SYNCED));
    let back = std::time::Instant::now();
    for (number, callback) in late.iter().enumerate() {
        nodes.deliver(number % 2, callback).await;
    }
    println!("messages were taken again {:?} after Redis was back", back.elapsed());
    for number in 0..6 {
        nodes.sees(&format!("before {number}"), 1).await;
        nodes.sees(&format!("late {number}"), 1).await;
    }
    tokio::time::sleep(MOMENT).await;
    for number in 0..6 {
        assert_eq!(nodes.model.times_asked(&format!("canary late {number}.")), 1);
        assert_eq!(nodes.platform.seen(&format!("late {number}")).len(), 1);
    }
}

/// What the doctor says of the configuration's Redis: the level and the sentence.
fn said_of_redis(host: &Host) -> Vec<(String, String)> {
    let output = host.output(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter().filter(|it| it["check"] == "redis");
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings.map(|finding| (text(finding, "level"), text(finding, "what"))).collect()
}

#[tokio::test]
async fn the_doctor_says_what_a_redis_may_lose() {
    let folder = quick_folder();
    let careless = ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"];
    let redis = Server::start(folder.path(), &careless);
    let host = Host::at_rest(&Settings::new().set("store", json!({ "redis": redis.url() })));
    let said = said_of_redis(&host);
    let levels: Vec<_> = said.iter().map(|(level, _)| level.as_str()).collect();
    assert_eq!(levels, ["ok", "fail", "fail"], "{said:?}");
    assert!(said[1].1.contains("keeps no log") && said[2].1.contains("throws away"), "{said:?}");
    redis.kill();
    let said = said_of_redis(&host);
    assert!(matches!(&said[..], [(level, _)] if level == "fail"), "{said:?}");

    let folder = quick_folder();
    let sound = Server::start(folder.path(), &SYNCED);
    let host = Host::at_rest(&Settings::new().set("store", json!({ "redis": sound.url() })));
    let said = said_of_redis(&host);
    assert!(matches!(&said[..], [(level, _)] if level == "ok"), "{said:?}");
}

/// Two nodes whose channel `team` speaks through `fickle`; both have its first release in their folders.
struct Pair {
    hosts: [Host; 2],
    redis: Server,
    _folders: [TempDir; 2],
}

impl Pair {
    async fn start() -> Pair {
        let folders = [quick_folder(), tempfile::tempdir().unwrap()];
        let redis = Server::start(folders[0].path(), &SYNCED);
        std::fs::write(folders[1].path().join("fickle.wasm"), fickle::release("first", "sound")).unwrap();
        let settings = Settings::new()
            .set("plugins.folder", folders[1].path().to_str().unwrap())
            .set("models", json!({ "echo": { "backend": "echo" } }))
            .set("default_model", "echo")
            .set("channels.team", json!({ "adapter": "fickle", "pipelines": [] }))
            .set("store", json!({ "redis": redis.url() }));
        let settings = Settings { is_warm: false, ..settings };
        let hosts = [Host::start(&settings).await, Host::start(&settings).await];
        Pair { hosts, redis, _folders: folders }
    }

    async fn ask(&self, node: usize, path: &str, release: Option<Vec<u8>>) -> Value {
        let token = self.hosts[node].token_with(&["--role", "admin"]);
        let url = self.hosts[node].admin_url(&format!("/api/v1/admin/plugins{path}"));
        let request = match release {
            Some(release) => client().post(url).body(release),
            None => client().get(url),
        };
        request.bearer_auth(token).send().await.unwrap().json().await.unwrap()
    }

    async fn upload(&self, node: usize, label: &str) -> String {
        let outcome = self.ask(node, "", Some(fickle::release(label, "sound"))).await;
        assert_eq!(outcome["outcome"], "serves", "{outcome}");
        outcome["digest"].as_str().unwrap().to_owned()
    }

    /// Waits until a node answers by this release.
    async fn serves(&self, node: usize, label: &str) {
        let began = tokio::time::Instant::now();
        for number in 0.. {
            let id = format!("{node}-{label}-{number}");
            let said = json!({ "id": id, "conversation": id, "text": "hello" });
            let said = client().post(self.hosts[node].url(TEAM)).json(&said).send().await.unwrap();
            if said.json::<Value>().await.unwrap()["release"] == label {
                return;
            }
            assert!(began.elapsed() < support::PATIENCE, "node {node} never came to serve `{label}`");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Under which keys Redis has files of releases.
    fn kept(&self) -> Vec<String> {
        redis::cmd("KEYS").arg("*:f:*").query(&mut self.redis.line()).unwrap()
    }
}

#[tokio::test]
async fn a_release_that_is_uploaded_to_one_node_serves_on_all_of_them() {
    let mut pair = Pair::start().await;
    let second = pair.upload(0, "second").await;
    pair.serves(1, "second").await;
    assert_eq!(pair.ask(1, "/fickle", None).await["deployment"]["stable"]["digest"], second.as_str());
    // One that is down hears of it when it comes back.
    pair.hosts[1].kill();
    let third = pair.upload(0, "third").await;
    pair.hosts[1].run().await;
    pair.serves(1, "third").await;
    assert_eq!(pair.ask(1, "/fickle", None).await["deployment"]["stable"]["digest"], third.as_str());
    // And it may be the one that others have it from.
    pair.upload(1, "fourth").await;
    pair.serves(0, "fourth").await;
    for label in ["fifth", "sixth"] {
        pair.upload(0, label).await;
    }
    assert_eq!(pair.kept().len(), 5, "what nobody can go back to is not kept: {:?}", pair.kept());
    pair.serves(1, "sixth").await;
}

#[tokio::test]
async fn a_file_that_was_changed_in_redis_never_serves_and_a_node_that_lacks_it_tries_again() {
    let mut pair = Pair::start().await;
    pair.hosts[1].kill();
    let digest = pair.upload(0, "second").await;
    let key = pair.kept().into_iter().find(|key| key.ends_with(&digest)).unwrap();
    let mut line = pair.redis.line();
    let sound: Vec<(Vec<u8>, Vec<u8>)> = redis::cmd("HGETALL").arg(&key).query(&mut line).unwrap();
    let put = |field: &[u8], bytes: &[u8], line: &mut redis::Connection| {
        redis::cmd("HSET").arg(&key).arg(field).arg(bytes).exec(line).unwrap();
    };
    let mut changed = sound.iter().find(|(field, _)| field == b"0").unwrap().1.clone();
    *changed.last_mut().unwrap() ^= 1;
    put(b"0", &changed, &mut line);
    pair.hosts[1].run().await;
    pair.serves(1, "first").await;
    let trouble = pair.ask(1, "/fickle", None).await["deployment"]["trouble"].clone();
    assert!(trouble.as_str().unwrap().contains("another file as that of release"), "{trouble}");
    for (field, bytes) in &sound {
        put(field, bytes, &mut line);
    }
    pair.serves(1, "second").await;
    assert!(pair.ask(1, "/fickle", None).await["deployment"]["trouble"].is_null());
}
