//! The store's writer under a kill and under a panic, at the places that failpoints name.
//!
//! A binary of its own, since failpoints are the process's: `cargo test --features failpoints`.
//! Failpoints know no threads either, so that its tests run one after another (`FailScenario`).
#![cfg(all(unix, feature = "failpoints"))]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "store/conformance.rs"]
#[allow(dead_code, unused_macros)]
mod conformance;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use fail::FailScenario;
use futures_util::future::join_all;
use parlor::store::oversight::{Act, Actor, Oversight as _};
use parlor::store::sqlite::SqliteStore;
use parlor::store::vault::Vault;
use parlor::store::{Acceptance, Store, StoreError};

use conformance::{CHANNEL, NOW, claim, incoming};

const FOLDER: &str = "STORE_FAULTS_FOLDER";
const PLACE: &str = "STORE_FAULTS_PLACE";
const SIGKILL: i32 = 9;

fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder, Vault::open(folder).unwrap()).unwrap()
}

/// Not a test of its own: what runs in the process that is killed.
#[tokio::test]
async fn accept_until_killed() {
    let (Ok(folder), Ok(place)) = (std::env::var(FOLDER), std::env::var(PLACE)) else { return };
    let store = open(Path::new(&folder));
    store.accept(CHANNEL, NOW, vec![incoming("c", "acknowledged")]).await.unwrap();
    let kill =
        || rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    fail::cfg_callback(place, kill).unwrap();
    store.accept(CHANNEL, NOW, vec![incoming("c", "in hand")]).await.ok();
    panic!("the failpoint is passed");
}

fn killed_at(place: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "accept_until_killed"]).env(FOLDER, folder.path()).env(PLACE, place);
    let output = process.output().unwrap();
    assert_eq!(output.status.signal(), Some(SIGKILL), "{output:?}");
    folder
}

#[tokio::test]
async fn a_kill_before_the_commit_loses_only_what_was_not_acknowledged() {
    let scenario = FailScenario::setup();
    let folder = killed_at("store::before_commit");
    let store = open(folder.path());
    assert_eq!(claim(&store, NOW).await.message.id, "acknowledged");
    let again = store.accept(CHANNEL, NOW, vec![incoming("c", "in hand")]).await.unwrap();
    assert_eq!(again, [Acceptance::New]);
    scenario.teardown();
}

#[tokio::test]
async fn a_kill_after_the_commit_loses_nothing() {
    let scenario = FailScenario::setup();
    let folder = killed_at("store::after_commit");
    let store = open(folder.path());
    assert_eq!(claim(&store, NOW).await.message.id, "acknowledged");
    let again = store.accept(CHANNEL, NOW, vec![incoming("c", "in hand")]).await.unwrap();
    assert_eq!(again, [Acceptance::Duplicate], "the platform's retry is not answered twice");
    scenario.teardown();
}

async fn accept_all(store: &SqliteStore, ids: &[&str]) -> Vec<Result<Vec<Acceptance>, StoreError>> {
    join_all(ids.iter().map(|id| store.accept(CHANNEL, NOW, vec![incoming(id, id)]))).await
}

#[tokio::test]
async fn a_panic_or_a_failed_commit_answers_everybody_and_the_writer_goes_on() {
    let scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for action in ["panic", "return"] {
        fail::cfg("store::before_commit", action).unwrap();
        let outcomes = accept_all(&store, &["1", "2", "3", "4"]).await;
        assert!(outcomes.iter().all(|it| matches!(it, Err(StoreError::Unavailable(_)))), "{outcomes:?}");
        fail::remove("store::before_commit");
        assert_eq!(store.queue().await.unwrap().unfinished, 0, "after `{action}`");
    }
    let outcomes = accept_all(&store, &["1", "2", "3", "4"]).await;
    assert!(outcomes.iter().all(|it| it.as_ref().is_ok_and(|it| *it == [Acceptance::New])), "{outcomes:?}");
    scenario.teardown();
}

/// An act and its entry are one commit: what fails leaves neither.
#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let act = Act::Revoke { token: "t".to_owned(), until: NOW + 99 };
    let actor = Actor {
        person: "ada".to_owned(),
        token: None,
        role: "admin".to_owned(),
        request_id: "r".to_owned(),
        client: None,
    };
    fail::cfg("store::before_commit", "return").unwrap();
    let failed = store.act(NOW, &act, &actor).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    assert!(store.revoked(NOW).await.unwrap().is_empty());
    assert_eq!(store.audit(None, 9).await.unwrap(), []);
    fail::remove("store::before_commit");
    assert!(store.act(NOW, &act, &actor).await.unwrap());
    assert_eq!((store.revoked(NOW).await.unwrap().len(), store.audit(None, 9).await.unwrap().len()), (1, 1));
    scenario.teardown();
}
