//! No secret comes into a guest's memory, nor into a log, the store, a response, or a request to somebody else.
//!
//! Every plugin that ships runs through its conformance (golden requests and vectors) and a conversation with
//! deliveries, and after each call the host looks through all memories of guests (`plugin/memories.rs`). That it would
//! find one is shown by a guest whose setting is the secret itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    Envelope, Host, Model, OpenPlatform, Platform, Settings, client, eventually, guests, plugins,
};

const REPORT: &str = "PARLOR_MEMORIES_REPORT";
/// Tokens that the platforms mint; secrets the host knows by itself.
const MINTED: &str = "secret-canary-token,t-secret-canary-";
const SEEK: &str = "PARLOR_MEMORIES_SEEK";
const SECRET: &str = "secret-canary";

/// What the host saw in the guests' memories, by plugin.
#[derive(Debug, Default)]
struct Looks {
    calls: BTreeMap<String, usize>,
    /// Calls that had a secret to be looked for.
    sought: BTreeMap<String, usize>,
    found: Vec<Value>,
}

impl Looks {
    fn read(report: &Path) -> Looks {
        let mut looks = Looks::default();
        for line in std::fs::read_to_string(report).unwrap_or_default().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let plugin = line["plugin"].as_str().unwrap().to_owned();
            assert!(line["bytes"].as_u64().unwrap() > 0, "a call without a memory: {line}");
            *looks.calls.entry(plugin.clone()).or_default() += 1;
            *looks.sought.entry(plugin).or_default() += usize::from(line["sought"] != 0);
            if line["found"] != json!([]) {
                looks.found.push(line);
            }
        }
        looks
    }
}

fn shipped() -> Vec<(String, PathBuf)> {
    let files = std::fs::read_dir(plugins()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// The vectors that lie beside a plugin's tests, if there are any.
fn vectors(plugin: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let folders = ["adapters", "pipelines"].map(|kind| root.join(kind).join(plugin).join("tests/fixtures"));
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let is_vectors = |path: &PathBuf| {
        let value =
            std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        value.is_some_and(|value| {
            value["vectors"].as_array().is_some_and(|rows| rows.iter().any(|row| row["algo"].is_string()))
        })
    };
    files.map(|entry| entry.unwrap().path()).filter(is_vectors).collect()
}

#[test]
fn no_secret_comes_into_a_memory_while_plugins_go_through_their_conformance() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    for (plugin, file) in shipped() {
        let vectors = vectors(&plugin);
        let mut parlor = Command::new(crate::support::program());
        parlor.args(["plugin", "test"]).arg(&file).env(REPORT, &report);
        let Some(vectors) = vectors.first() else { continue };
        let output = parlor.arg("--vectors").arg(vectors).output().unwrap();
        assert!(output.status.success(), "{plugin}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let looks = Looks::read(&report);
    assert!(looks.found.is_empty(), "{:#?}", looks.found);
    for plugin in ["dingtalk", "feishu", "webhook"] {
        let calls = looks.calls.get(plugin).copied().unwrap_or_default();
        assert!(calls > 20, "{plugin} was called {calls} times");
        assert!(
            looks.sought.get(plugin).is_some_and(|sought| *sought > 0),
            "no secret of {plugin} was looked for"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_into_a_memory_a_store_a_response_or_to_strangers_in_conversations() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let (team, lark, model) = (Platform::start().await, OpenPlatform::start().await, Model::start().await);
    let settings = team.join_webhook(lark.join(team.join(Settings::new()), json!({})), json!({}), true);
    let mut host = Host::start(
        &model
            .join(settings)
            .set("chat", json!({ "pipelines": ["commands", "wordguard", "assistant"], "settings": { "wordguard.words": ["bad"] } }))
            .environment(REPORT, report.to_str().unwrap())
            .environment(SEEK, MINTED)
            .environment("PARLOR_LOG", "debug"),
    )
    .await;
    let mut responses = Vec::new();
    for number in 0..3 {
        let direct = team.direct("ann", &format!("canary {number}"));
        responses.push(format!("{:?}", direct.post(&host.url("/webhook/team")).await));
        let group = team.group("ann", &format!("canary group {number}"));
        responses.push(format!("{:?}", group.post(&host.url("/webhook/team")).await));
        let event = lark.direct("oc_ann", &format!("canary {number}"));
        responses.push(format!("{:?}", event.post(&host.url("/webhook/lark")).await));
        let envelope = Envelope::new(&format!("m{number}"), "ann", "canary");
        responses.push(format!("{:?}", envelope.post(&host.url("/webhook/hook")).await));
        let forged = lark.challenge("x", "another-canary");
        responses.push(format!("{:?}", forged.post(&host.url("/webhook/lark")).await));
        let asked = client().post(host.url("/api/v1/chat")).bearer_auth(host.token());
        let asked = asked.json(&json!({ "query": "canary, nothing bad" })).send().await.unwrap();
        responses.push(asked.text().await.unwrap());
    }
    eventually("all turns end", || (host.lines_with("turn ends").len() >= 15).then_some(())).await;
    host.terminate();
    assert!(host.ended().await.success());

    let looks = Looks::read(&report);
    assert!(looks.found.is_empty(), "{:#?}", looks.found);
    for (plugin, _) in shipped() {
        let calls = looks.calls.get(&plugin).copied().unwrap_or_default();
        assert!(calls >= 3, "{plugin} was called {calls} times");
    }
    let strangers =
        [format!("{:?}", model.asked()), format!("{:?}", team.everything_seen()), responses.concat()];
    let strangers = strangers.iter().filter(|text| text.to_lowercase().contains(SECRET));
    assert_eq!(strangers.collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(lark.mints() > 0, "a token was minted and used");
    // The log and the store's files are searched when the host is dropped.
}

/// The same look on a guest that holds a secret, because it was given it as a setting too: it must be found.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_planted_is_found_in_the_guests_memory() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let planted = "planted-where-it-can-be-found";
    let channel = json!({
        "adapter": "unruly", "settings": { "planted": planted }, "secrets": { "sealing": planted },
    });
    let model = Model::start().await;
    let settings = Settings::new()
        .set("plugins.folder", guests().to_str().unwrap())
        .set("channels.wild", channel)
        .environment(REPORT, report.to_str().unwrap());
    let host = Host::start(&model.join(settings)).await;
    assert_eq!(client().get(host.url("/webhook/wild/ok")).send().await.unwrap().status(), 200);
    let looks = Looks::read(&report);
    assert!(looks.calls["unruly"] > 0 && looks.found.is_empty(), "it has not asked for it yet: {looks:?}");
    let request = client().post(host.url("/webhook/wild/later/steal/control"));
    assert_eq!(request.header("x-request-id", "control").send().await.unwrap().status(), 200);
    host.wait_for_line(&["deed done", "id=control "]).await;
    // The log's line is written within the call, and the look follows it.
    let found = eventually("a look that finds it", || {
        let found = Looks::read(&report).found;
        (!found.is_empty()).then_some(found)
    })
    .await;
    let is_it = |line: &Value| line["function"] == "finish" && line["found"] == json!(["sealing"]);
    assert!(found.iter().any(is_it), "{found:?}");
}
