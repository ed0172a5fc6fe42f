//! F7: a disk that is full, fails now and then, or takes nothing at all. A platform is told 503 until its message is
//! stored, never a 200 before; room on the disk is all that it takes to go on.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::kill::{UNFINISHED, left_behind, left_behind_in, messages_in};
use crate::knock::{Chats, Talk, all_answered, eventually_slowly, scene, until_answered};
use crate::row::{Row, rounds};
use crate::support::{Host, OpenPlatform, PATIENCE, SmallDisk, client};
use crate::sync::traced;

type Statuses = Arc<Mutex<Vec<u16>>>;

/// Sends each message until it is acknowledged, and keeps every status on the way.
fn insist(talks: &[Talk], chats: &Chats, host: &Host) -> (Statuses, Vec<tokio::task::JoinHandle<()>>) {
    let statuses = Statuses::default();
    let insist = |talk: &Talk| {
        let (talk, chats, whereabouts, statuses) =
            (talk.clone(), chats.clone(), host.whereabouts(), statuses.clone());
        tokio::spawn(async move {
            for text in &talk.texts {
                let knock = chats.knock(&talk.conversation, text);
                loop {
                    let status = match whereabouts() {
                        Some(address) => knock.post(address).await.ok(),
                        None => None,
                    };
                    statuses.lock().unwrap().extend(status);
                    if status == Some(200) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    };
    let insisting = talks.iter().map(insist).collect();
    (statuses, insisting)
}

/// Until every message is acknowledged.
async fn all_taken(insisting: Vec<tokio::task::JoinHandle<()>>) {
    for insisting in insisting {
        let taken = tokio::time::timeout(PATIENCE, insisting).await;
        taken.expect("a message is refused for ever").unwrap();
    }
}

fn count(statuses: &Statuses, status: u16) -> usize {
    statuses.lock().unwrap().iter().filter(|it| **it == status).count()
}

/// How often it was 503.
fn only_200_or_503(statuses: &Statuses, row: &mut Row) -> usize {
    let others: Vec<u16> =
        statuses.lock().unwrap().iter().copied().filter(|status| ![200, 503].contains(status)).collect();
    row.holds(others.is_empty(), format!("other statuses: {others:?}"));
    count(statuses, 503)
}

fn is_whole(db: &Connection) -> bool {
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    verdict == "ok"
}

/// What the operators' door says to a change that cannot be written down, and what probes and figures say meanwhile.
async fn while_full(host: &Host, row: &mut Row) {
    let token = host.token_with(&["--role", "admin"]);
    let revoke = client().post(host.admin_url("/api/v1/admin/tokens/revoke")).bearer_auth(&token);
    let refused = revoke.json(&serde_json::json!({ "id": "some-token" })).send().await.unwrap().status();
    row.holds(refused.is_server_error(), format!("an act without its record: {refused}"));
    let ready = client().get(host.url("/ready")).send().await.unwrap().status();
    row.holds(ready == 503, format!("ready says {ready}"));
    let health = client().get(host.url("/health")).send().await.unwrap();
    let (status, text) = (health.status(), health.text().await.unwrap());
    row.holds(status == 200 && text.contains("degraded"), format!("health says {status} {text}"));
    let figures = client().get(host.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    row.holds(figures.contains("outcome=\"not_stored\""), "no figure tells of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_full_disk_is_told_by_503_and_heals_without_a_restart() {
    let mut row = Row::new("F7", "full disk (tmpfs)");
    assert!(
        SmallDisk::is_possible(),
        "no file system can be mounted here: run this as root, or allow user namespaces"
    );
    row.rounds = rounds(1, 10);
    let chats = Chats::Keyed(OpenPlatform::start().await);
    let (mut host, _model) = scene(&chats).await;
    let command = SmallDisk::command(&host);
    host.begin_with(command);
    host.serves().await;
    let (process, mut all, mut refused) = (host.process_id(), Vec::new(), 0);
    for round in 0..row.rounds {
        let talks: Vec<Talk> = (0..8).map(|number| Talk::new(format!("oc_f7-{round}-{number}"), 6)).collect();
        SmallDisk::fill(&host);
        let (statuses, insisting) = insist(&talks, &chats, &host);
        // The host empties its log when the disk is full: what it gives back is taken too.
        eventually_slowly("messages are refused", || {
            SmallDisk::fill(&host);
            count(&statuses, 503) > 48
        })
        .await;
        while_full(&host, &mut row).await;
        SmallDisk::free(&host);
        let (began, before) = (Instant::now(), count(&statuses, 200));
        eventually_slowly("a message is taken again", || count(&statuses, 200) > before).await;
        row.recovered(began.elapsed());
        all_taken(insisting).await;
        refused += only_200_or_503(&statuses, &mut row);
        all.extend(talks);
    }
    row.figure(format!("{refused} times 503"));
    all_answered(&all, &chats, &mut row).await;
    row.holds(row.doubled == 0, "something is doubled");
    row.holds(host.process_id() == process, "it was started again");
    row.holds(is_whole(&left_behind_in(&SmallDisk::data(&host)).1), "the database is damaged");
    host.terminate();
    assert!(host.ended().await.success());
    row.close();
}

/// Room for the store's log is gone long before SQLite would empty it by itself.
const LESS_THAN_A_LOG_KB: u32 = 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_disk_smaller_than_the_stores_log_heals_without_a_restart() {
    let mut row = Row::new("F7", "a disk of 1 MB, less than SQLite's log, full and freed (tmpfs)");
    row.rounds = rounds(1, 5);
    let chats = Chats::Keyed(OpenPlatform::start().await);
    let (mut host, _model) = scene(&chats).await;
    let command = SmallDisk::command_with_room(&host, LESS_THAN_A_LOG_KB);
    host.begin_with(command);
    host.serves().await;
    let mut all = Vec::new();
    for round in 0..row.rounds {
        let talks: Vec<Talk> =
            (0..8).map(|number| Talk::new(format!("oc_small-{round}-{number}"), 6)).collect();
        SmallDisk::fill(&host);
        let (statuses, insisting) = insist(&talks, &chats, &host);
        eventually_slowly("messages are refused", || {
            SmallDisk::fill(&host);
            count(&statuses, 503) > 48
        })
        .await;
        SmallDisk::free(&host);
        let began = Instant::now();
        all_taken(insisting).await;
        until_answered(&talks, &chats).await;
        row.recovered(began.elapsed());
        only_200_or_503(&statuses, &mut row);
        // A log that nobody empties would take the whole disk with these.
        let after: Vec<Talk> =
            (0..8).map(|number| Talk::new(format!("oc_after-{round}-{number}"), 6)).collect();
        let (statuses, insisting) = insist(&after, &chats, &host);
        all_taken(insisting).await;
        let refused = count(&statuses, 503);
        row.holds(refused == 0, format!("{refused} times 503 on a disk with room"));
        all.extend(talks.into_iter().chain(after));
    }
    all_answered(&all, &chats, &mut row).await;
    row.holds(row.doubled == 0, "something is doubled");
    row.figure(format!("{} messages", all.len() * 6));
    row.holds(is_whole(&left_behind_in(&SmallDisk::data(&host)).1), "the database is damaged");
    host.terminate();
    assert!(host.ended().await.success());
    row.close();
}

/// A host whose disk fails as `strace` is told, then one on the same data whose disk is sound.
async fn failing(row: &mut Row, injection: &str) {
    let chats = Chats::Keyed(OpenPlatform::start().await);
    let (mut host, _model) = scene(&chats).await;
    // Made by a sound host, so that the first fault meets a message.
    host.run().await;
    host.terminate();
    assert!(host.ended().await.success());
    let calls = ["-e", "trace=pwrite64,fdatasync", "-e", injection];
    let command: Command = traced(&host, &calls, Path::new("/dev/null"));
    host.begin_with(command);
    host.serves().await;
    let talks: Vec<Talk> = (0..row.rounds).map(|number| Talk::new(format!("oc_{number}"), 1)).collect();
    let (statuses, insisting) = insist(&talks, &chats, &host);
    let whole = talks.len();
    eventually_slowly("faults meet messages", || {
        count(&statuses, 503) >= whole || count(&statuses, 200) == whole
    })
    .await;
    row.holds(count(&statuses, 503) > 0, "no fault met a message");
    host.kill();
    row.holds(is_whole(&left_behind(&host).1), "the database is damaged");
    host.run().await;
    all_taken(insisting).await;
    let refused = only_200_or_503(&statuses, row);
    row.figure(format!("{refused} times 503"));
    all_answered(&talks, &chats, row).await;
    host.terminate();
    assert!(host.ended().await.success());
    row.holds(messages_in(&host, UNFINISHED).is_empty(), "a turn is stuck");
    row.holds(row.doubled == 0, "something is doubled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_disk_that_fails_now_and_then_costs_no_message() {
    let mut row = Row::new("F7", "EIO at every seventh write or sync (strace)");
    row.rounds = rounds(20, 200);
    failing(&mut row, "inject=pwrite64,fdatasync:error=EIO:when=9+7").await;
    row.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_disk_that_takes_nothing_any_more_is_told_by_503() {
    let mut row = Row::new("F7", "a disk that becomes read-only (strace)");
    row.rounds = rounds(20, 100);
    failing(&mut row, "inject=pwrite64:error=EROFS:when=30+").await;
    row.close();
}
