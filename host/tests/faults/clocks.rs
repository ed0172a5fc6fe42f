//! F8: the machine's clock jumps while the host runs: back, ahead, far ahead, and home again. No turn is stuck, lost or
//! answered twice; what is signed or minted too long ago by that clock, or too far ahead, is refused.
//!
//! `libfaketime` stands between the host and the system's clock; the monotonic one it leaves alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kill::{UNFINISHED, messages_in};
use crate::knock::{Chats, Knock, Talk, all_answered, eventually_slowly};
use crate::row::{Row, rounds};
use crate::support::{Envelope, Host, Model, Platform, Settings, client, now_ms};

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
    /// A host at rest with a clock of its own.
    fn give(settings: Settings) -> (Host, Clock) {
        let folder = tempfile::tempdir().unwrap().keep();
        let clock = Clock { file: folder.join("clock"), ahead: 0 };
        clock.write();
        let settings = settings
            .environment("LD_PRELOAD", library().to_str().unwrap())
            .environment("FAKETIME_TIMESTAMP_FILE", clock.file.to_str().unwrap())
            .environment("FAKETIME_NO_CACHE", "1")
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .environment("DONT_FAKE_MONOTONIC", "1");
        (Host::at_rest(&settings), clock)
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
        let (platform, model) = (Platform::start().await, Model::start().await);
        let settings = platform.join_webhook(platform.join(Settings::new()), json!({}), false);
        let (mut host, clock) = Clock::give(model.join(settings));
        host.run().await;
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

    /// One turn waits for the model and one for its next attempt when the clock jumps; another comes after it.
    async fn jump(&mut self, round: usize, ahead: i64, row: &mut Row) {
        let name = |what: &str| format!("{what}{ahead:+}r{round}");
        let held = format!("canary {} 0.", name("held"));
        self.model.hold(&held);
        let waits = self.say(&name("held")).await;
        eventually_slowly("the model is asked", || self.model.times_asked(&held) == 1).await;
        self.platform.refuse_with(503, None, None);
        let before = self.host.lines_with("it is tried again").len();
        let retried = self.say(&name("retried")).await;
        eventually_slowly("an attempt fails", || self.host.lines_with("it is tried again").len() > before)
            .await;
        self.clock.jump(ahead);
        let began = Instant::now();
        self.model.release(&held);
        self.is_answered(&waits).await;
        self.is_answered(&retried).await;
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
    // The platform brings all of it again, as if its acknowledgements had got lost.
    for knock in &scene.knocks {
        let status = knock.post(scene.host.address()).await.unwrap();
        row.holds(status == 200 || status == 401, format!("a repeat: {status}"));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    all_answered(&scene.talks, &scene.chats(), &mut row).await;
    row.holds(row.doubled == 0, "something is doubled");
    let asked: usize = scene.talks.iter().map(|talk| scene.model.times_asked(&talk.texts[0])).sum();
    row.figure(format!("{asked} questions for {} messages", scene.talks.len()));
    scene.host.terminate();
    assert!(scene.host.ended().await.success());
    row.holds(messages_in(&scene.host, UNFINISHED).is_empty(), "a turn is stuck");
    row.close();
}
