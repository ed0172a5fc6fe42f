//! F8: the machine's clock jumps while the host runs, or is set while it is stopped: back, ahead, far ahead, and home
//! again; or two nodes' clocks differ. No turn is stuck, lost or answered twice, no limit locks anybody out; what is
//! signed or minted too long ago by that clock, or too far ahead, is refused.
//!
//! `libfaketime` stands between the host and the system's clock; the monotonic one it leaves alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kill::{UNFINISHED, messages_in};
use crate::knock::{Chats, Knock, Talk, all_answered, eventually_slowly};
use crate::nodes::{HELD, Nodes, TAKEOVER_MAX, talks};
use crate::row::{Row, ms, rounds};
use crate::support::{Envelope, Host, Model, PATIENCE, Platform, Settings, client, now_ms};

const HOUR: i64 = 3600;
const YEARS: i64 = 10 * 365 * 24 * HOUR;
/// A token of a day, and the leeway that it has.
const DAY: i64 = 24 * HOUR;

fn library() -> PathBuf {
    let named = std::env::var_os("PARLOR_TEST_FAKETIME").map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
        Path::new("/usr/lib").join(triple).join("faketime/libfaketime.so.1")
    });
    assert!(path.is_file(), "`PARLOR_TEST_FAKETIME` names no libfaketime: run `cargo xtask test`");
    path
}

/// The host's own clock, so many seconds ahead of ours.
struct Clock {
    file: PathBuf,
    ahead: i64,
}

impl Clock {
    fn new() -> Clock {
        let folder = tempfile::tempdir().unwrap().keep();
        let clock = Clock { file: folder.join("clock"), ahead: 0 };
        clock.write();
        clock
    }

    /// A host of these settings goes by it.
    fn give_to(&self, settings: Settings) -> Settings {
        settings
            .environment("LD_PRELOAD", library().to_str().unwrap())
            .environment("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap())
            .environment("FAKETIME_NO_CACHE", "1")
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .environment("DONT_FAKE_MONOTONIC", "1")
    }

    fn write(&self) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{:+}s\n", self.ahead)).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    fn jump(&mut self, ahead: i64) {
        self.ahead = ahead;
        self.write();
    }

    fn now_ms(&self) -> u64 {
        now_ms().checked_add_signed(self.ahead * 1000).unwrap()
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        std::fs::remove_dir_all(self.file.parent().unwrap()).ok();
    }
}

struct Scene {
    platform: Platform,
    model: Model,
    host: Host,
    clock: Clock,
    talks: Vec<Talk>,
    knocks: Vec<Knock>,
}

impl Scene {
    async fn set() -> Scene {
        Scene::set_with(|settings| settings).await
    }

    async fn set_with(change: impl Fn(Settings) -> Settings) -> Scene {
        let (platform, model) = (Platform::start().await, Model::start().await);
        let settings = platform.join_webhook(platform.join(Settings::new()), json!({}), false);
        let clock = Clock::new();
        let host = Host::start(&change(clock.give_to(model.join(settings)))).await;
        Scene { platform, model, host, clock, talks: Vec::new(), knocks: Vec::new() }
    }

    fn chats(&self) -> Chats {
        Chats::Keyless(self.platform.clone())
    }

    /// A message that is signed by the host's clock, and taken.
    async fn say(&mut self, name: &str) -> Talk {
        let talk = Talk::new(name.to_owned(), 1);
        let callback = self.platform.direct(name, &talk.texts[0]);
        let knock = Knock::from(self.platform.signed(callback.id, callback.body, self.clock.now_ms()));
        assert_eq!(knock.post(self.host.address()).await.unwrap(), 200, "{name}");
        self.talks.push(talk.clone());
        self.knocks.push(knock);
        talk
    }

    async fn is_answered(&self, talk: &Talk) {
        let chats = self.chats();
        eventually_slowly(&format!("the answer in {}", talk.conversation), || talk.is_answered(&chats)).await;
    }

    /// One turn waits for the model and one for its next attempt.
    async fn under_way(&mut self, name: &str) -> [Talk; 2] {
        let held = format!("canary held{name} 0.");
        self.model.hold(&held);
        let waits = self.say(&format!("held{name}")).await;
        eventually_slowly("the model is asked", || self.model.times_asked(&held) == 1).await;
        self.platform.refuse_with(503, None, None);
        let before = self.host.lines_with("it is tried again").len();
        let retried = self.say(&format!("retried{name}")).await;
        eventually_slowly("an attempt fails", || self.host.lines_with("it is tried again").len() > before)
            .await;
        [waits, retried]
    }

    /// The clock is set while the host is stopped in the midst of its work.
    async fn set_while_stopped(&mut self, round: usize, step: usize, ahead: i64, row: &mut Row) {
        let name = format!("{ahead:+}s{step}r{round}");
        let under_way = self.under_way(&name).await;
        self.host.kill();
        self.clock.jump(ahead);
        self.model.release(&under_way[0].texts[0]);
        let began = Instant::now();
        self.host.run().await;
        for talk in &under_way {
            self.is_answered(talk).await;
        }
        let after = self.say(&format!("after{name}")).await;
        self.is_answered(&after).await;
        row.recovered(began.elapsed());
    }

    /// The clock jumps while turns are under way; another comes after it.
    async fn jump(&mut self, round: usize, ahead: i64, row: &mut Row) {
        let name = |what: &str| format!("{what}{ahead:+}r{round}");
        let under_way = self.under_way(&name("")).await;
        self.clock.jump(ahead);
        let began = Instant::now();
        self.model.release(&under_way[0].texts[0]);
        for talk in &under_way {
            self.is_answered(talk).await;
        }
        let after = self.say(&name("after")).await;
        self.is_answered(&after).await;
        row.recovered(began.elapsed());
        self.signatures(row).await;
        self.clock.jump(0);
        let home = self.say(&name("home")).await;
        self.is_answered(&home).await;
    }

    /// Within the window by the host's clock, and outside it on either side.
    async fn signatures(&self, row: &mut Row) {
        for (seconds, wanted) in [(-600, 401), (-240, 200), (240, 200), (600, 401)] {
            let id = format!("signed-{}-{seconds}", self.clock.ahead);
            let at = self.clock.now_ms().checked_add_signed(seconds * 1000).unwrap();
            let (headers, body) = Envelope::new(&id, &id, "canary signed").signed(at);
            let knock = Knock { path: "/webhook/hook", headers, body };
            let status = knock.post(self.host.address()).await.unwrap();
            row.holds(
                status == wanted,
                format!("signed {seconds} s off, clock {:+} s: {status}", self.clock.ahead),
            );
        }
    }

    /// Everything is said twice, nothing is answered twice, and nothing is left over.
    async fn close(mut self, mut row: Row) {
        // The platform brings all of it again, as if its acknowledgements had got lost.
        for knock in &self.knocks {
            let status = knock.post(self.host.address()).await.unwrap();
            row.holds(status == 200 || status == 401, format!("a repeat: {status}"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        all_answered(&self.talks, &self.chats(), &mut row).await;
        row.holds(row.doubled == 0, "something is doubled");
        let asked: usize = self.talks.iter().map(|talk| self.model.times_asked(&talk.texts[0])).sum();
        row.figure(format!("{asked} questions for {} messages", self.talks.len()));
        self.host.terminate();
        assert!(self.host.ended().await.success());
        row.holds(messages_in(&self.host, UNFINISHED).is_empty(), "a turn is stuck");
        row.close();
    }

    async fn knock(&self, name: &str) -> u16 {
        let callback = self.platform.direct(name, &format!("canary {name}"));
        let knock = Knock::from(self.platform.signed(callback.id, callback.body, self.clock.now_ms()));
        knock.post(self.host.address()).await.unwrap()
    }

    /// Knocks until the rate is used up.
    async fn used_up(&self, name: &str, row: &mut Row) {
        for number in 0..BURST * 10 {
            if self.knock(&format!("{name}-{number}")).await == 429 {
                return;
            }
        }
        row.holds(false, "the rate is never used up");
    }

    /// How long it takes until somebody is let in.
    async fn room_again(&self, name: &str) -> Duration {
        let began = Instant::now();
        let mut number = 0;
        while self.knock(&format!("{name}-{number}")).await != 200 {
            assert!(began.elapsed() < PATIENCE, "nobody is let in any more");
            tokio::time::sleep(Duration::from_millis(100)).await;
            number += 1;
        }
        began.elapsed()
    }

    /// A token ends by the host's clock, with a minute of leeway and no more.
    async fn token(&mut self, row: &mut Row) {
        let token = self.host.token_with(&["--role", "viewer", "--days", "1"]);
        for (ahead, wanted) in [(0, 200), (DAY + 30, 200), (DAY + 90, 401), (0, 200)] {
            self.clock.jump(ahead);
            let asked = client().get(self.host.admin_url("/api/v1/admin/overview")).bearer_auth(&token);
            let status = asked.send().await.unwrap().status();
            row.holds(status == wanted, format!("a token of a day after {ahead} s: {status}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_a_clock_that_jumps_stops_no_turn_and_doubles_none() {
    let mut row = Row::new("F8", "clock jumps -1 h, +1 h, +10 y and back (libfaketime)");
    let times = rounds(1, 10);
    let mut scene = Scene::set().await;
    scene.token(&mut row).await;
    for round in 0..times {
        for ahead in [-HOUR, HOUR, YEARS] {
            scene.jump(round, ahead, &mut row).await;
            row.rounds += 2;
        }
    }
    scene.close(row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_a_clock_that_was_set_while_the_host_was_stopped_strands_no_turn() {
    let mut row = Row::new("F8", "clock set -1 h, +1 h, +10 y and back while the host is stopped");
    let times = rounds(1, 10);
    let mut scene = Scene::set().await;
    for round in 0..times {
        for (step, ahead) in [-HOUR, 0, HOUR, 0, YEARS, 0].into_iter().enumerate() {
            scene.set_while_stopped(round, step, ahead, &mut row).await;
            row.rounds += 1;
        }
    }
    scene.close(row).await;
}

/// A rate that is soon used up, and soon there again.
const RATE: &str = "2/1s";
const BURST: usize = 4;
const ROOM_AGAIN: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_a_clock_that_jumps_locks_nobody_out() {
    let mut row = Row::new("F8", "rates after jumps of -1 h, +1 h, +10 y and back");
    let limits = json!({ "rate": RATE, "burst": BURST });
    let mut scene = Scene::set_with(|settings| settings.set("channels.team.limits", limits.clone())).await;
    for round in 0..rounds(1, 10) {
        for ahead in [-HOUR, 0, HOUR, 0, YEARS, 0] {
            scene.used_up(&format!("used{round}{ahead:+}"), &mut row).await;
            scene.clock.jump(ahead);
            row.recovered(scene.room_again(&format!("again{round}{ahead:+}")).await);
            row.rounds += 1;
        }
    }
    let recovery = row.recovery.unwrap_or_default();
    row.holds(recovery <= ROOM_AGAIN, format!("room again after {}", ms(recovery)));
    row.close();
}

/// Apart by more than a lease, and by more than a signature's window.
const SKEW: i64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_nodes_whose_clocks_differ_share_their_turns() {
    let mut row = Row::new("F8", "clocks of two nodes ten minutes apart, on one Redis");
    row.rounds = rounds(1, 4);
    let mut clock = Clock::new();
    let mut nodes =
        Nodes::start_with(|node, settings| if node == 1 { clock.give_to(settings) } else { settings }).await;
    let mut all = Vec::new();
    // Whoever is left behind by ten minutes, or is ahead by them, takes over what the other one leased.
    for round in 0..row.rounds {
        let (skew, dies) = [(-SKEW, 0), (SKEW, 1), (SKEW, 0), (-SKEW, 1)][round % 4];
        clock.jump(skew);
        let held = talks(&format!("skewed{round}"), HELD);
        held.iter().for_each(|talk| nodes.model.hold(&talk.texts[0]));
        for knock in nodes.knocks(&held) {
            assert_eq!(knock.post(nodes.hosts[0].address()).await.unwrap(), 200);
        }
        let asked = || held.iter().map(|talk| nodes.model.times_asked(&talk.texts[0])).sum::<usize>();
        eventually_slowly("the model is asked", || asked() == HELD).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        row.holds(asked() == HELD, "a turn was taken from a node that lives");
        let killed = Instant::now();
        nodes.hosts[dies].kill();
        held.iter().for_each(|talk| nodes.model.release(&talk.texts[0]));
        for talk in &held {
            eventually_slowly("a turn is taken over", || talk.is_answered(&nodes.chats)).await;
        }
        row.recovered(killed.elapsed());
        row.holds(asked() > HELD, "no turn was under way on the node that died");
        nodes.run(dies).await;
        let retried = talks(&format!("retried{round}"), HELD);
        (0..HELD).for_each(|_| nodes.platform.refuse_with(503, None, None));
        for knock in nodes.knocks(&retried) {
            assert_eq!(knock.post(nodes.hosts[0].address()).await.unwrap(), 200);
        }
        for talk in &retried {
            eventually_slowly("a second attempt", || talk.is_answered(&nodes.chats)).await;
        }
        row.holds(nodes.platform.has_refused(), "not every attempt failed that was to fail");
        all.extend(held.into_iter().chain(retried));
    }
    all_answered(&all, &nodes.chats, &mut row).await;
    row.holds(row.doubled == 0, "something is doubled");
    let taken_over = row.recovery.unwrap_or_default();
    row.in_time(taken_over <= TAKEOVER_MAX, format!("all taken over within {}", ms(taken_over)));
    row.close();
}
