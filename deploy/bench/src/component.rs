//! The adapter as the host serves it: a component, loaded, fitted for a channel, and called within its bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parlor::adapter::{Adapter, Permits};
use parlor::clock::FixedClock;
use parlor::plugin::compile::Cache;
use parlor::plugin::manifest::Manifest;
use parlor::plugin::secrets::Secrets;
use parlor::plugin::services::{NoHttp, NoMemory, Services};
use parlor::plugin::shelf::{Fitted, Serving};
use parlor::plugin::signature::Trust;
use parlor::plugin::{Loader, Shelf, engine};
use secrecy::SecretString;

use crate::door::CHANNEL;
use crate::sample::{SECRET, Sample};

/// Compiles in a child process, as the host does, and loads.
pub async fn load(parlor: &Path, plugin: &Path, sample: &Sample, cache: &Path) -> Result<Adapter> {
    let built = engine::build().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    engine::tick(&built.engine).context("no thread for the plugins' deadlines")?;
    let instances_max = built.instances_max;
    let cache = Cache::open(cache, [7; 32], parlor.to_owned())?;
    let loader = Loader::new(built, cache, Arc::new(|_| ()), Trust::anybody());
    let package = loader.read(plugin)?;
    let release = loader.load(package).await?;
    let name = release.manifest.name.clone();
    let permits = Arc::new(Permits::new(instances_max, BTreeSet::from([name.clone()])));
    let reach = BTreeMap::from([(CHANNEL.into(), services(&release.manifest, sample))]);
    let shelf = Arc::new(Shelf::default());
    shelf.put(Serving { stable: Arc::new(Fitted::new(release, reach)), candidate: None });
    Ok(Adapter::new(name, CHANNEL.into(), shelf, permits))
}

fn services(manifest: &Manifest, sample: &Sample) -> Services {
    let settings = manifest.with_defaults(&BTreeMap::new()).into_iter();
    let secrets = BTreeMap::from([(SECRET.to_owned(), SecretString::from(sample.secret.as_str()))]);
    Services {
        channel: CHANNEL.into(),
        plugin: manifest.name.as_str().into(),
        settings: Arc::new(settings.map(|(name, value)| (name, value.to_string())).collect()),
        secrets: Arc::new(Secrets::new(manifest, &secrets)),
        http: Arc::new(NoHttp),
        memory: Arc::new(NoMemory),
        clock: Arc::new(FixedClock(sample.now_ms)),
    }
}
