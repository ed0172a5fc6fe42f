//! From a configuration's channels to wired ones: each plugin with its settings, secrets and permissions.
//! Every problem is noted, so that an operator hears of all of them at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::Parts;
use super::memory::StoredMemory;
use crate::adapter::{Adapter, Permits};
use crate::config::{Backend, CHAT_CHANNEL, ChannelLimits, Config, Model as Configured};
use crate::egress::Egress;
use crate::model::{self, Model};
use crate::pipeline::Stage;
use crate::plugin::Shelf;
use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::secrets::Secrets;
use crate::plugin::services::Services;
use crate::store::Store;
use crate::turn::Channel;

/// Far fewer than half of the smallest pool: a turn takes the instances of all its stages at once.
const PIPELINES_MAX: usize = 16;

pub struct Wiring<'a> {
    pub config: &'a Config,
    pub parts: &'a Parts,
    pub shelf: Arc<Shelf>,
    pub store: Arc<dyn Store>,
    pub egress: Egress,
    pub permits: Arc<Permits>,
    pub problems: Vec<String>,
}

/// What channels and the host's own door have in common.
struct Mouth<'a> {
    name: &'a str,
    pipelines: &'a [String],
    model: Option<&'a String>,
    history: u32,
    settings: &'a BTreeMap<String, Value>,
    secrets: &'a BTreeMap<String, SecretString>,
    limits: &'a ChannelLimits,
    /// Open lines that wait for a turn.
    queue: usize,
}

impl Wiring<'_> {
    pub fn channels(&mut self) -> BTreeMap<Arc<str>, Arc<Channel>> {
        let config = self.config;
        let mut channels = Vec::new();
        for (name, channel) in &config.channels {
            let mouth = Mouth {
                name,
                pipelines: &channel.pipelines,
                model: channel.model.as_ref(),
                history: channel.history,
                settings: &channel.settings,
                secrets: &channel.secrets,
                limits: &channel.limits,
                queue: 0,
            };
            let adapter = self.adapter(&mouth, &channel.adapter);
            channels.push(self.channel(&mouth, adapter));
        }
        if let Some(chat) = &config.chat {
            let mouth = Mouth {
                name: CHAT_CHANNEL,
                pipelines: &chat.pipelines,
                model: chat.model.as_ref(),
                history: chat.history,
                settings: &chat.settings,
                secrets: &chat.secrets,
                limits: &chat.limits,
                queue: chat.queue,
            };
            channels.push(self.channel(&mouth, None));
        }
        channels.into_iter().map(|channel| (channel.name.clone(), Arc::new(channel))).collect()
    }

    fn channel(&mut self, mouth: &Mouth<'_>, adapter: Option<Adapter>) -> Channel {
        if mouth.pipelines.len() > PIPELINES_MAX {
            self.note(
                mouth.name,
                format!("more than {PIPELINES_MAX} pipelines; a turn needs an instance of each at once"),
            );
        }
        let stages = mouth.pipelines.iter().filter_map(|name| self.stage(mouth, name)).collect();
        self.refuse_strangers(mouth);
        Channel {
            name: mouth.name.into(),
            adapter,
            stages,
            model: mouth.model.or(self.config.default_model.as_ref()).cloned(),
            history: mouth.history,
            time: mouth.limits.time,
            permits: Arc::new(Semaphore::new(mouth.limits.concurrent)),
            places: Arc::new(Semaphore::new(mouth.limits.concurrent + mouth.queue)),
        }
    }

    fn adapter(&mut self, mouth: &Mouth<'_>, plugin: &str) -> Option<Adapter> {
        let own = |name: &str| (!name.contains('.')).then(|| name.to_owned());
        let services = self.services(mouth, plugin, Kind::Adapter, own)?;
        Some(Adapter::new(plugin.to_owned(), self.shelf.clone(), services, self.permits.clone()))
    }

    fn stage(&mut self, mouth: &Mouth<'_>, plugin: &str) -> Option<Stage> {
        let own = |name: &str| name.strip_prefix(plugin)?.strip_prefix('.').map(str::to_owned);
        let services = self.services(mouth, plugin, Kind::Pipeline, own)?;
        Some(Stage { name: plugin.to_owned(), services, shelf: self.shelf.clone() })
    }

    /// What one plugin on one channel may reach; `own` picks its settings and secrets out of the channel's.
    fn services(
        &mut self,
        mouth: &Mouth<'_>,
        plugin: &str,
        kind: Kind,
        own: impl Fn(&str) -> Option<String>,
    ) -> Option<Services> {
        let Some(release) = self.shelf.release(plugin) else {
            self.note(
                mouth.name,
                format!("no plugin `{plugin}` is loaded; there are: {}", self.shelf.names().join(", ")),
            );
            return None;
        };
        let manifest = &release.manifest;
        if manifest.kind != kind {
            self.note(mouth.name, format!("`{plugin}` is {}, not {}", word(manifest.kind), word(kind)));
            return None;
        }
        let settings: BTreeMap<_, _> =
            mouth.settings.iter().filter_map(|(name, value)| Some((own(name)?, value.clone()))).collect();
        let secrets: BTreeMap<_, _> =
            mouth.secrets.iter().filter_map(|(name, value)| Some((own(name)?, value.clone()))).collect();
        let problems = manifest
            .settings_problems(&settings)
            .into_iter()
            .chain(manifest.secrets_problems(secrets.keys().map(String::as_str)));
        for problem in problems {
            self.note(mouth.name, format!("{plugin}: {problem}"));
        }
        Some(self.grant(mouth.name, manifest, &manifest.with_defaults(&settings), &secrets))
    }

    fn grant(
        &self,
        channel: &str,
        manifest: &Manifest,
        settings: &BTreeMap<String, Value>,
        secrets: &BTreeMap<String, SecretString>,
    ) -> Services {
        let secrets = Arc::new(Secrets::new(manifest, secrets));
        let clock = self.parts.clock.clone();
        Services {
            channel: channel.into(),
            plugin: manifest.name.as_str().into(),
            http: self.egress.gate(manifest, settings, secrets.clone()),
            settings: Arc::new(
                settings.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
            ),
            secrets,
            memory: Arc::new(StoredMemory::new(channel, &manifest.name, self.store.clone(), clock.clone())),
            clock,
        }
    }

    /// Settings of a pipeline that the channel does not use are a slip of the pen.
    fn refuse_strangers(&mut self, mouth: &Mouth<'_>) {
        let names = mouth.settings.keys().chain(mouth.secrets.keys());
        for (plugin, name) in names.filter_map(|name| name.split_once('.')) {
            if !mouth.pipelines.iter().any(|used| used == plugin) {
                self.note(
                    mouth.name,
                    format!("`{plugin}.{name}` is for the pipeline `{plugin}`, which is not in `pipelines`"),
                );
            }
        }
    }

    fn note(&mut self, channel: &str, problem: String) {
        self.problems.push(format!("channel `{channel}`: {problem}"));
    }

    pub fn models(&mut self) -> BTreeMap<String, Arc<dyn Model>> {
        let config = self.config;
        let mut models = BTreeMap::new();
        for (name, configured) in &config.models {
            match model(configured) {
                Ok(model) => drop(models.insert(name.clone(), model)),
                Err(problem) => self.problems.push(format!("model `{name}`: {problem}")),
            }
        }
        models
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Adapter => "an adapter",
        Kind::Pipeline => "a pipeline",
    }
}

fn model(configured: &Configured) -> Result<Arc<dyn Model>, String> {
    match &configured.backend {
        Backend::Echo => Ok(Arc::new(model::echo::Echo)),
        Backend::OpenAi(remote) => {
            Ok(Arc::new(model::openai::OpenAi::new(remote, configured).map_err(|error| error.to_string())?))
        }
        #[cfg(feature = "native")]
        Backend::Gguf(local) => Ok(model::gguf::Gguf::start(local, configured)),
        #[cfg(not(feature = "native"))]
        Backend::Gguf(_) => {
            Err("this build has no native models; build it with the feature `native`".to_owned())
        }
    }
}
