//! `kill -9` at each step of a turn's life, and what a person sees of it: nothing is lost, and nothing comes
//! twice but in the window between send and record, where the platform has no key.
//!
//! Each row of the table is a host of its own, killed and started again on the same data. The platform sends
//! again what was not acknowledged. A last message into the same conversation closes a row: turns of a
//! conversation run in order, so that when its answer is there, all before it have ended.
#![cfg(all(unix, feature = "failpoints"))]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::os::unix::process::ExitStatusExt as _;

use futures_util::future::join_all;
use serde_json::json;
use support::{Envelope, Host, Model, Platform, Settings, eventually};

const SIGKILL: i32 = 9;
const CONVERSATION: &str = "ann";
const LAST: &str = "canary last";

/// Where the process dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// At a failpoint, at its first pass in each round.
    At(&'static str),
    /// At a failpoint, in each round one pass later.
    LaterAt(&'static str),
    /// From outside, while the model speaks.
    WhileTheModelSpeaks,
}

/// Which way the answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A platform without a key; the answer is one message.
    Short,
    /// The same; the answer has three parts.
    Long,
    /// A receiver that knows a repeat by its key.
    Keyed,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    death: Death,
    kind: Kind,
    rounds: usize,
    /// Messages that may come twice for each kill.
    doubles_a_kill: usize,
    /// Whether the answer was stored before the kill: then the model is asked once.
    is_answered: bool,
}

const fn row(name: &'static str, death: Death) -> Row {
    Row { name, death, kind: Kind::Short, rounds: 5, doubles_a_kill: 0, is_answered: false }
}

const ROWS: [Row; 11] = [
    row("intake::before_commit", Death::At("intake::before_commit")),
    row("intake::after_commit (before the 2xx)", Death::At("intake::after_commit")),
    row("while the model speaks", Death::WhileTheModelSpeaks),
    row("turn::generating", Death::At("turn::generating")),
    Row { is_answered: true, ..row("turn::answered", Death::At("turn::answered")) },
    Row { is_answered: true, ..row("turn::before_send", Death::At("turn::before_send")) },
    Row {
        is_answered: true,
        doubles_a_kill: 1,
        ..row("turn::before_record (no key)", Death::At("turn::before_record"))
    },
    Row {
        is_answered: true,
        doubles_a_kill: 1,
        kind: Kind::Long,
        rounds: 3,
        ..row("turn::before_record (three parts)", Death::LaterAt("turn::before_record"))
    },
    Row {
        is_answered: true,
        kind: Kind::Keyed,
        ..row("turn::before_record (with a key)", Death::At("turn::before_record"))
    },
    // One of these commits is the receipt's: the window between send and record once more.
    Row {
        doubles_a_kill: 1,
        rounds: 7,
        ..row("store::before_commit", Death::LaterAt("store::before_commit"))
    },
    Row { rounds: 7, ..row("store::after_commit", Death::LaterAt("store::after_commit")) },
];

/// What came of a row.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    sent_again: usize,
    lost: usize,
    doubled: usize,
    asked_again: usize,
}

struct Scene {
    row: Row,
    host: Host,
    platform: Platform,
    model: Model,
}

impl Scene {
    async fn set(row: Row) -> Scene {
        let (platform, model) = (Platform::start().await, Model::start().await);
        let settings = match row.kind {
            Kind::Keyed => platform.join_webhook(Settings::new(), json!({ "answer": "callback" }), true),
            Kind::Short | Kind::Long => platform.join(Settings::new()),
        };
        Scene { row, host: Host::at_rest(&model.join(settings)), platform, model }
    }

    /// The parts in which a person sees the answer to this message.
    fn parts(&self, text: &str) -> Vec<String> {
        match self.row.kind {
            Kind::Long => (1..=3).map(|part| format!("{text} part {part} {}", "字".repeat(3000))).collect(),
            Kind::Short | Kind::Keyed => vec![Model::answer_to(text)],
        }
    }

    /// Sends a message until it is acknowledged; tells how often it took.
    fn say(&self, text: &str) -> tokio::task::JoinHandle<u32> {
        if self.row.kind == Kind::Long {
            self.model.script(text, &self.parts(text).join("\n\n"));
        }
        let whereabouts = self.host.whereabouts();
        if self.row.kind == Kind::Keyed {
            let envelope = Envelope::new(text, CONVERSATION, text);
            return envelope.deliver(whereabouts, "/webhook/hook");
        }
        self.platform.direct(CONVERSATION, text).deliver(whereabouts, "/webhook/team")
    }

    async fn die(&mut self, round: usize, text: &str) {
        let (place, pass) = match self.row.death {
            Death::At(place) => (place, 1),
            Death::LaterAt(place) => (place, round + 1),
            Death::WhileTheModelSpeaks => return self.die_while_the_model_speaks(text).await,
        };
        self.host.begin_with_environment(&[("PARLOR_KILL_AT", &format!("{place} {pass}"))]);
        let status = self.host.ended().await;
        assert_eq!(status.signal(), Some(SIGKILL), "{}: {status}", self.row.name);
    }

    async fn die_while_the_model_speaks(&mut self, text: &str) {
        self.model.hold(text);
        self.host.begin();
        eventually("the turn asks", || (self.model.times_asked(text) == 1).then_some(())).await;
        self.host.kill();
        self.model.release(text);
    }

    /// Kills the host once, starts it again, and waits until all is said.
    async fn round(&mut self, round: usize) -> usize {
        let text = format!("canary {round}.");
        let sending = self.say(&text);
        self.die(round, &text).await;
        self.host.run_with(&[]).await;
        let attempts = sending.await.unwrap();
        let last = self.parts(&text).pop().unwrap();
        eventually(&format!("{}: the answer to {text:?}", self.row.name), || {
            (self.count(&last) > 0).then_some(())
        })
        .await;
        self.host.terminate();
        assert!(self.host.ended().await.success());
        attempts as usize - 1
    }

    fn count(&self, part: &str) -> usize {
        self.platform.seen(CONVERSATION).iter().filter(|seen| seen.contains(part)).count()
    }

    async fn close(&mut self) {
        self.host.run_with(&[]).await;
        self.say(LAST).await.unwrap();
        let last = self.parts(LAST).pop().unwrap();
        eventually("the answer to the last message", || (self.count(&last) > 0).then_some(())).await;
    }
}

async fn play(row: Row) -> Tally {
    let mut scene = Scene::set(row).await;
    let mut tally = Tally { kills: row.rounds, ..Tally::default() };
    for round in 0..row.rounds {
        tally.sent_again += scene.round(round).await;
    }
    scene.close().await;
    for round in 0..row.rounds {
        let text = format!("canary {round}.");
        for part in scene.parts(&text) {
            let times = scene.count(&part);
            tally.lost += usize::from(times == 0);
            tally.doubled += times.saturating_sub(1);
        }
        tally.asked_again += scene.model.times_asked(&text) - 1;
    }
    assert!(scene.platform.codes().is_empty(), "{}: {:?}", row.name, scene.platform.codes());
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_and_doubles_only_between_send_and_record() {
    let tallies = join_all(ROWS.map(|row| tokio::spawn(play(row)))).await;
    println!("| place | kills | sent again | asked again | lost | doubled |\n|---|---|---|---|---|---|");
    let tallies: Vec<Tally> = tallies.into_iter().map(Result::unwrap).collect();
    for (row, tally) in ROWS.iter().zip(&tallies) {
        let Tally { kills, sent_again, lost, doubled, asked_again } = tally;
        println!("| {} | {kills} | {sent_again} | {asked_again} | {lost} | {doubled} |", row.name);
    }
    for (row, tally) in ROWS.iter().zip(&tallies) {
        assert_eq!(tally.lost, 0, "{}: {tally:?}", row.name);
        assert!(tally.doubled <= row.doubles_a_kill * tally.kills, "{}: {tally:?}", row.name);
        assert!(!row.is_answered || tally.asked_again == 0, "{}: {tally:?}", row.name);
    }
}

/// The counting counts: where the window is open, the platform does show the message twice.
#[tokio::test]
async fn between_send_and_record_the_one_double_is_seen() {
    let tally = play(Row { rounds: 1, ..ROWS[6] }).await;
    assert_eq!((tally.lost, tally.doubled), (0, 1));
}

/// Somebody waits in the response when the host dies: who asks again gets the answer that there was.
#[tokio::test]
async fn an_answer_in_the_response_survives_a_kill() {
    for (place, times_asked) in [
        ("intake::after_commit", 1),
        ("turn::generating", 2),
        ("turn::answered", 1),
        ("store::after_commit 4", 1),
    ] {
        let (platform, model) = (Platform::start().await, Model::start().await);
        let settings = platform.join_webhook(Settings::new(), json!({}), false);
        let mut host = Host::at_rest(&model.join(settings));
        let envelope = Envelope::new("m1", CONVERSATION, "canary held");
        let asking = envelope.deliver(host.whereabouts(), "/webhook/hook");
        host.begin_with_environment(&[("PARLOR_KILL_AT", place)]);
        assert_eq!(host.ended().await.signal(), Some(SIGKILL), "{place}");
        host.run_with(&[]).await;
        asking.await.unwrap();
        let (status, answer) = envelope.post(&host.url("/webhook/hook")).await.unwrap();
        assert_eq!((status, &answer["reply"]), (200, &json!(Model::answer_to("canary held"))), "{place}");
        assert_eq!(model.times_asked("canary held"), times_asked, "{place}");
    }
}

/// Many conversations at once, killed in the thick of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_answered_whole_and_in_order_whatever_dies() {
    const CONVERSATIONS: usize = 6;
    const MESSAGES: usize = 8;
    let (platform, model) = (Platform::start().await, Model::start().await);
    let mut host = Host::at_rest(&model.join(platform.join(Settings::new())));
    let text = |conversation, number| format!("canary {conversation}-{number}.");
    let name = |conversation| format!("burst{conversation}");
    let talks: Vec<_> = (0..CONVERSATIONS)
        .map(|conversation| {
            let (platform, whereabouts) = (platform.clone(), host.whereabouts());
            tokio::spawn(async move {
                for number in 0..MESSAGES {
                    let callback = platform.direct(&name(conversation), &text(conversation, number));
                    callback.deliver(whereabouts.clone(), "/webhook/team").await.unwrap();
                }
            })
        })
        .collect();
    let deaths =
        ["intake::after_commit 9", "turn::before_send 3", "turn::answered 5", "store::after_commit 17"];
    for place in deaths {
        host.begin_with_environment(&[("PARLOR_KILL_AT", place)]);
        assert_eq!(host.ended().await.signal(), Some(SIGKILL), "{place}");
    }
    host.run_with(&[]).await;
    for talk in talks {
        talk.await.unwrap();
    }
    let mut doubled = 0;
    for conversation in 0..CONVERSATIONS {
        let last = Model::answer_to(&text(conversation, MESSAGES - 1));
        eventually("the last answer", || platform.seen(&name(conversation)).contains(&last).then_some(()))
            .await;
        let mut seen = platform.seen(&name(conversation));
        let all = seen.len();
        seen.dedup();
        doubled += all - seen.len();
        let wanted: Vec<_> =
            (0..MESSAGES).map(|number| Model::answer_to(&text(conversation, number))).collect();
        assert_eq!(seen, wanted, "each answered, and in order");
    }
    println!("a burst of {} messages, {} kills: {doubled} doubled", CONVERSATIONS * MESSAGES, deaths.len());
    assert!(
        doubled <= deaths.len() * CONVERSATIONS,
        "one turn of each conversation runs at a time: {doubled}"
    );
}

/// Found by review: a question that ends the process each time was claimed anew at each start, for ever.
#[tokio::test]
async fn a_turn_that_ends_the_process_each_time_is_given_up_and_the_person_told() {
    const CLAIMS: usize = 20;
    let (platform, model) = (Platform::start().await, Model::start().await);
    let mut host = Host::at_rest(&model.join(platform.join(Settings::new())));
    let knock = platform.direct(CONVERSATION, "canary poison");
    let posting = knock.deliver(host.whereabouts(), "/webhook/team");
    for _ in 0..CLAIMS {
        host.begin_with_environment(&[("PARLOR_KILL_AT", "turn::generating")]);
        assert_eq!(host.ended().await.signal(), Some(SIGKILL));
    }
    host.run_with(&[]).await;
    posting.await.unwrap();
    let seen =
        eventually("the apology", || Some(platform.seen(CONVERSATION)).filter(|seen| !seen.is_empty())).await;
    assert_eq!(seen, ["Sorry, I cannot answer right now. Please try again later."]);
    assert_eq!(model.times_asked("canary poison"), CLAIMS);
    let next = platform.direct(CONVERSATION, LAST);
    assert_eq!(next.post(&host.url("/webhook/team")).await, Some(200));
    let seen =
        eventually("the next answer", || Some(platform.seen(CONVERSATION)).filter(|seen| seen.len() == 2))
            .await;
    assert_eq!(seen[1], Model::answer_to(LAST));
}

/// Found by review: an answer whose delivery ends the process each time was buried, and the person told nothing.
#[tokio::test]
async fn a_delivery_that_ends_the_process_each_time_is_given_up_and_the_person_told() {
    const CLAIMS: usize = 20;
    let (platform, model) = (Platform::start().await, Model::start().await);
    let mut host = Host::at_rest(&model.join(platform.join(Settings::new())));
    let knock = platform.direct(CONVERSATION, "canary poison");
    let posting = knock.deliver(host.whereabouts(), "/webhook/team");
    for _ in 0..CLAIMS {
        host.begin_with_environment(&[("PARLOR_KILL_AT", "turn::before_send")]);
        assert_eq!(host.ended().await.signal(), Some(SIGKILL));
    }
    host.run_with(&[]).await;
    posting.await.unwrap();
    let seen =
        eventually("the apology", || Some(platform.seen(CONVERSATION)).filter(|seen| !seen.is_empty())).await;
    assert_eq!(seen, ["Sorry, I cannot answer right now. Please try again later."]);
    host.wait_for_line(&["turn ends", "\"dead\""]).await;
    assert_eq!(model.times_asked("canary poison"), 1, "its answer is kept for a replay");
}
