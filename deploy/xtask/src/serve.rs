//! A server from one command: everything built, a development configuration, a link to open.
//!
//! The configuration is written once and then belongs to whoever edits it. The secret behind the tokens lies beside
//! it in a file of its own and reaches the server by a variable, so that the configuration can be shown to anybody.

use crate::build::{self, Profile};
use crate::workspace::Workspace;
use crate::{model, setup};
use anyhow::{Context, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const LISTEN: &str = "127.0.0.1:18789";
const SECRET_VARIABLE: &str = "PARLOR_JWT_SECRET";
/// 256 bits: as long as the hash of HS256, beyond which a longer key adds nothing.
const SECRET_BYTES: usize = 32;

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let environment = setup::prepare(workspace)?;
    let model = model::fetch()?;
    build::plugins(workspace, &environment)?;
    let parlor = build::host(workspace, &environment, Profile::Release)?;

    let folder = workspace.target.join("dev");
    let config = ensure_config(&folder, &model, &workspace.plugins_folder())?;
    let secret = secret(&folder)?;
    println!("configuration: {}", config.display());
    println!("open http://{}/", listen_address(&fs::read_to_string(&config)?));

    // The server takes this process's place, so that Ctrl-C and signals reach it and nothing else.
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let mut serve = Command::new(&parlor);
    serve.arg("serve").arg("--config").arg(&config).args(args).env(SECRET_VARIABLE, secret);
    Err(serve.exec()).with_context(|| format!("cannot start `{}`", parlor.display()))
}

fn ensure_config(folder: &Path, model: &Path, plugins: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let path = folder.join("parlor.yaml");
    if !path.exists() {
        let text = config_text(&folder.join("data"), model, plugins)?;
        write_new(&path, 0o644, text.as_bytes())?;
    }
    Ok(path)
}

fn config_text(data: &Path, model: &Path, plugins: &Path) -> Result<String> {
    let (data, model, plugins) = (quoted(data)?, quoted(model)?, quoted(plugins)?);
    let sha256 = model::SHA256;
    Ok(format!(
        r#"# For development; written once by `cargo xtask serve`, yours to edit, written anew when it is deleted.
listen: {LISTEN}
data: {data}
# {SECRET_VARIABLE} is read from the file `jwt_secret` beside this one by `cargo xtask serve`.
auth: {{ jwt_secret: "${{{SECRET_VARIABLE}}}", audience: parlor }}
plugins: {{ folder: {plugins}, allow_unsigned: true }}
default_model: local
models:
  local: {{ backend: gguf, path: {model}, sha256: {sha256}, context: 2048, max_batch_size: 4, temperature: 0.2 }}
# What answers on the chat page and on POST /api/v1/chat. `open_page` spares a browser on this machine the token;
# with another `listen` than the loopback address it has to be false.
chat: {{ pipelines: [assistant], model: local, open_page: true }}
# POST /v1/chat/completions, for clients of OpenAI's API.
openai: {{}}

# DingTalk calls POST /webhook/team: take the marks away, name your robot, and set DINGTALK_APP_SECRET.
# channels:
#   team:
#     adapter: dingtalk
#     pipelines: [assistant]
#     model: local
#     history: 5
#     settings: {{ robot_code: "your-robot-code", app_key: "your-app-key" }}
#     secrets: {{ app_secret: "${{DINGTALK_APP_SECRET}}" }}
"#
    ))
}

/// A YAML scalar in single quotes, in which only the quote itself is special.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("`{}` is not UTF-8: move it", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', "''")))
}

/// The address of the configuration, which may have been edited.
fn listen_address(config: &str) -> &str {
    let line = config.lines().find_map(|line| line.strip_prefix("listen:"));
    let value = line.map(|value| value.split(" #").next().unwrap_or(value).trim());
    value.map(|value| value.trim_matches(['"', '\''])).filter(|value| !value.is_empty()).unwrap_or(LISTEN)
}

/// The user's own, else the one beside the configuration, which is made at random the first time.
fn secret(folder: &Path) -> Result<String> {
    if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
        return Ok(secret);
    }
    let path = folder.join("jwt_secret");
    match fs::read_to_string(&path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = random_hex()?;
            write_new(&path, 0o600, secret.as_bytes())?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whole or not at all: a file cut short by a full disk would be taken for a good one the next time.
fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_configuration_holds_no_secret_and_quotes_its_paths() {
        let text = config_text("/it's/data".as_ref(), "/m.gguf".as_ref(), "/p".as_ref()).unwrap();
        assert!(text.contains("data: '/it''s/data'\n"), "{text}");
        assert!(text.contains("jwt_secret: \"${PARLOR_JWT_SECRET}\""), "{text}");
        assert!(text.contains("path: '/m.gguf', sha256: b179c95"), "{text}");
        assert!(text.contains("#     secrets: { app_secret: \"${DINGTALK_APP_SECRET}\" }\n"), "{text}");
        assert_eq!(listen_address(&text), LISTEN);
    }

    #[test]
    fn the_link_follows_an_edited_address() {
        assert_eq!(listen_address("data: x\nlisten: \"0.0.0.0:80\" # all\n"), "0.0.0.0:80");
        assert_eq!(listen_address("data: x\n"), LISTEN);
    }

    #[test]
    fn an_edited_configuration_and_the_secret_stay() {
        let folder = std::env::temp_dir().join(format!("parlor-serve-{}", std::process::id()));
        let config = || ensure_config(&folder, "/m".as_ref(), "/p".as_ref()).unwrap();
        fs::write(config(), "mine").unwrap();
        assert_eq!(fs::read_to_string(config()).unwrap(), "mine");

        let path = folder.join("jwt_secret");
        write_new(&path, 0o600, random_hex().unwrap().as_bytes()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().len(), 2 * SECRET_BYTES);
        assert_ne!(random_hex().unwrap(), random_hex().unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }
}
