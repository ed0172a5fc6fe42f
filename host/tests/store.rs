//! The store on SQLite: the conformance suite, and what only a file can do wrong.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "store/conformance.rs"]
#[macro_use]
mod conformance;
#[path = "store/interleavings.rs"]
mod interleavings;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parlor::message::{Reply, Role, Utterance};
use parlor::store::allowance::{Buckets, KEYS_MAX};
use parlor::store::oversight::{Act, Actor, Chain, Oversight as _};
use parlor::store::sqlite::{DATABASE_FILE, EXCHANGES_MAX, Options, SqliteStore};
use parlor::store::vault::{KEY_FILE, Vault, VaultError};
use parlor::store::{
    Acceptance, Allowance, Delivery, Incoming, JOBS, Outcome, Progress, Store, StoreError, Verdict,
};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use interleavings::AfterRestart;

use conformance::{CHANNEL, LEASE, NOW, accept, claim, delivered, exchange, incoming, message};

conformance!(opened);

async fn opened() -> (SqliteStore, TempDir) {
    fresh()
}

mod ephemeral {
    use parlor::store::ephemeral::EphemeralStore;

    conformance!(fresh);

    async fn fresh() -> (EphemeralStore, ()) {
        (EphemeralStore::default(), ())
    }
}

fn fresh() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open(folder.path()), folder)
}

fn open(folder: &Path) -> SqliteStore {
    try_open(folder).unwrap()
}

/// Restarts and commits without a disk's latency, where the system has such a place.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_loses_doubles_or_reorders_a_turn(steps in interleavings::steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = quick_folder();
        let opens = async || open(folder.path());
        runtime.block_on(interleavings::run(opens, AfterRestart::NobodyHoldsALease, steps));
    }
}

fn try_open(folder: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(folder, Vault::open(folder).unwrap())
}

/// Why the store refuses to open.
fn refusal(folder: &Path) -> String {
    match try_open(folder) {
        Err(StoreError::Unusable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// The file as an operator's tools see it.
fn tool(folder: &Path) -> Connection {
    Connection::open(folder.join(DATABASE_FILE)).unwrap()
}

#[tokio::test]
async fn a_restart_keeps_everything_and_goes_on_at_once() {
    let (store, folder) = fresh();
    for (conversation, id) in [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("d", "5")] {
        accept(&store, conversation, id).await;
    }
    let done = claim(&store, NOW).await;
    store.finish(done.lease, NOW, &delivered(), &exchange("1")).await.unwrap();
    let (generating, answered, delivering) =
        (claim(&store, NOW).await, claim(&store, NOW).await, claim(&store, NOW).await);
    for turn in [&answered, &delivering] {
        assert_eq!(store.answer(turn.lease, NOW, &Reply::text("hello")).await.unwrap(), Delivery::Due);
    }
    store.checkpoint(delivering.lease, NOW, b"part 1").await.unwrap();
    store.set("s", NOW, "k", b"v", None).await.unwrap();
    drop(store);

    let store = open(folder.path());
    let late = store.finish(generating.lease, NOW, &delivered(), &[]).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    let reply = Reply::text("hello");
    for (before, progress) in [
        (generating, Progress::Unanswered { checkpoint: Vec::new() }),
        (answered, Progress::Answered { reply: reply.clone(), checkpoint: Vec::new() }),
        (delivering, Progress::Answered { reply, checkpoint: b"part 1".to_vec() }),
    ] {
        let turn = claim(&store, NOW).await;
        assert_eq!((turn.message, turn.progress, turn.claims), (before.message, progress, 2));
    }
    assert_eq!(claim(&store, NOW).await.message, message("d", "5"));
    assert!(store.claim(NOW, LEASE, &[]).await.unwrap().is_none());
    assert_eq!(store.history(CHANNEL, "a", 9).await.unwrap(), exchange("1"));
    assert_eq!(store.get("s", NOW, "k").await.unwrap().as_deref(), Some(&b"v"[..]));
    let again = store.accept(CHANNEL, NOW, vec![incoming("a", "1")]).await.unwrap();
    assert_eq!(again, [Acceptance::Duplicate]);
}

#[tokio::test]
async fn a_history_keeps_its_last_exchanges() {
    let (store, _folder) = fresh();
    let ids: Vec<String> = (0..EXCHANGES_MAX + 2).map(|id| id.to_string()).collect();
    let batch = ids.iter().map(|id| incoming("c", id)).collect();
    store.accept(CHANNEL, NOW, batch).await.unwrap();
    for id in &ids {
        let turn = claim(&store, NOW).await;
        store.finish(turn.lease, NOW, &delivered(), &[Utterance::text(Role::User, id)]).await.unwrap();
    }
    let kept = store.history(CHANNEL, "c", u32::MAX).await.unwrap();
    let kept: Vec<String> = kept.iter().map(Utterance::plain_text).collect();
    assert_eq!(kept, ids[2..]);
}

#[tokio::test]
async fn a_long_sweep_runs_in_pieces() {
    let (store, _folder) = fresh();
    let ids: Vec<String> = (0..1200).map(|id| id.to_string()).collect();
    store.accept(CHANNEL, NOW, ids.iter().map(|id| incoming("c", id)).collect()).await.unwrap();
    assert_eq!(store.withdraw(CHANNEL, NOW, &ids).await.unwrap().len(), 1200);
    let commits = store.stats().commits;
    assert_eq!(store.sweep(NOW + 1, NOW + 1).await.unwrap(), 1200);
    assert_eq!(store.stats().commits - commits, 3);
}

#[tokio::test]
async fn writes_that_come_together_share_commits() {
    let (store, _folder) = fresh();
    let before = store.stats();
    let ids: Vec<String> = (0..64).map(|id| id.to_string()).collect();
    join_all(ids.iter().map(|id| accept(&store, id, id))).await;
    let after = store.stats();
    assert_eq!(after.writes - before.writes, 64);
    assert!(after.commits - before.commits <= 16, "{after:?}");
    assert_eq!(store.queue().await.unwrap().unfinished, 64);
}

#[tokio::test]
async fn a_write_that_fails_leaves_its_neighbours_alone() {
    let (store, _folder) = fresh();
    accept(&store, "c", "1").await;
    let turn = claim(&store, NOW).await;
    store.postpone(turn.lease, NOW, None, false).await.unwrap();
    let (reply, ids) = (Reply::text("late"), ["a", "b", "c"]);
    let (late, neighbours) = tokio::join!(
        join_all((0..3).map(|_| store.answer(turn.lease, NOW, &reply))),
        join_all(ids.map(|id| store.accept("other", NOW, vec![incoming(id, id)]))),
    );
    assert!(late.iter().all(|outcome| matches!(outcome, Err(StoreError::LeaseLost))), "{late:?}");
    assert!(neighbours.iter().all(|outcome| outcome.as_ref().is_ok_and(|it| *it == [Acceptance::New])));
    assert_eq!(
        store.outcome(CHANNEL, "1").await.unwrap(),
        Some(Outcome::Pending),
        "nothing of the failed ones"
    );
    assert_eq!(store.queue().await.unwrap().unfinished, 4);
}

#[tokio::test]
async fn a_full_disk_stores_nothing_and_heals_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: Some(200 << 10), ..Options::default() };
    let store = SqliteStore::open_with(folder.path(), Vault::open(folder.path()).unwrap(), options).unwrap();
    let large = |id: u32| {
        let mut large = incoming("c", &id.to_string());
        large.message.text = "x".repeat(8 << 10);
        large
    };
    let mut stored = 0;
    let refused = loop {
        match store.accept(CHANNEL, NOW, vec![large(stored)]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 50, "the bound binds");
    };
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(refused.to_string().contains("free space"), "{refused}");
    let batch = store.accept(CHANNEL, NOW, (stored..stored + 50).map(large).collect()).await;
    assert!(matches!(batch, Err(StoreError::Unavailable(_))), "{batch:?}");
    assert_eq!(store.outcome(CHANNEL, &stored.to_string()).await.unwrap(), None, "no row, not half a batch");
    assert_eq!(store.queue().await.unwrap().unfinished, u64::from(stored));

    store.set_bytes_max(None).await.unwrap();
    assert_eq!(store.accept(CHANNEL, NOW, vec![large(stored)]).await.unwrap(), [Acceptance::New]);
    drop(store);
    assert_eq!(open(folder.path()).queue().await.unwrap().unfinished, u64::from(stored) + 1);
}

#[tokio::test]
async fn a_full_disk_fails_everybody_in_the_group_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: Some(256 << 10), ..Options::default() };
    let store = SqliteStore::open_with(folder.path(), Vault::open(folder.path()).unwrap(), options).unwrap();
    let large = |id: usize| {
        let mut large = incoming(&id.to_string(), &id.to_string());
        large.message.text = "x".repeat(8 << 10);
        large
    };
    let outcomes = join_all((0..64).map(|id| store.accept(CHANNEL, NOW, vec![large(id)]))).await;
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(stored < 64);
    assert!(outcomes.iter().all(|it| matches!(it, Ok(_) | Err(StoreError::Unavailable(_)))), "{outcomes:?}");
    assert_eq!(store.queue().await.unwrap().unfinished, stored as u64, "who got an error has no row");
    store.set_bytes_max(None).await.unwrap();
    join_all((0..64).map(|id| store.accept(CHANNEL, NOW, vec![large(id)]))).await;
    assert_eq!(store.queue().await.unwrap().unfinished, 64);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_stands_still_while_a_write_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { holds_paused_time: true, ..Options::default() };
    let store = SqliteStore::open_with(folder.path(), Vault::open(folder.path()).unwrap(), options).unwrap();
    let started = tokio::time::Instant::now();
    let far = tokio::time::sleep(Duration::from_secs(3600));
    let work = async {
        accept(&store, "c", "1").await;
        let turn = claim(&store, NOW).await;
        store.finish(turn.lease, NOW, &delivered(), &exchange("hi")).await.unwrap();
        store.history(CHANNEL, "c", 1).await.unwrap();
    };
    tokio::select! { () = work => {}, () = far => panic!("the clock ran") }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

/// All bytes of the database and its side files.
fn bytes_on_disk(folder: &Path) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|path| fs::read(path).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn addresses_are_sealed_and_text_is_not() {
    let (store, folder) = fresh();
    let mut letter = incoming("c", "1");
    letter.message.address = b"https://platform.example/?session=s3cr3t".to_vec();
    letter.message.text = "a text for tools".to_owned();
    store.accept(CHANNEL, NOW, vec![letter]).await.unwrap();
    for bytes in [bytes_on_disk(folder.path()), {
        drop(store);
        bytes_on_disk(folder.path())
    }] {
        assert!(holds(&bytes, "a text for tools"), "the scan sees what is there");
        assert!(!holds(&bytes, "s3cr3t") && !holds(&bytes, "platform.example"));
    }
}

#[tokio::test]
async fn a_tampered_address_ends_its_own_turn_alone() {
    let (store, folder) = fresh();
    for (conversation, id) in [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")] {
        accept(&store, conversation, id).await;
    }
    drop(store);
    let tool = tool(folder.path());
    tool.execute("UPDATE inbox SET address = zeroblob(60) WHERE message_id = '1'", []).unwrap();
    let swap = "UPDATE inbox SET address = (SELECT address FROM inbox WHERE message_id = '2') WHERE message_id = '3'";
    tool.execute(swap, []).unwrap();
    tool.execute("UPDATE inbox SET message = '{' WHERE message_id = '4'", []).unwrap();

    let store = open(folder.path());
    assert_eq!(claim(&store, NOW).await.message.id, "2", "its conversation goes on");
    assert!(store.claim(NOW, LEASE, &[]).await.unwrap().is_none());
    for id in ["1", "3", "4"] {
        assert_eq!(store.outcome(CHANNEL, id).await.unwrap(), Some(Outcome::Dead), "{id}");
    }
    let reason = "SELECT group_concat(reason, '; ') FROM inbox WHERE state = 'dead'";
    let reasons: String = tool.query_row(reason, [], |row| row.get(0)).unwrap();
    assert!(reasons.contains("the stored address was changed"), "{reasons}");
    assert!(reasons.contains("the stored message cannot be read"), "{reasons}");
}

#[tokio::test]
async fn a_folder_serves_one_process() {
    let (store, folder) = fresh();
    assert!(refusal(folder.path()).contains("another parlor serves from this folder"));
    accept(&store, "c", "1").await;
    drop(store);
    assert_eq!(open(folder.path()).queue().await.unwrap().unfinished, 1);
}

#[tokio::test]
async fn a_newer_file_is_refused_unless_it_says_that_we_can_read_it() {
    let (store, folder) = fresh();
    accept(&store, "c", "1").await;
    drop(store);
    for version in [5, 99, 5005, 6005] {
        tool(folder.path()).pragma_update(None, "user_version", version).unwrap();
        assert!(refusal(folder.path()).contains("written by a newer parlor"), "{version}");
    }
    tool(folder.path()).pragma_update(None, "user_version", 5001).unwrap();
    assert_eq!(open(folder.path()).queue().await.unwrap().unfinished, 1);
    let version: i64 =
        tool(folder.path()).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 5001, "and stays what it is");
}

/// A file of the form before, as that version left it: nothing of it is lost, and the list of conversations is made.
#[tokio::test]
async fn an_earlier_file_is_brought_up_to_date() {
    let (store, folder) = fresh();
    conformance::say(&store, "c", "1").await;
    drop(store);
    tool(folder.path())
        .execute_batch(
            "DROP TRIGGER history_grows; DROP TRIGGER history_shrinks; DROP TABLE conversation; DROP TABLE audit;
             DROP TABLE revoked; DROP TRIGGER address_is_known; DROP TABLE address; DROP TABLE unseen;
             PRAGMA user_version = 1001;",
        )
        .unwrap();
    let store = open(folder.path());
    let threads = store.threads(None, None, 9).await.unwrap();
    assert_eq!(threads.iter().map(|thread| thread.exchanges).collect::<Vec<_>>(), [1]);
    assert_eq!(store.history(CHANNEL, "c", 9).await.unwrap(), exchange("1"));
    assert_eq!(store.address(CHANNEL, "c").await.unwrap(), Some(message("c", "1").address));
}

/// Found by setting the clock under a running host: what was to be tried again in two seconds waited an hour more, and
/// what was being answered was claimed a second time.
#[tokio::test]
async fn when_the_clock_is_set_what_is_due_and_leased_moves_with_it() {
    const HOUR: u64 = 3_600_000;
    let (store, _folder) = fresh();
    accept(&store, "c", "1").await;
    let claimed = claim(&store, NOW).await;
    store.clock_was_set(NOW + HOUR, HOUR as i64).await.unwrap();
    assert!(store.claim(NOW + HOUR + 1000, LEASE, &[]).await.unwrap().is_none(), "it is still leased");
    store.postpone(claimed.lease, NOW + HOUR + 2000, None, false).await.unwrap();
    store.clock_was_set(NOW, -(HOUR as i64)).await.unwrap();
    assert!(store.claim(NOW + 1999, LEASE, &[]).await.unwrap().is_none());
    assert_eq!(claim(&store, NOW + 2000).await.message.id, "1");
}

/// Found by setting the clock while a host was stopped: what was to be tried again in two seconds waited for an hour, or
/// for ten years, once the clock was set back.
#[tokio::test]
async fn what_waits_is_due_when_the_clock_was_set_back_while_nobody_looked() {
    const YEARS: u64 = 10 * 365 * 24 * 3_600_000;
    let (store, folder) = fresh();
    store.wake(NOW + YEARS).await.unwrap();
    store.accept(CHANNEL, NOW + YEARS, vec![incoming("c", "1")]).await.unwrap();
    let claimed = claim(&store, NOW + YEARS).await;
    store.postpone(claimed.lease, NOW + YEARS + 2000, None, false).await.unwrap();
    store.set("space", NOW + YEARS, "key", b"value", Some(Duration::from_secs(60))).await.unwrap();
    drop(store);
    let store = open(folder.path());
    store.wake(NOW).await.unwrap();
    assert_eq!(claim(&store, NOW).await.message.id, "1");
    assert!(
        store.get("space", NOW + 60_000, "key").await.unwrap().is_none(),
        "it lives no longer than it was to"
    );
}

/// The host cannot tell a clock that was set ahead from a long stop: a platform may bring again what ended before.
#[tokio::test]
async fn a_repeat_is_known_although_the_clock_was_set_ahead_while_nobody_looked() {
    const DAY: u64 = 24 * 3_600_000;
    let (store, folder) = fresh();
    conformance::say(&store, "c", "1").await;
    drop(store);
    let store = open(folder.path());
    let later = NOW + 3650 * DAY;
    store.wake(later).await.unwrap();
    store.sweep(later, later - DAY).await.unwrap();
    let again = store.accept(CHANNEL, later, vec![incoming("c", "1")]).await.unwrap();
    assert_eq!(again, [Acceptance::Duplicate]);
    let swept = store.sweep(later + DAY + 1, later + 1).await.unwrap();
    assert_eq!(swept, 1, "and forgotten when its retention is over");
}

/// Found by review: a clock that was set ahead made all of the audit old, and the next sweep deleted it.
#[tokio::test]
async fn what_operators_did_is_kept_for_its_retention_however_the_clock_is_set() {
    const DAY: u64 = 24 * 3_600_000;
    const KEPT: u64 = 30 * DAY;
    const AHEAD: u64 = 365 * DAY;
    let (store, _folder) = fresh();
    let entries = async || store.audit(None, 9).await.unwrap().len();
    assert!(revoke(&store, NOW, "t1").await);
    store.clock_was_set(NOW + AHEAD, AHEAD as i64).await.unwrap();
    assert!(revoke(&store, NOW + AHEAD + DAY, "t2").await);
    store.clock_was_set(NOW + 2 * DAY, -(AHEAD as i64)).await.unwrap();
    assert!(revoke(&store, NOW + 2 * DAY, "t3").await);
    store.clock_was_set(NOW + 2 * DAY + AHEAD, AHEAD as i64).await.unwrap();
    let sweep = async |days: u64| store.sweep_audit(NOW + AHEAD + days * DAY + 1 - KEPT).await.unwrap();
    assert_eq!((sweep(29).await, entries().await), (0, 3), "none is thirty days old");
    assert_eq!((sweep(30).await, entries().await), (1, 2));
    assert_eq!((sweep(32).await, entries().await), (2, 0));
    assert!(matches!(store.audit_chain().await.unwrap(), Chain::Whole { entries: 0, last: Some((3, _)) }));
}

#[tokio::test]
async fn what_operators_did_is_kept_although_the_clock_was_set_ahead_while_nobody_looked() {
    const DAY: u64 = 24 * 3_600_000;
    let (store, folder) = fresh();
    conformance::say(&store, "c", "1").await;
    assert!(revoke(&store, NOW, "t1").await);
    drop(store);
    let store = open(folder.path());
    let later = NOW + 3650 * DAY;
    store.wake(later).await.unwrap();
    assert_eq!(store.sweep_audit(later - 30 * DAY).await.unwrap(), 0);
    assert_eq!(store.sweep_audit(later + DAY).await.unwrap(), 1, "and no longer than from now on");
}

#[tokio::test]
async fn what_is_meant_for_an_hour_stays_at_it_when_the_clock_is_set() {
    const HOUR: u64 = 3_600_000;
    let (store, _folder) = fresh();
    let later = Incoming { due_at: Some(NOW + 5 * HOUR), ..incoming("c", "1") };
    store.accept(CHANNEL, NOW, vec![later]).await.unwrap();
    for (now, by) in [(NOW + HOUR, HOUR as i64), (NOW - HOUR, -2 * HOUR as i64)] {
        store.clock_was_set(now, by).await.unwrap();
        assert!(store.claim(NOW + 5 * HOUR - 1, LEASE, &[]).await.unwrap().is_none(), "{by}");
    }
    assert_eq!(claim(&store, NOW + 5 * HOUR).await.message.id, "1");
}

#[tokio::test]
async fn what_is_meant_for_an_hour_stays_at_it_when_the_host_stops_meanwhile() {
    const HOUR: u64 = 3_600_000;
    let (store, folder) = fresh();
    let mut later = Incoming { due_at: Some(NOW + 5 * HOUR), ..incoming("c", "1") };
    later.message.sent_at_ms = Some(NOW);
    store.accept(JOBS, NOW, vec![later]).await.unwrap();
    drop(store);
    // As a host that was stopped does, and one whose clock was set back then.
    for now in [NOW + HOUR, NOW - 2 * HOUR] {
        let store = open(folder.path());
        store.wake(now).await.unwrap();
        assert!(store.claim(NOW + 5 * HOUR - 1, LEASE, &[]).await.unwrap().is_none(), "{now}");
    }
    assert_eq!(claim(&open(folder.path()), NOW + 5 * HOUR).await.message.id, "1");
}

/// An entry for the audit.
async fn revoke(store: &SqliteStore, now: u64, token: &str) -> bool {
    let actor = Actor {
        person: "ada".to_owned(),
        token: None,
        role: "admin".to_owned(),
        request_id: "r".to_owned(),
        client: None,
    };
    let act = Act::Revoke { token: token.to_owned(), until: NOW + 99 };
    store.act(now, &act, &actor).await.unwrap()
}

#[tokio::test]
async fn an_audit_that_was_changed_shows() {
    let (store, folder) = fresh();
    for token in ["t1", "t2", "t3"] {
        assert!(revoke(&store, NOW, token).await);
    }
    let tool = tool(folder.path());
    for refused in ["UPDATE audit SET target = 'x'", "DELETE FROM audit WHERE seq = 2"] {
        let error = tool.execute(refused, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    tool.execute_batch("DROP TRIGGER audit_stays; DROP TRIGGER audit_goes_from_its_old_end").unwrap();
    tool.execute("UPDATE audit SET target = 'x' WHERE seq = 2", []).unwrap();
    assert_eq!(store.audit_chain().await.unwrap(), Chain::Broken { seq: 2 });
    tool.execute("DELETE FROM audit WHERE seq = 2", []).unwrap();
    assert_eq!(store.audit_chain().await.unwrap(), Chain::Broken { seq: 3 });
}

#[tokio::test]
async fn another_programs_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tool(folder.path()).execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    assert!(refusal(folder.path()).contains("another program"));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let (store, folder) = fresh();
    for id in 0..40 {
        accept(&store, "c", &id.to_string()).await;
    }
    drop(store);
    let path = folder.path().join(DATABASE_FILE);
    let whole = fs::read(&path).unwrap();
    let mut overwritten = whole.clone();
    overwritten[4096..].fill(0xA5);
    let short = &whole[..whole.len() / 2];
    for bytes in [&overwritten[..], short, b"this is no database, but it is long enough to be read as one"] {
        fs::write(&path, bytes).unwrap();
        assert!(refusal(folder.path()).contains("damaged"));
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(open(folder.path()).queue().await.unwrap().unfinished, 40, "the backup works");
}

#[tokio::test]
async fn damage_under_a_running_store_is_an_error() {
    let (store, folder) = fresh();
    for id in 0..40 {
        accept(&store, "c", &id.to_string()).await;
    }
    tool(folder.path()).execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let path = folder.path().join(DATABASE_FILE);
    let length = fs::metadata(&path).unwrap().len() as usize;
    use std::io::{Seek, Write};
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(std::io::SeekFrom::Start(0)).unwrap();
    file.write_all(&vec![0xA5; length]).unwrap();
    let fresh_reads = store.history(CHANNEL, "c", 9).await;
    assert!(matches!(fresh_reads, Err(StoreError::Unusable(_))), "{fresh_reads:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn its_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (store, folder) = fresh();
    accept(&store, "c", "1").await;
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
    let modes: Vec<_> =
        files.map(|file| (file.file_name(), file.metadata().unwrap().permissions().mode() & 0o777)).collect();
    assert!(modes.len() >= 4, "{modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[test]
fn a_vault_opens_only_what_it_sealed_here() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    let sealed = vault.seal(b"row 1", b"plain").unwrap();
    assert_eq!(vault.unseal(b"row 1", &sealed).unwrap(), b"plain");
    assert_ne!(vault.seal(b"row 1", b"plain").unwrap(), sealed, "no nonce twice");
    let again = Vault::open(folder.path()).unwrap();
    assert_eq!(again.unseal(b"row 1", &sealed).unwrap(), b"plain");
    assert_eq!(again.subkey(b"cwasm"), vault.subkey(b"cwasm"));
    assert_ne!(vault.subkey(b"cwasm"), vault.subkey(b"other"));
    assert!(matches!(vault.unseal(b"row 2", &sealed), Err(VaultError::Rejected)));
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert!(matches!(vault.unseal(b"row 1", &changed), Err(VaultError::Rejected)), "{place}");
        assert!(matches!(vault.unseal(b"row 1", &sealed[..place]), Err(VaultError::Rejected)), "{place}");
    }
    assert_eq!(format!("{vault:?}"), "Vault(***)");
}

#[test]
fn a_key_of_the_wrong_size_is_refused() {
    for bytes in [0, 31, 33] {
        let folder = tempfile::tempdir().unwrap();
        Vault::open(folder.path()).unwrap();
        fs::write(folder.path().join(KEY_FILE), vec![1; bytes]).unwrap();
        let refused = Vault::open(folder.path());
        assert!(matches!(refused, Err(VaultError::WrongSize { .. })), "{refused:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    Vault::open(folder.path()).unwrap();
    let path = folder.path().join(KEY_FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Vault::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("640") && refused.contains("chmod 600"), "{refused}");
}

#[tokio::test]
async fn a_lost_key_is_named_before_any_turn_is_lost() {
    let (store, folder) = fresh();
    accept(&store, "c", "1").await;
    drop(store);
    let key = folder.path().join(KEY_FILE);
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(refusal(folder.path()).contains("sealed by another key"));
    fs::write(&key, kept).unwrap();
    assert_eq!(claim(&open(folder.path()), NOW).await.message, message("c", "1"));
}

#[test]
fn keys_made_at_once_are_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
        let open = || Vault::open(folder.path()).unwrap().subkey(b"test");
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no passing file stays");
}

/// Prints figures and asserts none: `cargo test --test store -- --ignored --nocapture figures`.
#[tokio::test]
#[ignore = "prints figures of this machine"]
async fn figures() {
    let (store, folder) = fresh();
    let started = Instant::now();
    for id in 0..200 {
        accept(&store, "alone", &format!("alone {id}")).await;
    }
    let alone = 200.0 / started.elapsed().as_secs_f64();
    let before = store.stats();
    let started = Instant::now();
    let worker = |worker: u32| {
        let store = &store;
        async move {
            for id in 0..50 {
                accept(store, &format!("{worker}"), &format!("{worker} {id}")).await;
            }
        }
    };
    join_all((0..64).map(worker)).await;
    let together = 3200.0 / started.elapsed().as_secs_f64();
    let commits = store.stats().commits - before.commits;
    println!(
        "accepts a second: {alone:.0} one by one, {together:.0} by 64 at once ({commits} commits for 3200)"
    );
    let finished = "INSERT INTO inbox (channel, message_id, conversation, message, address, request_id, head,
                                       received_at, due_at, state, ended_at)
                    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
                    SELECT 'old', i, 'c', '{}', x'00', 'r', 0, 1, 1, 'delivered', 1 FROM n";
    tool(folder.path()).execute(finished, []).unwrap();
    let started = Instant::now();
    for _ in 0..65 {
        claim(&store, NOW).await;
    }
    println!("claim: {:?} over 10^5 finished turns", started.elapsed() / 65);
    let started = Instant::now();
    assert!(store.claim(NOW, LEASE, &[]).await.unwrap().is_none());
    println!("claim with nothing due: {:?}", started.elapsed());
    backlog(&store).await;
}

/// One conversation that floods: what waits behind its head must not slow down a claim.
async fn backlog(store: &SqliteStore) {
    let flood = (0..20_000).map(|id| incoming("flood", &format!("flood {id}"))).collect();
    store.accept(CHANNEL, NOW, flood).await.unwrap();
    claim(store, NOW).await;
    let started = Instant::now();
    assert!(store.claim(NOW, LEASE, &[]).await.unwrap().is_none());
    println!("claim behind a leased conversation of 20000 turns: {:?}", started.elapsed());
}

#[test]
fn a_flood_of_keys_fills_no_memory_and_refuses_nobody() {
    let buckets = Buckets::default();
    let once = |key: usize| Allowance { key: key.to_string(), interval: Duration::from_secs(60), burst: 1 };
    for key in 0..KEYS_MAX * 3 {
        assert_eq!(buckets.take(NOW + key as u64 / 1000, &[once(key)]), Verdict::Granted);
        assert!(buckets.len() <= KEYS_MAX);
    }
    let last = KEYS_MAX * 3 - 1;
    let now = NOW + last as u64 / 1000;
    assert_ne!(buckets.take(now, &[once(last)]), Verdict::Granted, "who came last is still counted");
    assert_eq!(
        buckets.take(now, &[once(0)]),
        Verdict::Granted,
        "who was nearest to a full bucket is forgotten"
    );
    for key in 0..10 {
        assert_eq!(buckets.take(now + 3_600_000, &[once(usize::MAX - key)]), Verdict::Granted);
    }
    assert!(buckets.len() <= KEYS_MAX);
}

#[test]
fn full_buckets_are_forgotten() {
    let buckets = Buckets::default();
    let brief = |key: u64| Allowance { key: key.to_string(), interval: Duration::from_millis(10), burst: 1 };
    for key in 0..100_000 {
        buckets.take(NOW + key, &[brief(key)]);
    }
    assert!(buckets.len() <= 2048, "{}", buckets.len());
}
