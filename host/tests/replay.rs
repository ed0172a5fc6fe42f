//! `parlor replay` through the real binary: what could not be delivered is listed and tried once more, beside a host
//! that serves and without one.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::process::Output;

use serde_json::{Value, json};
use support::{Host, Model, Settings, Slate, eventually};

const BOARD: &str = "/webhook/board";

struct Scene {
    host: Host,
    slate: Slate,
    model: Model,
}

impl Scene {
    /// A host with one dead letter: the platform said of the answer that its conversation is closed.
    async fn set() -> Scene {
        let (slate, model) = (Slate::start().await, Model::start().await);
        let settings = model.join(slate.join(Settings::new()));
        let scene = Scene { host: Host::start(&settings).await, slate, model };
        scene.die("canary one").await;
        scene
    }

    async fn die(&self, text: &str) {
        self.slate.refuse_last(410);
        let dead =
            || self.host.lines_with("turn ends").iter().filter(|line| line.contains("\"dead\"")).count();
        let before = dead();
        assert!(Slate::say(&self.host.url(BOARD), text, text, text).await);
        eventually("a turn is dead", || (dead() > before).then_some(())).await;
    }

    async fn stop(&mut self) {
        self.host.terminate();
        assert!(self.host.ended().await.success());
    }

    /// Waits until a person sees this as the last word of a conversation.
    async fn gets(&self, conversation: &str, text: &str) {
        eventually(&format!("{text:?} in `{conversation}`"), || {
            let cards = self.slate.cards(conversation);
            let grown = cards.iter().filter(|card| card.is_closed).map(|card| card.text().to_owned());
            grown.chain(self.slate.messages(conversation)).any(|seen| seen == text).then_some(())
        })
        .await;
    }

    fn listed(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.host.output(&[&["replay", "--json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap()
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test]
async fn a_dead_letter_is_delivered_at_the_next_start() {
    let mut scene = Scene::set().await;
    scene.stop().await;
    let letters = scene.listed(&[]);
    assert_eq!((letters.len(), &letters[0]["is_answered"]), (1, &json!(true)));
    assert!(letters[0]["reason"].as_str().unwrap().contains("closed"), "{letters:?}");
    let number = letters[0]["id"].to_string();
    let lines = told(&scene.host.output(&["replay"]));
    assert!(lines.contains("board") && lines.contains("answered") && !lines.contains("answer to"), "{lines}");
    let output = scene.host.output(&["replay", &number]);
    assert!(output.status.success() && told(&output).contains("when the host starts"), "{output:?}");
    assert!(told(&scene.host.output(&["replay"])).contains("no dead letters"));
    scene.host.run().await;
    scene.gets("canary one", &Model::answer_to("canary one")).await;
    assert_eq!(scene.model.times_asked("canary one"), 1, "its answer was stored");
}

#[tokio::test]
async fn beside_a_host_that_serves_it_is_delivered_at_once() {
    let scene = Scene::set().await;
    scene.die("canary two").await;
    let door = scene.host.admin_url("/");
    let letters = scene.listed(&["--url", &door]);
    assert_eq!(letters.len(), 2);
    assert!(letters[0]["id"].as_i64() > letters[1]["id"].as_i64(), "the latest first");
    assert_eq!(scene.listed(&["--url", &door, "--channel", "other"]), [] as [Value; 0]);
    let output = scene.host.output(&["replay", "--all", "--url", &door]);
    assert!(output.status.success() && told(&output).contains("is tried again now"), "{output:?}");
    for text in ["canary one", "canary two"] {
        scene.gets(text, &Model::answer_to(text)).await;
        assert_eq!(scene.model.times_asked(text), 1);
    }
    assert_eq!(scene.listed(&["--url", &door]), [] as [Value; 0]);
}

#[tokio::test]
async fn a_dead_letter_may_be_asked_again() {
    let mut scene = Scene::set().await;
    scene.stop().await;
    assert!(scene.host.output(&["replay", "--all", "--ask-again"]).status.success());
    scene.model.script("canary one", "canary, thought over");
    scene.host.run().await;
    scene.gets("canary one", "canary, thought over").await;
    assert_eq!(scene.model.times_asked("canary one"), 2);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_said() {
    let mut scene = Scene::set().await;
    let door = scene.host.admin_url("/");
    let viewer = scene.host.output(&["token", "--role", "viewer"]);
    let viewer = String::from_utf8(viewer.stdout).unwrap();
    let output = scene.host.output(&["replay", "1", "--url", &door, "--token", viewer.trim()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("403"), "{output:?}");
    for arguments in [&["replay", "99", "--url", door.as_str()][..], &["replay", "98", "99", "--url", &door]]
    {
        let output = scene.host.output(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            told(&output).contains("99") && told(&output).contains("`parlor replay` lists"),
            "{output:?}"
        );
    }
    scene.stop().await;
    let output = scene.host.output(&["replay", "1", "--url", &door]);
    assert!(told(&output).contains("does not answer"), "{output:?}");
    let empty = Host::at_rest(&Settings::new());
    assert!(told(&empty.output(&["replay"])).contains("no host served from it"));
}

/// Rewrites the configuration: the channel `board` under another name, or back.
#[cfg(feature = "failpoints")]
fn rename(host: &Host, from: &str, to: &str) {
    let text = std::fs::read_to_string(host.config_file()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let channels = config["channels"].as_object_mut().unwrap();
    let channel = channels.remove(from).unwrap();
    channels.insert(to.to_owned(), channel);
    std::fs::write(host.config_file(), config.to_string()).unwrap();
}

/// What waits for a channel that was taken out is found in the end, and is answered when the channel is back.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn messages_of_a_channel_that_is_no_more_become_dead_letters() {
    let (slate, model) = (Slate::start().await, Model::start().await);
    let settings = model.join(slate.join(Settings::new()));
    let mut scene = Scene { host: Host::start(&settings).await, slate, model };
    scene.model.hold("canary lost");
    assert!(Slate::say(&scene.host.url(BOARD), "canary lost", "ann", "canary lost").await);
    eventually("it is asked", || (scene.model.times_asked("canary lost") == 1).then_some(())).await;
    scene.host.kill();
    rename(&scene.host, "board", "bord");
    scene.host.run().await;
    scene.host.wait_for_line(&["stored messages wait for a channel"]).await;
    scene.stop().await;
    assert_eq!(scene.listed(&[]), [] as [Value; 0], "a name may be mistyped");
    let later = [("FAILPOINTS", "clock::ahead=return(90000000)")];
    scene.host.run_with(&later).await;
    scene.host.wait_for_line(&["of a channel that is no more is dead"]).await;
    scene.stop().await;
    let letters = scene.listed(&[]);
    assert!(letters[0]["reason"].as_str().unwrap().contains("`board`"), "{letters:?}");
    rename(&scene.host, "bord", "board");
    scene.model.release("canary lost");
    assert!(scene.host.output(&["replay", "--all"]).status.success());
    scene.host.run_with(&later).await;
    scene.gets("ann", &Model::answer_to("canary lost")).await;
}
