//! Which store a configuration means: Redis if it names one, else a file in the data folder.

use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use super::{Parts, Place};
use crate::config::{Config, Redis};
use crate::store::Store;
use crate::store::redis::{Address, Options, RedisStore, Settings, TIMEOUT, Time};
use crate::store::sqlite::SqliteStore;
use crate::store::vault::Vault;

/// What seals in the store. With Redis all nodes open alike what lies there, and they have no file in common; `own` is
/// the data folder's.
pub(super) fn vault(config: &Config, own: &Vault) -> Vault {
    match &config.redis {
        Some(_) => Vault::derived(config.auth.jwt_secret.expose_secret().as_bytes(), b"redis"),
        None => own.clone(),
    }
}

pub(super) async fn open(config: &Config, parts: &Parts, vault: Vault) -> anyhow::Result<Arc<dyn Store>> {
    let Some(redis) = &config.redis else {
        let store = SqliteStore::open(&config.data, vault)?;
        store.wake(parts.clock.now()).await?;
        return Ok(Arc::new(store));
    };
    // A function is frozen after its response, and could not say that it lives.
    anyhow::ensure!(
        parts.place == Place::Server,
        "`store.redis` is for servers: a function keeps what it is asked in its queue; take `store` out"
    );
    let options = Options { timeout: TIMEOUT, time: Time::Server(parts.clock.clone()) };
    let settings = Settings {
        addresses: addresses(redis)?,
        prefix: redis.prefix.clone(),
        wait_replicas: redis.wait_replicas,
        options,
    };
    Ok(Arc::new(RedisStore::connect(settings, vault).await?))
}

/// The servers that a configuration names.
pub fn addresses(redis: &Redis) -> anyhow::Result<Vec<Address>> {
    let parse = |url: &secrecy::SecretString| {
        Address::parse(url.expose_secret())
            .map_err(anyhow::Error::msg)
            .context("`store.redis` cannot be used")
    };
    redis.urls.iter().map(parse).collect()
}
