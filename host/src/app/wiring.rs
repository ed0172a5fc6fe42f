//! From a configuration's channels to wired ones: each plugin with its settings, secrets and permissions.
//! Every problem is noted, so that an operator hears of all of them at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::memory::StoredMemory;
use super::{Parts, Place, lines};
use crate::adapter::{Adapter, Permits};
use crate::config::{
    Backend, CHAT_CHANNEL, ChannelLimits, Config, Meanwhile, Model as Configured, OpenAiDoor, ReplyVia,
    openai_channel,
};
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

/// Questions of programs that wait for their turn, for each model: more are told when to come again, and their
/// clients do by themselves.
const PROGRAMS_QUEUED_MAX: usize = 64;

/// What channels and the host's own doors have in common.
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
            if let Some(via) = &channel.reply_via {
                self.refuse_blind_way(&mouth, &channel.adapter, via);
            }
            let wired = self.channel(&mouth, adapter);
            let (meanwhile, stale, reply_via) = (channel.meanwhile, channel.stale, channel.reply_via.clone());
            channels.push(Channel { meanwhile, stale, reply_via, ..wired });
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
        if let Some(door) = &config.openai {
            channels.extend(self.openai(door));
        }
        channels.push(Channel::of_jobs());
        channels.into_iter().map(|channel| (channel.name.clone(), Arc::new(channel))).collect()
    }

    /// Each model and each assistant of the door for OpenAI's clients. They keep no history: who asks brings
    /// along what was said before.
    fn openai(&mut self, door: &OpenAiDoor) -> Vec<Channel> {
        let (settings, secrets) = (BTreeMap::new(), BTreeMap::new());
        let mut channels = Vec::new();
        for name in &door.models {
            let mouth = Mouth {
                name: &openai_channel(name),
                pipelines: &[],
                model: Some(name),
                history: 0,
                settings: &settings,
                secrets: &secrets,
                limits: &door.limits,
                queue: PROGRAMS_QUEUED_MAX,
            };
            channels.push(self.channel(&mouth, None));
        }
        for (name, assistant) in &door.assistants {
            let mouth = Mouth {
                name: &openai_channel(name),
                pipelines: &assistant.pipelines,
                model: assistant.model.as_ref(),
                history: 0,
                settings: &assistant.settings,
                secrets: &assistant.secrets,
                limits: &assistant.limits,
                queue: PROGRAMS_QUEUED_MAX,
            };
            channels.push(self.channel(&mouth, None));
        }
        channels
    }

    fn channel(&mut self, mouth: &Mouth<'_>, adapter: Option<Adapter>) -> Channel {
        if mouth.pipelines.len() > PIPELINES_MAX {
            self.note(
                mouth.name,
                format!("a turn needs an instance of each pipeline at once; take at most {PIPELINES_MAX}"),
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
            meanwhile: Meanwhile::Queue,
            stale: None,
            concurrent: mouth.limits.concurrent,
            reply_via: None,
            permits: Arc::new(Semaphore::new(mouth.limits.concurrent)),
            places: Arc::new(Semaphore::new(mouth.limits.concurrent + mouth.queue)),
        }
    }

    fn adapter(&mut self, mouth: &Mouth<'_>, plugin: &str) -> Option<Adapter> {
        let own = |name: &str| (!name.contains('.')).then(|| name.to_owned());
        let services = self.services(mouth, plugin, Kind::Adapter, own)?;
        self.refuse_forgetful(mouth, plugin);
        Some(Adapter::new(plugin.to_owned(), self.shelf.clone(), services, self.permits.clone()))
    }

    /// A function without a queue forgets what it took in: there an adapter answers in the response or not at all.
    fn refuse_forgetful(&mut self, mouth: &Mouth<'_>, plugin: &str) {
        if self.parts.place == Place::Server || self.config.function.queue.is_some() {
            return;
        }
        let Some(release) = self.shelf.release(plugin) else { return };
        let settings = release.manifest.with_defaults(mouth.settings);
        if !release.manifest.does_answer_in_response(&settings) {
            let problem = format!(
                "`{plugin}` sends its replies after its response, which a function forgets; set `function.queue`"
            );
            self.note(mouth.name, problem);
        }
    }

    /// What is answered in the response itself goes no other way, and a function forgets where people wrote.
    fn refuse_blind_way(&mut self, mouth: &Mouth<'_>, plugin: &str, via: &ReplyVia) {
        let release = self.shelf.release(plugin);
        let in_response = release.is_some_and(|release| {
            release.manifest.does_answer_in_response(&release.manifest.with_defaults(mouth.settings))
        });
        if in_response {
            let problem = format!(
                "`{plugin}` answers in its response here, so that nothing is left for `reply_via`; change its settings"
            );
            self.note(mouth.name, problem);
        }
        let forgets = self.parts.place == Place::Function && self.config.redis.is_none();
        if via.conversation.is_some() && forgets {
            let problem = "a function without `store.redis` forgets where `reply_via.conversation` is; leave it out, \
                           so that replies go to the adapter's default destination";
            self.note(mouth.name, problem.to_owned());
        }
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
            self.note(mouth.name, format!("no plugin `{plugin}` is loaded; {}", self.loaded()));
            return None;
        };
        let manifest = &release.manifest;
        if manifest.kind != kind {
            self.note(mouth.name, format!("`{plugin}` is {}, not {}", word(manifest.kind), word(kind)));
            return None;
        }
        let mut settings: BTreeMap<_, _> =
            mouth.settings.iter().filter_map(|(name, value)| Some((own(name)?, value.clone()))).collect();
        let secrets: BTreeMap<_, _> =
            mouth.secrets.iter().filter_map(|(name, value)| Some((own(name)?, value.clone()))).collect();
        let unread = self.read_files(manifest, &mut settings);
        let problems = unread
            .into_iter()
            .chain(manifest.settings_problems(&settings))
            .chain(self.unknown_models(manifest, &settings))
            .chain(manifest.secrets_problems(secrets.keys().map(String::as_str)));
        for problem in problems {
            self.note(mouth.name, format!("{plugin}: {problem}"));
        }
        Some(self.grant(mouth.name, manifest, &manifest.with_defaults(&settings), &secrets))
    }

    /// Puts a file's lines in the place of its path. A file that cannot be read leaves its setting out.
    fn read_files(&self, manifest: &Manifest, settings: &mut BTreeMap<String, Value>) -> Vec<String> {
        let mut problems = Vec::new();
        for name in manifest.settings_files() {
            let Some(Value::String(path)) = settings.get(name) else { continue };
            match lines::read(&self.config.folder.join(path)) {
                Ok(lines) => drop(settings.insert(name.to_owned(), Value::String(lines))),
                Err(problem) => {
                    problems.push(format!("`{name}`: {problem}"));
                    settings.remove(name);
                }
            }
        }
        problems
    }

    fn unknown_models(&self, manifest: &Manifest, settings: &BTreeMap<String, Value>) -> Vec<String> {
        let models = &self.config.models;
        let named = manifest.settings_models(settings).into_iter();
        let unknown = named.filter(|(_, model)| !models.contains_key(model));
        let known = || models.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        unknown
            .map(|(at, model)| format!("`{at}`: no model `{model}` is configured; there are: {}", known()))
            .collect()
    }

    /// What to do where a plugin is missing.
    fn loaded(&self) -> String {
        let folder = self.config.plugins.folder.display();
        match self.shelf.names().join(", ").as_str() {
            "" => format!("put its `.wasm` file into `{folder}`, where there is none yet"),
            names => format!("put its `.wasm` file into `{folder}`, or name one of {names}"),
        }
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

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Adapter => "an adapter",
        Kind::Pipeline => "a pipeline",
    }
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
