//! Plugins that are not in Rust, in the real host: an adapter in JavaScript and a pipeline in Python lead a chat.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

#[path = "scripted/bot_api.rs"]
mod bot_api;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use bot_api::BotApi;
use serde_json::json;
use support::{Host, Model, Settings, eventually};

/// Both plugins and an assistant, and a data folder into which they are compiled. Kept from run to run, since an
/// interpreter takes its time.
fn prepared() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripted");
    let (plugins, data) = (folder.join("plugins"), folder.join("data"));
    fs::create_dir_all(&plugins).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let scripted = std::env::var_os("PARLOR_TEST_SCRIPTED").expect("run `cargo xtask test`");
    let rust = std::env::var_os("PARLOR_TEST_PLUGINS").expect("run `cargo xtask test`");
    for (from, name) in [(&scripted, "telegram"), (&scripted, "translator"), (&rust, "assistant")] {
        let (built, kept) =
            (Path::new(from).join(format!("{name}.wasm")), plugins.join(format!("{name}.wasm")));
        let bytes = fs::read(&built).unwrap();
        if fs::read(&kept).is_ok_and(|old| old == bytes) {
            continue;
        }
        fs::write(&kept, bytes).unwrap();
        let mut parlor = Command::new(env!("CARGO_BIN_EXE_parlor"));
        let output = parlor.args(["plugin", "compile"]).arg(&kept).arg("--into").arg(&data).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    folder
}

/// A chat on the fake platform, with a model behind it.
struct Chat {
    api: BotApi,
    model: Model,
    host: Host,
}

impl Chat {
    async fn start() -> Chat {
        let folder = prepared();
        let (api, model) = (BotApi::start().await, Model::start().await);
        let settings = Settings { is_warm: false, ..Settings::new() }
            .set("plugins.folder", folder.join("plugins").to_str().unwrap());
        let mut host = Host::at_rest(&api.join(model.join(settings)));
        for part in ["host.key", "compiled"] {
            copy(&folder.join("data").join(part), &host.data().join(part));
        }
        host.run().await;
        Chat { api, model, host }
    }

    async fn say(&self, update: u64, text: &str) {
        assert_eq!(BotApi::say(&self.host.url("/webhook/people"), update, text).await, 200);
    }

    /// The texts that people read, once there is one that ends so.
    async fn read(&self, end: &str) -> Vec<String> {
        let last = || {
            let texts = self.api.messages().into_iter().map(|message| message.texts.last().unwrap().clone());
            let texts: Vec<_> = texts.collect();
            texts.last().is_some_and(|text| text.ends_with(end)).then_some(texts)
        };
        eventually(&format!("a message that ends with `{end}`"), last).await
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            copy(&entry, &to.join(entry.file_name().unwrap()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[tokio::test]
async fn a_reply_grows_in_one_message_and_ends_with_its_translation() {
    let chat = Chat::start().await;
    chat.model.script("canary question", "An answer in **English** <with> five words.");
    chat.model.script("An answer in", "一个中文的回答。");
    chat.model.let_through("canary question", 3);
    chat.say(1, "canary question").await;
    eventually("a beginning of it", || chat.api.messages().first().cloned()).await;
    chat.model.release("canary question");
    let read = chat.read("一个中文的回答。").await;
    assert_eq!(read, ["An answer in English <with> five words.\n\n---\n\n一个中文的回答。"]);
    let message = &chat.api.messages()[0];
    assert!(message.chat == 7 && message.texts.len() > 1, "it grew: {message:?}");
    assert!(chat.api.typing() > 0, "before there were words the bot was typing");
}

#[tokio::test]
async fn a_repeated_update_is_answered_once() {
    let chat = Chat::start().await;
    chat.model.script("canary", "好的。");
    for _ in 0..3 {
        chat.say(5, "canary").await;
    }
    chat.read("好的。").await;
    chat.say(6, "canary again").await;
    eventually("the second answer", || (chat.api.messages().len() == 2).then_some(())).await;
    assert_eq!(
        chat.model.asked().len(),
        2,
        "and no model is asked to translate what is Chinese by its letters"
    );
}

#[tokio::test]
async fn what_the_platform_refuses_at_first_arrives_all_the_same() {
    let chat = Chat::start().await;
    chat.model.script("canary slow", "慢。");
    let slow = json!({ "ok": false, "error_code": 429, "parameters": { "retry_after": 1 } });
    chat.api.refuse(429, slow.clone());
    chat.api.refuse(429, slow);
    chat.say(1, "canary slow").await;
    assert_eq!(chat.read("慢。").await.len(), 1);
    chat.api.take_no_tags();
    chat.model.script("canary tags", "**粗**");
    chat.say(2, "canary tags").await;
    assert_eq!(chat.read("**粗**").await.len(), 2, "as plain text");
}
