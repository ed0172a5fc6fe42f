//! What the configuration shall be: by flags, else by asking, else as recommended.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use secrecy::SecretString;
use serde_json::Value;

use super::Init;
use crate::command::ask::{Ask, Fits};
use crate::command::load;
use crate::command::model::pull;
use crate::config::check_channel_name;
use crate::download::DownloadError;
use crate::plugin::manifest::{Kind, Manifest, Secret};
use crate::plugin::package::Package;
use crate::plugin::signature::Trust;
use crate::weights;

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18789);
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Small, of 2024, speaks Chinese and English; the same file at both hubs.
const RECOMMENDED: [&str; 2] = [
    "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf",
    "ms:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf",
];
/// What makes prompts if it is among the plugins.
const PIPELINE: &str = "assistant";
const KEY_VARIABLE: &str = "MODEL_API_KEY";
const CHANNEL: &str = "team";

pub struct Answers {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub public_url: Option<String>,
    pub plugins: PathBuf,
    pub model: Model,
    pub pipelines: Vec<String>,
    pub page: bool,
    pub channels: Vec<Channel>,
}

pub enum Model {
    File { path: PathBuf, sha256: String },
    Endpoint { url: String, model: String, key: Option<Variable> },
    Echo,
}

/// A variable of `secrets.env`.
pub struct Variable {
    pub name: String,
    /// None: somebody has to write it there.
    pub value: Option<SecretString>,
}

pub struct Channel {
    pub name: String,
    pub manifest: Manifest,
    pub settings: BTreeMap<String, Value>,
    pub secrets: Vec<(Secret, Variable)>,
}

/// Who answers.
struct Asking<'a> {
    flags: &'a Init,
    config: &'a Path,
    ask: &'a dyn Ask,
}

impl Answers {
    pub async fn find(flags: &Init, config: &Path, ask: &dyn Ask) -> anyhow::Result<Answers> {
        let asking = Asking { flags, config, ask };
        let plugins = asking.plugins()?;
        let manifests = manifests(&plugins)?;
        let listen = flags.listen.unwrap_or(LISTEN);
        let admin = flags.admin_listen.unwrap_or(ADMIN_LISTEN);
        let channels: Vec<Channel> = asking.channel(&manifests)?.into_iter().collect();
        let public_url = asking.public_url(!channels.is_empty())?;
        let pipelines = asking.pipelines(&manifests)?;
        let page = match flags.page {
            Some(page) => page,
            None => ask.yes("A chat page, to try it in a browser?", true)?,
        };
        // Last, since it may take long.
        let model = asking.model().await?;
        Ok(Answers { listen, admin, public_url, plugins, model, pipelines, page, channels })
    }
}

impl Asking<'_> {
    /// Named, beside the configuration, or beside the program as it is built and packed.
    fn plugins(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.flags.plugins {
            ensure!(
                folder.is_dir(),
                "`{}` is no folder; name one with `.wasm` files by `--plugins`",
                folder.display()
            );
            return Ok(folder.clone());
        }
        let beside = load::folder(self.config).join("plugins");
        let program = std::env::current_exe().unwrap_or_default();
        let around = program.ancestors().skip(1).take(2).map(|folder| folder.join("plugins"));
        let found = std::iter::once(beside.clone()).chain(around).find(|folder| has_plugins(folder));
        Ok(found.unwrap_or(beside))
    }

    fn pipelines(&self, manifests: &[Manifest]) -> anyhow::Result<Vec<String>> {
        let known: Vec<&str> = names(manifests, Kind::Pipeline);
        let Some(wanted) = &self.flags.pipelines else {
            return Ok(known.into_iter().filter(|name| *name == PIPELINE).map(str::to_owned).collect());
        };
        for name in wanted {
            ensure!(known.contains(&name.as_str()), "there is no pipeline `{name}`; {}", there_are(&known));
        }
        Ok(wanted.clone())
    }

    fn public_url(&self, has_channels: bool) -> anyhow::Result<Option<String>> {
        if self.flags.public_url.is_none() && !has_channels {
            return Ok(None);
        }
        let fits: Fits<'_> = &|text| if text.is_empty() { Ok(()) } else { web_address(text) };
        let question = "The https address by which the platform reaches this machine (empty: not known yet)";
        let url = self.text(&self.flags.public_url, question, Some(""), "--public-url", fits)?;
        Ok(Some(url).filter(|url| !url.is_empty()))
    }

    /// By the flag, else asked; a flag that does not fit is an error.
    fn text(
        &self,
        given: &Option<String>,
        question: &str,
        default: Option<&str>,
        flag: &str,
        fits: Fits<'_>,
    ) -> anyhow::Result<String> {
        let answer = match given {
            Some(given) => given.clone(),
            None => self.ask.text(question, default, flag, fits)?,
        };
        fits(&answer).map_err(anyhow::Error::msg)?;
        Ok(answer)
    }

    async fn model(&self) -> anyhow::Result<Model> {
        let wanted = match (&self.flags.model, &self.flags.endpoint) {
            (Some(model), _) => model.clone(),
            (None, Some(_)) => "endpoint".to_owned(),
            (None, None) => self.choose_model()?,
        };
        match wanted.as_str() {
            "echo" => Ok(Model::Echo),
            "endpoint" => self.endpoint(),
            "recommended" => self.recommended().await,
            file if Path::new(file).is_file() => local(Path::new(file)),
            address if address.contains(':') => self.pulled(address).await,
            other => bail!(
                "`{other}` is no model; write `recommended`, `endpoint`, `echo`, a `.gguf` file that is there, or an address"
            ),
        }
    }

    fn choose_model(&self) -> anyhow::Result<String> {
        let options = [
            "download a small one (400 MB) that runs in this process",
            "a .gguf file on this machine, or the address of one",
            "an endpoint that speaks OpenAI's API (hosted, vLLM, Ollama, …)",
            "none: say back what was heard, to try the wiring",
        ];
        let chosen = self.ask.choose("Which model answers?", &options.map(str::to_owned), "--model")?;
        Ok(match chosen {
            0 => "recommended".to_owned(),
            1 => self.ask.text("File or address", None, "--model", &anything)?,
            2 => "endpoint".to_owned(),
            _ => "echo".to_owned(),
        })
    }

    fn endpoint(&self) -> anyhow::Result<Model> {
        let flags = self.flags;
        let question = "Its address, such as https://api.example.com/v1";
        let url = self.text(&flags.endpoint, question, None, "--endpoint", &web_address)?;
        let model =
            self.text(&flags.model_name, "The model's name there", None, "--model-name", &anything)?;
        let key = self.secret(KEY_VARIABLE, "Its key (empty: it needs none)")?;
        let key = key.map(|key| Variable { name: KEY_VARIABLE.to_owned(), value: Some(key) });
        Ok(Model::Endpoint { url, model, key })
    }

    /// Out of the environment, else asked.
    fn secret(&self, variable: &str, question: &str) -> anyhow::Result<Option<SecretString>> {
        if let Ok(value) = std::env::var(variable) {
            return Ok(Some(value.trim()).filter(|value| !value.is_empty()).map(SecretString::from));
        }
        let typed = self.ask.secret(question)?;
        Ok(Some(typed).filter(|typed| !typed.is_empty()).map(SecretString::from))
    }

    /// From the first hub that is reached.
    async fn recommended(&self) -> anyhow::Result<Model> {
        let [first, second] = RECOMMENDED;
        match self.pulled(first).await {
            Err(error) if is_far(&error) => {
                eprintln!("{error:#}; trying the other hub");
                self.pulled(second).await
            }
            outcome => outcome,
        }
    }

    async fn pulled(&self, address: &str) -> anyhow::Result<Model> {
        let pulled = pull::pull(self.config, address, None, None).await?;
        Ok(Model::File { path: pulled.path, sha256: pulled.sha256 })
    }

    fn channel(&self, manifests: &[Manifest]) -> anyhow::Result<Option<Channel>> {
        let known = names(manifests, Kind::Adapter);
        let adapter = match &self.flags.channel {
            Some(adapter) => adapter.clone(),
            None if known.is_empty() => return Ok(None),
            None => self.choose_adapter(manifests)?,
        };
        if adapter == "none" {
            return Ok(None);
        }
        let manifest =
            manifests.iter().find(|manifest| manifest.name == adapter && manifest.kind == Kind::Adapter);
        let manifest =
            manifest.with_context(|| format!("there is no adapter `{adapter}`; {}", there_are(&known)))?;
        let given = &self.flags.channel_name;
        let name =
            self.text(given, "A name for the channel", Some(CHANNEL), "--channel-name", &channel_name)?;
        let settings = self.settings(manifest)?;
        let secrets = self.secrets(manifest, &name)?;
        Ok(Some(Channel { name, manifest: manifest.clone(), settings, secrets }))
    }

    fn choose_adapter(&self, manifests: &[Manifest]) -> anyhow::Result<String> {
        let adapters: Vec<&Manifest> =
            manifests.iter().filter(|manifest| manifest.kind == Kind::Adapter).collect();
        let mut options = vec!["none for now".to_owned()];
        options
            .extend(adapters.iter().map(|manifest| format!("{}: {}", manifest.name, manifest.description)));
        let chosen = self.ask.choose("Which platform shall it answer on?", &options, "--channel")?;
        Ok(chosen.checked_sub(1).map_or("none".to_owned(), |at| adapters[at].name.clone()))
    }

    /// By flags; what the adapter cannot do without is asked.
    fn settings(&self, manifest: &Manifest) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut settings = BTreeMap::new();
        for setting in &self.flags.settings {
            let (name, text) = setting
                .split_once('=')
                .with_context(|| format!("`{setting}`: write a setting as `NAME=VALUE`"))?;
            settings.insert(name.to_owned(), value(manifest, name, text));
        }
        let schema = manifest.settings.json();
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !settings.contains_key(name) {
                let about = schema["properties"][name]["description"].as_str().unwrap_or_default();
                let flag = format!("--setting {name}=…");
                let text = self.ask.text(&format!("{name}: {about}"), None, &flag, &anything)?;
                settings.insert(name.to_owned(), value(manifest, name, &text));
            }
        }
        let problems = manifest.settings_problems(&settings);
        ensure!(problems.is_empty(), "{}: {}", manifest.name, problems.join("; "));
        Ok(settings)
    }

    /// Every secret that is needed, and of the others those that are given.
    fn secrets(&self, manifest: &Manifest, channel: &str) -> anyhow::Result<Vec<(Secret, Variable)>> {
        let mut secrets = Vec::new();
        for secret in &manifest.secrets {
            let name = variable_name(channel, &secret.name);
            let kind = if secret.required { "" } else { " (empty: without it)" };
            let found = self.secret(&name, &format!("{}: {}{kind}", secret.name, secret.why))?;
            if secret.required || found.is_some() {
                secrets.push((secret.clone(), Variable { name, value: found }));
            }
        }
        Ok(secrets)
    }
}

/// An answer that nothing has to be.
fn anything(_text: &str) -> Result<(), String> {
    Ok(())
}

fn web_address(text: &str) -> Result<(), String> {
    let is_one = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if is_one { Ok(()) } else { Err(format!("`{text}` is no address; begin with `https://`")) }
}

fn channel_name(text: &str) -> Result<(), String> {
    check_channel_name(text).map_err(|problem| format!("`{text}` {problem}"))
}

/// Of plugins; where there are none, their folder is another one.
fn there_are(names: &[&str]) -> String {
    match names.is_empty() {
        true => "there are none; name the folder of the `.wasm` files by `--plugins`".to_owned(),
        false => format!("there are: {}", names.join(", ")),
    }
}

/// Whether another hub may have what this one did not give.
fn is_far(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(DownloadError::GaveUp { .. } | DownloadError::Refused(_) | DownloadError::NotFound { .. })
    )
}

fn local(path: &Path) -> anyhow::Result<Model> {
    weights::inspect(path).map_err(anyhow::Error::msg)?;
    let sha256 =
        weights::sha256_of(path, &|_| {}).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(Model::File { path: path.to_owned(), sha256 })
}

fn has_plugins(folder: &Path) -> bool {
    wasm_files(folder).is_ok_and(|files| !files.is_empty())
}

fn wasm_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).collect();
    files.sort();
    Ok(files)
}

/// What the plugins of a folder say of themselves; `doctor` tells of those that cannot be read.
fn manifests(folder: &Path) -> anyhow::Result<Vec<Manifest>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let files = wasm_files(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    Ok(files.iter().filter_map(|file| Some(Package::read(file, &Trust::anybody()).ok()?.manifest)).collect())
}

fn names(manifests: &[Manifest], kind: Kind) -> Vec<&str> {
    manifests.iter().filter(|manifest| manifest.kind == kind).map(|manifest| manifest.name.as_str()).collect()
}

/// A setting's text as what its schema wants; what does not fit stays text and is refused by the schema.
fn value(manifest: &Manifest, name: &str, text: &str) -> Value {
    let is_text = manifest.settings.json()["properties"][name]["type"] == "string";
    let parsed = serde_json::from_str(text).ok().filter(|_| !is_text);
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// `TEAM_APP_SECRET`
fn variable_name(channel: &str, secret: &str) -> String {
    let text = format!("{channel}_{secret}").to_uppercase();
    let text: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) { format!("_{text}") } else { text }
}
