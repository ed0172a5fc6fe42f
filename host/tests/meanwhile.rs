//! What becomes of a message that comes while another one is being answered, or long after it was written: through
//! the real binary, by what a person sees.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use serde_json::json;
use support::{Card, Host, Model, Settings, Slate, eventually};

const BOARD: &str = "/webhook/board";
const STOPPED: &str = "The answer was stopped.";
#[cfg(feature = "failpoints")]
const TOO_LATE: &str =
    "I got to this message too late to answer it. Please send it again if it still matters.";

struct Scene {
    host: Host,
    slate: Slate,
    model: Model,
}

impl Scene {
    async fn set(rule: &str, value: serde_json::Value) -> Scene {
        let mut scene = Scene::prepare(&[(rule, value)]).await;
        scene.host.run().await;
        scene
    }

    /// Everything but a process.
    async fn prepare(rules: &[(&str, serde_json::Value)]) -> Scene {
        let (slate, model) = (Slate::start().await, Model::start().await);
        let settings = model.join(slate.join(Settings::new()));
        let set = |settings: Settings, (rule, value): &(&str, serde_json::Value)| {
            settings.set(&format!("channels.board.{rule}"), value.clone())
        };
        let settings = rules.iter().fold(settings, set);
        Scene { host: Host::at_rest(&settings), slate, model }
    }

    async fn say(&self, conversation: &str, text: &str) {
        assert!(Slate::say(&self.host.url(BOARD), text, conversation, text).await, "acknowledged");
    }

    async fn say_as(&self, person: &str, conversation: &str, text: &str) {
        assert!(Slate::say_as(&self.host.url(BOARD), person, conversation, text).await, "acknowledged");
    }

    async fn asks(&self, text: &str) {
        eventually(&format!("{text:?} is asked"), || (self.model.times_asked(text) > 0).then_some(())).await;
    }

    /// Waits until this many cards stand in the conversation and all are closed.
    async fn closed(&self, conversation: &str, cards: usize) -> Vec<String> {
        let seen = eventually(&format!("{cards} closed cards in `{conversation}`"), || {
            let seen = self.slate.cards(conversation);
            (seen.len() >= cards && seen.iter().all(|card| card.is_closed)).then_some(seen)
        })
        .await;
        assert!(self.slate.wrongs().is_empty(), "{:?}", self.slate.wrongs());
        seen.iter().map(|card| card.text().to_owned()).collect()
    }

    async fn sees(&self, conversation: &str, text: &str) {
        let shows = |card: &Card| card.text() == text;
        eventually(&format!("{text:?} in `{conversation}`"), || {
            self.slate.cards(conversation).iter().any(shows).then_some(())
        })
        .await;
    }

    /// Waits until so many turns have ended.
    async fn ended(&self, how: &str, times: usize) {
        let ended = || self.host.lines_with("turn ends").iter().filter(|line| line.contains(how)).count();
        eventually(&format!("{times} turns are {how}"), || (ended() >= times).then_some(())).await;
    }
}

fn prompt_with(model: &Model, text: &str) -> String {
    let asked = model.asked();
    asked.iter().rfind(|asked| asked.to_string().contains(text)).expect("it was asked").to_string()
}

#[tokio::test]
async fn messages_that_wait_are_answered_together_and_once() {
    let scene = Scene::set("while_answering", json!("merge")).await;
    scene.model.hold("canary one");
    scene.say("ann", "canary one").await;
    scene.asks("canary one").await;
    for text in ["canary two", "canary three", "canary two"] {
        scene.say("ann", text).await;
    }
    scene.model.release("canary one");
    let together = "canary two\ncanary three";
    let seen = scene.closed("ann", 2).await;
    assert_eq!(seen, [Model::answer_to("canary one"), Model::answer_to(together)]);
    assert_eq!(scene.model.asked().len(), 2, "one question for both");
    for text in ["canary one", "canary two", "canary three"] {
        scene.say("ann", text).await;
    }
    scene.say("ann", "canary last").await;
    let seen = scene.closed("ann", 3).await;
    assert_eq!(seen[2], Model::answer_to("canary last"), "a repeat of any of them is answered already");
    let prompt = prompt_with(&scene.model, "canary last");
    assert!(prompt.contains("canary two\\ncanary three"), "what was asked together is history: {prompt}");
}

#[tokio::test]
async fn what_another_person_says_in_a_group_is_not_put_together() {
    let scene = Scene::set("while_answering", json!("merge")).await;
    scene.model.hold("canary one");
    scene.say_as("ann", "ours", "canary one").await;
    scene.asks("canary one").await;
    for (person, text) in
        [("ann", "canary two"), ("bob", "canary three"), ("bob", "canary four"), ("ann", "canary five")]
    {
        scene.say_as(person, "ours", text).await;
    }
    scene.model.release("canary one");
    let seen = scene.closed("ours", 4).await;
    let answers =
        ["canary one", "canary two", "canary three\ncanary four", "canary five"].map(Model::answer_to);
    assert_eq!(seen, answers);
}

#[tokio::test]
async fn a_message_that_was_taken_back_is_not_asked_with_the_others() {
    let scene = Scene::set("while_answering", json!("merge")).await;
    scene.model.hold("canary one");
    scene.say("ann", "canary one").await;
    scene.asks("canary one").await;
    for text in ["canary two", "canary oops", "canary three"] {
        scene.say("ann", text).await;
    }
    assert!(Slate::take_back(&scene.host.url(BOARD), "canary oops").await);
    scene.model.release("canary one");
    assert_eq!(scene.closed("ann", 2).await[1], Model::answer_to("canary two\ncanary three"));
}

#[tokio::test]
async fn an_apology_is_for_all_that_were_asked_together() {
    let scene = Scene::set("while_answering", json!("merge")).await;
    scene.model.hold("canary one");
    scene.model.refuse("canary two", 400, usize::MAX);
    scene.say("ann", "canary one").await;
    scene.asks("canary one").await;
    scene.say("ann", "canary two").await;
    scene.say("ann", "canary three").await;
    scene.model.release("canary one");
    scene.ended("apologised", 1).await;
    scene.say("ann", "canary last").await;
    let seen = scene.closed("ann", 3).await;
    assert_eq!(seen[1], "Sorry, I cannot answer right now. Please try again later.");
    assert_eq!(seen[2], Model::answer_to("canary last"), "one apology, and nobody is asked again");
}

#[tokio::test]
async fn a_second_message_stops_the_answer_and_goes_on_from_it() {
    let scene = Scene::set("while_answering", json!("interrupt")).await;
    scene.model.let_through("canary one", 2);
    scene.say("ann", "canary one").await;
    scene.sees("ann", "answer to ").await;
    scene.say("ann", "canary two").await;
    let seen = scene.closed("ann", 2).await;
    assert_eq!(seen, ["answer to ".to_owned(), Model::answer_to("canary two")]);
    eventually("the model's caller leaves", || (scene.model.left() == 1).then_some(())).await;
    scene.ended("interrupted", 1).await;
    let prompt = prompt_with(&scene.model, "canary two");
    assert!(
        prompt.contains("canary one") && prompt.contains("answer to "),
        "it knows what it said: {prompt}"
    );
}

#[tokio::test]
async fn of_a_volley_the_last_message_is_answered() {
    let scene = Scene::set("while_answering", json!("interrupt")).await;
    scene.model.let_through("canary", 0);
    for text in ["canary one", "canary two", "canary three"] {
        scene.say("ann", text).await;
    }
    scene.asks("canary three").await;
    scene.model.release("canary");
    scene.ended("delivered", 1).await;
    scene.ended("interrupted", 2).await;
    let cards = scene.slate.cards("ann");
    assert_eq!(cards.last().unwrap().text(), Model::answer_to("canary three"));
    assert!(cards.iter().all(|card| card.is_closed), "{cards:?}");
    assert!(cards.iter().rev().skip(1).all(|card| card.text() == STOPPED), "{cards:?}");
    let prompt = prompt_with(&scene.model, "canary three");
    assert!(prompt.contains("canary one") && prompt.contains("canary two"), "{prompt}");
}

#[tokio::test]
async fn nobody_in_a_group_stops_the_answer_to_another() {
    let scene = Scene::set("while_answering", json!("interrupt")).await;
    scene.model.hold("canary one");
    scene.say_as("ann", "ours", "canary one").await;
    scene.asks("canary one").await;
    scene.say_as("bob", "ours", "canary two").await;
    scene.model.release("canary one");
    assert_eq!(scene.closed("ours", 2).await, ["canary one", "canary two"].map(Model::answer_to));
}

#[cfg(feature = "failpoints")]
mod killed {
    use std::os::unix::process::ExitStatusExt as _;

    use super::support::Platform;
    use super::*;

    const SIGKILL: i32 = 9;
    const TOGETHER: &str = "canary two\ncanary three";

    /// Dies at this place in the turn that answers two messages together, and starts again.
    async fn die_at(place: &str) -> Scene {
        let mut scene = Scene::prepare(&[("while_answering", json!("merge"))]).await;
        // The first turn passes each place once.
        scene.host.begin_with_environment(&[("PARLOR_KILL_AT", place)]);
        scene.host.serves().await;
        scene.model.hold("canary one");
        scene.say("ann", "canary one").await;
        scene.asks("canary one").await;
        scene.say("ann", "canary two").await;
        scene.say("ann", "canary three").await;
        scene.model.release("canary one");
        assert_eq!(scene.host.ended().await.signal(), Some(SIGKILL), "{place}");
        scene.host.run_with(&[]).await;
        scene
    }

    #[tokio::test]
    async fn a_kill_neither_loses_nor_doubles_what_is_answered_together() {
        for (place, times_asked) in [
            ("turn::generating 2", 2),
            ("turn::answered 2", 1),
            ("turn::before_send 3", 1),
            ("turn::before_record 4", 1),
        ] {
            let scene = die_at(place).await;
            scene.closed("ann", 2).await;
            scene.say("ann", "canary last").await;
            let seen = scene.closed("ann", 3).await;
            assert_eq!(seen, ["canary one", TOGETHER, "canary last"].map(Model::answer_to), "{place}");
            assert_eq!(scene.model.times_asked(TOGETHER), times_asked, "{place}");
            let prompt = prompt_with(&scene.model, "canary last");
            assert!(prompt.contains("canary two\\ncanary three"), "{place}: history has both: {prompt}");
        }
    }

    /// The second message is stored, and the process dies before anybody hears of it.
    #[tokio::test]
    async fn an_interruption_that_nobody_heard_counts_after_a_kill() {
        let mut scene = Scene::prepare(&[("while_answering", json!("interrupt"))]).await;
        scene.host.begin_with_environment(&[("PARLOR_KILL_AT", "intake::after_commit 2")]);
        scene.host.serves().await;
        scene.model.let_through("canary one", 2);
        scene.say("ann", "canary one").await;
        scene.sees("ann", "answer to ").await;
        let url = scene.host.url(BOARD);
        assert!(!Slate::say(&url, "canary two", "ann", "canary two").await, "not acknowledged");
        assert_eq!(scene.host.ended().await.signal(), Some(SIGKILL));
        scene.host.run_with(&[]).await;
        assert_eq!(scene.closed("ann", 2).await, [STOPPED.to_owned(), Model::answer_to("canary two")]);
        assert_eq!(scene.model.times_asked("canary one"), 1, "nobody asks for it again");
    }

    /// It was opened, and the process died before it wrote that down: who has the turn next does not know of it.
    #[tokio::test]
    async fn a_card_that_a_kill_made_unknown_is_closed_by_an_interruption() {
        let waits = ("settings", json!({ "opens_without_text": false }));
        let mut scene = Scene::prepare(&[("while_answering", json!("interrupt")), waits]).await;
        scene.host.begin_with_environment(&[("PARLOR_KILL_AT", "show::before_record 1")]);
        scene.host.serves().await;
        scene.model.hold("canary one");
        scene.say("ann", "canary one").await;
        assert_eq!(scene.host.ended().await.signal(), Some(SIGKILL));
        assert_eq!(scene.slate.cards("ann").len(), 1);
        scene.model.let_through("canary one", 0);
        scene.host.run_with(&[]).await;
        eventually("it is asked again", || (scene.model.times_asked("canary one") == 2).then_some(())).await;
        // An answer that comes at once needs no card.
        scene.model.hold("canary two");
        scene.say("ann", "canary two").await;
        let second = || scene.slate.cards("ann").into_iter().nth(1).filter(|card| card.text() == "answer ");
        eventually("it grows in a card of its own", second).await;
        scene.model.release("canary two");
        assert_eq!(scene.closed("ann", 2).await, [STOPPED.to_owned(), Model::answer_to("canary two")]);
    }

    /// A host that is killed as soon as it has stored so many messages of these, and comes back late.
    async fn back_late(rule: serde_json::Value, said: &[&str], ahead_ms: u64) -> Scene {
        let mut scene = Scene::prepare(&[("stale", rule)]).await;
        scene.model.hold("canary old");
        scene.host.run().await;
        for text in said {
            scene.say("ann", text).await;
        }
        // Its second word is shown once the card is on record.
        scene.sees("ann", "answer ").await;
        scene.model.let_through("canary old", 2);
        scene.sees("ann", "answer to ").await;
        scene.host.kill();
        scene.model.release("canary old");
        scene.host.run_with(&[("FAILPOINTS", &format!("clock::ahead=return({ahead_ms})"))]).await;
        scene
    }

    const QUARTER: u64 = 15 * 60 * 1000;

    #[tokio::test]
    async fn who_wrote_too_long_ago_is_told_so_once_and_asks_again() {
        let rule = json!({ "after": "10m", "then": "notice" });
        let scene = back_late(rule, &["canary old one", "canary old two", "canary old three"], QUARTER).await;
        scene.ended("stale", 3).await;
        scene.say("ann", "canary new").await;
        scene.ended("delivered", 1).await;
        assert!(scene.slate.cards("ann").iter().all(|card| card.is_closed));
        let cards: Vec<_> = scene.slate.cards("ann").iter().map(|card| card.text().to_owned()).collect();
        // The first had a card already, which is closed; the person is told once, with the last of them.
        assert_eq!(cards, [STOPPED.to_owned(), Model::answer_to("canary new")]);
        assert_eq!(scene.slate.messages("ann"), [TOO_LATE]);
        assert_eq!(scene.model.asked().len(), 2, "nobody is asked for what is too old");
        let prompt = prompt_with(&scene.model, "canary new");
        assert!(!prompt.contains("canary old"), "it enters no history: {prompt}");
    }

    #[tokio::test]
    async fn a_card_of_a_message_that_is_too_old_is_closed_with_the_notice() {
        let scene = back_late(json!({}), &["你好 canary old"], QUARTER).await;
        let notice = "这条消息我收到得太晚，没有及时回答；如果仍然需要，请再发一次。";
        assert_eq!(scene.closed("ann", 1).await, [notice]);
    }

    #[tokio::test]
    async fn what_is_too_old_may_be_dropped() {
        let scene =
            back_late(json!({ "then": "drop" }), &["canary old one", "canary old two"], QUARTER).await;
        scene.ended("stale", 2).await;
        assert_eq!(scene.closed("ann", 1).await, [STOPPED]);
        assert!(scene.slate.messages("ann").is_empty());
        assert_eq!(scene.model.asked().len(), 1);
    }

    #[tokio::test]
    async fn what_is_not_that_old_is_answered() {
        for (rule, ahead) in [(json!({ "after": "20m" }), QUARTER), (json!({ "then": "answer" }), QUARTER)] {
            let scene = back_late(rule, &["canary old"], ahead).await;
            assert_eq!(scene.closed("ann", 1).await, [Model::answer_to("canary old")]);
        }
    }

    /// Found by review: it was judged by when it had been sent, so that nobody was asked.
    #[tokio::test]
    async fn a_dead_letter_that_is_asked_again_is_not_too_old() {
        let (platform, model) = (Platform::start().await, Model::start().await);
        let settings = platform.join(Settings::new()).set("channels.team.stale", json!({ "after": "10m" }));
        let mut host = Host::start(&model.join(settings)).await;
        platform.garble(true);
        let text = "canary lost";
        assert_eq!(platform.direct("ann", text).post(&host.url("/webhook/team")).await, Some(200));
        host.wait_for_line(&["turn ends", "\"dead\""]).await;
        platform.garble(false);
        let seen = platform.seen("ann").len();
        host.kill();
        host.run_with(&[("FAILPOINTS", &format!("clock::ahead=return({QUARTER})"))]).await;
        let replayed = host.output(&["replay", "--all", "--ask-again", "--url", &host.admin_url("/")]);
        assert!(replayed.status.success(), "{replayed:?}");
        let again = eventually("the answer", || platform.seen("ann").get(seen).cloned()).await;
        assert_eq!((again, model.times_asked(text)), (Model::answer_to(text), 2));
    }
}
