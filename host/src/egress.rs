//! HTTP by permission: the only way out for a plugin.
//!
//! `Egress` is shared by all, `Gate` is one plugin on one channel, and each call has one of its own. A request passes,
//! in this order: the rules of the manifest (`destination`), placeholders and tokens (`fill`, `token`), the rate
//! (`rate`), the caller's fence, the network (`network`, `wire`, `resolve`, `address`), and on its way back the scrubber
//! (`scrub`) and what keeps tickets (`ticket`). A long-lived socket (`socket`) is opened the same way. It knows no
//! platform.

mod address;
mod destination;
mod escape;
mod fill;
mod network;
mod rate;
mod resolve;
mod scrub;
mod socket;
mod ticket;
mod token;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::clock::Clock;
use crate::message::HttpResponse;
use crate::plugin::Endpoint;
use crate::plugin::manifest::{Manifest, Placeholder};
use crate::plugin::secrets::{SecretError, Secrets};
use crate::plugin::services::{FailureKind, Fence, Http, HttpFailure, Outbound};
use crate::store::vault::Vault;
use crate::store::{Allowance, Store};

pub use crate::plugin::services::{NotOpened, Socket, Stream};
pub use network::{Network, Request};
pub use resolve::{Resolver, SystemResolver};
pub use socket::socket;
pub use wire::RESPONSE_BYTES_MAX;

use destination::{Destination, denied};
use fill::Values;
use rate::Rates;
use scrub::{Hidden, Scrubber};
use ticket::Tickets;
use token::{Tokens, Used};
use wire::{Wire, unsent};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Longer than this no platform takes to answer.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// So long what must go out waits for its place in a rate; more is the turn's to wait for.
const RATE_PATIENCE: Duration = Duration::from_secs(5);
/// A chat's or a robot's id, and no more.
const LIMIT_KEY_BYTES_MAX: usize = 256;

/// Why there is no way out at all.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("the HTTP client cannot be set up; does this machine have CA certificates?")]
    Client(#[from] reqwest::Error),
}

/// The shared way out: pooled connections, tokens and rates.
#[derive(Debug, Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    network: Arc<dyn Network>,
    tokens: Tokens,
    rates: Rates,
}

impl Egress {
    /// `endpoints`: origins and what stands in for them, the only way to a private address.
    pub fn new(endpoints: BTreeMap<String, Url>) -> Result<Self, EgressError> {
        Self::with_resolver(endpoints, Arc::new(SystemResolver))
    }

    /// The same with names resolved by something else; what is private stays refused.
    pub fn with_resolver(
        endpoints: BTreeMap<String, Url>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, EgressError> {
        Ok(Self::over(Arc::new(Wire::new(endpoints, resolver)?)))
    }

    /// The same over something else than the wire.
    pub fn over(network: Arc<dyn Network>) -> Self {
        let shared = Shared { network, tokens: Tokens::default(), rates: Rates::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The same with rates counted and tokens kept in a store, for all nodes that share it. They have the same vault.
    #[must_use]
    pub fn sharing(self, store: Arc<dyn Store>, clock: Arc<dyn Clock>, vault: Vault) -> Self {
        let network = self.shared.network.clone();
        let tokens = Tokens::shared(store.clone(), clock.clone(), vault);
        Self { shared: Arc::new(Shared { network, tokens, rates: Rates::shared(store, clock) }) }
    }

    /// The way out for one plugin on one channel. `settings` are complete, defaults included.
    pub fn gate(
        &self,
        manifest: &Manifest,
        settings: &BTreeMap<String, Value>,
        secrets: Arc<Secrets>,
    ) -> Arc<Gate> {
        Arc::new(Gate {
            scope: scope(manifest, settings, &secrets).into(),
            manifest: Arc::new(manifest.clone()),
            settings: Arc::new(settings.clone()),
            secrets,
            shared: self.shared.clone(),
            leaves_room: false,
            fence: None,
            used: Mutex::default(),
            used_by_all: Arc::default(),
            tickets: Tickets::default(),
        })
    }
}

/// Who shares a rate: a plugin under the same settings and secrets, before and after a reload.
fn scope(manifest: &Manifest, settings: &BTreeMap<String, Value>, secrets: &Secrets) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for secret in &manifest.secrets {
        context.update(secrets.for_egress(&secret.name).unwrap_or_default().as_bytes());
        context.update(b"\0");
    }
    for (name, value) in settings {
        context.update(format!("{name}={value}\0").as_bytes());
    }
    format!("{} {}", manifest.name, hex::encode(context.finish()))
}

/// HTTP and sockets for one plugin on one channel: for one of its calls, if it was made by `for_a_call`.
pub struct Gate {
    manifest: Arc<Manifest>,
    settings: Arc<BTreeMap<String, Value>>,
    secrets: Arc<Secrets>,
    scope: Arc<str>,
    shared: Arc<Shared>,
    /// It takes no more than its share of a rate, and waits for none.
    leaves_room: bool,
    /// Whoever sends may only as long as this holds.
    fence: Option<Arc<dyn Fence>>,
    /// The token that this call used last, by its name.
    used: Mutex<BTreeMap<String, Used>>,
    /// The value that any call on the channel used last: a service may say to one what it was sent by another.
    used_by_all: Arc<Mutex<BTreeMap<String, String>>>,
    tickets: Tickets,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({})", self.manifest.name)
    }
}

#[async_trait]
impl Http for Gate {
    async fn send(&self, request: Outbound) -> Result<HttpResponse, HttpFailure> {
        let destination = Destination::find(&self.manifest, &self.settings, &request)?;
        check_headers(&request)?;
        let allowances = self.allowances(&destination, &request)?;
        let places = &destination.rule.places;
        let values = self.values(fill::wanted(places, &destination.url, &request)).await?;
        let filled = fill::fill(places, &values, destination.url.clone(), &request)?;
        if !destination.still_fits(&self.settings, &filled.url) {
            return Err(denied("with its values put in, the URL leaves what the manifest allows"));
        }
        let scrubber = self.scrubber(&values);
        let outbound = Request {
            method: request.method,
            url: filled.url,
            headers: filled.headers,
            body: filled.body,
            timeout: request.timeout.unwrap_or(TIMEOUT_DEFAULT).min(TIMEOUT_MAX),
        };
        // Last, so that what is counted goes out at once: a token that is minted first takes its time.
        self.take_rates(&allowances).await?;
        self.check_fence().await?;
        match self.shared.network.exchange(outbound).await {
            // A ticket is taken as it came: part of it may look like a secret that was cut.
            Ok(response) => Ok(scrubbed(&scrubber, self.tickets.keep(&destination.rule.tickets, response))),
            Err(failure) => Err(HttpFailure { reason: scrubber.text(&failure.reason), ..failure }),
        }
    }

    fn expire_token(&self, name: &str) {
        let used = self.used.lock().expect("nothing panics while it holds the tokens").get(name).cloned();
        if let Some(used) = used {
            self.shared.tokens.expire(&used);
        }
    }

    async fn open(&self, endpoint: Endpoint) -> Result<Socket, NotOpened> {
        self.open_socket(endpoint).await
    }

    fn for_a_call(&self) -> Arc<dyn Http> {
        Arc::new(self.another())
    }

    fn leaving_room(&self) -> Arc<dyn Http> {
        Arc::new(Gate { leaves_room: true, ..self.another() })
    }

    fn within(&self, fence: Arc<dyn Fence>) -> Arc<dyn Http> {
        Arc::new(Gate { fence: Some(fence), ..self.another() })
    }
}

impl Gate {
    fn another(&self) -> Gate {
        Gate {
            manifest: self.manifest.clone(),
            settings: self.settings.clone(),
            secrets: self.secrets.clone(),
            scope: self.scope.clone(),
            shared: self.shared.clone(),
            leaves_room: self.leaves_room,
            fence: self.fence.clone(),
            used: Mutex::default(),
            used_by_all: self.used_by_all.clone(),
            tickets: Tickets::default(),
        }
    }

    async fn check_fence(&self) -> Result<(), HttpFailure> {
        match &self.fence {
            Some(fence) if !fence.holds().await => {
                let reason = "nobody wants it any more, or the turn is not surely this host's".to_owned();
                Err(unsent(FailureKind::Other, reason))
            }
            _ => Ok(()),
        }
    }

    /// Opens a long-lived socket. What went wrong is told without what was put in.
    async fn open_socket(&self, endpoint: Endpoint) -> Result<Socket, NotOpened> {
        let destination = Destination::find_socket(&self.manifest, &self.settings, &endpoint.url)?;
        let request = Outbound {
            method: "GET".to_owned(),
            url: endpoint.url,
            headers: endpoint.headers,
            ..Outbound::default()
        };
        check_headers(&request)?;
        let places = &destination.rule.places;
        let values = self.values(fill::wanted(places, &destination.url, &request)).await?;
        let filled = fill::fill(places, &values, destination.url.clone(), &request)?;
        if !destination.still_fits(&self.settings, &filled.url) {
            return Err(denied("with its values put in, the URL leaves what the manifest allows").into());
        }
        let fill::Filled { url, headers, body } = filled;
        let handshake = Request { method: request.method, url, headers, body, timeout: TIMEOUT_DEFAULT };
        let scrubber = self.scrubber(&values);
        self.shared.network.open(handshake).await.map_err(|why| match why {
            NotOpened::Refused(response) => NotOpened::Refused(scrubbed(&scrubber, response)),
            NotOpened::Failed(failure) => {
                NotOpened::Failed(HttpFailure { reason: scrubber.text(&failure.reason), ..failure })
            }
        })
    }

    /// What a request takes of the rates of its destination.
    fn allowances(
        &self,
        destination: &Destination<'_>,
        request: &Outbound,
    ) -> Result<Vec<Allowance>, HttpFailure> {
        let limit_key = request.limit_key.as_deref().unwrap_or_default();
        if limit_key.len() > LIMIT_KEY_BYTES_MAX {
            return Err(denied(format!("the limit key is over {LIMIT_KEY_BYTES_MAX} bytes")));
        }
        let (scope, index, rule) = (&self.scope, destination.index, destination.rule);
        let of_key = rule.rate.map(|rate| (format!("{scope} {index} key {limit_key}"), rate));
        let in_all = rule.rates_in_all.iter().enumerate();
        let in_all = in_all.map(|(number, rate)| (format!("{scope} {index} all {number}"), *rate));
        let rates = of_key.into_iter().chain(in_all);
        Ok(rates.flat_map(|(key, rate)| rate::allowances(&key, rate, self.leaves_room)).collect())
    }

    /// What may be left undone is refused at once where there is no room; the rest waits for its place a while.
    async fn take_rates(&self, allowances: &[Allowance]) -> Result<(), HttpFailure> {
        if allowances.is_empty() {
            return Ok(());
        }
        let patience = if self.leaves_room { Duration::ZERO } else { RATE_PATIENCE };
        let until = Instant::now() + patience;
        while let Err(wait) = self.shared.rates.take(allowances).await {
            if Instant::now() + wait > until {
                let reason = "the manifest's rates for this destination leave no room now".to_owned();
                return Err(HttpFailure {
                    retry_after: Some(wait),
                    ..unsent(FailureKind::Throttled, reason)
                });
            }
            sleep(wait).await;
        }
        Ok(())
    }

    async fn values(&self, wanted: impl IntoIterator<Item = Placeholder>) -> Result<Values, HttpFailure> {
        let mut values = Values::new();
        for what in wanted {
            let value = match &what {
                Placeholder::Token(name) => self.token(name).await?,
                Placeholder::Ticket(name) => self.tickets.take(name)?,
                what => self.plain(what)?,
            };
            values.insert(what, value);
        }
        Ok(values)
    }

    /// The value of a secret or a setting.
    fn plain(&self, what: &Placeholder) -> Result<String, HttpFailure> {
        match what {
            Placeholder::Secret(name) => {
                let value = self.secrets.for_egress(name).map(str::to_owned);
                value.map_err(|error: SecretError| denied(format!("the secret `{name}`: {error}")))
            }
            Placeholder::Setting(name) => match self.settings.get(name) {
                Some(Value::String(text)) => Ok(text.clone()),
                Some(value) => Ok(value.to_string()),
                None => Err(denied(format!("the setting `{name}` is not set: set it for this channel"))),
            },
            Placeholder::Token(name) => Err(denied(format!("the token `{name}` cannot stand in a recipe"))),
            Placeholder::Ticket(name) => Err(denied(format!("the ticket `{name}` cannot stand in a recipe"))),
        }
    }

    /// Takes out what this request put in, and what others may have: a service can keep what it was given, and say
    /// it back later. Settings are no secrets: the plugin may read them anyway.
    fn scrubber(&self, values: &Values) -> Scrubber {
        let put_in =
            values.iter().filter(|(what, _)| matches!(what, Placeholder::Token(_) | Placeholder::Ticket(_)));
        let put_in = put_in.map(|(_, value)| value.as_str());
        let used = self.used.lock().expect("nothing panics while it holds the tokens");
        let used_by_all = self.used_by_all.lock().expect("nothing panics while it holds the tokens");
        let tokens = used.values().map(|used| &used.value).chain(used_by_all.values()).map(String::as_str);
        Scrubber::new(self.hidden_secrets().chain(put_in.chain(tokens).map(Hidden::from)))
    }

    /// The secrets that requests may hold, each as far as it is one.
    fn hidden_secrets(&self) -> impl Iterator<Item = Hidden<'_>> {
        self.manifest.secrets.iter().filter_map(move |secret| {
            let value = self.secrets.for_egress(&secret.name).ok()?;
            Some(match &secret.public_until {
                Some(mark) => Hidden::behind(mark, value),
                None => value.into(),
            })
        })
    }

    async fn token(&self, name: &str) -> Result<String, HttpFailure> {
        let recipe = self.manifest.token(name);
        let recipe = recipe.ok_or_else(|| denied(format!("the manifest has no token `{name}`")))?;
        let shared = &self.shared;
        let used =
            shared.tokens.get(&*shared.network, &self.manifest.name, recipe, |what| self.plain(what)).await?;
        let value = used.value.clone();
        self.used.lock().expect("nothing panics while it holds the tokens").insert(name.to_owned(), used);
        let mut used_by_all = self.used_by_all.lock().expect("nothing panics while it holds the tokens");
        used_by_all.insert(name.to_owned(), value.clone());
        Ok(value)
    }
}

/// What the plugin may not set is refused before anything is counted or minted.
fn check_headers(request: &Outbound) -> Result<(), HttpFailure> {
    for (name, value) in &request.headers {
        if wire::is_reserved(&name.to_ascii_lowercase()) {
            return Err(denied(format!("the header `{name}` is the host's to set: leave it out")));
        }
        if name.contains(['\r', '\n']) || value.contains(['\r', '\n']) {
            return Err(denied("a header holds a line break: leave it out"));
        }
    }
    Ok(())
}

fn scrubbed(scrubber: &Scrubber, response: HttpResponse) -> HttpResponse {
    let headers = response.headers.iter().map(|(name, value)| (scrubber.text(name), scrubber.text(value)));
    HttpResponse {
        status: response.status,
        headers: headers.collect(),
        body: Bytes::from(scrubber.bytes(&response.body)),
    }
}
