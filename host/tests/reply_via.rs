//! Replies that go out through another channel than the one that the message came in by: where they are seen and where
//! not, after kills too, and what whoever asked is told when the way leads nowhere.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use serde_json::{Value, json};
use support::{Card, Envelope, Host, Model, Platform, Settings, Slate, Way, client, eventually};

const TEAM: &str = "/webhook/team";
const HOOK: &str = "/webhook/hook";
const BOARD: &str = "/webhook/board";
const APOLOGY: &str = "Sorry, I cannot answer right now. Please try again later.";

struct Scene {
    host: Host,
    platform: Platform,
    model: Model,
}

impl Scene {
    /// A program's channel `hook` and the platform's channel `team`; the replies of one of them go out through the
    /// other.
    async fn set(from: &str, via: Value) -> Scene {
        let mut scene = Scene::prepare(from, via).await;
        scene.host.run().await;
        scene
    }

    /// Everything but a process.
    async fn prepare(from: &str, via: Value) -> Scene {
        let (platform, model) = (Platform::start().await, Model::start().await);
        let own = json!({ "answer": "callback" });
        let settings = platform.join_webhook(platform.join(Settings::new()), own, true);
        let settings = model.join(settings).set(&format!("channels.{from}.reply_via"), via);
        Scene { host: Host::at_rest(&settings), platform, model }
    }

    async fn ask_hook(&self, id: &str, text: &str) {
        let (status, _) = Envelope::new(id, "s1", text).post(&self.host.url(HOOK)).await.unwrap();
        assert_eq!(status, 202);
    }

    async fn write_to(&self, conversation: &str, text: &str) {
        assert_eq!(self.platform.group(conversation, text).post(&self.host.url(TEAM)).await, Some(200));
    }

    async fn sees(&self, conversation: &str, messages: usize) -> Vec<String> {
        eventually(&format!("{messages} messages in `{conversation}`"), || {
            let seen = self.platform.seen(conversation);
            (seen.len() >= messages).then_some(seen)
        })
        .await
    }

    /// Waits until so many turns have ended this way.
    async fn ended(&self, how: &str, times: usize) {
        let ended = || self.host.lines_with("turn ends").iter().filter(|line| line.contains(how)).count();
        eventually(&format!("{times} turns are {how}"), || (ended() >= times).then_some(())).await;
    }
}

#[tokio::test]
async fn a_reply_goes_out_through_another_channel_and_nowhere_else() {
    let mut scene = Scene::set("hook", json!({ "channel": "team", "conversation": "ours" })).await;
    scene.write_to("ours", "canary hello").await;
    scene.sees("ours", 1).await;
    for round in ["first", "second"] {
        scene.ask_hook(round, &format!("canary {round}")).await;
        scene.ask_hook(round, &format!("canary {round}")).await;
        scene.ended("delivered", if round == "first" { 2 } else { 3 }).await;
        // The address outlives the process, and the message that it came with.
        scene.host.restart().await;
    }
    let seen = scene.sees("ours", 3).await;
    for (seen, text) in seen[1..].iter().zip(["canary first", "canary second"]) {
        assert!(seen.ends_with(&Model::answer_to(text)), "{seen}");
    }
    assert_eq!(scene.platform.seen_in_all(), 3, "each once, and none where it was asked");
    assert!(scene.platform.codes().is_empty(), "{:?}", scene.platform.codes());
    let prompt = scene.model.asked().last().unwrap().to_string();
    assert!(prompt.contains("canary first"), "the history is that of the conversation that asked: {prompt}");
    assert!(!prompt.contains("canary hello"), "and not of the one that is told: {prompt}");
    scene.write_to("ours", "canary and you").await;
    scene.sees("ours", 4).await;
    let prompt = scene.model.asked().last().unwrap().to_string();
    assert!(!prompt.contains("canary first"), "{prompt}");
}

#[tokio::test]
async fn without_a_conversation_it_goes_to_the_default_destination() {
    let scene = Scene::set("hook", json!({ "channel": "team" })).await;
    scene.ask_hook("m1", "canary aloud").await;
    assert_eq!(scene.sees("robot", 1).await, [Model::answer_to("canary aloud")]);
    assert_eq!(scene.platform.seen_by("robot")[0].way, Way::Robot);
    assert_eq!(scene.platform.seen_in_all(), 1);
}

#[tokio::test]
async fn where_nobody_has_written_yet_who_asks_gets_an_apology_and_nobody_is_asked() {
    let scene = Scene::set("team", json!({ "channel": "hook", "conversation": "s1" })).await;
    scene.host.wait_for_line(&["\"warn\"", "nobody has written yet in the conversation"]).await;
    assert_eq!(scene.platform.direct("ann", "canary lost").post(&scene.host.url(TEAM)).await, Some(200));
    assert_eq!(scene.sees("ann", 1).await, [APOLOGY]);
    assert!(scene.model.asked().is_empty());
    scene.ask_hook("m1", "canary here I am").await;
    assert_eq!(scene.sees("s1", 1).await, [Model::answer_to("canary here I am")]);
    assert_eq!(scene.platform.direct("ann", "canary found").post(&scene.host.url(TEAM)).await, Some(200));
    assert_eq!(scene.sees("s1", 2).await[1], Model::answer_to("canary found"));
    assert_eq!(scene.platform.seen("ann").len(), 1);
}

#[tokio::test]
async fn a_reply_that_is_refused_there_is_a_dead_letter_and_whoever_asked_is_told() {
    let scene = Scene::set("team", json!({ "channel": "hook" })).await;
    scene.platform.refuse_with(410, None, None);
    assert_eq!(scene.platform.direct("ann", "canary gone").post(&scene.host.url(TEAM)).await, Some(200));
    scene.ended("\"dead\"", 1).await;
    assert_eq!(scene.sees("ann", 1).await, [APOLOGY]);
    scene.ended("\"delivered\"", 1).await;
    assert_eq!(scene.platform.seen_in_all(), 1);
    let token = scene.host.token_with(&["--role", "operator"]);
    let admin = |path: &str| scene.host.admin_url(&format!("/api/v1/admin/{path}"));
    let letters = client().get(admin("dead-letters")).bearer_auth(&token).send().await.unwrap();
    let letters: Value = letters.json().await.unwrap();
    let letter = &letters["items"][0];
    assert_eq!((&letter["channel"], &letter["is_answered"]), (&json!("team"), &json!(true)));
    let replay = admin(&format!("dead-letters/{}/replay", letter["id"]));
    assert_eq!(client().post(replay).bearer_auth(&token).send().await.unwrap().status(), 204);
    assert_eq!(scene.sees("", 1).await, [Model::answer_to("canary gone")], "the same way");
    assert_eq!(scene.model.times_asked("canary gone"), 1);
}

/// The way is chosen when a message comes in; the configuration of a later start may not know it any more.
#[tokio::test]
async fn a_channel_that_is_gone_by_then_leaves_a_dead_letter_and_an_apology() {
    let mut scene = Scene::set("team", json!({ "channel": "hook" })).await;
    scene.model.hold("canary late");
    assert_eq!(scene.platform.direct("ann", "canary late").post(&scene.host.url(TEAM)).await, Some(200));
    eventually("the turn asks", || (scene.model.times_asked("canary late") == 1).then_some(())).await;
    scene.host.kill();
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(scene.host.config_file()).unwrap()).unwrap();
    config["channels"].as_object_mut().unwrap().remove("hook");
    config["channels"]["team"].as_object_mut().unwrap().remove("reply_via");
    std::fs::write(scene.host.config_file(), serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    scene.host.run().await;
    scene.host.wait_for_line(&["\"error\"", "not in the configuration; put it back"]).await;
    scene.ended("\"dead\"", 1).await;
    assert_eq!(scene.sees("ann", 1).await, [APOLOGY], "the answer itself goes nowhere else");
}

#[tokio::test]
async fn what_is_answered_in_the_response_has_no_other_way() {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_webhook(platform.join(Settings::new()), json!({}), false);
    let settings = model.join(settings).set("channels.hook.reply_via", json!({ "channel": "team" }));
    let output = Host::at_rest(&settings).output(&["serve"]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("channel `hook`") && told.contains("nothing is left for `reply_via`"), "{told}");
}

/// Two channels of a platform whose messages can be edited: `board`, whose replies go into `ours` of `desk`.
async fn boards() -> (Host, Slate, Model) {
    let (slate, model) = (Slate::start().await, Model::start().await);
    let settings = model.join(slate.join(Settings::new()));
    let via = json!({ "channel": "desk", "conversation": "ours" });
    let settings =
        settings.set("channels.desk", json!({ "adapter": "slate" })).set("channels.board.reply_via", via);
    let host = Host::start(&settings).await;
    assert!(Slate::say(&host.url("/webhook/desk"), "canary hi", "ours", "canary hi").await);
    closed(&slate, 1).await;
    (host, slate, model)
}

/// Waits until so many cards stand in `ours` and all are closed.
async fn closed(slate: &Slate, cards: usize) -> Vec<Card> {
    let seen = eventually(&format!("{cards} closed cards"), || {
        let seen = slate.cards("ours");
        (seen.len() >= cards && seen.iter().all(|card| card.is_closed)).then_some(seen)
    })
    .await;
    assert!(slate.wrongs().is_empty(), "{:?}", slate.wrongs());
    seen
}

#[tokio::test]
async fn it_grows_there_at_that_channels_pace_and_is_closed_there_when_it_is_taken_back() {
    let (host, slate, model) = boards().await;
    for (text, is_taken_back) in [("canary one two three", false), ("canary four five six", true)] {
        let cards = slate.cards("ours").len();
        model.hold(text);
        assert!(Slate::say(&host.url(BOARD), text, "ann", text).await);
        eventually("its first words are seen", || {
            slate.cards("ours").get(cards).filter(|card| card.text().contains("answer")).map(|_| ())
        })
        .await;
        if is_taken_back {
            assert!(Slate::take_back(&host.url(BOARD), text).await);
        } else {
            model.release(text);
        }
        let seen = closed(&slate, cards + 1).await;
        assert_eq!(seen[cards].text() == Model::answer_to(text), !is_taken_back, "{seen:?}");
        model.release(text);
    }
    assert!(slate.cards("ann").is_empty() && slate.messages("ann").is_empty());
    assert!(slate.messages("ours").is_empty(), "all of it in cards");
}

/// Somebody waits on the line: he takes the answer there, and nothing of it goes out elsewhere.
#[tokio::test]
async fn what_somebody_waits_for_in_the_response_is_answered_there() {
    let (host, slate, _model) = boards().await;
    let text = "canary on the line";
    let body = json!({ "id": text, "conversation": "ann", "text": text, "wait_ms": 30_000 }).to_string();
    let request = client().post(host.url(BOARD)).header("content-type", "application/json").body(body);
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), Model::answer_to(text));
    assert!(Slate::say(&host.url("/webhook/desk"), "canary bye", "ours", "canary bye").await);
    assert_eq!(closed(&slate, 2).await.len(), 2);
    assert!(slate.cards("ann").is_empty() && slate.messages("ann").is_empty());
}

#[cfg(feature = "failpoints")]
mod kills {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    const SIGKILL: i32 = 9;

    async fn die(host: &mut Host, place: &str) {
        host.begin_with_environment(&[("PARLOR_KILL_AT", place)]);
        assert_eq!(host.ended().await.signal(), Some(SIGKILL), "{place}");
        host.run_with(&[]).await;
    }

    const PLACES: [&str; 6] = [
        "intake::after_commit",
        "turn::generating",
        "turn::answered",
        "turn::before_send",
        "turn::before_record",
        "store::after_commit 4",
    ];

    /// Through a receiver that knows a repeat by its key: lost never, and never twice.
    #[tokio::test]
    async fn a_kill_anywhere_loses_and_doubles_nothing_where_there_is_a_key() {
        let mut scene = Scene::prepare("team", json!({ "channel": "hook" })).await;
        for (round, place) in PLACES.into_iter().enumerate() {
            let callback = scene.platform.direct("ann", &format!("canary {round}."));
            let sending = callback.deliver(scene.host.whereabouts(), TEAM);
            die(&mut scene.host, place).await;
            sending.await.unwrap();
            scene.sees("", round + 1).await;
            scene.host.terminate();
            assert!(scene.host.ended().await.success());
        }
        let answers: Vec<_> =
            (0..PLACES.len()).map(|round| Model::answer_to(&format!("canary {round}."))).collect();
        assert_eq!(scene.platform.seen(""), answers);
        assert!(scene.platform.seen("ann").is_empty());
    }

    /// Through a platform without a key: one double, in the window between send and record alone.
    #[tokio::test]
    async fn a_kill_doubles_one_message_between_send_and_record_where_there_is_no_key() {
        let mut scene = Scene::prepare("hook", json!({ "channel": "team" })).await;
        for (round, place) in PLACES.into_iter().take(5).enumerate() {
            let text = format!("canary {round}.");
            let sending = Envelope::new(&text, "s1", &text).deliver(scene.host.whereabouts(), HOOK);
            die(&mut scene.host, place).await;
            sending.await.unwrap();
            let answer = Model::answer_to(&text);
            let count = || scene.platform.seen("robot").iter().filter(|seen| **seen == answer).count();
            let times = if place == "turn::before_record" { 2 } else { 1 };
            eventually(place, || (count() >= times).then_some(())).await;
            scene.host.terminate();
            assert!(scene.host.ended().await.success());
            assert_eq!(count(), times, "{place}");
        }
        assert!(scene.platform.seen("s1").is_empty());
    }

    /// The card that was open elsewhere when the process died is found again and closed.
    #[tokio::test]
    async fn a_card_that_is_open_elsewhere_is_finished_after_a_kill() {
        let (mut host, slate, model) = boards().await;
        host.kill();
        let text = "canary half said";
        host.begin_with_environment(&[("PARLOR_KILL_AT", "show::after_record")]);
        host.serves().await;
        assert!(Slate::say(&host.url(BOARD), text, "ann", text).await);
        assert_eq!(host.ended().await.signal(), Some(SIGKILL));
        host.run_with(&[]).await;
        let seen = closed(&slate, 2).await;
        assert_eq!((seen.len(), seen[1].text()), (2, Model::answer_to(text).as_str()));
        assert_eq!(model.times_asked(text), 2);
        assert!(slate.cards("ann").is_empty() && slate.messages("ann").is_empty());
    }
}
