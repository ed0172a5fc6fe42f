//! How much a channel, a person and a token may ask: the configured rates, counted in the store.
//!
//! It says who is over which limit and for how long; what becomes of him the door or the turn decides. A store
//! that does not answer limits nobody: these protect the host, and must not be what stops it. How buckets fill
//! `store::allowance` knows.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Millis};
use crate::config::Rate;
use crate::store::allowance::{Buckets, Used};
use crate::store::{Allowance, Store, StoreError, Verdict};
use crate::telemetry::{self, Metrics};

/// Refusals of one key are logged once in this time.
const LOGGED_EVERY: Duration = Duration::from_mins(1);
/// The first 64 bits of an IPv6 address, which name a site.
const SITE: u128 = !0 << 64;

/// The rates of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// All that comes to it.
    pub channel: Option<Rate>,
    /// Each person on it.
    pub person: Option<Rate>,
}

/// Whose allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The address that a webhook comes from.
    Client,
    Channel,
    Person,
    Key,
}

impl Limit {
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Client => "client",
            Limit::Channel => "channel",
            Limit::Person => "person",
            Limit::Key => "key",
        }
    }
}

/// An allowance of which something is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    pub limit: Limit,
    /// None: over all channels.
    pub channel: Option<String>,
    /// An address, a person or a token's id.
    pub who: Option<String>,
    /// When all of it is there again.
    pub full_at: Millis,
}

impl Drawn {
    /// None for what only remembers that somebody was told.
    fn of(used: Used) -> Option<Drawn> {
        let (kind, rest) = used.key.split_once(' ')?;
        let (channel, who) = rest.split_once(' ').map_or((rest, None), |(channel, who)| (channel, Some(who)));
        let (limit, channel, who) = match kind {
            "channel" => (Limit::Channel, Some(channel), None),
            "client" => (Limit::Client, Some(channel), who),
            "person" | "aside" => (Limit::Person, Some(channel), who),
            "key" => (Limit::Key, None, Some(rest)),
            _ => return None,
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Drawn { limit, channel: owned(channel), who: owned(who), full_at: used.full_at })
    }
}

/// More than a limit allows, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", sentence(*.limit, *.wait))]
pub struct Excess {
    pub limit: Limit,
    pub wait: Duration,
}

fn sentence(limit: Limit, wait: Duration) -> String {
    let seconds = whole_seconds(wait);
    match limit {
        Limit::Client => format!("too many requests from your address; try again in {seconds} s"),
        Limit::Channel => format!("too many requests to this channel; try again in {seconds} s"),
        Limit::Person => format!("you ask faster than you may; try again in {seconds} s"),
        Limit::Key => format!("too many requests with this token; try again in {seconds} s"),
    }
}

/// Rounded up: whoever comes back a little late is served, a little early is not.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The configured rates and what counts them.
#[derive(Debug)]
pub struct Limits {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    channels: BTreeMap<String, Rates>,
    /// Each token, over all of the host's own doors.
    key: Option<Rate>,
    /// Of whom the log told of late.
    logged: Buckets,
}

impl Limits {
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        channels: BTreeMap<String, Rates>,
        key: Option<Rate>,
    ) -> Limits {
        Limits { store, clock, metrics, channels, key, logged: Buckets::default() }
    }

    /// A webhook of a channel, before anybody looks into it: counted for the client's address, since whoever
    /// knows the URL may send one, and must not use up what is the platform's.
    pub async fn webhook(&self, channel: &str, client: Option<IpAddr>) -> Result<(), Excess> {
        let rates = self.rates(channel);
        self.take(channel, &[rates.channel.map(|rate| Held::client(channel, client, rate))]).await
    }

    /// A verified webhook of a channel, before it is stored.
    pub async fn verified_webhook(&self, channel: &str) -> Result<(), Excess> {
        let rates = self.rates(channel);
        self.take(channel, &[rates.channel.map(|rate| Held::channel(channel, rate))]).await
    }

    /// A question at one of the host's own doors, by whom and with which token.
    pub async fn question(&self, channel: &str, person: &str, key: Option<&str>) -> Result<(), Excess> {
        let rates = self.rates(channel);
        let held = [
            rates.channel.map(|rate| Held::channel(channel, rate)),
            rates.person.map(|rate| Held::person(channel, person, rate)),
            self.key.map(|rate| Held::key(key.unwrap_or(person), rate)),
        ];
        self.take(channel, &held).await
    }

    /// A verified message of a person on a channel. What is said aside, not to the bot, has a bucket of its own,
    /// so that who chats in a group can ask as well.
    pub async fn message(&self, channel: &str, person: &str, is_aside: bool) -> Result<(), Excess> {
        let rates = self.rates(channel);
        let held = if is_aside { Held::aside } else { Held::person };
        self.take(channel, &[rates.person.map(|rate| held(channel, person, rate))]).await
    }

    /// Whether people on a channel are limited at all.
    pub fn limits_people(&self, channel: &str) -> bool {
        self.rates(channel).person.is_some()
    }

    /// Whether a person is to be told that he has to wait for so long: once, until the wait is over.
    pub async fn tells(&self, channel: &str, person: &str, wait: Duration) -> bool {
        let once = Rate { interval: wait, burst: 1 };
        let told = allowance(format!("told {channel} {person}"), once);
        matches!(self.verdict(&[told]).await, Some(Verdict::Granted) | None)
    }

    /// The allowances of which most is used.
    pub async fn drawn(&self, limit: u32) -> Result<Vec<Drawn>, StoreError> {
        let used = self.store.used_allowances(self.clock.now(), limit).await?;
        Ok(used.into_iter().filter_map(Drawn::of).collect())
    }

    /// Something was refused by a bound that is no rate: counted as the others are.
    pub fn count(&self, channel: &str, limit: &'static str) {
        self.metrics.limited(channel, limit);
    }

    fn rates(&self, channel: &str) -> Rates {
        self.channels.get(channel).copied().unwrap_or_default()
    }

    async fn take(&self, channel: &str, held: &[Option<Held>]) -> Result<(), Excess> {
        let held: Vec<&Held> = held.iter().flatten().collect();
        if held.is_empty() {
            return Ok(());
        }
        let allowances: Vec<Allowance> = held.iter().map(|held| held.allowance.clone()).collect();
        match self.verdict(&allowances).await {
            Some(Verdict::Refused { which, again_at }) => {
                let wait = Duration::from_millis(again_at.saturating_sub(self.clock.now()));
                self.refuse(channel, held[which], wait)
            }
            _ => Ok(()),
        }
    }

    /// None: the store did not answer.
    async fn verdict(&self, allowances: &[Allowance]) -> Option<Verdict> {
        let verdict = self.store.take(self.clock.now(), allowances).await;
        verdict.inspect_err(|error| tracing::error!(error = %error, "limits are not counted")).ok()
    }

    fn refuse(&self, channel: &str, held: &Held, wait: Duration) -> Result<(), Excess> {
        let limit = held.limit;
        self.metrics.limited(channel, limit.as_str());
        let rarely = allowance(held.allowance.key.clone(), Rate { interval: LOGGED_EVERY, burst: 1 });
        if self.logged.take(self.clock.now(), &[rarely]) == Verdict::Granted {
            let who = held.who.as_deref().map(telemetry::person);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                event.action = "limit",
                channel,
                limit = limit.as_str(),
                person = who,
                wait_ms,
                "over a limit; told once a minute"
            );
        }
        Err(Excess { limit, wait })
    }
}

/// One allowance, and whose it is.
struct Held {
    limit: Limit,
    allowance: Allowance,
    /// A person, a token or an address, for the log.
    who: Option<String>,
}

impl Held {
    fn channel(channel: &str, rate: Rate) -> Held {
        Held { limit: Limit::Channel, allowance: allowance(format!("channel {channel}"), rate), who: None }
    }

    /// Addresses of one IPv6 site are one: it has more of them than there are buckets.
    fn client(channel: &str, client: Option<IpAddr>, rate: Rate) -> Held {
        let site = match client {
            Some(IpAddr::V6(address)) => {
                IpAddr::from(Ipv6Addr::from_bits(address.to_bits() & SITE)).to_string()
            }
            Some(address) => address.to_string(),
            None => "unknown".to_owned(),
        };
        let allowance = allowance(format!("client {channel} {site}"), rate);
        Held { limit: Limit::Client, allowance, who: Some(site) }
    }

    // A channel's name has no space in it, so that no two keys are the same.
    fn person(channel: &str, person: &str, rate: Rate) -> Held {
        let allowance = allowance(format!("person {channel} {person}"), rate);
        Held { limit: Limit::Person, allowance, who: Some(person.to_owned()) }
    }

    fn aside(channel: &str, person: &str, rate: Rate) -> Held {
        let allowance = allowance(format!("aside {channel} {person}"), rate);
        Held { allowance, ..Held::person(channel, person, rate) }
    }

    fn key(key: &str, rate: Rate) -> Held {
        Held {
            limit: Limit::Key,
            allowance: allowance(format!("key {key}"), rate),
            who: Some(key.to_owned()),
        }
    }
}

fn allowance(key: String, rate: Rate) -> Allowance {
    Allowance { key, interval: rate.interval, burst: rate.burst }
}
