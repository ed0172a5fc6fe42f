//! The two files: a configuration with a word on each key, and secrets that their owner alone can read.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::answers::{Answers, Channel, Model, Variable};
use super::random_secret;
use crate::command::load;
use crate::command::model::pull::{from, name, quoted};
use crate::config::{Config, secrets_file};

const TOKENS_VARIABLE: &str = "PARLOR_JWT_SECRET";

/// Writes both; the variables that somebody still has to fill in come back.
pub fn files(answers: &Answers, config: &Path, secrets: &Path) -> anyhow::Result<Vec<String>> {
    let folder = load::folder(config);
    let (written, (text, missing)) = (config_text(answers, config), secrets_text(answers)?);
    refuse_unsound(&written, &folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    if !answers.plugins.exists() {
        fs::create_dir_all(&answers.plugins)
            .with_context(|| format!("cannot make the folder `{}`", answers.plugins.display()))?;
    }
    put(secrets, 0o600, &text)?;
    put(config, 0o644, &written)?;
    Ok(missing)
}

/// Secrets that are still missing count as given: somebody writes them later.
fn refuse_unsound(text: &str, folder: &Path) -> anyhow::Result<()> {
    let Err(problems) = Config::parse(text, folder, &|_| Some("x".repeat(64))) else { return Ok(()) };
    let told: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    bail!("nothing was written, since no host could serve by it:\n{}", told.join("\n"))
}

/// Whole or not at all, and never readable by others in between.
fn put(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let mut name = path.file_name().context("the file has no name")?.to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    let write = || {
        drop(fs::remove_file(&draft));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

fn variables(answers: &Answers) -> Vec<(&Variable, String)> {
    let mut variables = Vec::new();
    if let Model::Endpoint { key: Some(key), .. } = &answers.model {
        variables.push((key, "The key of the model's endpoint".to_owned()));
    }
    for channel in &answers.channels {
        let secrets = channel.secrets.iter();
        variables.extend(secrets.map(|(secret, variable)| (variable, secret.why.clone())));
    }
    variables
}

fn secrets_text(answers: &Answers) -> anyhow::Result<(String, Vec<String>)> {
    let mut text = format!(
        "# Secrets of the `parlor.yaml` beside this file, which reads them by `${{NAME}}`. Written by `parlor init`.\n\
         # Its mode must be 600. systemd reads it as EnvironmentFile=, a shell by: set -a; . ./secrets.env\n\n\
         # Signs the tokens of the host's own doors; another one makes all of them invalid.\n\
         {TOKENS_VARIABLE}={}\n",
        random_secret()?
    );
    let mut missing = Vec::new();
    for (variable, why) in variables(answers) {
        let Variable { name, value } = variable;
        write!(text, "\n# {}\n", why.replace('\n', " ")).expect("a String takes any text");
        match value {
            Some(value) => {
                let quoted = secrets_file::quoted(value.expose_secret());
                let quoted = quoted
                    .with_context(|| format!("the value of `{name}` has a line break or a `'` in it"))?;
                writeln!(text, "{name}={quoted}").expect("a String takes any text");
            }
            None => {
                writeln!(text, "# {name}=").expect("a String takes any text");
                missing.push(name.clone());
            }
        }
    }
    ensure!(secrets_file::parse(&text).is_ok(), "two channels would share a variable; name one otherwise");
    Ok((text, missing))
}

fn config_text(answers: &Answers, config: &Path) -> String {
    let mut text = String::from(
        "# Written by `parlor init`, yours to edit. `parlor check` reads it, `parlor doctor` tries it.\n\
         # Relative paths are relative to the folder of this file. `${NAME}` is the environment's, else it comes out of\n\
         # `secrets.env` beside this file; `$$` is a dollar sign.\n\n\
         # Address and port of all doors.\n",
    );
    text.push_str(&format!("listen: {}\n# How the outside reaches `listen`.\n", answers.listen));
    match &answers.public_url {
        Some(url) => text.push_str(&format!("public_url: {}\n", scalar(&Value::from(url.as_str())))),
        None => text.push_str("# public_url: https://bot.example.com\n"),
    }
    text.push_str(&format!(
        "# The operators' own door, on this machine alone unless you say otherwise.\nadmin: {{ listen: {} }}\n",
        answers.admin
    ));
    text.push_str(&format!(
        "# Database and caches.\ndata: ./data\n# The tokens of the host's own doors.\n\
         auth: {{ jwt_secret: \"${{{TOKENS_VARIABLE}}}\" }}\n\
         plugins:\n  folder: {}\n  # Authors whose plugins are loaded: \"RW…\", \
         the second line of their `.pub` files.\n  trusted_keys: []\n  # Loads what none of them has signed, too. False once all \
         your plugins are signed: `parlor plugin sign`.\n  allow_unsigned: true\n\n",
        quoted(&from(config, &answers.plugins))
    ));
    text.push_str(&model_text(&answers.model, config));
    text.push_str(&page_text(answers));
    text.push_str(&channels_text(answers));
    text
}

fn model_text(model: &Model, config: &Path) -> String {
    let about = "# The model of every channel that names none.\n";
    match model {
        Model::Echo => format!(
            "{about}default_model: echo\nmodels:\n  echo:\n    backend: echo # says what it heard, to try the wiring\n\n"
        ),
        Model::Endpoint { url, model, key } => {
            let key =
                key.as_ref().map_or(String::new(), |key| format!("    api_key: \"${{{}}}\"\n", key.name));
            format!(
                "{about}default_model: remote\nmodels:\n  remote:\n    backend: openai # any endpoint that speaks it\n    \
                 endpoint: {}\n{key}    model: {}\n    max_tokens: 1024\n    timeout: 120s\n\n",
                scalar(&Value::from(url.as_str())),
                scalar(&Value::from(model.as_str())),
            )
        }
        Model::File { path, sha256 } => {
            let (name, path) = (name(path), quoted(&from(config, path)));
            format!(
                "{about}default_model: {name}\nmodels:\n  {name}:\n    backend: gguf # runs in this process\n    path: {path}\n    \
                 sha256: {sha256} # another file is refused\n    context: 2048 # tokens of one conversation\n    \
                 max_batch_size: 4 # conversations side by side\n    max_tokens: 512\n    \
                 temperature: 0.3 # small models wander with more\n\n"
            )
        }
    }
}

fn page_text(answers: &Answers) -> String {
    let is_open = answers.listen.ip().is_loopback() && answers.public_url.is_none();
    let about =
        "# The host's own door: the page at `/` and POST /api/v1/chat. Without this key both are closed.\n";
    let pipelines = answers.pipelines.join(", ");
    match answers.page {
        true => format!(
            "{about}chat:\n  pipelines: [{pipelines}]\n  open_page: {is_open} # whether the page needs no token; on this machine only\n\n"
        ),
        false => format!("{about}# chat: {{ pipelines: [{pipelines}] }}\n\n"),
    }
}

fn channels_text(answers: &Answers) -> String {
    if answers.channels.is_empty() {
        return "# Platforms, by a name of yours each; `parlor init` asks for what their adapters need.\nchannels: {}\n".to_owned();
    }
    let channels: String =
        answers.channels.iter().map(|channel| channel_text(channel, &answers.pipelines)).collect();
    format!("channels:\n{channels}")
}

fn channel_text(channel: &Channel, pipelines: &[String]) -> String {
    let Channel { name, manifest, settings, secrets } = channel;
    let mut text = format!(
        "  {name}: # POST /webhook/{name}\n    adapter: {} # {}\n    pipelines: [{}]\n    history: 5 # exchanges that a pipeline is shown\n",
        manifest.name,
        manifest.description,
        pipelines.join(", ")
    );
    text.push_str(if settings.is_empty() { "    settings: {}\n" } else { "    settings:\n" });
    let properties = manifest.settings.json()["properties"].as_object();
    for (name, schema) in properties.into_iter().flatten() {
        let about = schema["description"].as_str().unwrap_or_default();
        match settings.get(name) {
            Some(value) => text.push_str(&format!("      {name}: {} # {about}\n", scalar(value))),
            None => text.push_str(&format!("      # {name}: {} # {about}\n", example(schema))),
        }
    }
    text.push_str(if secrets.is_empty() { "    secrets: {}\n" } else { "    secrets:\n" });
    for secret in &manifest.secrets {
        match secrets.iter().find(|(given, _)| given.name == secret.name) {
            Some((_, variable)) => {
                text.push_str(&format!(
                    "      {}: \"${{{}}}\" # {}\n",
                    secret.name, variable.name, secret.why
                ));
            }
            None => text.push_str(&format!("      # {}: \"${{NAME}}\" # {}\n", secret.name, secret.why)),
        }
    }
    text
}

/// What a setting is if nobody sets it, else what it might be.
fn example(schema: &Value) -> String {
    let choices = [&schema["default"], &schema["examples"][0], &schema["enum"][0]];
    choices.into_iter().find(|value| !value.is_null()).map_or("…".to_owned(), scalar)
}

/// JSON is YAML; a dollar sign begins a variable there.
fn scalar(value: &Value) -> String {
    value.to_string().replace('$', "$$")
}
