//! One host of a run: the host that `parlor serve` runs, on the run's ground.
//!
//! Plugins are compiled and tried once for all runs; each host has a shelf of its own with the same releases on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use http::Request;
use lambda_runtime::tower::ServiceExt as _;
use parlor::app::{App, Ground, Parts, Place};
use parlor::clock::Clock;
use parlor::config::Config;
use parlor::drain::Drain;
use parlor::egress::Egress;
use parlor::model::Model;
use parlor::plugin::compile::Cache;
use parlor::plugin::package::Package;
use parlor::plugin::{Shelf, engine};
use parlor::store::Store;
use parlor::telemetry::Metrics;
use serde_json::json;

use super::model::MoodyModel;
use super::network::ShakyNetwork;
use super::people::Webhook;
use super::platforms::{BOARD, DESK, HOOK, LARK, TEAM};
use super::store::ShakyStore;
use super::weather::Meanwhile;
use super::world::{Life, World};
use crate::support::{OpenPlatform, Platform, Settings, Slate, guests, plugins};

const PLUGINS: [&str; 4] = ["assistant", "dingtalk", "feishu", "webhook"];
const GUESTS: [&str; 2] = ["slate", "warden"];
const MODEL: &str = "moody";
const BODY_BYTES_MAX: usize = 1 << 20;
/// At this door the answer comes in the response, if it is there by then.
const DESK_WAIT: Duration = Duration::from_secs(2);
/// Whoever drains for longer is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// Compiles and tries what the runs need.
pub async fn shelf() -> Arc<Shelf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("simulation");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let compiler = PathBuf::from(env!("CARGO_BIN_EXE_parlor"));
    let cache = Cache::open(&folder.join("compiled"), [7; 32], compiler).unwrap();
    // No thread ticks here: guests are trusted to come back, and none is put off at a moment that no seed chose.
    let shelf = Shelf::new(engine::build().unwrap(), cache, Arc::new(|_, _, _, _| ()), true);
    for path in packages() {
        shelf.load(Package::read(&path).unwrap()).await.unwrap();
    }
    Arc::new(shelf)
}

fn packages() -> impl Iterator<Item = PathBuf> {
    let plugins = PLUGINS.iter().map(|name| plugins().join(format!("{name}.wasm")));
    plugins.chain(GUESTS.iter().map(|name| guests().join(format!("{name}.wasm"))))
}

/// Loads a plugin anew, as an operator would who brings a new release of it.
pub async fn reload(shelf: &Shelf, place: usize) {
    let path = packages().nth(place).expect("there are as many plugins");
    shelf.load(Package::read(&path).unwrap()).await.unwrap();
}

/// Plugins that can be loaded anew.
pub const PACKAGES: u64 = (PLUGINS.len() + GUESTS.len()) as u64;

fn config(meanwhile: Meanwhile) -> Config {
    let clock = Arc::new(parlor::clock::FixedClock(0));
    let robots = Platform::without_socket("http://platform.invalid".to_owned(), clock.clone());
    let open = OpenPlatform::without_socket("http://platform.invalid".to_owned(), clock);
    let slate = Slate::without_socket("http://platform.invalid".to_owned());
    let settings = Settings::new();
    let settings = robots.join_as(settings, TEAM, json!({ "app_key": "ding-app-key" }));
    let settings = robots.join_webhook(settings, json!({ "answer": "callback" }), true);
    let settings = slate.join(open.join(settings, json!({})));
    let mut desk = settings.config["channels"][HOOK].clone();
    desk["pipelines"] = json!([]);
    desk["settings"]["answer"] = json!("response");
    desk["settings"]["wait_ms"] = json!(DESK_WAIT.as_millis() as u64);
    let settings = settings
        .set(&format!("channels.{BOARD}.pipelines"), json!(["warden"]))
        .set(&format!("channels.{HOOK}.pipelines"), json!([]))
        .set(&format!("channels.{DESK}"), desk);
    let channels = [TEAM, LARK, BOARD, HOOK, DESK];
    let while_answering = |settings: Settings, channel| {
        settings.set(&format!("channels.{channel}.while_answering"), meanwhile.as_str())
    };
    let settings = channels
        .into_iter()
        .fold(settings, while_answering)
        .set("models", json!({ MODEL: { "backend": "echo" } }))
        .set("default_model", MODEL);
    assert!(settings.config["channels"][LARK].is_object(), "the platform joins by this name");
    let text = settings.config.to_string();
    let config = Config::parse(&text, std::path::Path::new("."), &|_| None);
    config.unwrap_or_else(|problems| panic!("{}", parlor::config::render(&problems, "simulation")))
}

/// A host that serves.
#[derive(Debug, Clone)]
pub struct Node {
    pub life: Life,
    pub drain: Drain,
    router: Router,
}

impl Node {
    /// Starts a host, as a process that begins with nothing but the store.
    pub fn start(world: &Arc<World>, shelf: &Arc<Shelf>, life: Life) -> Node {
        let (drain, clock): (Drain, Arc<dyn Clock>) = (Drain::new(), Arc::new(life.clock));
        let parts = Parts {
            place: Place::Server,
            clock: clock.clone(),
            random: world.clone(),
            compiler: PathBuf::new(),
            drain: drain.clone(),
        };
        let store: Arc<dyn Store> = Arc::new(ShakyStore { world: world.clone(), life: life.clone() });
        let network = Arc::new(ShakyNetwork { world: world.clone(), life: life.clone() });
        let model: Arc<dyn Model> = Arc::new(MoodyModel { world: world.clone(), life: life.clone() });
        let ground = Ground {
            shelf: shelf.clone(),
            egress: Egress::over(network).sharing_rates(store.clone(), clock),
            store,
            models: [(MODEL.to_owned(), model)].into(),
            metrics: Arc::new(Metrics::new()),
        };
        let app =
            App::on(config(world.weather.meanwhile), parts, ground).expect("the configuration can be wired");
        let router = app.router(([127, 0, 0, 1], 0).into()).expect("the doors open");
        app.begin();
        world.tell(format!("n{} starts", life.node));
        Node { life, drain, router }
    }

    /// A webhook at the host's door: status and body, or nothing if the host dies over it.
    pub async fn post(&self, webhook: &Webhook) -> Option<(u16, Bytes)> {
        let mut request = Request::post(format!("/webhook/{}", webhook.channel));
        for (name, value) in &webhook.headers {
            request = request.header(name, value);
        }
        let request =
            request.body(axum::body::Body::from(webhook.body.clone())).expect("a webhook is a request");
        tokio::select! {
            biased;
            () = self.life.over() => None,
            response = self.router.clone().oneshot(request) => {
                let response = response.unwrap_or_else(|never| match never {});
                let status = response.status().as_u16();
                Some((status, to_bytes(response.into_body(), BODY_BYTES_MAX).await.ok()?))
            }
        }
    }
}
