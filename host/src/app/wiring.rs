//! From a configuration's channels to wired ones, and from its models to those that answer.
//! Every problem is noted, so that an operator hears of all of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::fit::of_channel;
use crate::adapter::{Adapter, Permits};
use crate::config::mouth::{self, Mouth};
use crate::config::{Backend, Config, Model as Configured};
use crate::model::{self, Model};
use crate::pipeline::Stage;
use crate::plugin::Shelf;
use crate::turn::Channel;

/// Far fewer than half of the smallest pool: a turn takes the instances of all its stages at once.
const PIPELINES_MAX: usize = 16;

/// What keeps the channels of a configuration from serving with the plugins that are `loaded`. What keeps one of those
/// from serving a channel is found when it is fitted.
pub fn problems(config: &Config, loaded: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for mouth in mouth::all(config) {
        let missing = mouth.plugins().filter(|plugin| !loaded.iter().any(|name| name == plugin));
        let missing =
            missing.map(|plugin| format!("no plugin `{plugin}` is loaded; {}", remedy(config, loaded)));
        let found = missing.chain(too_many(&mouth)).chain(strangers(&mouth));
        problems.extend(found.map(|problem| of_channel(&mouth.name, &problem)));
    }
    problems
}

/// What to do where a plugin is missing.
fn remedy(config: &Config, loaded: &[String]) -> String {
    let folder = config.plugins.folder.display();
    match loaded.join(", ").as_str() {
        "" => format!("put its `.wasm` file into `{folder}`, where there is none yet"),
        names => format!("put its `.wasm` file into `{folder}`, or name one of {names}"),
    }
}

fn too_many(mouth: &Mouth<'_>) -> Option<String> {
    (mouth.pipelines.len() > PIPELINES_MAX)
        .then(|| format!("a turn needs an instance of each pipeline at once; take at most {PIPELINES_MAX}"))
}

/// Settings of a pipeline that the channel does not use are a slip of the pen.
fn strangers(mouth: &Mouth<'_>) -> Vec<String> {
    let names = mouth.settings.keys().chain(mouth.secrets.keys());
    let strangers = names
        .filter_map(|name| name.split_once('.'))
        .filter(|(plugin, _)| !mouth.pipelines.iter().any(|used| used == plugin));
    strangers
        .map(|(plugin, name)| {
            format!("`{plugin}.{name}` is for the pipeline `{plugin}`, which is not in `pipelines`")
        })
        .collect()
}

/// The adapters that its channels speak through.
pub fn adapters(config: &Config) -> BTreeSet<String> {
    mouth::all(config).into_iter().filter_map(|mouth| mouth.adapter.map(str::to_owned)).collect()
}

/// The channels of a configuration, each of whose plugins is on the shelf.
pub fn channels(
    config: &Config,
    shelf: &Arc<Shelf>,
    permits: &Arc<Permits>,
) -> BTreeMap<Arc<str>, Arc<Channel>> {
    let channels = mouth::all(config).into_iter().map(|mouth| channel(&mouth, shelf, permits));
    channels.chain([Channel::of_jobs()]).map(|channel| (channel.name.clone(), Arc::new(channel))).collect()
}

fn channel(mouth: &Mouth<'_>, shelf: &Arc<Shelf>, permits: &Arc<Permits>) -> Channel {
    let name: Arc<str> = mouth.name.as_str().into();
    let adapter =
        |plugin: &str| Adapter::new(plugin.to_owned(), name.clone(), shelf.clone(), permits.clone());
    let stage = |plugin: &String| Stage::new(plugin.clone(), name.clone(), shelf.clone());
    Channel {
        adapter: mouth.adapter.map(adapter),
        stages: mouth.pipelines.iter().map(stage).collect(),
        model: mouth.model.cloned(),
        history: mouth.history,
        time: mouth.limits.time,
        meanwhile: mouth.meanwhile,
        stale: mouth.stale,
        concurrent: mouth.limits.concurrent,
        reply_via: mouth.reply_via.cloned(),
        permits: Arc::new(Semaphore::new(mouth.limits.concurrent)),
        places: Arc::new(Semaphore::new(mouth.limits.concurrent + mouth.queue)),
        name,
    }
}

/// The configured models, and what keeps others from answering.
pub fn models(config: &Config) -> (BTreeMap<String, Arc<dyn Model>>, Vec<String>) {
    let (mut models, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, configured) in &config.models {
        match model(name, configured) {
            Ok(model) => drop(models.insert(name.clone(), model)),
            Err(problem) => problems.push(format!("model `{name}`: {problem}")),
        }
    }
    (models, problems)
}

fn model(name: &str, configured: &Configured) -> Result<Arc<dyn Model>, String> {
    match &configured.backend {
        Backend::Echo => Ok(Arc::new(model::echo::Echo)),
        Backend::OpenAi(remote) => {
            let model = model::openai::OpenAi::new(name, remote, configured);
            Ok(Arc::new(model.map_err(|error| error.to_string())?))
        }
        #[cfg(feature = "native")]
        Backend::Gguf(local) => Ok(model::gguf::Gguf::start(local, configured)),
        #[cfg(not(feature = "native"))]
        Backend::Gguf(_) => {
            Err("this build has no native models; build it with the feature `native`".to_owned())
        }
    }
}
