//! Tokens that nodes share by a store: minted once among them, kept over a restart, sealed where they lie.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parlor::egress::Egress;
use parlor::plugin::services::Http;
use parlor::store::Store;
use parlor::store::ephemeral::EphemeralStore;
use parlor::store::sqlite::{DATABASE_FILE, SqliteStore};
use parlor::store::vault::Vault;
use rusqlite::Connection;

use crate::{MANIFEST, Platform, Seen, SteppedClock, gate_of, minting, pass, stand_ins, with_token};

const MINUTE: Duration = Duration::from_secs(60);
/// Less than a node waits for another one's token, and more than a mint takes on a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// The right to mint of a node that died has ended by then.
const RIGHT_ENDED: Duration = Duration::from_secs(12);

/// What nodes have in common.
struct Scene {
    platform: Platform,
    store: Arc<dyn Store>,
    clock: Arc<SteppedClock>,
}

impl Scene {
    async fn of(platform: Platform) -> Scene {
        Scene { platform, store: Arc::new(EphemeralStore::default()), clock: Arc::default() }
    }

    async fn start() -> Scene {
        Scene::of(Platform::start(minting()).await).await
    }

    /// On the store of this folder, as a process that begins with it.
    fn on(self, folder: &Path) -> Scene {
        let vault = Vault::open(folder).expect("a key");
        Scene { store: Arc::new(SqliteStore::open(folder, vault).expect("a store")), ..self }
    }

    fn node(&self) -> Arc<dyn Http> {
        let vault = Vault::derived(b"a secret that all nodes have", b"tokens");
        let egress = Egress::new(stand_ins(&self.platform)).expect("a client");
        let egress = egress.sharing(self.store.clone(), self.clock.clone(), vault);
        gate_of(&egress, MANIFEST, "https://nowhere.example.com/")
    }

    /// The token that this node's next request goes out with.
    async fn token_of(&self, node: &dyn Http) -> String {
        node.send(with_token()).await.expect("an answer");
        self.platform.last().headers["x-token"].clone()
    }

    fn mints(&self) -> usize {
        self.platform.seen().iter().filter(|seen| seen.uri.starts_with("/mint")).count()
    }

    /// Time passes, by each clock.
    async fn later(&self, time: Duration) {
        self.set_ahead(time);
        pass(time).await;
    }

    fn set_ahead(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("a test is short");
        self.clock.0.fetch_add(millis, Ordering::Relaxed);
    }

    /// This node asks for a token and is gone before it comes.
    async fn dies_while_it_mints(&self, node: &dyn Http) {
        let is_asked = async {
            while self.mints() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            answer = node.send(with_token()) => panic!("nobody answers: {answer:?}"),
            () = is_asked => {}
        }
    }
}

/// The first who mints gets no answer.
async fn hanging_once() -> Platform {
    let (mint, is_first) = (minting(), AtomicBool::new(true));
    Platform::start(move |seen: &Seen| {
        if seen.uri.starts_with("/mint") && is_first.swap(false, Ordering::Relaxed) {
            let never = stream::pending::<Result<Frame<Bytes>, Infallible>>();
            return http::Response::new(BodyExt::boxed(StreamBody::new(never)));
        }
        mint(seen)
    })
    .await
}

/// The file as an operator's tools see it.
fn tool(folder: &Path) -> Connection {
    Connection::open(folder.join(DATABASE_FILE)).expect("a database")
}

#[tokio::test]
async fn nodes_mint_once_also_when_they_ask_at_the_same_time() {
    let scene = Scene::start().await;
    let nodes = [scene.node(), scene.node()];
    let sends = (0..20).map(|number: usize| nodes[number % 2].send(with_token()));
    for response in join_all(sends).await {
        assert_eq!(response.expect("an answer").body, r#"{"you":"***"}"#, "it is scrubbed at each of them");
    }
    let mut tokens = BTreeMap::<Option<String>, usize>::new();
    for seen in scene.platform.seen() {
        *tokens.entry(seen.headers.get("x-token").cloned()).or_default() += 1;
    }
    assert_eq!(tokens, BTreeMap::from([(None, 1), (Some("token-1".to_owned()), 20)]));
}

#[tokio::test]
async fn a_token_ends_when_it_ends_for_those_who_took_it_over_too() {
    let scene = Scene::start().await;
    let (one, other) = (scene.node(), scene.node());
    assert_eq!(scene.token_of(&*one).await, "token-1");
    scene.later(Duration::from_secs(6000)).await;
    assert_eq!(scene.token_of(&*other).await, "token-1");
    scene.later(Duration::from_secs(7200 - 300 - 6000 - 5)).await;
    assert_eq!(scene.token_of(&*other).await, "token-1");
    scene.later(Duration::from_secs(6)).await;
    assert_eq!(scene.token_of(&*other).await, "token-2");
    assert_eq!(scene.token_of(&*one).await, "token-2");
    assert_eq!(scene.mints(), 2);
}

#[tokio::test]
async fn a_stale_token_is_minted_anew_once_for_all_nodes() {
    let scene = Scene::start().await;
    let (one, other) = (scene.node(), scene.node());
    for node in [&one, &other] {
        assert_eq!(scene.token_of(&**node).await, "token-1");
    }
    scene.later(MINUTE).await;
    one.expire_token("access");
    assert_eq!(scene.token_of(&*one).await, "token-2");
    other.expire_token("access");
    assert_eq!(scene.token_of(&*other).await, "token-2", "it has been minted meanwhile");
    assert_eq!(scene.mints(), 2);

    scene.later(MINUTE).await;
    one.expire_token("access");
    other.expire_token("access");
    for answer in join_all([one.send(with_token()), other.send(with_token())]).await {
        answer.expect("an answer");
    }
    assert_eq!(scene.mints(), 3, "both are told at the same time");
}

/// It went stale while nobody used it.
#[tokio::test]
async fn a_token_that_was_just_taken_over_may_be_stale() {
    let scene = Scene::start().await;
    assert_eq!(scene.token_of(&*scene.node()).await, "token-1");
    scene.later(MINUTE).await;
    let late = scene.node();
    assert_eq!(scene.token_of(&*late).await, "token-1");
    late.expire_token("access");
    assert_eq!(scene.token_of(&*late).await, "token-2");
}

#[tokio::test]
async fn who_waits_for_a_node_that_died_while_it_minted_mints_by_itself() {
    let scene = Scene::of(hanging_once().await).await;
    scene.dies_while_it_mints(&*scene.node()).await;
    let node = scene.node();
    let time_passes = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(scene.mints(), 1, "it may be about to come");
        scene.set_ahead(RIGHT_ENDED);
    };
    let (token, ()) = tokio::time::timeout(SOON, async { tokio::join!(scene.token_of(&*node), time_passes) })
        .await
        .expect("it does not wait to the end");
    assert_eq!((token.as_str(), scene.mints()), ("token-1", 2));
}

#[tokio::test]
async fn a_call_that_was_dropped_while_it_minted_holds_its_own_node_up_for_nothing() {
    let scene = Scene::of(hanging_once().await).await;
    let node = scene.node();
    scene.dies_while_it_mints(&*node).await;
    let token = tokio::time::timeout(SOON, scene.token_of(&*node)).await.expect("it waits for nobody");
    assert_eq!(token, "token-1");
    assert_eq!(scene.token_of(&*scene.node()).await, "token-1");
}

#[tokio::test]
async fn a_restart_mints_nothing_and_the_file_tells_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::start().await.on(folder.path());
    assert_eq!(scene.token_of(&*scene.node()).await, "token-1");
    // The folder is free again once its store is gone.
    scene.store = Arc::new(EphemeralStore::default());
    let mut scene = scene.on(folder.path());
    assert_eq!(scene.token_of(&*scene.node()).await, "token-1");
    assert_eq!(scene.mints(), 1);

    scene.store = Arc::new(EphemeralStore::default());
    let count = "SELECT count(*) FROM memory WHERE space LIKE 'token:%'";
    let kept: u32 = tool(folder.path()).query_row(count, [], |row| row.get(0)).expect("a number");
    assert_eq!(kept, 1, "the token, and nobody's right to mint");
    for file in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = file.expect("a file").path();
        let bytes = std::fs::read(&path).expect("a file");
        for text in ["token-1", "s3cr", "auth.example.com"] {
            let holds = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!holds, "`{text}` is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn a_token_that_was_changed_in_the_store_is_minted_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let scene = Scene::start().await.on(folder.path());
    assert_eq!(scene.token_of(&*scene.node()).await, "token-1");
    let changed = tool(folder.path()).execute("UPDATE memory SET value = x'0102' WHERE key = 'token'", []);
    assert_eq!(changed.expect("a change"), 1);
    assert_eq!(scene.token_of(&*scene.node()).await, "token-2");
    assert_eq!(scene.token_of(&*scene.node()).await, "token-2", "the new one lies there");
}

#[tokio::test]
async fn a_store_that_fails_costs_nothing_but_more_mints() {
    let folder = tempfile::tempdir().expect("a folder");
    let scene = Scene::start().await.on(folder.path());
    tool(folder.path()).execute_batch("DROP TABLE memory").expect("a change");
    let (one, other) = (scene.node(), scene.node());
    assert_eq!(scene.token_of(&*one).await, "token-1");
    assert_eq!(scene.token_of(&*other).await, "token-2");
    assert_eq!(scene.token_of(&*one).await, "token-1");
}
