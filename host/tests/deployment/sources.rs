//! Releases that come over the network: by HTTP from a server that says when nothing is new, and out of a registry.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use parlor::plugin::package::FILE_BYTES_MAX;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::registry::{Blob, PASSWORD, Registry, USER, WASM, digest_of};
use super::support::{Settings, fickle};
use super::{Stage, until};

const TOKEN: &str = "secret-canary-source";

/// By what a server tells whether a file is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    Etag,
    Modified,
    Nothing,
}

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// It fails so many times more.
    Fails(usize),
    /// The line breaks in the midst of the file.
    BreaksOff,
    /// It says that there is more than a plugin may have.
    Boasts,
    /// It never ends.
    Endless,
    /// It sends the caller on without TLS.
    SendsAway,
}

struct World {
    file: Vec<u8>,
    marks: Marks,
    flaw: Flaw,
    token: Option<&'static str>,
    /// Whole files that were sent, and times that nothing was new.
    sent: usize,
    unchanged: usize,
}

/// A server that authors put their releases on.
#[derive(Clone)]
struct Shop {
    world: Arc<Mutex<World>>,
    url: String,
}

impl Shop {
    async fn open(release: Vec<u8>, marks: Marks) -> Shop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/fickle.wasm", listener.local_addr().unwrap());
        let world = World { file: release, marks, flaw: Flaw::None, token: None, sent: 0, unchanged: 0 };
        let shop = Shop { world: Arc::new(Mutex::new(world)), url };
        let router = Router::new().route("/fickle.wasm", get(serve)).with_state(shop.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        shop
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// For a host that looks often.
    fn settings(&self) -> Settings {
        Settings::new().set("plugins.sources", json!([{ "url": self.url, "every": "1s" }]))
    }

    /// The host has looked twice more, and there was nothing new.
    async fn is_looked_at(&self) {
        let before = self.world().unchanged;
        until("the source is looked at", async || (self.world().unchanged >= before + 2).then_some(())).await;
    }
}

async fn serve(State(shop): State<Shop>, headers: HeaderMap) -> Response {
    let mut world = shop.world();
    let bearer = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    if world.token.is_some_and(|token| bearer != Some(format!("Bearer {token}"))) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (mark, asked) = match world.marks {
        Marks::Etag => (format!("\"{}\"", &digest_of(&world.file)[7..20]), header::IF_NONE_MATCH),
        // Files of different lengths are of different days.
        Marks::Modified => {
            let day = world.file.len() % 28 + 1;
            (format!("Sun, {day:02} Nov 2026 08:00:00 GMT"), header::IF_MODIFIED_SINCE)
        }
        Marks::Nothing => (String::new(), header::IF_NONE_MATCH),
    };
    if headers.get(&asked).is_some_and(|value| value.to_str().unwrap() == mark) {
        world.unchanged += 1;
        return StatusCode::NOT_MODIFIED.into_response();
    }
    match world.flaw {
        Flaw::Fails(0) | Flaw::None => {}
        Flaw::Fails(times) => {
            world.flaw = Flaw::Fails(times - 1);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Flaw::BreaksOff => {
            let half = Bytes::copy_from_slice(&world.file[..world.file.len() / 2]);
            let broken = stream::iter([Ok(half), Err(std::io::Error::other("broken"))]);
            return ([(header::CONTENT_LENGTH, world.file.len())], Body::from_stream(broken)).into_response();
        }
        Flaw::Boasts => {
            let endless = stream::pending::<Result<Bytes, Infallible>>();
            return ([(header::CONTENT_LENGTH, FILE_BYTES_MAX + 1)], Body::from_stream(endless))
                .into_response();
        }
        Flaw::Endless => {
            let piece = Bytes::from(vec![0; 1 << 20]);
            let endless = stream::repeat(piece).map(Ok::<_, Infallible>);
            return Body::from_stream(endless).into_response();
        }
        Flaw::SendsAway => {
            let elsewhere = [(header::LOCATION, "http://192.0.2.1/fickle.wasm")];
            return (StatusCode::FOUND, elsewhere).into_response();
        }
    }
    world.sent += 1;
    let name = match world.marks {
        Marks::Etag => header::ETAG,
        Marks::Modified => header::LAST_MODIFIED,
        Marks::Nothing => return world.file.clone().into_response(),
    };
    ([(name, mark)], world.file.clone()).into_response()
}

async fn serves(stage: &Stage, label: &str) {
    let count = std::sync::atomic::AtomicUsize::new(0);
    until(&format!("`{label}` serves"), async || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (stage.say("c1", &format!("{label}-{number}")).await == label).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_source_is_asked_before_the_host_is_ready_and_brings_what_is_new_from_then_on() {
    for marks in [Marks::Etag, Marks::Modified] {
        let shop = Shop::open(fickle::release("first", "sound"), marks).await;
        let mut stage = Stage::at_rest(shop.settings());
        stage.host.run().await;
        assert_eq!(stage.say("c1", "m1").await, "first");
        shop.is_looked_at().await;
        shop.world().file = fickle::release("second", "sound");
        serves(&stage, "second").await;
        shop.is_looked_at().await;
        assert_eq!(shop.world().sent, 2, "each release came once");
        assert!(stage.rejected().await.is_empty());
    }
}

#[tokio::test]
async fn what_a_source_brought_comes_back_neither_after_a_rollback_nor_after_a_restart() {
    let shop = Shop::open(fickle::release("first", "sound"), Marks::Etag).await;
    let mut stage = Stage::at_rest(shop.settings());
    stage.host.run().await;
    shop.world().file = fickle::release("second", "sound");
    serves(&stage, "second").await;
    assert_eq!(stage.ask(Method::POST, "/plugins/fickle/rollback", None).await.0, 204);
    shop.is_looked_at().await;
    assert_eq!(stage.say("c1", "m1").await, "first");
    stage.host.kill();
    stage.host.run().await;
    shop.is_looked_at().await;
    assert_eq!(stage.say("c1", "m2").await, "first");
    assert_eq!(shop.world().sent, 2);
    // The author takes it back himself, and goes on.
    shop.world().file = fickle::release("third", "sound");
    serves(&stage, "third").await;
}

#[tokio::test]
async fn a_source_that_tells_nothing_of_its_file_brings_each_release_once() {
    let shop = Shop::open(fickle::release("first", "sound"), Marks::Nothing).await;
    let mut stage = Stage::at_rest(shop.settings());
    stage.host.run().await;
    shop.world().file = fickle::release("second", "sound");
    serves(&stage, "second").await;
    assert_eq!(stage.ask(Method::POST, "/plugins/fickle/rollback", None).await.0, 204);
    let before = shop.world().sent;
    until("it is fetched again", async || (shop.world().sent >= before + 2).then_some(())).await;
    assert_eq!(stage.say("c1", "m1").await, "first");
    assert_eq!(stage.previous().await, 0);
}

#[tokio::test]
async fn a_source_that_fails_is_told_of_once_and_serving_goes_on_until_it_is_mended() {
    let (first, second) = (fickle::release("first", "sound"), fickle::release("second", "sound"));
    let shop = Shop::open(first.clone(), Marks::Etag).await;
    let mut stage = Stage::at_rest(shop.settings());
    stage.host.run().await;
    let change = |file: &[u8], flaw| {
        let mut world = shop.world();
        (world.file, world.flaw) = (file.to_vec(), flaw);
    };
    let flaws = [
        (Flaw::BreaksOff, "it is not reached"),
        (Flaw::Boasts, "more than 67108864 bytes"),
        (Flaw::Endless, "more than 67108864 bytes"),
        (Flaw::SendsAway, "redirects to plain HTTP"),
        (Flaw::Fails(usize::MAX), "status 503"),
    ];
    for (flaw, told) in flaws {
        change(&second, flaw);
        let rejected = until("the source is told of", async || stage.rejected().await.pop()).await;
        assert_eq!(rejected.0, shop.url);
        assert!(rejected.1.contains(told), "{flaw:?}: {}", rejected.1);
        assert_eq!(stage.say("c1", &format!("{flaw:?}")).await, "first");
        change(&first, Flaw::None);
        until("it is mended", async || stage.rejected().await.is_empty().then_some(())).await;
    }
    change(&second, Flaw::None);
    serves(&stage, "second").await;
    assert_eq!(stage.host.lines_with("a source brings nothing").len(), flaws.len());
}

#[tokio::test]
async fn a_release_that_does_not_serve_is_fetched_once_and_told_of() {
    let shop = Shop::open(fickle::release("first", "sound"), Marks::Etag).await;
    let mut stage = Stage::at_rest(shop.settings());
    stage.host.run().await;
    let good = fickle::release("second", "sound");
    shop.world().file = good[..good.len() / 2].to_vec();
    let rejected = until("the release is told of", async || stage.rejected().await.pop()).await;
    assert!(rejected.1.contains("damaged"), "{rejected:?}");
    shop.is_looked_at().await;
    assert_eq!(shop.world().sent, 2);
    assert_eq!(stage.rejected().await.len(), 1);
    assert_eq!(stage.say("c1", "m1").await, "first");
    shop.world().file = good;
    serves(&stage, "second").await;
    assert!(stage.rejected().await.is_empty());
}

#[tokio::test]
async fn a_release_out_of_a_source_that_asks_for_more_waits_for_a_yes() {
    let shop = Shop::open(fickle::release("first", "sound"), Marks::Etag).await;
    let mut stage = Stage::at_rest(shop.settings());
    stage.host.run().await;
    let manifest = fickle::MANIFEST.replace("\"first\"", "\"greedy\"");
    shop.world().file = fickle::packed(&format!(
        "{manifest}\n[[egress]]\nhost = \"api.example.com\"\nmethods = [\"POST\"]\npath = \"/\"\n"
    ));
    let waiting = until("the greedy release waits", async || {
        let waiting = stage.deployment().await["waiting"].clone();
        waiting.is_object().then_some(waiting)
    })
    .await;
    shop.is_looked_at().await;
    assert_eq!(stage.say("c1", "m1").await, "first");
    let yes = json!({ "digest": waiting["digest"] });
    assert_eq!(stage.ask(Method::POST, "/plugins/fickle/approve", Some(yes)).await.0, 204);
    assert_eq!(stage.say("c1", "m2").await, "greedy");
}

/// The token is looked for in the log when the host ends.
#[tokio::test]
async fn a_source_that_is_away_at_the_start_is_asked_again_with_its_token() {
    let shop = Shop::open(fickle::release("first", "sound"), Marks::Etag).await;
    (shop.world().token, shop.world().flaw) = (Some(TOKEN), Flaw::Fails(2));
    let source = json!([{ "url": shop.url, "every": "1s", "token": "${SOURCE_TOKEN}" }]);
    let settings = Settings::new().set("plugins.sources", source).environment("SOURCE_TOKEN", TOKEN);
    let mut stage = Stage::at_rest(settings);
    stage.host.run().await;
    assert_eq!(stage.say("c1", "m1").await, "first");
}

#[tokio::test]
async fn without_its_plugin_the_host_says_what_is_wrong_with_the_source_and_ends() {
    let shop = Shop::open(fickle::release("first", "sound"), Marks::Etag).await;
    shop.world().token = Some(TOKEN);
    let mut stage = Stage::at_rest(shop.settings());
    stage.host.begin();
    assert!(!stage.host.ended().await.success());
    let log = stage.host.log_text();
    for told in ["no plugin `fickle` is loaded", &format!("source `{}`", shop.url), "status 401"] {
        assert!(log.contains(told), "`{told}` is not in {log}");
    }
}

const OURS: &str = "ours/fickle";

#[tokio::test]
async fn a_release_comes_out_of_a_registry_by_the_digest_of_its_manifest() {
    let registry = Registry::start_closed().await;
    let (first, second) = (
        registry.push(OURS, &fickle::release("first", "sound")).await,
        registry.push(OURS, &fickle::release("second", "sound")).await,
    );
    let sources = |digest: &str| {
        let url = registry.source(OURS, digest);
        json!([{ "url": url, "user": USER, "password": "${REGISTRY_PASSWORD}" }])
    };
    let settings = Settings::new().set("plugins.sources", sources(&first));
    let mut stage = Stage::at_rest(settings.environment("REGISTRY_PASSWORD", PASSWORD));
    stage.host.run().await;
    assert_eq!(stage.say("c1", "m1").await, "first");
    // The next release is another digest in the configuration.
    stage.host.kill();
    stage.host.configure("plugins.sources", sources(&second));
    stage.host.run().await;
    serves(&stage, "second").await;
    // The registry is asked no more for what was had.
    drop(registry);
    stage.host.kill();
    stage.host.run().await;
    assert_eq!(stage.say("c1", "m2").await, "second");
    assert!(stage.rejected().await.is_empty());
}

#[tokio::test]
async fn what_a_registry_has_under_a_digest_is_refused_unless_it_is_that_very_plugin() {
    let registry = Registry::start().await;
    let good = fickle::release("second", "sound");
    let tampered = registry.push("tampered", &good).await;
    let mut other = good.clone();
    other[good.len() / 2] ^= 1;
    std::fs::write(registry.file(&digest_of(&good)), other).unwrap();
    let third = fickle::release("third", "sound");
    let altered = registry.push("altered", &third).await;
    let manifest = std::fs::read_to_string(registry.file(&altered)).unwrap();
    std::fs::write(registry.file(&altered), manifest.replace("\"layers\"", " \"layers\"")).unwrap();
    let archive = async |repository| {
        registry.push_blob(repository, "application/vnd.oci.image.layer.v1.tar", b"../slip").await
    };
    let plugin = async |repository| registry.push_blob(repository, WASM, &third).await;
    let huge = Blob { size: usize::try_from(FILE_BYTES_MAX).unwrap() + 1, ..plugin("huge").await };
    let cases = [
        ("tampered", tampered, "its layer has the digest"),
        ("altered", altered, "its manifest has the digest"),
        (
            "archive",
            registry.push_manifest("archive", &[archive("archive").await]).await,
            "is of type `application/vnd.oci.image.layer.v1.tar`",
        ),
        (
            "both",
            registry.push_manifest("both", &[plugin("both").await, archive("both").await]).await,
            "has 2 layers",
        ),
        ("none", registry.push_manifest("none", &[]).await, "has 0 layers"),
        ("huge", registry.push_manifest("huge", &[huge]).await, "more than 67108864 bytes"),
        ("nothing", digest_of(b"never pushed"), "status 404"),
    ];
    let sources =
        cases.iter().map(|(repository, digest, _)| json!({ "url": registry.source(repository, digest) }));
    let sources: Vec<Value> = sources.collect();
    let mut stage = Stage::at_rest(Settings::new().set("plugins.sources", sources));
    stage.put(&fickle::release("first", "sound"));
    stage.host.run().await;
    let rejected = until("all are told of", async || {
        Some(stage.rejected().await).filter(|rejected| rejected.len() == cases.len())
    })
    .await;
    for (repository, digest, told) in &cases {
        let address = registry.source(repository, digest);
        let (_, reason) = rejected.iter().find(|(source, _)| *source == address).unwrap();
        assert!(reason.contains(told), "{repository}: {reason}");
    }
    assert_eq!(stage.say("c1", "m1").await, "first");
}

#[tokio::test]
async fn the_doctor_says_which_sources_answer() {
    let (shop, registry) =
        (Shop::open(fickle::release("first", "sound"), Marks::Etag).await, Registry::start().await);
    let digest = registry.push(OURS, &fickle::release("first", "sound")).await;
    let (wrong, pushed) = (shop.url.replace("fickle", "nothing"), registry.source(OURS, &digest));
    let sources = json!([{ "url": shop.url }, { "url": wrong }, { "url": pushed }]);
    let stage = Stage::at_rest(Settings::new().set("plugins.sources", sources));
    let report = tokio::task::spawn_blocking(move || stage.host.output(&["doctor", "--json"]).stdout);
    let report: Value = serde_json::from_slice(&report.await.unwrap()).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let level = |check: &str, about: &str| {
        let is_it = |finding: &&Value| finding["check"] == check && finding["about"] == about;
        findings.iter().find(is_it).map(|finding| finding["level"].clone())
    };
    assert_eq!(level("source", &shop.url), Some(json!("ok")), "{report}");
    assert_eq!(level("source", &wrong), Some(json!("fail")), "{report}");
    assert_eq!(level("source", &pushed), Some(json!("ok")), "{report}");
    assert_eq!(level("channel", "team"), Some(json!("warn")), "{report}");
}
