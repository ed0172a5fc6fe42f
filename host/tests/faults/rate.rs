//! Not a fault, but the figure that all others are weighed against: how soon a webhook is acknowledged at 500 a second,
//! and what sharing a commit is worth.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parlor::store::Store as _;
use parlor::store::sqlite::SqliteStore;
use parlor::store::vault::Vault;

use crate::conformance::{CHANNEL, NOW, incoming};
use crate::kill::left_behind;
use crate::knock::{Chats, Talk};
use crate::load::{self, Fate};
use crate::row::{Row, ms, rounds};
use crate::support::{Host, Platform, Settings};

const A_SECOND: u32 = 500;
/// As the platforms' own patience has it, with room to spare.
const P99_MAX: Duration = Duration::from_millis(300);
const AT_ONCE: usize = 64;

/// Messages that one waiter after the other stores, and that many store at once, a second; and how many shared a
/// commit.
async fn commits(each: usize) -> (f64, f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), Vault::open(folder.path()).unwrap()).unwrap();
    let accept = async |id: String| {
        store.accept(CHANNEL, NOW, vec![incoming(&id, &id)]).await.unwrap();
    };
    let began = Instant::now();
    for number in 0..each {
        accept(format!("alone {number}")).await;
    }
    let alone = each as f64 / began.elapsed().as_secs_f64();
    let (before, began) = (store.stats(), Instant::now());
    let accept = &accept;
    let worker = |worker: usize| async move {
        for number in 0..each / 8 {
            accept(format!("{worker} {number}")).await;
        }
    };
    join_all((0..AT_ONCE).map(worker)).await;
    let together = (each / 8 * AT_ONCE) as f64 / began.elapsed().as_secs_f64();
    let (writes, commits) = (store.stats().writes - before.writes, store.stats().commits - before.commits);
    (alone, together, writes as f64 / commits as f64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_of_webhooks_at_500_a_second() {
    let mut row = Row::new("rate", "500 webhooks a second, SQLite, synchronous = FULL");
    let seconds = rounds(2, 60);
    row.rounds = seconds * A_SECOND as usize;
    let platform = Platform::start().await;
    let chats = Chats::Keyless(platform.clone());
    let settings =
        chats.join(Settings::new()).insert("models", "echo", serde_json::json!({ "backend": "echo" }));
    let mut host = Host::start(&settings.set("default_model", "echo")).await;
    let talks: Vec<Talk> = (0..row.rounds).map(|number| Talk::new(format!("rate-{number}"), 1)).collect();
    let knocks: Vec<_> = talks.iter().map(|talk| chats.knock(&talk.conversation, &talk.texts[0])).collect();
    let load = load::send(knocks, A_SECOND, host.address()).await;
    let (times, ended) = (load.acknowledged(), Instant::now());
    let answered_by_then = platform.seen_in_all();
    platform.until_seen(times.count()).await;
    row.figure(format!(
        "{answered_by_then} answered when the last was sent, all {} later",
        ms(ended.elapsed())
    ));
    row.lost = times.count().saturating_sub(platform.seen_in_all());
    let others = load.count(|fate| fate != Fate::Status(200));
    row.in_time(others == 0, format!("{} of {} acknowledged", times.count(), row.rounds));
    row.figure(format!("p50 {}", ms(times.share(0.5))));
    row.in_time(times.share(0.99) <= P99_MAX, format!("p99 {}", ms(times.share(0.99))));
    row.figure(format!("longest {}", ms(times.longest())));
    host.kill();
    let (_copy, db) = left_behind(&host);
    let stored: u32 = db.query_row("SELECT count(*) FROM inbox", [], |row| row.get(0)).unwrap();
    row.holds(stored as usize >= times.count(), format!("{stored} stored of {} acknowledged", times.count()));
    let (alone, together, shared) = commits(rounds(64, 1024)).await;
    row.figure(format!(
        "store: {alone:.0} a second with a commit for each, {together:.0} in groups of {shared:.0}"
    ));
    row.close();
}
