//! The figures that an operator asks first, in OpenMetrics text.
//!
//! It knows no stage: each calls one small method. Labels are bounded: a name that is not configured counts as
//! `other`, and every other label is a word out of the source, or of a release that serves. Next: `resources` reads the
//! process's own, `releases` has what serves.

mod releases;
mod resources;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use releases::Releases;
pub use releases::Served;

/// What `GET /metrics` calls its body.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of every name that is not configured.
const OTHER: &str = "other";

/// Quick work: an acknowledgement, a plugin call. Platforms give up on a webhook after 1 to 5 seconds.
const QUICK_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Work that waits for a model; a turn has two minutes.
const SLOW_SECONDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0];

/// The configured names: the only ones that become labels.
#[derive(Debug, Default)]
pub struct Names {
    pub channels: BTreeSet<String>,
    pub models: BTreeSet<String>,
    pub plugins: BTreeSet<String>,
}

type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// All figures of the process.
pub struct Metrics {
    registry: Registry,
    names: ArcSwap<Names>,
    webhook_acknowledgement: Timings<WebhookLabels>,
    messages: Family<MessageLabels, Counter>,
    updates: Family<MessageLabels, Counter>,
    turn: Timings<TurnLabels>,
    first_token: Timings<ModelLabels>,
    model_calls: Family<ModelCallLabels, Counter>,
    model_tokens: Family<ModelTokenLabels, Counter>,
    model_breaker: Family<BreakerLabels, Gauge>,
    plugin_calls: Family<PluginCallLabels, Counter>,
    plugin_call: Timings<PluginLabels>,
    releases: Releases,
    queue_unfinished: Gauge,
    queue_dead: Gauge,
    queue_oldest_age: Gauge<f64, AtomicU64>,
    connections: Gauge,
    connections_refused: Counter,
    chat_connections: Gauge,
    platform_connections: Family<ChannelLabels, Gauge>,
    platform_connection_attempts: Family<MessageLabels, Counter>,
    limited: Family<LimitedLabels, Counter>,
    bus_notices: Family<BusLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    channel: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    channel: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TurnLabels {
    channel: String,
    ending: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelCallLabels {
    model: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelTokenLabels {
    model: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BreakerLabels {
    model: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginCallLabels {
    plugin: String,
    function: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    plugin: String,
    function: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    channel: String,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BusLabels {
    outcome: &'static str,
}

fn quick() -> Histogram {
    Histogram::new(QUICK_SECONDS)
}

fn slow() -> Histogram {
    Histogram::new(SLOW_SECONDS)
}

fn timings<L: Clone + std::hash::Hash + Eq>(buckets: fn() -> Histogram) -> Timings<L> {
    Family::new_with_constructor(buckets)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            names: ArcSwap::default(),
            webhook_acknowledgement: timings(quick),
            messages: Family::default(),
            updates: Family::default(),
            turn: timings(slow),
            first_token: timings(slow),
            model_calls: Family::default(),
            model_tokens: Family::default(),
            model_breaker: Family::default(),
            plugin_calls: Family::default(),
            plugin_call: timings(quick),
            releases: Releases::default(),
            queue_unfinished: Gauge::default(),
            queue_dead: Gauge::default(),
            queue_oldest_age: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            chat_connections: Gauge::default(),
            platform_connections: Family::default(),
            platform_connection_attempts: Family::default(),
            limited: Family::default(),
            bus_notices: Family::default(),
        };
        metrics.register();
        metrics
    }

    /// A list of equal things: every family with the name and the help that it has outside.
    fn register(&mut self) {
        self.registry.register_collector(Box::new(resources::Resources));
        let registry = self.registry.sub_registry_with_prefix("parlor");
        registry.register(
            "build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_with_unit(
            "webhook_acknowledgement",
            "From a webhook's last byte in to its status out",
            Unit::Seconds,
            self.webhook_acknowledgement.clone(),
        );
        registry.register("messages", "Messages that came in, by what became of them", self.messages.clone());
        registry.register(
            "updates",
            "Replies shown while they grow, by what became of each update",
            self.updates.clone(),
        );
        registry.register_with_unit(
            "turn",
            "From a turn's claim to its end",
            Unit::Seconds,
            self.turn.clone(),
        );
        registry.register_with_unit(
            "first_token",
            "From asking a model to its first text",
            Unit::Seconds,
            self.first_token.clone(),
        );
        registry.register("model_calls", "Questions to a model, by how they ended", self.model_calls.clone());
        registry.register("model_tokens", "Tokens of prompts and completions", self.model_tokens.clone());
        registry.register(
            "model_breaker",
            "1 for the state in which a remote model's breaker is",
            self.model_breaker.clone(),
        );
        registry.register(
            "plugin_calls",
            "Calls into a plugin, by how they ended",
            self.plugin_calls.clone(),
        );
        registry.register_with_unit(
            "plugin_call",
            "A call into a plugin, its host calls included",
            Unit::Seconds,
            self.plugin_call.clone(),
        );
        registry.register_collector(Box::new(self.releases.clone()));
        registry.register(
            "queue_unfinished",
            "Messages stored and not yet finished",
            self.queue_unfinished.clone(),
        );
        registry.register("queue_dead", "Dead letters kept for a replay", self.queue_dead.clone());
        registry.register_with_unit(
            "queue_oldest_age",
            "Age of the oldest unfinished message",
            Unit::Seconds,
            self.queue_oldest_age.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections turned away because too many were open",
            self.connections_refused.clone(),
        );
        registry.register(
            "chat_connections",
            "Chat requests that are being answered, and open chat sockets",
            self.chat_connections.clone(),
        );
        registry.register(
            "platform_connections",
            "Sockets that this host keeps open to a channel's platform",
            self.platform_connections.clone(),
        );
        registry.register(
            "platform_connection_attempts",
            "Attempts to open such a socket, by how they ended",
            self.platform_connection_attempts.clone(),
        );
        registry.register("limited", "What a limit refused, by which", self.limited.clone());
        registry.register(
            "bus_notices",
            "What was told on the bus for other nodes and programs, by whether Redis got it",
            self.bus_notices.clone(),
        );
    }

    /// Sets the names that may be labels; at the start and at each reload.
    pub fn set_names(&self, names: Names) {
        self.names.store(Arc::new(names));
    }

    pub fn webhook(&self, channel: &str, status: u16, elapsed: Duration) {
        let labels = WebhookLabels { channel: self.channel(channel), status: status_class(status) };
        self.webhook_acknowledgement.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }

    /// One incoming message, as `new`, `duplicate`, `refused`, …
    pub fn message(&self, channel: &str, outcome: &'static str) {
        self.messages.get_or_create(&MessageLabels { channel: self.channel(channel), outcome }).inc();
    }

    /// One update of a reply that grows in place, as `shown`, `held` (by the host, since there is no room), `throttled` (by
    /// the platform), `failed` or `given_up`.
    pub fn update(&self, channel: &str, outcome: &'static str) {
        self.updates.get_or_create(&MessageLabels { channel: self.channel(channel), outcome }).inc();
    }

    pub fn turn(&self, channel: &str, ending: &'static str, elapsed: Duration) {
        let labels = TurnLabels { channel: self.channel(channel), ending };
        self.turn.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }

    pub fn first_token(&self, model: &str, elapsed: Duration) {
        self.first_token
            .get_or_create(&ModelLabels { model: self.model(model) })
            .observe(elapsed.as_secs_f64());
    }

    /// One question to a model, as `ok` or by `ModelError::outcome`.
    pub fn model_call(&self, model: &str, outcome: &'static str) {
        self.model_calls.get_or_create(&ModelCallLabels { model: self.model(model), outcome }).inc();
    }

    pub fn model_tokens(&self, model: &str, prompt_tokens: u32, completion_tokens: u32) {
        for (kind, count) in [("prompt", prompt_tokens), ("completion", completion_tokens)] {
            let labels = ModelTokenLabels { model: self.model(model), kind };
            self.model_tokens.get_or_create(&labels).inc_by(u64::from(count));
        }
    }

    /// In which of these states a model's breaker is; set before each scrape.
    pub fn set_model_breaker(&self, model: &str, states: &[&'static str], now: &str) {
        for &state in states {
            let labels = BreakerLabels { model: self.model(model), state };
            self.model_breaker.get_or_create(&labels).set(i64::from(state == now));
        }
    }

    /// One call into a plugin, as `ok`, `fault`, `trap` or `timeout`.
    pub fn plugin_call(
        &self,
        plugin: &str,
        function: &'static str,
        outcome: &'static str,
        elapsed: Duration,
    ) {
        let plugin = configured(&self.names.load().plugins, plugin);
        let timed = PluginLabels { plugin: plugin.clone(), function };
        self.plugin_call.get_or_create(&timed).observe(elapsed.as_secs_f64());
        self.plugin_calls.get_or_create(&PluginCallLabels { plugin, function, outcome }).inc();
    }

    /// Which releases serve; set before each scrape.
    pub fn set_releases(&self, served: Vec<Served>) {
        self.releases.set(served);
    }

    /// How much waits in the store; set before each scrape.
    pub fn set_queue(&self, unfinished: u64, dead: u64, oldest_age: Duration) {
        self.queue_unfinished.set(i64::try_from(unfinished).unwrap_or(i64::MAX));
        self.queue_dead.set(i64::try_from(dead).unwrap_or(i64::MAX));
        self.queue_oldest_age.set(oldest_age.as_secs_f64());
    }

    /// Counts one connection as open until the guard is dropped.
    pub fn connection(&self) -> Open {
        Open::new(&self.connections)
    }

    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts one chat request or socket as open until the guard is dropped.
    pub fn chat_connection(&self) -> Open {
        Open::new(&self.chat_connections)
    }

    /// How many sockets are open to a channel's platform now.
    pub fn set_platform_connections(&self, channel: &str, sockets: usize) {
        let labels = ChannelLabels { channel: self.channel(channel) };
        self.platform_connections.get_or_create(&labels).set(i64::try_from(sockets).unwrap_or(i64::MAX));
    }

    /// One attempt, as `opened`, `refused` (the handshake), `not_admitted` (the adapter or the platform, before it) or
    /// `unreached`.
    pub fn platform_connection_attempt(&self, channel: &str, outcome: &'static str) {
        let labels = MessageLabels { channel: self.channel(channel), outcome };
        self.platform_connection_attempts.get_or_create(&labels).inc();
    }

    /// One refusal by a limit, as `client`, `channel`, `person`, `key`, `queue` or `address`.
    pub fn limited(&self, channel: &str, limit: &'static str) {
        self.limited.get_or_create(&LimitedLabels { channel: self.channel(channel), limit }).inc();
    }

    /// What was told to others on the bus, as `published` or `dropped`.
    pub fn bus(&self, outcome: &'static str, notices: usize) {
        let notices = u64::try_from(notices).unwrap_or(u64::MAX);
        self.bus_notices.get_or_create(&BusLabels { outcome }).inc_by(notices);
    }

    /// All figures as text of the type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut figures = String::new();
        text::encode(&mut figures, &self.registry).expect("a string takes any text");
        figures
    }

    fn channel(&self, name: &str) -> String {
        configured(&self.names.load().channels, name)
    }

    fn model(&self, name: &str) -> String {
        configured(&self.names.load().models, name)
    }
}

/// Something that is open for as long as this lives.
#[derive(Debug)]
pub struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn configured(names: &BTreeSet<String>, name: &str) -> String {
    if names.contains(name) { name.to_owned() } else { OTHER.to_owned() }
}

fn status_class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
