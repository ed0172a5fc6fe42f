//! A release fitted for the channels that use it: with its settings, secrets and permissions on each, or with all
//! that keeps it from serving them. At a start and at each swap it is the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

use super::memory::StoredMemory;
use super::{Place, lines};
use crate::clock::Clock;
use crate::config::mouth::{self, Mouth};
use crate::config::{Config, ReplyVia};
use crate::deployment::Fit;
use crate::egress::Egress;
use crate::plugin::Release;
use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::secrets::Secrets;
use crate::plugin::services::Services;
use crate::plugin::shelf::Fitted;
use crate::store::Store;

/// What releases are fitted with.
#[derive(Debug)]
pub struct Fitter {
    pub config: Arc<Config>,
    pub place: Place,
    pub clock: Arc<dyn Clock>,
    pub store: Arc<dyn Store>,
    pub egress: Egress,
}

impl Fit for Fitter {
    fn fit(&self, release: Arc<Release>) -> Result<Fitted, Vec<String>> {
        let (mut reach, mut problems) = (BTreeMap::new(), Vec::new());
        for mouth in mouth::all(&self.config) {
            let Some(kind) = use_of(&release.manifest.name, &mouth) else { continue };
            match self.services(&mouth, kind, &release.manifest) {
                Ok(services) => drop(reach.insert(mouth.name.as_str().into(), services)),
                Err(found) => {
                    problems.extend(found.into_iter().map(|problem| of_channel(&mouth.name, &problem)));
                }
            }
        }
        if problems.is_empty() { Ok(Fitted::new(release, reach)) } else { Err(problems) }
    }
}

impl Fitter {
    /// What a plugin on one channel may reach, or what keeps it from serving there.
    fn services(&self, mouth: &Mouth<'_>, kind: Kind, manifest: &Manifest) -> Result<Services, Vec<String>> {
        let plugin = &manifest.name;
        if manifest.kind != kind {
            return Err(vec![format!("`{plugin}` is {}, not {}", word(manifest.kind), word(kind))]);
        }
        let mut settings = own(mouth.settings, kind, plugin);
        let secrets = own(mouth.secrets, kind, plugin);
        let mut problems = read_files(&self.config.folder, manifest, &mut settings);
        problems.extend(manifest.settings_problems(&settings));
        problems.extend(self.unknown_models(manifest, &settings));
        problems.extend(manifest.secrets_problems(secrets.keys().map(String::as_str)));
        for problem in &mut problems {
            *problem = format!("{plugin}: {problem}");
        }
        let settings = manifest.with_defaults(&settings);
        if kind == Kind::Adapter && manifest.does_answer_in_response(&settings) {
            problems.extend(mouth.reply_via.map(|_| blind_way(plugin)));
        } else if kind == Kind::Adapter {
            problems.extend(self.forgets().then(|| forgetful(plugin)));
        }
        if let Some(via) = mouth.reply_via.filter(|_| kind == Kind::Adapter) {
            problems.extend(self.forgotten_way(via));
        }
        if self.place == Place::Function && manifest.does_connect(&settings) {
            problems.push(fleeting(plugin));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(self.grant(&mouth.name, manifest, &settings, &secrets))
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

    /// A function without a queue forgets what it took in: there an adapter answers in the response or not at all.
    fn forgets(&self) -> bool {
        self.place == Place::Function && self.config.function.queue.is_none()
    }

    /// A function forgets where people wrote.
    fn forgotten_way(&self, via: &ReplyVia) -> Option<String> {
        let forgets = self.place == Place::Function && self.config.redis.is_none();
        (via.conversation.is_some() && forgets).then(|| {
            "a function without `store.redis` forgets where `reply_via.conversation` is; leave it out, so that \
             replies go to the adapter's default destination"
                .to_owned()
        })
    }

    fn grant(
        &self,
        channel: &str,
        manifest: &Manifest,
        settings: &BTreeMap<String, Value>,
        secrets: &BTreeMap<String, SecretString>,
    ) -> Services {
        let secrets = Arc::new(Secrets::new(manifest, secrets));
        let (store, clock) = (self.store.clone(), self.clock.clone());
        Services {
            channel: channel.into(),
            plugin: manifest.name.as_str().into(),
            http: self.egress.gate(manifest, settings, secrets.clone()),
            settings: Arc::new(
                settings.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
            ),
            secrets,
            memory: Arc::new(StoredMemory::new(channel, &manifest.name, store, clock.clone())),
            clock,
        }
    }
}

/// A function is frozen between its requests, and so would a socket be.
fn fleeting(plugin: &str) -> String {
    format!(
        "`{plugin}` keeps a socket open under these settings, which a function cannot; change its settings, or let a \
         server serve this channel"
    )
}

/// A problem, as the operator is told of it.
pub fn of_channel(channel: &str, problem: &str) -> String {
    format!("channel `{channel}`: {problem}")
}

/// What a plugin is to a mouth, if it is used there.
fn use_of(plugin: &str, mouth: &Mouth<'_>) -> Option<Kind> {
    if mouth.adapter == Some(plugin) {
        return Some(Kind::Adapter);
    }
    mouth.pipelines.iter().any(|used| used == plugin).then_some(Kind::Pipeline)
}

/// A channel's entries that are a plugin's own: those without a prefix are the adapter's, `assistant.x` is the `x` of
/// the pipeline `assistant`.
fn own<T: Clone>(entries: &BTreeMap<String, T>, kind: Kind, plugin: &str) -> BTreeMap<String, T> {
    let name = |name: &str| match kind {
        Kind::Adapter => (!name.contains('.')).then(|| name.to_owned()),
        Kind::Pipeline => name.strip_prefix(plugin)?.strip_prefix('.').map(str::to_owned),
    };
    entries.iter().filter_map(|(entry, value)| Some((name(entry)?, value.clone()))).collect()
}

/// Puts a file's lines in the place of its path. A file that cannot be read leaves its setting out.
fn read_files(folder: &Path, manifest: &Manifest, settings: &mut BTreeMap<String, Value>) -> Vec<String> {
    let mut problems = Vec::new();
    for name in manifest.settings_files() {
        let Some(Value::String(path)) = settings.get(name) else { continue };
        match lines::read(&folder.join(path)) {
            Ok(lines) => drop(settings.insert(name.to_owned(), Value::String(lines))),
            Err(problem) => {
                problems.push(format!("`{name}`: {problem}"));
                settings.remove(name);
            }
        }
    }
    problems
}

fn blind_way(plugin: &str) -> String {
    format!(
        "`{plugin}` answers in its response here, so that nothing is left for `reply_via`; change its settings"
    )
}

fn forgetful(plugin: &str) -> String {
    format!("`{plugin}` sends its replies after its response, which a function forgets; set `function.queue`")
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Adapter => "an adapter",
        Kind::Pipeline => "a pipeline",
    }
}
