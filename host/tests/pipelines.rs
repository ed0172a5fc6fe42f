//! Turns through several pipelines in the real host: commands, a word guard and an assistant, one behind the other.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Host, Model, Settings, client};

/// The chat door with all three pipelines, on two models.
struct Chat {
    host: Host,
    token: String,
    usual: Model,
    other: Model,
}

impl Chat {
    async fn start(own: Value) -> Chat {
        let (usual, other) = (Model::start().await, Model::start().await);
        let host = Host::start(&other.join_as("other", usual.join(settings(own)))).await;
        let token = host.token();
        Chat { host, token, usual, other }
    }

    async fn post(&self, query: &str, is_streamed: bool) -> reqwest::Response {
        let body = json!({ "query": query, "session_id": "s", "stream": is_streamed });
        let request = client().post(self.host.url("/api/v1/chat")).bearer_auth(&self.token);
        let response = request.json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    }

    async fn ask(&self, query: &str) -> String {
        let answer: Value = self.post(query, false).await.json().await.unwrap();
        answer["reply"].as_str().unwrap().to_owned()
    }
}

fn settings(own: Value) -> Settings {
    let pipelines = ["commands", "wordguard", "assistant"];
    Settings::new().set("chat", json!({ "pipelines": pipelines, "settings": own }))
}

/// The texts of the deltas, and the whole reply.
fn heard(events: &str) -> (Vec<String>, String) {
    let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
    let data: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    let deltas = data.iter().filter_map(|data| data["text"].as_str()).map(str::to_owned).collect();
    (deltas, data.last().unwrap()["reply"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_word_cut_by_two_deltas_is_never_shown() {
    let chat = Chat::start(json!({ "wordguard.words": ["色情"] })).await;
    chat.usual.script("canary story", "一个色 情故事，很短。色");
    chat.usual.hold("canary story");
    let mut response = chat.post("canary story", true).await;
    let first = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains("一个") && !first.contains('色'), "what is safe comes at once: {first}");
    chat.usual.release("canary story");
    let rest = String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap();
    let (deltas, reply) = heard(&(first + &rest));
    assert_eq!(reply, "一个＊＊＊故事，很短。色");
    assert_eq!(deltas.concat(), reply, "what was held back to the end comes too");
    let line = chat.host.wait_for_line(&["a word of the list was found"]).await;
    assert!(line.contains("words[0]") && line.contains("security") && !line.contains("色情"), "{line}");
    chat.ask("canary again").await;
    assert!(!chat.usual.asked()[1].to_string().contains("色 情"), "the history has what was shown");
}

#[tokio::test]
async fn an_answer_with_a_word_is_stopped_where_that_is_wanted() {
    let own = json!({ "wordguard.words": ["色情"], "wordguard.outbound": "refuse" });
    let chat = Chat::start(own).await;
    chat.usual.script("canary story", "一个色 情故事，很长。");
    let events = chat.post("canary story", true).await.text().await.unwrap();
    let (deltas, reply) = heard(&events);
    assert_eq!((deltas.concat().as_str(), reply.as_str()), ("一个", "Sorry, I cannot talk about that."));
}

#[tokio::test]
async fn a_refused_message_never_reaches_the_model() {
    let chat = Chat::start(json!({ "wordguard.words": ["色情"] })).await;
    assert_eq!(chat.ask("canary 讲个 色\u{200b}情 故事").await, "抱歉，这个话题我不能讨论。");
    assert!(chat.usual.asked().is_empty());
    chat.ask("canary hello").await;
    let asked = chat.usual.asked().remove(0).to_string();
    assert!(!asked.contains('情') && !asked.contains("抱歉"), "nor with the next message: {asked}");
}

#[tokio::test]
async fn the_list_may_be_a_file_beside_the_configuration() {
    let model = Model::start().await;
    let mut host = Host::at_rest(&model.join(settings(json!({ "wordguard.file": "lists/words.txt" }))));
    let refused = host.output(&["serve"]);
    let told =
        format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    assert!(!refused.status.success());
    for part in ["channel `chat`", "wordguard: `file`", "words.txt` cannot be read", "put it there"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    fs::create_dir(host.folder().join("lists")).unwrap();
    let file = host.folder().join("lists/words.txt");
    fs::write(&file, b"fine\n\xff").unwrap();
    let refused = host.output(&["serve"]);
    let told =
        format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    assert!(told.contains("is not UTF-8 in line 2"), "{told}");
    fs::write(&file, "\u{feff}# canary words\r\n\r\n 色情 \r\nevil\r\n").unwrap();
    host.run().await;
    let chat = Chat { token: host.token(), host, usual: model.clone(), other: model };
    assert_eq!(chat.ask("how EVIL, canary").await, "Sorry, I cannot talk about that.");
    chat.host.wait_for_line(&["a word of the list was found", "file:4"]).await;
    assert_eq!(chat.ask("canary words").await, Model::answer_to("canary words"), "a comment is no word");
}

#[tokio::test]
async fn a_reset_forgets_the_conversation() {
    let chat = Chat::start(json!({})).await;
    chat.ask("canary my name is Ann").await;
    chat.ask("canary and now").await;
    assert!(chat.usual.asked()[1].to_string().contains("Ann"));
    assert_eq!(chat.ask("/Reset").await, "Forgotten. Let us start afresh.");
    assert!(chat.ask("/help").await.contains("`/reset`"));
    chat.ask("canary who am I").await;
    let asked = chat.usual.asked();
    assert_eq!(asked.len(), 3, "commands are for no model");
    let said = asked[2].to_string();
    assert!(!said.contains("Ann") && !said.contains("Reset") && !said.contains("/help"), "{said}");
}

#[tokio::test]
async fn a_chosen_model_answers_this_conversation_from_then_on() {
    let own = json!({ "commands.models": ["other"], "assistant.model": "fake" });
    let mut chat = Chat::start(own).await;
    chat.ask("canary one").await;
    assert!(chat.ask("/model othr").await.contains("Did you mean `other`?"));
    assert_eq!(chat.ask("／model OTHER").await, "好的，本会话改由 `other` 回答。");
    chat.ask("canary two").await;
    chat.host.restart().await;
    chat.ask("canary three").await;
    assert_eq!((chat.usual.asked().len(), chat.other.asked().len()), (1, 2));
    assert_eq!(chat.ask("/model default").await, "From now on the usual model answers again.");
    chat.ask("canary four").await;
    assert_eq!((chat.usual.asked().len(), chat.other.asked().len()), (2, 2));
}

#[tokio::test]
async fn a_model_that_a_setting_names_must_be_configured() {
    let model = Model::start().await;
    let own = json!({ "commands.models": ["fake", "gone"], "assistant.model": "fakk" });
    let refused = Host::at_rest(&model.join(settings(own))).output(&["serve"]);
    let told =
        format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    for part in
        ["`models[1]`: no model `gone` is configured; there are: fake", "assistant: `model`: no model `fakk`"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}

/// A stage in front of the assistant that asks a model about some messages first.
async fn warded() -> Chat {
    let folder = tempfile::tempdir().unwrap();
    for (variable, name) in [("PARLOR_TEST_PLUGINS", "assistant"), ("PARLOR_TEST_GUESTS", "warden")] {
        let built =
            std::env::var(variable).unwrap_or_else(|_| panic!("`{variable}`: run `cargo xtask test`"));
        let file = format!("{name}.wasm");
        fs::copy(std::path::Path::new(&built).join(&file), folder.path().join(&file)).unwrap();
    }
    let (usual, other) = (Model::start().await, Model::start().await);
    let settings = Settings::new().set("chat", json!({ "pipelines": ["warden", "assistant"] }));
    let settings = settings.set("plugins.folder", folder.path().to_str().unwrap());
    let settings = Settings { is_warm: false, ..settings };
    let host = Host::start(&other.join_as("other", usual.join(settings))).await;
    Chat { token: host.token(), host, usual, other }
}

#[tokio::test]
async fn a_stage_that_has_asked_a_model_may_hand_the_turn_on() {
    let chat = warded().await;
    chat.usual.script("better words for: doubt canary one", "canary reworded");
    assert_eq!(chat.ask("doubt canary one").await, Model::answer_to("canary reworded"));
    chat.usual.script("better words for: doubt canary two", "none");
    assert_eq!(chat.ask("doubt canary two").await, Model::answer_to("doubt canary two"), "as it was");
    let events = chat.post("doubt canary two", true).await.text().await.unwrap();
    let (deltas, reply) = heard(&events);
    assert_eq!(deltas.concat(), reply, "what was asked in between is not shown");
    assert_eq!(chat.usual.asked().len(), 6, "two questions for each");
}

#[tokio::test]
async fn what_a_later_stage_says_passes_the_filter_of_one_that_had_asked() {
    let chat = warded().await;
    chat.usual.script("better words for", "canary reworded");
    chat.usual.script("canary reworded", "that is forbidden to say");
    assert_eq!(chat.ask("doubt canary").await, "let us talk of something else");
}
