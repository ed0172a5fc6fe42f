//! The wiring: a configuration becomes a host that serves. The only module that knows every other.

mod attend;
mod connections;
pub mod examine;
mod fit;
mod lines;
mod memory;
mod openai;
mod readiness;
pub mod store;
mod talk;
mod wiring;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use crate::adapter::Permits;
use crate::auth::{Issuer, Revocations, Verifier};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::{self, CHAT_CHANNEL, Config, mouth, openai_channel};
use crate::connection::{Connection, Status};
use crate::console::{self, Console};
use crate::conversation::Listeners;
use crate::deployment::{self, Deployments, Fit, Tallies};
use crate::doors::client::{Allowed, Origins};
use crate::doors::{self, Doors, page::Page, webhook};
use crate::drain::Drain;
use crate::egress::Egress;
use crate::function::{self, Function};
use crate::limits::{Limits, Rates};
use crate::model::Model;
use crate::plugin::compile::Cache;
use crate::plugin::package::FILE_BYTES_MAX;
use crate::plugin::release::Witness;
use crate::plugin::shelf::Serving;
use crate::plugin::signature::Trust;
use crate::plugin::{Loader, Release, Shelf, engine};
use crate::queue::{Wrapper, sqs::Sqs};
use crate::random::Random;
use crate::source::Source;
use crate::store::vault::Vault;
use crate::store::{JOBS, Store};
use crate::telemetry::{self, Metrics, metrics};
use crate::turn::{Inbox, Running, Turns};
use fit::Fitter;

/// The address of a host that does not listen.
const NOWHERE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Finished turns past their retention are deleted this often.
const SWEEP: Duration = Duration::from_secs(600);

/// How soon a token that another process revoked counts no more here.
const REVOCATIONS_EVERY: Duration = Duration::from_secs(5);

/// Connections of operators and of what scrapes figures.
const OPERATORS_MAX: usize = 64;

/// Folder of the compiled plugins, in the data folder.
const COMPILED: &str = "compiled";
/// Folder of the releases that serve or served, in the data folder.
const RELEASES: &str = "releases";

/// What the process brings along, so that a trial can bring something else.
#[derive(Debug, Clone)]
pub struct Parts {
    pub place: Place,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// The `parlor` binary, which compiles plugins in a child process.
    pub compiler: PathBuf,
    pub drain: Drain,
}

/// What a host stands on. `build` makes it from the configuration; a simulation brings its own.
#[derive(Debug, Clone)]
pub struct Ground {
    pub loader: Arc<Loader>,
    pub tallies: Arc<Tallies>,
    pub store: Arc<dyn Store>,
    /// Shares what it can by this store.
    pub egress: Egress,
    pub models: BTreeMap<String, Arc<dyn Model>>,
    pub metrics: Arc<Metrics>,
}

/// Where the host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The process lives until it is told to end, and its data folder outlives it.
    Server,
    /// The process may be frozen or ended after any response, and its data folder with it.
    Function,
}

/// A host that is wired.
#[derive(Debug)]
pub struct App {
    pub turns: Arc<Turns>,
    connections: BTreeMap<Arc<str>, Connection>,
    shelf: Arc<Shelf>,
    pub deployments: Arc<Deployments>,
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    revocations: Revocations,
}

impl App {
    /// Wires a host. All that keeps a channel from serving is told at once.
    pub async fn build(config: Config, parts: Parts) -> anyhow::Result<App> {
        if config.admin.is_some() && parts.place == Place::Server {
            telemetry::log::recent().keep(telemetry::log::recent::BYTES_MAX);
        }
        let data = &config.data;
        std::fs::create_dir_all(data)
            .with_context(|| format!("cannot make the data folder `{}`", data.display()))?;
        let vault = Vault::open(data)?;
        telemetry::set_salt(&vault.subkey(b"person"));
        let metrics = Arc::new(Metrics::new());
        metrics.set_names(names(&config));
        let tallies = Arc::new(Tallies::new(parts.clock.clone()));
        let loader = Arc::new(loader(&config, data, &parts, &vault, witness(&metrics, &tallies))?);
        let sealing = store::vault(&config, &vault);
        let store = store::open(&config, &parts, sealing.clone()).await?;
        let egress = Egress::new(config.endpoints.clone())?;
        let egress = egress.sharing(store.clone(), parts.clock.clone(), sealing);
        let (models, problems) = wiring::models(&config);
        let ground = Ground { loader, tallies, store, egress, models, metrics };
        let (config, shelf) = (Arc::new(config), Arc::new(Shelf::default()));
        let deployments = deployments(&config, &parts, &ground, &shelf)?;
        let misfits = deployments.begin(&config.plugins.folder, &used(&config)).await?;
        let loaded: BTreeSet<_> = shelf.names().into_iter().chain(misfits.keys().cloned()).collect();
        let found = wiring::problems(&config, &Vec::from_iter(loaded));
        let problems: Vec<_> =
            problems.into_iter().chain(misfits.into_values().flatten()).chain(found).collect();
        if !problems.is_empty() {
            let sources = deployments.source_troubles().into_iter();
            let sources = sources.map(|(address, reason)| format!("source `{address}`: {reason}"));
            let problems: Vec<_> = problems.into_iter().chain(sources).collect();
            anyhow::bail!("cannot serve:\n{}", problems.join("\n"));
        }
        App::wire(config, parts, ground, shelf, deployments)
    }

    /// Wires a host on what is there, with these releases.
    pub fn on(
        config: Config,
        parts: Parts,
        ground: Ground,
        releases: Vec<Arc<Release>>,
    ) -> anyhow::Result<App> {
        let (config, shelf) = (Arc::new(config), Arc::new(Shelf::default()));
        let fitter = fitter(&config, &parts, &ground);
        for release in releases {
            let fitted = fitter.fit(release).map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
            shelf.put(Serving { stable: Arc::new(fitted), candidate: None });
        }
        let problems = wiring::problems(&config, &shelf.names());
        anyhow::ensure!(problems.is_empty(), "cannot serve:\n{}", problems.join("\n"));
        let deployments = deployments(&config, &parts, &ground, &shelf)?;
        App::wire(config, parts, ground, shelf, deployments)
    }

    fn wire(
        config: Arc<Config>,
        parts: Parts,
        ground: Ground,
        shelf: Arc<Shelf>,
        deployments: Arc<Deployments>,
    ) -> anyhow::Result<App> {
        let turns = Arc::new(turns(&config, &parts, ground, &shelf)?);
        let connections = connections::all(&turns);
        Ok(App {
            turns,
            connections,
            shelf,
            deployments,
            clock: parts.clock,
            config,
            revocations: Revocations::default(),
        })
    }

    /// The release that serves a plugin's name.
    pub fn release(&self, name: &str) -> Option<Arc<Release>> {
        self.shelf.release(name)
    }

    /// Serves until the drain begins, then drains. Names of what still ran after the grace period come back.
    /// `admin` is where operators come in.
    pub async fn serve(
        &self,
        listener: TcpListener,
        admin: Option<TcpListener>,
    ) -> anyhow::Result<Vec<String>> {
        let turns = self.begin();
        let drain = turns.drain.clone();
        self.watch_revocations().await?;
        turns.look_for_ways().await?;
        self.follow_plugins();
        if let Some(admin) = admin {
            self.serve_operators(admin)?;
        }
        let address = listener.local_addr()?;
        let router = self.router(address)?;
        tracing::info!(address = %address, "serving");
        if self.config.chat.is_some() {
            tracing::info!("chat page: http://{address}/");
        }
        let limits = &self.config.limits;
        let bounds = doors::server::Bounds {
            header_timeout: limits.header_timeout,
            connections_max: limits.connections_max,
        };
        let serving = doors::server::serve(listener, router, bounds, drain.clone(), turns.metrics.clone());
        tokio::select! {
            () = serving => {}
            broken = self.broken_model() => return Err(broken),
        }
        let late = drain.drain(limits.grace_period).await;
        Ok(late.into_iter().map(Into::into).collect())
    }

    /// Starts what works on turns.
    pub fn begin(&self) -> Arc<Turns> {
        let turns = self.turns.clone();
        self.connections.values().cloned().for_each(Connection::start);
        drop(turns.drain.spawn("dispatch", turns.clone().dispatch()));
        let kept = Kept { turns: self.config.limits.retention, audit: self.config.audit_retention };
        drop(turns.drain.spawn("sweep", sweep(turns.clone(), kept)));
        turns
    }

    /// Swaps plugins as they come, until the drain begins.
    fn follow_plugins(&self) {
        let (deployments, drain) = (self.deployments.clone(), self.turns.drain.clone());
        let folder = self.config.plugins.folder.clone();
        drop(self.turns.drain.spawn("plugins", async move {
            tokio::select! {
                () = deployments.follow(folder) => {}
                () = drain.cancelled() => {}
            }
        }));
    }

    /// Knows the tokens that count no more before the first request, and learns of more.
    async fn watch_revocations(&self) -> anyhow::Result<()> {
        let (turns, revocations) = (self.turns.clone(), self.revocations.clone());
        revocations.set(turns.store.revoked(turns.clock.now()).await?);
        drop(self.turns.drain.spawn("revocations", look_for_revocations(turns, revocations)));
        Ok(())
    }

    /// Opens the operators' door. It has connections of its own, so that it opens when all others are taken.
    fn serve_operators(&self, listener: TcpListener) -> anyhow::Result<()> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                "`admin.listen` is reached from other machines, without TLS: tokens travel readable"
            );
        }
        let turns = &self.turns;
        let bounds = doors::server::Bounds {
            header_timeout: self.config.limits.header_timeout,
            connections_max: OPERATORS_MAX,
        };
        let router = console::router(self.console(address));
        let serving =
            doors::server::serve(listener, router, bounds, turns.drain.clone(), turns.metrics.clone());
        drop(turns.drain.spawn("admin door", serving));
        tracing::info!(address = %address, "admin door open");
        Ok(())
    }

    fn console(&self, address: std::net::SocketAddr) -> Console {
        Console {
            turns: self.turns.clone(),
            shelf: self.shelf.clone(),
            config: self.config.clone(),
            deployments: self.deployments.clone(),
            readiness: self.readiness(),
            connections: self.statuses(),
            verifier: self.verifier(),
            revocations: self.revocations.clone(),
            bounds: self.bounds(),
            is_local: address.ip().is_loopback(),
        }
    }

    fn readiness(&self) -> Arc<readiness::State> {
        Arc::new(readiness::State {
            turns: self.turns.clone(),
            shelf: self.shelf.clone(),
            connections: self.statuses(),
        })
    }

    /// How the connections do, by channel.
    pub fn statuses(&self) -> BTreeMap<Arc<str>, Arc<Status>> {
        self.connections.iter().map(|(name, connection)| (name.clone(), connection.status.clone())).collect()
    }

    fn verifier(&self) -> Verifier {
        let auth = &self.config.auth;
        let verifier = Verifier::new(&auth.jwt_secret, &auth.issuers, &auth.audience, self.clock.clone());
        verifier.without(self.revocations.clone())
    }

    fn bounds(&self) -> doors::body::Bounds {
        let limits = &self.config.limits;
        doors::body::Bounds { bytes_max: limits.body_bytes_max, timeout: limits.body_timeout }
    }

    /// Answers a function platform's events until it ends the process.
    pub async fn serve_events(&self) -> anyhow::Result<()> {
        let turns = self.begin();
        let function = Function {
            router: self.router(NOWHERE)?,
            work: Arc::new(work::Worker::new(turns.clone(), &self.config.auth.jwt_secret)),
            time: work::time(&self.config),
        };
        tokio::select! {
            served = function::serve(function, turns.drain.clone()) => served,
            broken = self.broken_model() => Err(broken),
        }
    }

    /// Returns only if a model can never be loaded: a wrong file is the operator's to mend, at once.
    async fn broken_model(&self) -> anyhow::Error {
        let loading = self.turns.models.iter().map(async |(name, model)| (name, model.loaded().await));
        let mut loading: FuturesUnordered<_> = loading.collect();
        while let Some((name, loaded)) = loading.next().await {
            if let Err(problem) = loaded {
                return anyhow::anyhow!("model `{name}`: {problem}");
            }
        }
        std::future::pending().await
    }

    /// All doors of this host, which is reached at `address` if the configuration says nothing else.
    pub fn router(&self, address: std::net::SocketAddr) -> anyhow::Result<Router> {
        let bounds = self.bounds();
        let public =
            self.config.public_url.as_ref().map_or_else(|| format!("http://{address}"), ToString::to_string);
        let lists = self.config.channels.iter();
        let allowed = lists.map(|(name, channel)| (name.clone(), Allowed(channel.allow.clone()))).collect();
        let verifier = self.verifier();
        let webhooks = webhook::Webhooks {
            turns: self.turns.clone(),
            public,
            bounds,
            verifier: verifier.clone(),
            allowed,
        };
        let mut more = webhook::routes(webhooks);
        if let Some(door) = &self.config.openai {
            more = more.merge(doors::openai::routes(doors::openai::OpenAi {
                verifier: verifier.clone(),
                complete: Arc::new(openai::Completer::new(self.turns.clone(), door)),
                metrics: self.turns.metrics.clone(),
                bounds,
            }));
        }
        let talker = self.config.chat.as_ref().map(|_| Arc::new(talk::Talker(self.turns.clone())));
        let doors = Doors {
            verifier,
            talk: talker.clone().map(|talker| talker as Arc<dyn doors::chat::Talk>),
            attend: talker.map(|talker| talker as Arc<dyn doors::socket::Attend>),
            page: self.page(address)?,
            readiness: self.readiness(),
            metrics: self.turns.metrics.clone(),
            drain: self.turns.drain.clone(),
            bounds,
            origins: Origins {
                allowed: Allowed(self.config.allow.clone()),
                trusted_proxies: self.config.trusted_proxies.clone(),
            },
            chat_allowed: Allowed(self.config.chat.as_ref().map_or_else(Vec::new, |chat| chat.allow.clone())),
        };
        Ok(doors::router(doors, more))
    }

    fn page(&self, address: std::net::SocketAddr) -> anyhow::Result<Page> {
        let is_open =
            self.config.chat.as_ref().is_some_and(|chat| chat.open_page) && self.config.public_url.is_none();
        if !is_open {
            if self.config.chat.as_ref().is_some_and(|chat| chat.open_page) {
                tracing::warn!(
                    "`chat.open_page` is off: `public_url` says that others reach this host; the page asks for a token"
                );
            }
            return Ok(Page::Asks);
        }
        anyhow::ensure!(
            address.ip().is_loopback(),
            "`chat.open_page` gives a token to whoever opens the page; listen on a loopback address or turn it off"
        );
        let auth = &self.config.auth;
        let first = |names: &[String]| names.first().cloned().unwrap_or_default();
        Ok(Page::Open(Issuer::new(
            &auth.jwt_secret,
            &first(&auth.issuers),
            &first(&auth.audience),
            self.clock.clone(),
        )))
    }
}

/// The plugins that the configuration names.
fn used(config: &Config) -> BTreeSet<String> {
    let mouths = mouth::all(config);
    mouths.iter().flat_map(|mouth| mouth.plugins()).map(str::to_owned).collect()
}

fn fitter(config: &Arc<Config>, parts: &Parts, ground: &Ground) -> Fitter {
    Fitter {
        config: config.clone(),
        place: parts.place,
        clock: parts.clock.clone(),
        store: ground.store.clone(),
        egress: ground.egress.clone(),
    }
}

fn deployments(
    config: &Arc<Config>,
    parts: &Parts,
    ground: &Ground,
    shelf: &Arc<Shelf>,
) -> anyhow::Result<Arc<Deployments>> {
    Ok(Arc::new(Deployments::new(deployment::Ground {
        loader: ground.loader.clone(),
        shelf: shelf.clone(),
        fit: Arc::new(fitter(config, parts, ground)),
        clock: parts.clock.clone(),
        store: ground.store.clone(),
        tallies: ground.tallies.clone(),
        depot: config.data.join(RELEASES),
        sources: Source::all(&config.plugins.sources, FILE_BYTES_MAX)?,
    })?))
}

fn loader(
    config: &Config,
    data: &Path,
    parts: &Parts,
    vault: &Vault,
    witness: Witness,
) -> anyhow::Result<Loader> {
    let built = engine::build().map_err(|error| anyhow::anyhow!("wasmtime cannot start: {error:#}"))?;
    engine::tick(&built.engine).context("no thread for the plugins' deadlines")?;
    let cache = Cache::open(&data.join(COMPILED), vault.subkey(b"cwasm"), parts.compiler.clone())?;
    let trust = Trust::new(config.plugins.trusted_keys.clone(), config.plugins.allow_unsigned);
    Ok(Loader::new(built, cache, witness, trust))
}

/// Who hears of each call.
fn witness(metrics: &Arc<Metrics>, tallies: &Arc<Tallies>) -> Witness {
    let (metrics, tallies) = (metrics.clone(), tallies.clone());
    Arc::new(move |call| {
        metrics.plugin_call(call.plugin, call.function, call.outcome, call.elapsed);
        tallies.note(call);
    })
}

fn turns(config: &Config, parts: &Parts, ground: Ground, shelf: &Arc<Shelf>) -> anyhow::Result<Turns> {
    let Ground { loader, store, models, metrics, .. } = ground;
    let permits = Arc::new(Permits::new(loader.instances_max, wiring::adapters(config)));
    let channels = wiring::channels(config, shelf, &permits);
    let instances = loader.instances_max / 2;
    let inbox = inbox(config, parts.place)?;
    let limits = limits(config, parts, store.clone(), metrics.clone());
    let bus = bus(config, metrics.clone())?;
    let fallbacks = config.models.iter().map(|(name, model)| (name.clone(), model.fallback.clone()));
    Ok(Turns {
        store,
        inbox,
        limits,
        channels,
        models,
        fallbacks: fallbacks.collect(),
        listeners: Listeners::default(),
        bus,
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        metrics,
        drain: parts.drain.clone(),
        permits: Arc::new(Semaphore::new(config.limits.turns_max)),
        instances: Arc::new(Semaphore::new(instances)),
        wake: Notify::new(),
        running: Running::default(),
        stores: AtomicBool::new(true),
    })
}

/// What keeps a message that a platform was told to be safe.
fn inbox(config: &Config, place: Place) -> anyhow::Result<Inbox> {
    match (place, &config.function.queue) {
        (Place::Server, _) => Ok(Inbox::Store),
        (Place::Function, None) => Ok(Inbox::Nothing),
        (Place::Function, Some(url)) => {
            let wrapper = Wrapper::new(&config.auth.jwt_secret);
            let queue =
                Sqs::from_environment(url.clone(), wrapper).context("`function.queue` cannot be used")?;
            Ok(Inbox::Queue(Arc::new(queue)))
        }
    }
}

/// Nodes that share a Redis share the bus.
fn bus(config: &Config, metrics: Arc<Metrics>) -> anyhow::Result<Bus> {
    let Some(name) = &config.bus else { return Ok(Bus::default()) };
    let Some(redis) = &config.redis else { return Ok(Bus::named(name)) };
    let servers = store::addresses(redis)?;
    Ok(Bus::relayed(name, servers.iter().map(|server| server.info().clone()).collect(), metrics))
}

fn limits(config: &Config, parts: &Parts, store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Limits {
    let channels = config.channels.iter().map(|(name, channel)| (name.as_str(), &channel.limits));
    let chat = config.chat.as_ref().map(|chat| (CHAT_CHANNEL, &chat.limits));
    let named = channels.chain(chat).map(|(name, limits)| (name.to_owned(), limits));
    let rates = named
        .chain(config.openai.iter().flat_map(config::OpenAiDoor::channels))
        .map(|(name, limits)| (name, Rates { channel: limits.rate, person: limits.person }));
    Limits::new(store, parts.clock.clone(), metrics, rates.collect(), config.limits.key)
}

/// What figures may be labelled with: what the configuration names.
fn names(config: &Config) -> metrics::Names {
    let pipelines = config.channels.values().map(|channel| &channel.pipelines);
    let pipelines = pipelines.chain(config.chat.as_ref().map(|chat| &chat.pipelines));
    let assistants = config.openai.iter().flat_map(|door| &door.assistants);
    let pipelines = pipelines.chain(assistants.clone().map(|(_, assistant)| &assistant.pipelines)).flatten();
    let offered = config.openai.iter().flat_map(|door| &door.models);
    let offered = offered.chain(assistants.map(|(name, _)| name)).map(|name| openai_channel(name));
    let adapters = config.channels.values().map(|channel| &channel.adapter);
    let chat = config.chat.as_ref().map(|_| CHAT_CHANNEL.to_owned());
    metrics::Names {
        channels: config
            .channels
            .keys()
            .cloned()
            .chain(chat)
            .chain(offered)
            .chain([JOBS.to_owned()])
            .collect(),
        models: config.models.keys().cloned().collect(),
        plugins: pipelines.chain(adapters).cloned().collect(),
    }
}

/// How long what has ended is kept.
struct Kept {
    turns: Duration,
    audit: Duration,
}

async fn sweep(turns: Arc<Turns>, kept: Kept) {
    loop {
        tokio::select! {
            () = turns.drain.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let now = turns.clock.now();
        let before = |kept: Duration| now.saturating_sub(kept.as_millis() as u64);
        let swept = turns.store.sweep(now, before(kept.turns)).await;
        let swept = match swept {
            Ok(turns_swept) => {
                turns.store.sweep_audit(before(kept.audit)).await.map(|entries| (turns_swept, entries))
            }
            Err(error) => Err(error),
        };
        match swept {
            Ok((swept, audit)) => tracing::debug!(swept, audit, "what is past its retention is deleted"),
            Err(error) => tracing::warn!(error = %error, "what is past its retention could not be deleted"),
        }
    }
}

/// Another process on the same store may have revoked a token.
async fn look_for_revocations(turns: Arc<Turns>, revocations: Revocations) {
    loop {
        tokio::select! {
            () = turns.drain.cancelled() => return,
            () = tokio::time::sleep(REVOCATIONS_EVERY) => {}
        }
        match turns.store.revoked(turns.clock.now()).await {
            Ok(revoked) => revocations.set(revoked),
            Err(error) => tracing::warn!(error = %error, "revoked tokens could not be looked for"),
        }
    }
}
