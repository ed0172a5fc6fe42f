//! What people, operators and disks get wrong, through the real binary: each mistake has a message or a status
//! of its own, and nothing that was accepted is lost.
#![cfg(unix)]

#[cfg(target_os = "linux")]
#[path = "bad_input/disk.rs"]
mod disk;
#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use support::{Envelope, Host, Model, Platform, Settings, client, eventually, plugins, raw};

const TEAM: &str = "/webhook/team";
const HOOK: &str = "/webhook/hook";
const CHAT: &str = "/api/v1/chat";

/// What a host that does not start says, and that it says it with exit code 1.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

/// `serve` and what it said instead.
fn refused(settings: &Settings) -> String {
    refusal(&Host::at_rest(settings).output(&["serve"]))
}

/// A taken port, so that whatever is told before it was told before anything is bound.
fn on_a_taken_port(settings: Settings) -> (Settings, std::net::TcpListener) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    (settings.set("listen", address), taken)
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_told_with_its_place_and_its_neighbour() {
    let platform = Platform::start().await;
    let settings = platform.join(Settings::new()).set("channels.team.histroy", 3).set("chanels", json!({}));
    let (settings, _taken) = on_a_taken_port(settings);
    let host = Host::at_rest(&settings);
    let file = fs::read_to_string(host.config_file()).unwrap();
    for command in ["serve", "check"] {
        let told = refusal(&host.output(&[command]));
        for (key, path, neighbour) in
            [("histroy", "channels.team.histroy", "history"), ("chanels", "chanels", "channels")]
        {
            let line = file.lines().position(|line| line.contains(&format!("\"{key}\""))).unwrap();
            let column = file.lines().nth(line).unwrap().find('"').unwrap() + 1;
            let place = format!("{}:{}:{column}: {path}:", host.config_file().display(), line + 1);
            holds(&told, &[&place, &format!("`{neighbour}`")]);
        }
        assert!(!told.contains("cannot listen"), "{told}");
    }
}

/// Found by review: such a token was issued and opened no door.
#[tokio::test]
async fn a_scope_that_there_is_not_is_refused_with_those_that_there_are() {
    let output = Host::at_rest(&Settings::new()).output(&["token", "--scope", "chat:read"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    holds(
        &String::from_utf8(output.stderr).unwrap(),
        &["'chat:read'", "chat:write", "metrics:read", "logs:read"],
    );
}

#[tokio::test]
async fn a_missing_secret_is_named() {
    let platform = Platform::start().await;
    let of_no_value =
        platform.join(Settings::new()).set("channels.team.secrets.app_secret", "${NO_SUCH_SECRET}");
    let (settings, _taken) = on_a_taken_port(of_no_value);
    let told = refused(&settings);
    holds(&told, &["parlor.yaml:", "channels.team.secrets.app_secret", "`NO_SUCH_SECRET`"]);
    assert!(!told.contains("cannot listen"), "{told}");
    let without = platform.join(Settings::new()).set("channels.team.secrets", json!({}));
    holds(&refused(&without), &["cannot serve", "channel `team`", "app_secret", "mints the token"]);
}

#[cfg(not(feature = "native"))]
#[tokio::test]
async fn a_build_without_native_models_says_so() {
    let settings = Settings::new().set("models.local", json!({ "backend": "gguf", "path": "model.gguf" }));
    holds(&refused(&settings), &["model `local`", "build it with the feature `native`"]);
}

#[cfg(feature = "native")]
#[tokio::test]
async fn a_wrong_model_file_is_named_with_what_is_wrong_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let with = |file: &str| {
        let path = folder.path().join(file);
        Settings::new().set("models.local", json!({ "backend": "gguf", "path": path }))
    };
    fs::write(folder.path().join("holiday.gguf"), "a letter from the sea").unwrap();
    holds(&refused(&with("holiday.gguf")), &["model `local`", "holiday.gguf", "not a GGUF file"]);
    holds(&refused(&with("nowhere.gguf")), &["model `local`", "nowhere.gguf"]);
    let sound = std::env::var("PARLOR_TEST_MODEL").expect("no weights file is named; run `cargo xtask test`");
    let other = json!({ "backend": "gguf", "path": sound, "sha256": "0".repeat(64) });
    holds(&refused(&Settings::new().set("models.local", other)), &["model `local`", "SHA-256"]);
}

/// The file that is the adapter of the channel `team`.
fn adapter(platform: &Platform) -> PathBuf {
    plugins().join(format!("{}.wasm", platform.adapter()))
}

/// A folder of the sound plugins in which some files are other bytes.
fn folder_with(files: &[(&Path, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(plugins()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    for (name, bytes) in files {
        fs::write(folder.path().join(name.file_name().unwrap()), bytes).unwrap();
    }
    folder
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut bytes, mut times) = (bytes.to_vec(), 0);
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
        times += 1;
    }
    assert!(times > 0, "what is to be replaced is there");
    bytes
}

/// The adapter that a channel needs is these bytes: the host does not serve and says why.
async fn a_bad_adapter_is_refused(bytes: &[u8], why: &[&str]) {
    let platform = Platform::start().await;
    let folder = folder_with(&[(&adapter(&platform), bytes)]);
    let settings = platform.join(Settings::new()).set("plugins.folder", folder.path().to_str().unwrap());
    let output = Host::at_rest(&settings).output(&["serve"]);
    let missing = format!("no plugin `{}` is loaded", platform.adapter());
    holds(&refusal(&output), &["cannot serve", "channel `team`", &missing]);
    let log = String::from_utf8(output.stdout).unwrap();
    let line = log.lines().find(|line| line.contains("a plugin does not serve")).expect("the log says why");
    holds(line, why);
    holds(line, &[adapter(&platform).file_name().unwrap().to_str().unwrap()]);
}

#[tokio::test]
async fn a_plugin_that_is_cut_off_is_refused() {
    let whole = fs::read(adapter(&Platform::start().await)).unwrap();
    a_bad_adapter_is_refused(&whole[..whole.len() / 2], &["cut off at byte", "copy the file again"]).await;
    a_bad_adapter_is_refused(&whole[..whole.len() - 1], &["cut off at byte"]).await;
}

#[tokio::test]
async fn a_file_that_is_no_plugin_is_refused() {
    a_bad_adapter_is_refused(b"#!/bin/sh\n", &["not a WebAssembly file"]).await;
    a_bad_adapter_is_refused(b"", &["not a WebAssembly file"]).await;
    let module = b"\0asm\x01\0\0\0";
    a_bad_adapter_is_refused(module, &["a core module, not a component", "wasm32-wasip2"]).await;
    let component = b"\0asm\x0d\0\x01\0";
    a_bad_adapter_is_refused(component, &["no Parlor plugin", "parlor:contract"]).await;
}

#[tokio::test]
async fn a_plugin_for_another_contract_is_refused() {
    let sound = fs::read(adapter(&Platform::start().await)).unwrap();
    let other = replaced(&sound, b"parlor:contract0.1", b"parlor:contract0.9");
    a_bad_adapter_is_refused(&other, &["built for contract `0.9`", "this host speaks `0.1`", "rebuild"])
        .await;
}

#[tokio::test]
async fn a_bad_plugin_that_nobody_needs_stops_nobody() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let folder = folder_with(&[(Path::new("stray.wasm"), b"\0asm")]);
    let settings = platform.join(Settings::new()).set("plugins.folder", folder.path().to_str().unwrap());
    let host = Host::start(&model.join(settings)).await;
    assert_eq!(host.lines_with("a plugin does not serve").len(), 1);
    answers(&host, &platform, "canary fine").await;
}

/// The host answers a message, whatever happened before.
async fn answers(host: &Host, platform: &Platform, text: &str) {
    assert_eq!(platform.direct("ann", text).post(&host.url(TEAM)).await, Some(200));
    sees(platform, text).await;
}

async fn sees(platform: &Platform, text: &str) {
    let answer = Model::answer_to(text);
    eventually(&format!("the answer to {text:?}"), || platform.seen("ann").contains(&answer).then_some(()))
        .await;
}

#[tokio::test]
async fn compiled_files_that_somebody_changed_are_compiled_anew() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let mut host = Host::start(&model.join(platform.join(Settings::new()))).await;
    host.terminate();
    host.ended().await;
    let compiled = host.data().join("compiled");
    let named = |ending: &str| -> Vec<PathBuf> {
        let all = fs::read_dir(&compiled).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            all.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect();
        files.sort();
        files
    };
    let (codes, macs) = (named("cwasm"), named("mac"));
    assert!(codes.len() >= 3 && codes.len() == macs.len(), "{codes:?}");
    // One has a byte of code changed, one its seal, and one is another's code under that one's own seal.
    let mut code = fs::read(&codes[0]).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    fs::copy(&codes[0], &codes[2]).unwrap();
    fs::copy(&macs[0], &macs[2]).unwrap();
    fs::write(&codes[0], &code).unwrap();
    let mut seal = fs::read(&macs[1]).unwrap();
    seal[0] ^= 1;
    fs::write(&macs[1], &seal).unwrap();
    host.run().await;
    assert_eq!(host.lines_with("seal of its compiled file does not hold").len(), 3);
    assert_eq!(host.lines_with("\"compiling\"").len(), 3);
    assert!(fs::read(&codes[0]).unwrap() != code, "the changed code is gone");
    answers(&host, &platform, "canary fine").await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let (settings, taken) = on_a_taken_port(Settings::new());
    let address = taken.local_addr().unwrap().to_string();
    holds(&refused(&settings), &["cannot listen on", &address, "is another parlor running?"]);
}

#[tokio::test]
async fn a_second_host_on_the_same_data_is_refused_and_the_first_serves_on() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let host = Host::start(&model.join(platform.join(Settings::new()))).await;
    let told = refusal(&host.output(&["serve"]));
    holds(&told, &["another parlor serves from this folder", host.data().to_str().unwrap(), "set `data`"]);
    answers(&host, &platform, "canary still here").await;
}

/// A host with both adapters and the chat door.
async fn all_doors() -> (Host, Platform) {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_webhook(platform.join(Settings::new()), json!({}), false);
    let settings = settings.set("chat", json!({ "pipelines": ["assistant"] }));
    (Host::start(&model.join(settings)).await, platform)
}

/// Any body through each door, signed or with a token as it must be: the statuses.
async fn through_all_doors(host: &Host, platform: &Platform, body: &[u8]) -> Vec<(u16, Value)> {
    let robot = platform.direct("ann", "canary");
    let (team, told) = robot.post_bytes(&host.url(TEAM), body.to_vec()).await.unwrap();
    let hook = Envelope::post_body(&host.url(HOOK), "m", body.to_vec()).await.unwrap();
    let asked = client().post(host.url(CHAT)).bearer_auth(host.token()).body(body.to_vec());
    let chat = asked.send().await.unwrap();
    let status = chat.status().as_u16();
    let told = serde_json::from_str(&told).unwrap_or_default();
    vec![(team, told), hook, (status, chat.json().await.unwrap_or_default())]
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused_at_every_door() {
    let (host, platform) = all_doors().await;
    let mut body = br#"{"query":""#.to_vec();
    body.resize((1 << 20) + 1, b'a');
    for (status, told) in through_all_doors(&host, &platform, &body).await {
        assert_eq!(status, 413);
        holds(&told.to_string(), &["the body is longer than 1048576 bytes"]);
    }
    answers(&host, &platform, "canary fine").await;
}

#[tokio::test]
async fn json_of_great_depth_is_refused_at_every_door() {
    const DEPTH: usize = 100_000;
    let (host, platform) = all_doors().await;
    let process = host.process_id();
    let arrays = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH));
    let inside = format!(
        r#"{{"msgId":"m","query":"q","header":{{"message_id":"m"}},"payload":{{"query":"q"}},"deep":{arrays}}}"#
    );
    for body in [&arrays, &objects, &inside, &"[".repeat(DEPTH)] {
        let statuses: Vec<u16> = through_all_doors(&host, &platform, body.as_bytes())
            .await
            .into_iter()
            .map(|(status, _)| status)
            .collect();
        assert_eq!((statuses[0], statuses[2]), (400, 400), "{statuses:?}");
        // A signed body that is no JSON is the message's text itself for the generic webhook.
        assert!(statuses[1] == 200 || statuses[1] == 400, "{statuses:?}");
    }
    let envelope = client().post(host.url(HOOK)).body(inside).send().await.unwrap();
    assert_eq!(envelope.status(), 400, "one whose signature stands inside must be read first");
    assert_eq!(host.process_id(), process);
    answers(&host, &platform, "canary fine").await;
}

#[tokio::test]
async fn what_is_not_utf8_is_refused() {
    let (host, platform) = all_doors().await;
    let body = b"{\"msgId\":\"m\",\"query\":\"\xff\xfe\"}";
    for (status, _) in through_all_doors(&host, &platform, body).await {
        assert_eq!(status, 400);
    }
    let head = format!("POST {TEAM} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n");
    let request = [head.as_bytes(), b"sign: \xff\xfe\r\n\r\n{}"].concat();
    let told = raw(host.address(), &request).await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    holds(&told, &["not_utf8", "the value of the header `sign` is not UTF-8"]);
    answers(&host, &platform, "canary fine").await;
}

#[tokio::test]
async fn what_there_is_not_is_not_found() {
    let (host, platform) = all_doors().await;
    let status = async |method: http::Method, path: &str| {
        let response = client().request(method, host.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let unknown = platform.direct("ann", "canary").post(&host.url("/webhook/nobody")).await;
    assert_eq!(unknown, Some(404));
    holds(&status(http::Method::POST, "/webhook/chat").await.1, &["no such channel"]);
    assert_eq!(status(http::Method::GET, "/nothing").await.0, 404);
    let (code, told) = status(http::Method::DELETE, CHAT).await;
    assert_eq!(code, 405);
    holds(&told, &["method_not_allowed"]);
}
