//! Tokens after the manifest's recipes: minted once for all who wait, kept until shortly before their end.
//!
//! Those in use are in the memory of this process; in the store (`stock`) they lie for the other nodes and for the next
//! start. A recipe with its values filled in is the key, so that channels with the same credentials share a token, and
//! one whose secret was changed gets a new one.

mod stock;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::destination::denied;
use super::escape;
use super::network::{Network, Request};
use super::wire::unsent;
use crate::clock::Clock;
use crate::message::HttpResponse;
use crate::plugin::manifest::{Placeholder, Template, Token};
use crate::plugin::services::{FailureKind, HttpFailure};
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

use stock::{Place, Right, Stock};

const MINT_TIMEOUT: Duration = Duration::from_secs(10);
/// A platform that refuses to mint is asked again after this, then after twice as long, and so on.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A younger token is not the one that was called stale: somebody minted meanwhile.
const STALE_AGE_MIN: Duration = Duration::from_secs(1);
/// No platform's token lives longer; a longer claim is a mistake.
const LIFETIME_MAX: Duration = Duration::from_secs(90 * 86_400);

/// A token in use.
#[derive(Debug, Clone)]
pub(super) struct Used {
    pub value: String,
    key: Key,
    number: u64,
}

type Key = [u8; 32];

/// All tokens of this process.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    slots: Mutex<BTreeMap<Key, Arc<Slot>>>,
    numbers: AtomicU64,
    /// None: no store is shared.
    stock: Option<Stock>,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    /// Held by the one who mints, in this process.
    minting: tokio::sync::Mutex<Right>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

#[derive(Default)]
struct State {
    token: Option<Minted>,
    /// The last one that was called stale: it may still lie in the store.
    stale: Option<String>,
    refused: Option<Refused>,
}

struct Minted {
    value: String,
    number: u64,
    at: Instant,
    until: Instant,
}

#[derive(Clone)]
struct Refused {
    failure: HttpFailure,
    times: u32,
    until: Instant,
}

/// A token as it comes, from its origin or out of the store.
struct Obtained {
    value: String,
    /// How long ago it was minted.
    age: Duration,
    /// How long it is used from now on.
    life: Duration,
}

impl Tokens {
    /// Kept in a store too, for all nodes that share it and have the same vault.
    pub(super) fn shared(store: Arc<dyn Store>, clock: Arc<dyn Clock>, vault: Vault) -> Self {
        Self { stock: Some(Stock::new(store, clock, vault)), ..Self::default() }
    }

    /// The token of this recipe, minted if there is none that lives.
    pub(super) async fn get(
        &self,
        network: &dyn Network,
        plugin: &str,
        recipe: &Token,
        value: impl Fn(&Placeholder) -> Result<String, HttpFailure>,
    ) -> Result<Used, HttpFailure> {
        let request = rendered(recipe, value)?;
        let key = key(plugin, recipe, &request);
        let slot = self
            .slots
            .lock()
            .expect("nothing panics while it holds the slots")
            .entry(key)
            .or_default()
            .clone();
        if let Some(known) = slot.known(key) {
            return known;
        }
        let mut right = slot.minting.lock().await;
        if let Some(known) = slot.known(key) {
            return known;
        }
        let minted = mint(network, recipe, request);
        let obtained = match self.stock.as_ref().map(|stock| stock.place(&key)) {
            Some(place) => share(&place, &mut right, &slot, &recipe.name, minted).await,
            None => minted.await,
        };
        slot.settle(obtained, self.numbers.fetch_add(1, Ordering::Relaxed));
        slot.known(key).unwrap_or_else(|| Err(unsent(FailureKind::Other, no_life(recipe))))
    }

    /// Forgets a token that the platform called stale, unless a newer one stands there already, and does not take it
    /// out of the store again.
    pub(super) fn expire(&self, used: &Used) {
        let slot =
            self.slots.lock().expect("nothing panics while it holds the slots").get(&used.key).cloned();
        let Some(slot) = slot else { return };
        let mut state = slot.state();
        let is_stale = |token: &Minted| token.number == used.number && token.at.elapsed() >= STALE_AGE_MIN;
        if state.token.as_ref().is_some_and(is_stale) {
            state.stale = state.token.take().map(|token| token.value);
        }
    }
}

impl Slot {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a token")
    }

    /// What is known without asking: a token that lives, or a refusal of just now.
    fn known(&self, key: Key) -> Option<Result<Used, HttpFailure>> {
        let now = Instant::now();
        let state = self.state();
        if let Some(token) = state.token.as_ref().filter(|token| now < token.until) {
            return Some(Ok(Used { value: token.value.clone(), key, number: token.number }));
        }
        let refused = state.refused.as_ref().filter(|refused| now < refused.until)?;
        let failure = HttpFailure { retry_after: Some(refused.until - now), ..refused.failure.clone() };
        Some(Err(failure))
    }

    fn settle(&self, obtained: Result<Obtained, HttpFailure>, number: u64) {
        let now = Instant::now();
        let mut state = self.state();
        match obtained {
            Ok(Obtained { value, age, life }) => {
                let at = now.checked_sub(age).unwrap_or(now);
                state.token = Some(Minted { value, number, at, until: now + life });
                state.refused = None;
            }
            Err(failure) => {
                let times = state.refused.as_ref().map_or(0, |refused| refused.times + 1);
                let backoff = RETRY_AFTER_MIN.saturating_mul(1 << times.min(6)).min(RETRY_AFTER_MAX);
                let wait =
                    failure.retry_after.unwrap_or(backoff).clamp(backoff, RETRY_AFTER_MAX.max(backoff));
                state.refused = Some(Refused { failure, times, until: now + wait });
            }
        }
    }
}

fn no_life(recipe: &Token) -> String {
    format!("the token `{}` ended as soon as it was minted", recipe.name)
}

fn key(plugin: &str, recipe: &Token, request: &Request) -> Key {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    add(plugin.as_bytes());
    add(recipe.name.as_bytes());
    add(request.method.as_bytes());
    add(request.url.as_str().as_bytes());
    request.headers.iter().for_each(|(name, value)| {
        add(name.as_bytes());
        add(value.as_bytes());
    });
    add(&request.body);
    context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// The recipe with its values in, each escaped for its place.
fn rendered(
    recipe: &Token,
    value: impl Fn(&Placeholder) -> Result<String, HttpFailure>,
) -> Result<Request, HttpFailure> {
    let fill = |template: &Template, escape: fn(&str) -> String| {
        template.render(|what| value(what).map(|value| escape(&value)))
    };
    let wrong = || denied(format!("the URL of the token `{}` cannot be read", recipe.name));
    let url = Url::parse(&fill(&recipe.url, escape::percent)?).map_err(|_| wrong())?;
    let mut headers = Vec::new();
    for (name, template) in &recipe.headers {
        headers.push((name.clone(), fill(template, str::to_owned)?));
    }
    let body = recipe.body.as_ref().map(|body| fill(body, body_escape(&headers))).transpose()?;
    let body = Bytes::from(body.unwrap_or_default());
    Ok(Request { method: recipe.method.clone(), url, headers, body, timeout: MINT_TIMEOUT })
}

/// How a value is written in a body of this type.
fn body_escape(headers: &[(String, String)]) -> fn(&str) -> String {
    let kind =
        headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value.as_str());
    match kind {
        kind if kind.contains("json") => escape::json,
        kind if kind.starts_with("application/x-www-form-urlencoded") => escape::percent,
        _ => str::to_owned,
    }
}

/// The token that lies in the store, or else a new one, which lies there from now on. A store that fails is left alone:
/// this node has a token of its own then.
async fn share(
    place: &Place<'_>,
    right: &mut Right,
    slot: &Slot,
    name: &str,
    minted: impl Future<Output = Result<Obtained, HttpFailure>>,
) -> Result<Obtained, HttpFailure> {
    let warn = |error: StoreError| tracing::warn!(token = name, error = %error, "a minted token is this node's alone");
    let stale = slot.state().stale.clone();
    match place.take(right, stale.as_deref()).await {
        Ok(Some(token)) => return Ok(token),
        Ok(None) => {}
        Err(error) => {
            warn(error);
            return minted.await;
        }
    }
    let minted = minted.await;
    if let Err(error) = place.leave(right, minted.as_ref().ok()).await {
        warn(error);
    }
    minted
}

/// A new token from its origin.
async fn mint(network: &dyn Network, recipe: &Token, request: Request) -> Result<Obtained, HttpFailure> {
    let failed = |failure: HttpFailure| HttpFailure {
        reason: format!("the token `{}` cannot be minted: {}", recipe.name, failure.reason),
        // What the plugin asked for has not gone out.
        request_sent: false,
        ..failure
    };
    let response = network.exchange(request).await.map_err(failed)?;
    read(recipe, &response).map_err(failed)
}

fn read(recipe: &Token, response: &HttpResponse) -> Result<Obtained, HttpFailure> {
    let status = response.status;
    if !(200..300).contains(&status) {
        let kind = if matches!(status, 429 | 503) { FailureKind::Throttled } else { FailureKind::Other };
        let failure =
            unsent(kind, format!("its origin answered with status {status}: check the credentials"));
        return Err(HttpFailure { retry_after: retry_after(response), ..failure });
    }
    let answer: Value = serde_json::from_slice(&response.body)
        .map_err(|_| unsent(FailureKind::Broken, "its origin answered with something else than JSON"))?;
    let value = answer.pointer(&recipe.value).and_then(Value::as_str).filter(|value| !value.is_empty());
    let missing = || format!("the answer has no text at `{}`: check the credentials", recipe.value);
    let value = value.ok_or_else(|| unsent(FailureKind::Other, missing()))?;
    let life = useful(recipe, lifetime(recipe, &answer)?);
    Ok(Obtained { value: value.to_owned(), age: Duration::ZERO, life })
}

fn lifetime(recipe: &Token, answer: &Value) -> Result<Duration, HttpFailure> {
    let told = recipe.lifetime.as_ref().and_then(|pointer| answer.pointer(pointer));
    // Some tell it as a number, some as a text.
    let seconds = told.and_then(|told| told.as_u64().or_else(|| told.as_str()?.parse().ok()));
    let lifetime = seconds.map(Duration::from_secs).or(recipe.lifetime_default);
    let missing = || unsent(FailureKind::Other, "the answer does not tell how long the token lives");
    lifetime.map(|lifetime| lifetime.min(LIFETIME_MAX)).ok_or_else(missing)
}

/// Less the margin, but at least half: a margin over the whole life would mint at each request.
fn useful(recipe: &Token, lifetime: Duration) -> Duration {
    lifetime.saturating_sub(recipe.refresh_margin).max(lifetime / 2)
}

fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let (_, value) = response.headers.iter().find(|(name, _)| name == "retry-after")?;
    value.parse().ok().map(Duration::from_secs)
}
