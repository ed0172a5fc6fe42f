//! One host of a run: the host that `parlor serve` runs, on the run's ground.
//!
//! Plugins are compiled and tried once for all runs; each host begins with the same releases on a shelf of its own, and
//! swaps them for others while its turns run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use http::Request;
use lambda_runtime::tower::ServiceExt as _;
use parlor::app::{App, Ground, Parts, Place};
use parlor::clock::Clock;
use parlor::config::Config;
use parlor::deployment::{Bringing, Deployments, Tallies};
use parlor::drain::Drain;
use parlor::egress::Egress;
use parlor::model::Model;
use parlor::plugin::compile::Cache;
use parlor::plugin::package::Package;
use parlor::plugin::shelf::Share;
use parlor::plugin::signature::Trust;
use parlor::plugin::{Loader, Release, engine};
use parlor::store::Store;
use parlor::store::vault::Vault;
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

/// What all runs have of plugins.
#[derive(Debug)]
pub struct Plugins {
    folder: PathBuf,
    loader: Arc<Loader>,
    /// What every host begins with.
    first: Vec<Arc<Release>>,
    /// Two packages of each plugin, which do the same under two digests.
    pairs: Vec<[Package; 2]>,
}

impl Plugins {
    /// Compiles and tries what the runs need.
    pub async fn load() -> Plugins {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("simulation");
        std::fs::create_dir_all(&folder).unwrap();
        let lock = std::fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let compiler = PathBuf::from(env!("CARGO_BIN_EXE_parlor"));
        let cache = Cache::open(&folder.join("compiled"), [7; 32], compiler).unwrap();
        // No thread ticks here: guests are trusted to come back, and none is put off at a moment that no seed chose.
        let loader = Loader::new(engine::build().unwrap(), cache, Arc::new(|_| ()), Trust::anybody());
        let (mut first, mut pairs) = (Vec::new(), Vec::new());
        for path in files() {
            let pair = [Package::read(&path, &Trust::anybody()).unwrap(), another(&path, &folder)];
            first.push(loader.load(pair[0].clone()).await.unwrap());
            drop(loader.load(pair[1].clone()).await.unwrap());
            pairs.push(pair);
        }
        Plugins { folder, loader: Arc::new(loader), first, pairs }
    }
}

fn files() -> impl Iterator<Item = PathBuf> {
    let plugins = PLUGINS.iter().map(|name| plugins().join(format!("{name}.wasm")));
    plugins.chain(GUESTS.iter().map(|name| guests().join(format!("{name}.wasm"))))
}

/// The same plugin in another file: a custom section more.
fn another(path: &Path, folder: &Path) -> Package {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.extend(b"\x00\x08\x07another");
    let path = folder.join(path.file_name().unwrap());
    std::fs::write(&path, bytes).unwrap();
    Package::read(&path, &Trust::anybody()).unwrap()
}

fn config(data: &Path, meanwhile: Meanwhile) -> Config {
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
        .set("default_model", MODEL)
        .set("data", data.to_str().expect("the folder has a name in UTF-8"));
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
    deployments: Arc<Deployments>,
    plugins: Arc<Plugins>,
}

impl Node {
    /// Starts a host, as a process that begins with nothing but the store.
    pub fn start(world: &Arc<World>, plugins: &Arc<Plugins>, life: Life) -> Node {
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
            loader: plugins.loader.clone(),
            tallies: Arc::new(Tallies::new(clock.clone())),
            egress: Egress::over(network).sharing(
                store.clone(),
                clock,
                Vault::derived(b"a secret that all nodes have", b"simulation"),
            ),
            store,
            models: [(MODEL.to_owned(), model)].into(),
            metrics: Arc::new(Metrics::new()),
        };
        let config = config(&plugins.folder, world.weather.meanwhile);
        let app = App::on(config, parts, ground, plugins.first.clone());
        let app = app.expect("the configuration can be wired");
        let router = app.router(([127, 0, 0, 1], 0).into()).expect("the doors open");
        app.begin();
        world.tell(format!("n{} starts", life.node));
        Node { life, drain, router, deployments: app.deployments.clone(), plugins: plugins.clone() }
    }

    /// Does to a plugin what operators do to plugins, while turns run.
    pub async fn swap(&self, world: &World) {
        let packages: Vec<&Package> = self.plugins.pairs.iter().flatten().collect();
        let package = world.chance.pick(&packages).clone();
        let name = package.manifest.name.clone();
        let what = world.chance.pick(&["install", "try", "promote", "roll back", "withdraw"]);
        let try_it = Bringing { share: Some(Share::Weight(50)), ..Bringing::default() };
        let swap = async {
            match what {
                "install" => self.deployments.install(package, Bringing::default()).await.map(drop),
                "try" => self.deployments.install(package, try_it).await.map(drop),
                "promote" => self.deployments.promote(&name).await,
                "roll back" => self.deployments.roll_back(&name).await,
                _ => self.deployments.withdraw(&name).await,
            }
        };
        let swapped = tokio::select! {
            biased;
            () = self.life.over() => return,
            swapped = swap => swapped,
        };
        if swapped.is_ok() {
            world.count("plugin swapped");
        }
        world.tell(format!("n{}: {what} {name}: {swapped:?}", self.life.node));
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
