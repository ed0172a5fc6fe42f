//! What a store on the other side of a network has to bear: nodes whose clocks differ, nodes that die, answers that
//! do not come, a server that is gone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parlor::clock::{Clock, Millis, SystemClock};
use parlor::store::redis::{Options, RedisStore, Settings, TIMEOUT, Time};
use parlor::store::vault::Vault;
use parlor::store::{Acceptance, Allowance, Claim, Incoming, Progress, Store, StoreError, Verdict};

use crate::conformance::{CHANNEL, delivered, exchange, incoming};
use crate::proxy::{Proxy, Way};
use crate::server::{self, Server, quick_folder};
use crate::{fresh_prefix, settings, vault};

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than anybody here waits: what is found sooner is not found by its end.
const LEASE: Duration = Duration::from_secs(600);
const TEN_MINUTES: Millis = 600_000;

/// A clock that is off.
#[derive(Debug)]
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Millis {
        SystemClock.now().saturating_add_signed(self.0)
    }
}

/// As nodes have it: the server's clock counts, and an answer is waited for no longer than by them.
fn in_service(urls: &[&str], prefix: &str, clock: Arc<dyn Clock>) -> Settings {
    Settings { options: Options { timeout: TIMEOUT, time: Time::Server(clock) }, ..settings(urls, prefix) }
}

/// The same on a machine that tests keep busy.
fn unhurried(urls: &[&str], prefix: &str, clock: Arc<dyn Clock>) -> Settings {
    let options = Options { timeout: crate::UNHURRIED, time: Time::Server(clock) };
    Settings { options, ..settings(urls, prefix) }
}

async fn join(settings: Settings) -> RedisStore {
    RedisStore::connect(settings, vault()).await.unwrap()
}

async fn node(prefix: &str) -> RedisStore {
    join(unhurried(&[server::alone().url()], prefix, Arc::new(SystemClock))).await
}

async fn take_in(
    store: &dyn Store,
    now: Millis,
    conversation: &str,
    id: &str,
) -> Result<Acceptance, StoreError> {
    Ok(store.accept(CHANNEL, now, vec![incoming(conversation, id)]).await?[0])
}

/// Tries until it can be done.
async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(done) = attempt().await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

fn is_near(found: Millis, expected: Millis) -> bool {
    found.abs_diff(expected) < 30_000
}

#[tokio::test]
async fn clocks_that_are_ten_minutes_apart_do_not_break_a_lease() {
    let (prefix, urls) = (fresh_prefix(), [server::alone().url()]);
    let (slow, fast) = (Arc::new(Off(-(TEN_MINUTES as i64))), Arc::new(Off(TEN_MINUTES as i64)));
    let one = join(unhurried(&urls, &prefix, slow.clone())).await;
    let other = join(unhurried(&urls, &prefix, fast.clone())).await;
    assert_eq!(take_in(&one, slow.now(), "c", "1").await.unwrap(), Acceptance::New);
    let turn = one.claim(slow.now(), LEASE, &[]).await.unwrap().unwrap();
    assert!(is_near(turn.received_at, slow.now()));
    assert!(other.claim(fast.now(), LEASE, &[]).await.unwrap().is_none(), "the lease is not over");
    let due = other.next_due(&[]).await.unwrap().unwrap();
    assert!(is_near(due, fast.now() + 600_000), "{due} by the clock of whoever asks");

    one.renew(turn.lease, slow.now() + 1_200_000).await.unwrap();
    assert!(is_near(other.next_due(&[]).await.unwrap().unwrap(), fast.now() + 1_200_000));
    let oldest = other.queue().await.unwrap().oldest_received_at.unwrap();
    assert!(is_near(oldest, fast.now()));
    one.postpone(turn.lease, slow.now() + 240_000, Some("down"), false).await.unwrap();
    assert!(other.claim(fast.now(), LEASE, &[]).await.unwrap().is_none(), "nor is it due");
    assert!(is_near(other.next_due(&[]).await.unwrap().unwrap(), fast.now() + 240_000));

    let hourly = [Allowance { key: "a".to_owned(), interval: Duration::from_secs(3600), burst: 1 }];
    assert_eq!(one.take(slow.now(), &hourly).await.unwrap(), Verdict::Granted);
    let refused = other.take(fast.now(), &hourly).await.unwrap();
    let Verdict::Refused { again_at, .. } = refused else { panic!("{refused:?}") };
    assert!(is_near(again_at, fast.now() + 3_600_000));
    one.set("s", slow.now(), "k", b"v", Some(LEASE)).await.unwrap();
    assert!(other.get("s", fast.now(), "k").await.unwrap().is_some(), "it is not ten minutes old");
    assert_eq!(other.sweep(fast.now(), fast.now()).await.unwrap(), 0, "and nothing has ended");
}

#[tokio::test]
async fn the_lease_of_a_node_that_died_is_taken_over_and_its_late_writes_fail() {
    let prefix = fresh_prefix();
    let (dying, other) = (node(&prefix).await, node(&prefix).await);
    take_in(&dying, SystemClock.now(), "c", "1").await.unwrap();
    let lease = Duration::from_millis(200);
    let lost = dying.claim(SystemClock.now(), lease, &[]).await.unwrap().unwrap();
    let turn =
        eventually("the lease ends", async || other.claim(SystemClock.now(), LEASE, &[]).await.unwrap())
            .await;
    assert_eq!((turn.message.id.as_str(), turn.claims), ("1", 2));
    let late = dying.finish(lost.lease, SystemClock.now(), &delivered(), &exchange("late")).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    other.finish(turn.lease, SystemClock.now(), &delivered(), &exchange("1")).await.unwrap();
    assert_eq!(dying.history(CHANNEL, "c", 9).await.unwrap(), exchange("1"));
}

/// Works off what there is; the ids in the order in which they were done.
async fn work(store: &dyn Store, total: usize, done: &std::sync::Mutex<Vec<String>>) {
    while done.lock().unwrap().len() < total {
        let Some(turn) = store.claim(SystemClock.now(), LEASE, &[]).await.unwrap() else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::task::yield_now().await;
        done.lock().unwrap().push(turn.message.id.clone());
        store.finish(turn.lease, SystemClock.now(), &delivered(), &[]).await.unwrap();
    }
}

async fn share_the_work(urls: &[&str]) {
    const CONVERSATIONS: usize = 7;
    const MESSAGES: usize = 140;
    let prefix = fresh_prefix();
    let clock = || Arc::new(SystemClock);
    let one = join(unhurried(urls, &prefix, clock())).await;
    let other = join(unhurried(urls, &prefix, clock())).await;
    for number in 0..MESSAGES {
        let store = if number % 2 == 0 { &one } else { &other };
        let conversation = format!("c{}", number % CONVERSATIONS);
        take_in(store, SystemClock.now(), &conversation, &number.to_string()).await.unwrap();
    }
    let done = std::sync::Mutex::new(Vec::new());
    let workers = [&one, &other, &one, &other].map(|store| work(store, MESSAGES, &done));
    tokio::time::timeout(PATIENCE, join_all(workers)).await.unwrap();
    let done: Vec<usize> = done.into_inner().unwrap().iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(done.len(), MESSAGES, "each once");
    for conversation in 0..CONVERSATIONS {
        let ids = done.iter().filter(|id| *id % CONVERSATIONS == conversation);
        assert!(ids.is_sorted(), "in order of arrival: {done:?}");
    }
}

#[tokio::test]
async fn two_nodes_share_the_work_and_do_each_turn_once() {
    share_the_work(&[server::alone().url()]).await;
}

#[tokio::test]
async fn two_nodes_on_a_cluster_share_the_work_and_do_each_turn_once() {
    share_the_work(&server::cluster().iter().map(String::as_str).collect::<Vec<_>>()).await;
}

async fn tell(settings: Settings) {
    let (one, other) = (join(settings.clone()).await, join(settings).await);
    // The first word is that it listens.
    tokio::time::timeout(PATIENCE, other.stirred()).await.unwrap();
    take_in(&one, SystemClock.now(), "c", "1").await.unwrap();
    tokio::time::timeout(PATIENCE, other.stirred()).await.unwrap();
    assert!(other.claim(SystemClock.now(), LEASE, &[]).await.unwrap().is_some());
}

#[tokio::test]
async fn a_node_is_told_of_what_another_took_in() {
    tell(unhurried(&[server::alone().url()], &fresh_prefix(), Arc::new(SystemClock))).await;
}

#[tokio::test]
async fn a_node_on_a_cluster_is_told_of_what_another_took_in() {
    let urls: Vec<&str> = server::cluster().iter().map(String::as_str).collect();
    tell(unhurried(&urls, &fresh_prefix(), Arc::new(SystemClock))).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_not_shown() {
    let folder = quick_folder();
    let server = Server::start(folder.path(), &["--appendonly", "yes"]);
    let mut config = redis::cmd("CONFIG");
    config.arg("SET").arg("requirepass").arg("right").exec(&mut server.line()).unwrap();
    let at = |password: &str| {
        let url = format!("{}?pass={password}", server.url());
        RedisStore::connect(unhurried(&[&url], "t", Arc::new(SystemClock)), vault())
    };
    let refused = at("wr0ng").await;
    let Err(StoreError::Unusable(reason)) = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("password") && !reason.contains("wr0ng"), "{reason}");
    let store = at("right").await.unwrap();
    assert_eq!(take_in(&store, SystemClock.now(), "c", "1").await.unwrap(), Acceptance::New);
    assert!(!format!("{store:?}").contains("right"));
}

#[tokio::test]
async fn what_somebody_waits_for_on_the_line_is_answered_by_his_node_for_as_long_as_it_lives() {
    let prefix = fresh_prefix();
    let (his, other) = (node(&prefix).await, node(&prefix).await);
    let now = || SystemClock.now();
    let awaited = |id: &str| vec![Incoming { is_awaited: true, ..incoming("c", id) }];
    his.accept(CHANNEL, now(), awaited("1")).await.unwrap();
    his.accept(CHANNEL, now(), awaited("2")).await.unwrap();
    assert!(other.claim(now(), LEASE, &[]).await.unwrap().is_none());
    assert_eq!(other.next_due(&[]).await.unwrap(), None, "nothing that it would have to look for");
    let turn = his.claim(now(), LEASE, &[]).await.unwrap().unwrap();
    his.finish(turn.lease, now(), &delivered(), &[]).await.unwrap();

    // What a node that is gone leaves behind: its word that it lives has ended.
    let mut line = server::alone().line();
    let beats: Vec<String> =
        redis::cmd("KEYS").arg(format!("{{{prefix}:*}}:node:*")).query(&mut line).unwrap();
    assert_eq!(beats.len(), 2);
    drop(his);
    redis::cmd("DEL").arg(beats).exec(&mut line).unwrap();
    let turn = other.claim(now(), LEASE, &[]).await.unwrap().unwrap();
    assert_eq!(turn.message.id, "2");
}

#[tokio::test]
async fn another_secret_opens_nothing() {
    let prefix = fresh_prefix();
    let own = node(&prefix).await;
    take_in(&own, SystemClock.now(), "c", "1").await.unwrap();
    let foreign = Vault::derived(b"another secret", b"redis");
    let settings = unhurried(&[server::alone().url()], &prefix, Arc::new(SystemClock));
    let refused = RedisStore::connect(settings, foreign).await;
    let Err(StoreError::Unusable(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("auth.jwt_secret"), "{reason}");
}

#[tokio::test]
async fn addresses_are_sealed_and_text_is_not() {
    let prefix = fresh_prefix();
    let store = node(&prefix).await;
    let mut letter = incoming("c", "1");
    letter.message.address = b"https://platform.example/?session=s3cr3t".to_vec();
    letter.message.text = "a text for tools".to_owned();
    store.accept(CHANNEL, SystemClock.now(), vec![letter]).await.unwrap();
    let mut line = server::alone().line();
    let rows: Vec<String> = redis::cmd("KEYS").arg(format!("{{{prefix}:*}}:t:*")).query(&mut line).unwrap();
    let row: Vec<Vec<u8>> = redis::cmd("HVALS").arg(&rows[0]).query(&mut line).unwrap();
    let holds = |text: &str| row.concat().windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("a text for tools"), "the scan sees what is there");
    assert!(!holds("s3cr3t") && !holds("platform.example"));
}

#[tokio::test]
async fn a_tampered_row_ends_its_own_turn_alone() {
    let prefix = fresh_prefix();
    let store = node(&prefix).await;
    for (conversation, id) in [("a", "1"), ("a", "2")] {
        take_in(&store, SystemClock.now(), conversation, id).await.unwrap();
    }
    let mut line = server::alone().line();
    let mut rows: Vec<String> =
        redis::cmd("KEYS").arg(format!("{{{prefix}:*}}:t:*")).query(&mut line).unwrap();
    rows.sort();
    redis::cmd("HSET").arg(&rows[0]).arg("address").arg("changed").exec(&mut line).unwrap();
    let turn = store.claim(SystemClock.now(), LEASE, &[]).await.unwrap().unwrap();
    assert_eq!(turn.message.id, "2", "its conversation goes on");
    let letters = parlor::store::Oversight::dead_letters(&store, None, None, 9).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.as_deref().unwrap().contains("the stored address was changed"));
}

async fn hear_of(store: &RedisStore, id: &str) -> Option<Claim> {
    store.claim(SystemClock.now(), LEASE, &[]).await.ok().flatten().filter(|turn| turn.message.id == id)
}

/// The claim was made and nobody knows of it: without more the turn would wait until the lease's end.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_made_again_at_once() {
    let proxy = Proxy::start(server::alone().url()).await;
    let prefix = fresh_prefix();
    let store = join(in_service(&[&proxy.url], &prefix, Arc::new(SystemClock))).await;
    let witness = node(&prefix).await;
    take_in(&witness, SystemClock.now(), "c", "1").await.unwrap();
    proxy.set(Way::Deaf);
    let unheard = store.claim(SystemClock.now(), LEASE, &[]).await;
    assert!(matches!(unheard, Err(StoreError::Unavailable(_))), "{unheard:?}");
    assert!(witness.claim(SystemClock.now(), LEASE, &[]).await.unwrap().is_none(), "it is leased");
    proxy.set(Way::Open);
    let turn = eventually("the claim is made again", async || hear_of(&store, "1").await).await;
    assert_eq!(turn.claims, 2);
    store.finish(turn.lease, SystemClock.now(), &delivered(), &[]).await.unwrap();
}

#[tokio::test]
async fn who_is_cut_off_hears_so_soon_and_nothing_is_done_behind_his_back() {
    let proxy = Proxy::start(server::alone().url()).await;
    let prefix = fresh_prefix();
    let store = join(in_service(&[&proxy.url], &prefix, Arc::new(SystemClock))).await;
    let witness = node(&prefix).await;
    store.set("s", SystemClock.now(), "k", b"before", None).await.unwrap();
    assert_eq!(take_in(&store, SystemClock.now(), "c", "1").await.unwrap(), Acceptance::New);

    proxy.set(Way::Stuck);
    let began = std::time::Instant::now();
    let refused = store.set("s", SystemClock.now(), "k", b"behind his back", None).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(began.elapsed() >= TIMEOUT, "it was asked, and waited for");
    // All come at once, and all are told: none waits for the others.
    let crowd = join_all((0..200).map(|id| {
        let (store, id) = (&store, format!("refused {id}"));
        async move { take_in(store, SystemClock.now(), "c", &id).await }
    }));
    let crowd = tokio::time::timeout(PATIENCE, crowd).await.unwrap();
    assert!(crowd.iter().all(|outcome| matches!(outcome, Err(StoreError::Unavailable(_)))));
    println!("201 calls in two rows were told within {:?}", began.elapsed());
    // So that what is stuck is too late when it comes through.
    while began.elapsed() < TIMEOUT * 4 {
        assert!(store.queue().await.is_err());
    }

    proxy.set(Way::Open);
    let recovery = std::time::Instant::now();
    eventually("messages are taken again", async || take_in(&store, SystemClock.now(), "c", "2").await.ok())
        .await;
    println!("messages were taken again after {:?}", recovery.elapsed());
    // The line that was stuck has been worked off by then.
    tokio::time::timeout(PATIENCE, proxy.ended(1)).await.unwrap();
    let kept = witness.get("s", SystemClock.now(), "k").await.unwrap();
    assert_eq!(kept.as_deref(), Some(&b"before"[..]), "what was refused was not done later");
    assert_eq!(witness.queue().await.unwrap().unfinished, 2);
    assert_eq!(take_in(&store, SystemClock.now(), "c", "1").await.unwrap(), Acceptance::Duplicate);
}

const SYNCED: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Sixteen clients send until the server is gone; what was acknowledged.
async fn send_until_it_ends(store: &RedisStore, kill: impl FnOnce() + Send + 'static) -> Vec<String> {
    let acknowledged = std::sync::Mutex::new(Vec::new());
    let client = async |client: usize| {
        for number in 0.. {
            let id = format!("{client} {number}");
            match take_in(store, SystemClock.now(), &format!("c{client}"), &id).await {
                Ok(acceptance) => {
                    assert_eq!(acceptance, Acceptance::New);
                    acknowledged.lock().unwrap().push(id);
                }
                Err(StoreError::Unavailable(_)) => return,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let killer = async {
        while acknowledged.lock().unwrap().len() < 200 {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(kill).await.unwrap();
    };
    tokio::join!(join_all((0..16).map(client)), killer);
    acknowledged.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged() {
    let folder = quick_folder();
    let server = Server::start(folder.path(), &SYNCED);
    let url = server.url().to_owned();
    let store = join(unhurried(&[&url], "t", Arc::new(SystemClock))).await;
    let acknowledged = send_until_it_ends(&store, move || server.kill()).await;
    let refused = take_in(&store, SystemClock.now(), "c", "while it is gone").await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");

    let _server = Server::start(folder.path(), &SYNCED);
    eventually("it is found again", async || store.queue().await.ok()).await;
    for id in &acknowledged {
        assert!(store.message(CHANNEL, id).await.unwrap().is_some(), "{id} was acknowledged");
        let (client, _) = id.split_once(' ').unwrap();
        let again = take_in(&store, SystemClock.now(), &format!("c{client}"), id).await.unwrap();
        assert_eq!(again, Acceptance::Duplicate);
    }
    let mut turns = 0;
    while let Some(turn) = store.claim(SystemClock.now(), LEASE, &[]).await.unwrap() {
        assert_eq!(turn.progress, Progress::Unanswered { checkpoint: Vec::new() });
        store.finish(turn.lease, SystemClock.now(), &delivered(), &[]).await.unwrap();
        turns += 1;
    }
    assert!(turns >= acknowledged.len(), "{turns} of {}", acknowledged.len());
    assert!(turns <= acknowledged.len() + 16, "and no more than were on their way");
}

/// Until another bound is set the server takes no more; 0 is none.
fn bound_memory(server: &Server, bytes: u64) {
    let mut config = redis::cmd("CONFIG");
    config.arg("SET").arg("maxmemory").arg(bytes).exec(&mut server.line()).unwrap();
}

fn used_memory(server: &Server) -> u64 {
    let info: String = redis::cmd("INFO").arg("memory").query(&mut server.line()).unwrap();
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_full_server_stores_nothing_and_heals_without_a_restart() {
    let folder = quick_folder();
    let server = Server::start(folder.path(), &["--appendonly", "yes"]);
    let store = join(unhurried(&[server.url()], "t", Arc::new(SystemClock))).await;
    bound_memory(&server, 1);
    let refused =
        store.accept(CHANNEL, SystemClock.now(), vec![incoming("c", "1"), incoming("c", "2")]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    bound_memory(&server, 0);
    assert_eq!(store.message(CHANNEL, "1").await.unwrap(), None, "not half a batch");
    assert_eq!(store.queue().await.unwrap().unfinished, 0);
    assert_eq!(take_in(&store, SystemClock.now(), "c", "1").await.unwrap(), Acceptance::New);
}

/// For how many seconds the file of the one release is kept; -1: until it is dropped.
fn seconds_left(server: &Server) -> i64 {
    let mut line = server.line();
    let files: Vec<String> = redis::cmd("KEYS").arg("{t:*}:f:*").query(&mut line).unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    redis::cmd("TTL").arg(&files[0]).query(&mut line).unwrap()
}

/// The server is full in the midst of a file, and nobody comes to leave the rest there.
#[tokio::test]
async fn a_release_that_never_becomes_whole_goes_by_itself() {
    let folder = quick_folder();
    let server = Server::start(folder.path(), &["--appendonly", "yes"]);
    let store = join(unhurried(&[server.url()], "t", Arc::new(SystemClock))).await;
    let (digest, bytes) = ("ab".repeat(32), vec![7; 8 << 20]);
    bound_memory(&server, used_memory(&server) + (2 << 20));
    let refused = store.keep_release(&digest, &bytes).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    bound_memory(&server, 0);
    assert!(store.lacks_release(&digest).await.unwrap(), "it is not whole");
    let left = seconds_left(&server);
    assert!((1..=3600).contains(&left), "{left}");
    for _ in 0..2 {
        store.keep_release(&digest, &bytes).await.unwrap();
        assert_eq!(seconds_left(&server), -1, "what is whole stays");
    }
}

#[tokio::test]
async fn what_counts_as_stored_is_on_as_many_replicas_as_asked_for() {
    let (folder, copy) = (quick_folder(), quick_folder());
    let (port, copy_port) = (server::free_port(), server::free_port());
    let server = Server::start_at_port(folder.path(), port, &["--appendonly", "yes"]);
    let mut settings = unhurried(&[server.url()], "t", Arc::new(SystemClock));
    settings.options.timeout = Duration::from_secs(4);
    let bare = join(settings.clone()).await;
    settings.wait_replicas = 1;
    let alone = RedisStore::connect(settings.clone(), vault());
    let alone = tokio::time::timeout(PATIENCE, alone).await.unwrap();
    assert!(matches!(alone, Err(StoreError::Unavailable(_))), "nobody has a copy: {alone:?}");

    let port = port.to_string();
    let replica = Server::start_at_port(copy.path(), copy_port, &["--replicaof", "127.0.0.1", &port]);
    let store = join(settings).await;
    assert_eq!(take_in(&store, SystemClock.now(), "c", "1").await.unwrap(), Acceptance::New);
    let mut line = replica.line();
    let known: Option<String> =
        redis::cmd("HGET").arg(format!("{{t:0}}:ids:{CHANNEL}")).arg("1").query(&mut line).unwrap();
    assert!(known.is_some(), "the copy has it by now");

    replica.stop();
    take_in(&bare, SystemClock.now(), "c", "2").await.unwrap();
    let refused = take_in(&store, SystemClock.now(), "c", "2").await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "a repeat is no better stored than the first: {refused:?}"
    );
}

/// A channel whose messages lie on this server.
async fn channel_on(server: &Server, store: &RedisStore) -> String {
    for number in 0.. {
        let channel = format!("channel-{number}");
        store.accept(&channel, SystemClock.now(), vec![incoming("c", "1")]).await.unwrap();
        let mut keys = redis::cmd("KEYS");
        let found: Vec<String> =
            keys.arg(format!("{{t:*}}:ids:{channel}")).query(&mut server.line()).unwrap();
        if !found.is_empty() {
            return channel;
        }
    }
    unreachable!("channels are spread")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_with_the_replica_of_a_master_that_died() {
    let folders = [quick_folder(), quick_folder(), quick_folder(), quick_folder()];
    let (mut masters, replica) = server::cluster_with_replica(&folders);
    let urls: Vec<String> = masters.iter().map(|master| master.url().to_owned()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let store = join(in_service(&urls, "t", Arc::new(SystemClock))).await;
    let channel = channel_on(&masters[0], &store).await;
    let has_it = || {
        let mut line = replica.line();
        redis::cmd("READONLY").exec(&mut line).unwrap();
        let mut keys = redis::cmd("KEYS");
        let found: Vec<String> = keys.arg(format!("{{t:*}}:ids:{channel}")).query(&mut line).unwrap();
        !found.is_empty()
    };
    server::wait_until("the replica has the message", has_it);
    masters.remove(0).kill();
    let again = eventually("the replica has taken over", async || {
        store.accept(&channel, SystemClock.now(), vec![incoming("c", "1"), incoming("c", "2")]).await.ok()
    })
    .await;
    assert_eq!(again, [Acceptance::Duplicate, Acceptance::New], "what was there is there");
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let turn = eventually("turns are claimed", async || {
            store.claim(SystemClock.now(), LEASE, &[]).await.ok().flatten()
        })
        .await;
        let outcome = store.finish(turn.lease, SystemClock.now(), &delivered(), &[]).await;
        if turn.channel == channel {
            outcome.unwrap();
            ids.push(turn.message.id);
        }
    }
    assert_eq!(ids, ["1", "2"]);
}
