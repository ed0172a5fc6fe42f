//! The wiring: a configuration becomes a host that can serve. The only file that names every module.

mod memory;
mod readiness;
mod talk;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::adapter::{Adapter, Permits};
use crate::auth::{Issuer, Verifier};
use crate::clock::Clock;
use crate::config::{self, Backend, CHAT_CHANNEL, Config};
use crate::conversation::Listeners;
use crate::doors;
use crate::drain::Drain;
use crate::egress::Egress;
use crate::model::{self, Model};
use crate::pipeline::Stage;
use crate::plugin::compile::Cache;
use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::secrets::Secrets;
use crate::plugin::services::Services;
use crate::plugin::{Release, Shelf, engine};
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::store::vault::Vault;
use crate::telemetry::{self, Metrics};
use crate::turn::{Channel, Running, Turns};

/// Finished turns past their retention are deleted this often.
const SWEEP: Duration = Duration::from_secs(600);

/// What the process brings along, so that a trial can bring something else.
#[derive(Debug)]
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    /// The `parlor` binary, which compiles plugins in a child process.
    pub compiler: PathBuf,
}

/// A host that is wired and can serve.
#[derive(Debug)]
pub struct App {
    turns: Arc<Turns>,
    shelf: Arc<Shelf>,
    config: Config,
    doors: doors::Keys,
    models: Vec<Arc<readiness::Loading>>,
}

impl App {
    /// Wires a host. Every problem that keeps it from serving comes at once.
    pub async fn build(config: Config, parts: Parts) -> anyhow::Result<App> {
        std::fs::create_dir_all(&config.data).with_context(|| format!("cannot make the data folder `{}`", config.data.display()))?;
        let vault = Vault::open(&config.data)?;
        telemetry::set_salt(&vault.subkey(b"person"));
        let metrics = Arc::new(Metrics::new());
        let shelf = Arc::new(shelf(&config, &parts, &vault, metrics.clone())?);
        load_plugins(&shelf, &config).await?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.data, vault)?);
        let mut wiring = Wiring::new(&config, &parts, shelf.clone(), store.clone())?;
        let channels = wiring.channels();
        let (models, loading) = wiring.models();
        wiring.finish()?;
        metrics.set_names(names(&config, &shelf));
        let doors = doors::Keys {
            issuer: Issuer::new(&config.auth.jwt_secret, &config.auth.issuers[0], &config.auth.audience[0], parts.clock.clone()),
            verifier: Verifier::new(&config.auth.jwt_secret, &config.auth.issuers, &config.auth.audience, parts.clock.clone()),
        };
        let turns = Arc::new(Turns {
            store,
            channels,
            models,
            listeners: Listeners::default(),
            clock: parts.clock,
            metrics,
            drain: Drain::new(),
            permits: Arc::new(Semaphore::new(config.limits.turns_max)),
            wake: tokio::sync::Notify::new(),
            running: Running::default(),
        });
        Ok(App { turns, shelf, config, doors, models: loading })
    }
}
