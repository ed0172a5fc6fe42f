//! The store on Redis: the conformance suite on a server alone and on a Cluster, and what only a server that others
//! share, or that is far away, can do wrong.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "store/conformance.rs"]
#[macro_use]
mod conformance;
#[path = "redis/bus.rs"]
mod bus;
#[path = "redis/faults.rs"]
mod faults;
#[path = "store/interleavings.rs"]
mod interleavings;
#[path = "redis/proxy.rs"]
mod proxy;
#[path = "redis/server.rs"]
mod server;
#[path = "redis/tokens.rs"]
mod tokens;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parlor::store::redis::{Address, Options, RedisStore, Settings, Time};
use parlor::store::vault::Vault;
use proptest::prelude::*;

use interleavings::AfterRestart;

/// The suite is about what a store does, not how soon on a busy machine.
const UNHURRIED: Duration = Duration::from_secs(30);

/// A name that no other test has.
fn fresh_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn vault() -> Vault {
    Vault::derived(b"a secret that all nodes have", b"redis")
}

fn settings(urls: &[&str], prefix: &str) -> Settings {
    Settings {
        addresses: urls.iter().map(|url| Address::parse(url).unwrap()).collect(),
        prefix: prefix.to_owned(),
        wait_replicas: 0,
        options: Options { timeout: UNHURRIED, time: Time::Caller },
    }
}

async fn open(settings: Settings) -> RedisStore {
    RedisStore::connect(settings, vault()).await.unwrap()
}

fn alone(prefix: &str) -> Settings {
    settings(&[server::alone().url()], prefix)
}

fn cluster(prefix: &str) -> Settings {
    settings(&server::cluster().iter().map(String::as_str).collect::<Vec<_>>(), prefix)
}

mod on_a_server_alone {
    async fn opened() -> (super::RedisStore, ()) {
        (super::open(super::alone(&super::fresh_prefix())).await, ())
    }

    conformance!(opened);
}

mod on_a_cluster {
    async fn opened() -> (super::RedisStore, ()) {
        (super::open(super::cluster(&super::fresh_prefix())).await, ())
    }

    conformance!(opened);
}

fn interleave(settings: Settings, steps: Vec<interleavings::Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let opens = async || open(settings.clone()).await;
    runtime.block_on(interleavings::run(opens, AfterRestart::LeasesGoOn, steps));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_loses_doubles_or_reorders_a_turn(steps in interleavings::steps()) {
        interleave(alone(&fresh_prefix()), steps);
    }

    #[test]
    fn no_interleaving_on_a_cluster_loses_doubles_or_reorders_a_turn(steps in interleavings::steps()) {
        interleave(cluster(&fresh_prefix()), steps);
    }
}
