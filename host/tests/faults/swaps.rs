//! F10 once more, by the numbers: hundreds of releases under a hundred thousand messages, each of which is answered once
//! at the platform, and a thousand releases of which nothing stays behind. Releases that are no good are in `swap`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::holdings::Holdings;
use crate::row::{Row, Times, is_long, median, ms, rounds};
use crate::support::{
    Envelope, Host, Platform, Settings, client, distinct::Original, keeping, now_ms, plugins,
};

const MANIFEST: &str = include_str!("../../../plugins/adapters/webhook/plugin.toml");
/// People who write, each one message after the other.
const PEOPLE: usize = 16;
/// Messages that are taken and not answered yet: more of them would be a queue that grows.
const UNDER_WAY_MAX: usize = 256;
/// Kept connections to the platform, threads of the runtime's that wait for work which blocks, and places for instances
/// that remember the release they last held: how many there are depends on what came together. One of each release
/// would be many more.
const BY_CHANCE: usize = 2;
/// In so many parts the releases come of which nothing stays behind, and what is held is looked at after each.
const PARTS: usize = 10;
/// Threads that wait for work, and connections that wait for requests, end within this.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
const P99_RATIO_MAX: f64 = 1.5;
const GROWTH_MAX: f64 = 0.02;
/// Of a few releases: far less than one of them each.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// A host whose channel `hook` pushes its answers to a platform, and two releases of its adapter.
struct Stage {
    host: Host,
    platform: Platform,
    admin: String,
    releases: [Vec<u8>; 2],
}

impl Stage {
    async fn start() -> Stage {
        let platform = Platform::start().await;
        let settings = platform
            .join_webhook(Settings::new(), json!({ "answer": "callback" }), true)
            .set("models", json!({ "echo": { "backend": "echo" } }))
            .set("default_model", "echo")
            .environment("PARLOR_LOG", "warn,parlor::app=info,parlor::deployment=info");
        let host = Host::start(&settings).await;
        let admin = host.token_with(&["--role", "admin"]);
        let original = Original::read(&plugins(), "webhook", MANIFEST);
        let release = |version: &str| original.release(&[("version = \"0.1.0\"", version)]);
        let releases = [release("version = \"0.1.1\""), release("version = \"0.1.2\"")];
        Stage { host, platform, admin, releases }
    }

    /// Lets the next release serve; the way is that of the console.
    async fn swap(&self, number: usize) {
        let url = self.host.admin_url("/api/v1/admin/plugins");
        let bytes = self.releases[number % 2].clone();
        let answer = client().post(url).bearer_auth(&self.admin).body(bytes).send().await.unwrap();
        let told: Value = answer.json().await.unwrap();
        assert_eq!(told["outcome"], "serves", "{told}");
    }

    /// What the host itself says of its swaps.
    fn swaps(&self) -> usize {
        self.host.lines_with("\"plugin serves\"").iter().filter(|line| line.contains("webhook@")).count()
    }
}

/// Messages that are sent side by side, and what came of them.
#[derive(Debug, Default)]
struct Said {
    sent: AtomicUsize,
    taken: AtomicUsize,
    failed: AtomicUsize,
}

impl Said {
    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Sends so many more, by all people together; how long each took to be acknowledged.
    async fn say(self: &Arc<Self>, stage: &Stage, messages: usize) -> Times {
        self.say_by(stage, PEOPLE, messages).await
    }

    async fn say_by(self: &Arc<Self>, stage: &Stage, people: usize, messages: usize) -> Times {
        let until = self.sent() + messages;
        let mut saying = Vec::new();
        for person in 0..people {
            let (said, platform, url) =
                (self.clone(), stage.platform.clone(), stage.host.url("/webhook/hook"));
            saying.push(tokio::spawn(async move { said.one(person, &platform, &url, until).await }));
        }
        let mut times = Vec::new();
        for person in saying {
            times.extend(person.await.unwrap());
        }
        Times::of(times)
    }

    /// One person's part.
    async fn one(&self, person: usize, platform: &Platform, url: &str, until: usize) -> Vec<Duration> {
        let (client, mut times) = (keeping(), Vec::new());
        loop {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            if number >= until {
                self.sent.fetch_sub(1, Ordering::Relaxed);
                return times;
            }
            while self.taken().saturating_sub(platform.seen_in_all()) > UNDER_WAY_MAX {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let session = format!("s{person}-{}", number / 64);
            let (headers, body) = Envelope::new(&id(number), &session, "hello canary").signed(now_ms());
            let mut request = client.post(url).body(body);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let began = Instant::now();
            let status = acknowledged(request).await;
            times.push(began.elapsed());
            let count = if status == Some(202) { &self.taken } else { &self.failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The status, once the whole response is there.
async fn acknowledged(request: reqwest::RequestBuilder) -> Option<u16> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    response.bytes().await.ok()?;
    Some(status)
}

fn id(number: usize) -> String {
    format!("m{number}")
}

/// Messages with no answer at the platform, and answers too many.
fn lost_and_doubled(platform: &Platform, sent: usize) -> (usize, usize) {
    let mut answers = BTreeMap::<String, usize>::new();
    for seen in platform.everything_seen() {
        *answers.entry(seen.to.unwrap_or_default()).or_default() += 1;
    }
    let lost = (0..sent).filter(|number| !answers.contains_key(&id(*number))).count();
    (lost, answers.values().map(|count| count - 1).sum())
}

/// A connection to the platform more or less is none of the releases'.
fn files(held: Holdings) -> usize {
    held.descriptors - held.sockets
}

/// What it holds once that is no more than before, or after a while in which it did not come to that.
async fn settled(host: &Host, before: Holdings) -> Holdings {
    let began = Instant::now();
    loop {
        let held = Holdings::at_rest(host, Duration::from_millis(500)).await;
        let is_as_before = held.threads <= before.threads && files(held) <= files(before);
        if is_as_before || began.elapsed() > SETTLED_WITHIN {
            return held;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_what_is_said_while_releases_come_is_answered_once() {
    let mut row = Row::new("F10", "releases under load, answers at a platform");
    let (turns, swaps, messages_of_swap) = (rounds(2, 10), rounds(3, 25), rounds(24, 400));
    row.rounds = turns * swaps;
    let stage = Stage::start().await;
    stage.swap(0).await;
    stage.swap(1).await;
    let said = Arc::<Said>::default();
    said.say(&stage, messages_of_swap).await;
    let (before, mut ratios, mut number) = (stage.swaps(), Vec::new(), 2);
    for turn in 0..turns {
        let steady = said.say(&stage, rounds(24, 4000)).await;
        let began = said.sent();
        let swapping = async {
            for swap in 0..swaps {
                while said.sent() < began + swap * messages_of_swap {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                stage.swap(number + swap).await;
            }
        };
        let (swapped, ()) = tokio::join!(said.say(&stage, swaps * messages_of_swap), swapping);
        number += swaps;
        row.raw("steady, µs", turn, &steady.micros());
        row.raw("swapping, µs", turn, &swapped.micros());
        row.figure(format!("p99 {} and {}", ms(swapped.share(0.99)), ms(steady.share(0.99))));
        ratios.push(swapped.share(0.99).as_secs_f64() / steady.share(0.99).as_secs_f64());
    }
    stage.platform.until_seen(said.taken()).await;
    let (lost, doubled) = lost_and_doubled(&stage.platform, said.sent());
    (row.lost, row.doubled) = (lost, doubled);
    row.holds(said.failed() == 0, format!("{} requests failed", said.failed()));
    row.holds(doubled == 0, "something is doubled");
    let swapped = stage.swaps() - before;
    row.holds(swapped == row.rounds, format!("{swapped} releases came to serve"));
    row.platform_tells(stage.platform.codes().len(), 0);
    row.figure(format!("{} messages, {} failed, {swapped} releases", said.sent(), said.failed()));
    let ratio = median(ratios);
    row.in_time(ratio <= P99_RATIO_MAX, format!("p99 swapping/steady {ratio:.2} (median of {turns})"));
    row.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_releases_that_went_leave_nothing_behind() {
    let mut row = Row::new("F10", "releases one after the other, each used once");
    row.rounds = rounds(20, 1000);
    let rest = Duration::from_secs(if is_long() { 12 } else { 1 });
    let stage = Stage::start().await;
    let said = Arc::<Said>::default();
    let swap = async |from: usize, swaps: usize| {
        for number in from..from + swaps {
            stage.swap(number).await;
            // One at a time: connections to the platform are kept, and how many depends on how many answer at once.
            said.say_by(&stage, 1, 1).await;
            stage.platform.until_seen(said.taken()).await;
        }
    };
    // The last megabytes of the log are kept for whoever looks, and pages of the database: until there are as many, each
    // swap takes some more, and after some thousands none does.
    let warm_up = rounds(10, 6000);
    swap(0, warm_up).await;
    let before = Holdings::at_rest(&stage.host, rest).await;
    let part = row.rounds / PARTS;
    let mut resident = Vec::new();
    for number in 0..PARTS {
        swap(warm_up + number * part, part).await;
        resident.push(Holdings::of(&stage.host).resident_bytes as f64);
    }
    row.raw("resident bytes on the way", 0, &resident);
    stage.platform.until_seen(said.taken()).await;
    row.holds(said.failed() == 0, format!("{} requests failed", said.failed()));
    // What waits for more work, such as a thread, ends by itself after a while.
    let after = settled(&stage.host, before).await;
    for (what, most, after) in [
        ("threads", before.threads + BY_CHANCE, after.threads),
        ("descriptors beside sockets", files(before) + BY_CHANCE, files(after)),
        ("sockets", before.sockets + BY_CHANCE, after.sockets),
    ] {
        row.holds(after <= most, format!("{after} {what}, and at most {most} are well"));
        row.figure(format!("{what} {after} of {most}"));
    }
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    row.holds(is_long() || grown <= GROWTH_BYTES_MAX, format!("memory grew by {grown} bytes"));
    let share = grown as f64 / before.resident_bytes as f64;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    row.raw("resident bytes before and after", 0, &[before, after].map(|held| held.resident_bytes as f64));
    row.in_time(
        share <= GROWTH_MAX,
        format!("memory +{:.1} % of {:.1} MB", share * 100.0, mb(before.resident_bytes)),
    );
    row.close();
}
