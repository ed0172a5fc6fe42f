//! A built plugin on trial: loaded as `serve` would, and an adapter driven by test vectors over HTTP.
//!
//! A vector file says what goes in and what must come out; the plugin's manifest says how the one becomes
//! requests and the other a verdict (`[[vectors]]`). For each row a host is started with the row's secrets,
//! settings and clock; what the plugin sends out is recorded by stand-ins. It knows no algorithm itself.

mod recorder;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use serde_json::Value;

use crate::app::{App, Parts, Place};
use crate::clock::{Clock, FixedClock, SystemClock};
use crate::config::{self, Config};
use crate::drain::Drain;
use crate::plugin::Release;
use crate::plugin::manifest::{EgressHost, Manifest, VectorRule};
use crate::plugin::package::Package;
use crate::plugin::signature::Trust;
use crate::random::SystemRandom;
use recorder::Recorder;
use template::Templates;

const CHANNEL: &str = "trial";
/// A row's turn is over within this; a plugin that takes longer is stuck.
const TURN_TIME_MAX: Duration = Duration::from_secs(20);

/// What came of one row.
#[derive(Debug)]
pub struct Verdict {
    pub id: String,
    pub expected: String,
    pub got: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// A row without an algorithm, a sample to look at; or one that the plugin says is not about it.
    Skipped,
}

/// One plugin on trial.
#[derive(Debug)]
pub struct Trial {
    folder: PathBuf,
    compiler: PathBuf,
    release: Arc<Release>,
}

/// The rows of a vector file, by its `vectors`.
pub fn rows(text: &str) -> anyhow::Result<Vec<Value>> {
    let file: Value = serde_json::from_str(text).context("it is not JSON")?;
    let rows = file.get("vectors").and_then(Value::as_array).context("it has no list `vectors`")?;
    Ok(rows.clone())
}

impl Trial {
    /// Loads the plugin as `serve` would. `folder` holds it alone and takes what the trial writes.
    pub async fn new(plugin: &Path, folder: &Path, compiler: PathBuf) -> anyhow::Result<Trial> {
        let plugins = folder.join("plugins");
        std::fs::create_dir_all(&plugins)?;
        std::fs::copy(plugin, plugins.join("plugin.wasm"))
            .with_context(|| format!("cannot read `{}`", plugin.display()))?;
        let package = Package::read(&plugins.join("plugin.wasm"), &Trust::anybody())?;
        let name = package.manifest.name;
        let mut config = config(folder, &name, Setting::default())?;
        config.channels.clear();
        let app = App::build(config, parts(&compiler, Arc::new(SystemClock))).await?;
        let release = match (app.release(&name), app.deployments.rejected().into_iter().next()) {
            (Some(release), _) => release,
            (None, Some((_, reason))) => anyhow::bail!(reason),
            (None, None) => anyhow::bail!("it did not load"),
        };
        Ok(Trial { folder: folder.to_owned(), compiler, release })
    }

    /// The plugin, ready to be called.
    pub fn release(&self) -> &Arc<Release> {
        &self.release
    }

    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.release.manifest
    }

    /// Gives the verdict on one row.
    pub async fn judge(&self, row: &Value) -> Verdict {
        let id = row.get("id").and_then(Value::as_str).unwrap_or("(no id)").to_owned();
        let Some(algorithm) = row.get("algo").and_then(Value::as_str) else {
            return Verdict {
                id,
                expected: "-".to_owned(),
                got: "no `algo`".to_owned(),
                outcome: Outcome::Skipped,
            };
        };
        let rules = &self.release.manifest.vectors;
        let Some(rule) = rules.iter().find(|rule| rule.algorithms.iter().any(|name| name == algorithm))
        else {
            let got = format!("unknown algo `{algorithm}`");
            return Verdict { id, expected: "a verdict".to_owned(), got, outcome: Outcome::Failed };
        };
        if let Some(why) = &rule.skip {
            return Verdict { id, expected: "-".to_owned(), got: why.clone(), outcome: Outcome::Skipped };
        }
        match self.run(rule, row).await {
            Ok((expected, got, passed)) => {
                Verdict { id, expected, got, outcome: if passed { Outcome::Passed } else { Outcome::Failed } }
            }
            Err(error) => Verdict {
                id,
                expected: "a verdict".to_owned(),
                got: format!("{error:#}"),
                outcome: Outcome::Failed,
            },
        }
    }

    async fn run(&self, rule: &VectorRule, row: &Value) -> anyhow::Result<(String, String, bool)> {
        let templates = Templates::new(row);
        let wanted = templates.text(rule.expect.as_ref())?.to_lowercase();
        let recorder = Recorder::start(self.origins(), templates.text(rule.respond.as_ref())?).await?;
        let setting = Setting {
            settings: templates.table(rule.settings.as_ref())?,
            secrets: templates.texts(rule.secrets.as_ref())?,
            endpoints: recorder.endpoints(),
        };
        let host = self.host(setting, templates.number(rule.clock_ms.as_ref())?).await?;
        let request = templates.request(rule.request.as_ref().context("the rule has no `request`")?)?;
        let answer = send(&host.url, &request).await?;
        let mut seen = Seen { status: answer.status, again: None, duplicates: 0 };
        if wanted == "dedupe" {
            seen.again = Some(send(&host.url, &request).await?.status);
            seen.duplicates = host.duplicates();
        }
        let checks = match rule.checks.as_ref().filter(|_| seen.is_accepted()) {
            Some(checks) => {
                host.settle().await?;
                let came = template::Outcome { answer: Some(&answer), sent: &recorder.sent() };
                let pairs = templates.checks(checks, &came)?;
                anyhow::ensure!(!pairs.is_empty(), "the row expects nothing that the rule could check");
                pairs
            }
            None => Vec::new(),
        };
        host.close().await;
        Ok(verdict(&wanted, row, &seen, &checks))
    }

    /// Every origin that the plugin may send to, so that a stand-in answers in its place.
    fn origins(&self) -> Vec<String> {
        let hosts = self.release.manifest.egress.iter().filter_map(|egress| match &egress.host {
            EgressHost::Name { host, port: None } => Some(format!("https://{host}")),
            EgressHost::Name { host, port: Some(port) } => Some(format!("https://{host}:{port}")),
            EgressHost::Setting(_) => None,
        });
        let mut origins: Vec<String> = hosts.collect();
        origins.sort();
        origins.dedup();
        origins
    }

    async fn host(&self, setting: Setting, clock_ms: Option<u64>) -> anyhow::Result<Host> {
        let data = self.folder.join("rows").join(uuid::Uuid::now_v7().to_string());
        std::fs::create_dir_all(&data)?;
        share_cache(&self.folder, &data)?;
        let clock: Arc<dyn Clock> =
            clock_ms.map_or_else(|| Arc::new(SystemClock) as Arc<dyn Clock>, |now| Arc::new(FixedClock(now)));
        let mut config = config(&self.folder, &self.release.manifest.name, setting)?;
        config.data = data;
        let app = App::build(config, parts(&self.compiler, clock)).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/webhook/{CHANNEL}", listener.local_addr()?);
        let app = Arc::new(app);
        let serving = tokio::spawn({
            let app = app.clone();
            async move { app.serve(listener, None).await }
        });
        Ok(Host { url, app, serving })
    }
}

/// What a row sets.
#[derive(Default)]
struct Setting {
    settings: BTreeMap<String, Value>,
    secrets: BTreeMap<String, String>,
    endpoints: BTreeMap<String, url::Url>,
}

fn parts(compiler: &Path, clock: Arc<dyn Clock>) -> Parts {
    Parts {
        place: Place::Server,
        clock,
        random: Arc::new(SystemRandom),
        compiler: compiler.to_owned(),
        drain: Drain::new(),
    }
}

/// One host on trial.
struct Host {
    url: String,
    app: Arc<App>,
    serving: tokio::task::JoinHandle<anyhow::Result<Vec<String>>>,
}

impl Host {
    /// Waits until every turn has ended.
    async fn settle(&self) -> anyhow::Result<()> {
        let ended = async {
            while self.app.turns.store.queue().await?.unfinished != 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        };
        tokio::time::timeout(TURN_TIME_MAX, ended).await.context("its turn did not end")?
    }

    fn duplicates(&self) -> usize {
        let figures = self.app.turns.metrics.encode();
        figures.lines().filter(|line| line.contains("outcome=\"duplicate\"") && line.ends_with(" 1")).count()
    }

    async fn close(self) {
        self.app.turns.drain.begin();
        drop(tokio::time::timeout(TURN_TIME_MAX, self.serving).await);
    }
}

struct Seen {
    status: u16,
    again: Option<u16>,
    duplicates: usize,
}

impl Seen {
    fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn describe(&self) -> String {
        let word = match self.status {
            200..300 => "accepted",
            400..500 => "refused",
            _ => "failed",
        };
        let again = self
            .again
            .map_or_else(String::new, |again| format!(", again {again}, {} duplicate", self.duplicates));
        format!("{word} ({}{again})", self.status)
    }
}

fn verdict(wanted: &str, row: &Value, seen: &Seen, checks: &[(String, String)]) -> (String, String, bool) {
    let is_policy = wanted == "policy" || row["expected"]["policy"] == Value::Bool(true);
    let (expected, passed) = match wanted {
        _ if is_policy => ("policy", seen.status < 500),
        "true" | "" => ("accepted", seen.is_accepted()),
        "false" | "reject" => ("refused", (400..500).contains(&seen.status)),
        "dedupe" => (
            "accepted once",
            seen.is_accepted() && seen.again.is_some_and(|again| again < 300) && seen.duplicates == 1,
        ),
        _ => ("a known word", false),
    };
    // The first pair that differs is what went wrong; if none does, the first one shows what was compared.
    let shown = checks.iter().find(|(expected, got)| expected != got).or(checks.first());
    match shown {
        Some((expected, got)) if passed => (expected.clone(), got.clone(), expected == got),
        _ => (expected.to_owned(), seen.describe(), passed),
    }
}

async fn send(url: &str, request: &template::Request) -> anyhow::Result<template::Answer> {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let url = format!("{url}{}{query}", request.path.trim_end_matches('/'));
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut call = client.request(request.method.parse()?, url).body(request.body.clone());
    for (name, value) in &request.headers {
        let value = http::HeaderValue::from_bytes(value.as_bytes())
            .with_context(|| format!("the header `{name}` cannot be sent"))?;
        call = call.header(name, value);
    }
    let response = call.send().await?;
    Ok(template::Answer { status: response.status().as_u16(), body: response.text().await? })
}

/// Compiled once for all rows: each row's data folder gets the same cache and the key that sealed it.
fn share_cache(folder: &Path, data: &Path) -> anyhow::Result<()> {
    let first = folder.join("data");
    std::fs::copy(first.join("host.key"), data.join("host.key"))?;
    std::fs::create_dir_all(data.join("compiled"))?;
    for entry in std::fs::read_dir(first.join("compiled"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), data.join("compiled").join(entry.file_name()))?;
    }
    Ok(())
}

/// The configuration of a trial: one channel, no pipeline, a model that echoes.
fn config(folder: &Path, plugin: &str, setting: Setting) -> anyhow::Result<Config> {
    let text = format!(
        "listen: 127.0.0.1:0\n\
         data: data\n\
         auth: {{ jwt_secret: a-secret-that-no-door-of-a-trial-asks-for }}\n\
         plugins: {{ folder: plugins, allow_unsigned: true }}\n\
         models: {{ echo: {{ backend: echo }} }}\n\
         default_model: echo\n\
         channels: {{ {CHANNEL}: {{ adapter: {plugin}, pipelines: [] }} }}\n"
    );
    let config = Config::parse(&text, folder, &|_| None);
    let mut config = config.map_err(|problems| anyhow::anyhow!(config::render(&problems, "trial")))?;
    config.endpoints = setting.endpoints;
    let channel = config.channels.get_mut(CHANNEL).context("a trial has its channel")?;
    channel.settings = setting.settings;
    channel.secrets =
        setting.secrets.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect();
    Ok(config)
}
