//! The configuration from its file, with the environment and the secrets beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::secrets_file::{self, SECRETS_FILE};
use crate::config::{self, Config, Problems};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot read `{}`; name another file with `--config`, or make one by `parlor init`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot read the secrets in `{}`; it has to be a file of the user that runs parlor", path.display())]
    Secrets { path: PathBuf, source: io::Error },
    #[error("the secrets in `{path}` may be read by others (mode {mode:o}); run `chmod 600 {path}`", path = .path.display())]
    Permissive { path: PathBuf, mode: u32 },
    #[error("{}", config::render(problems, file).trim_end())]
    Problems { file: String, problems: Problems },
}

/// Reads and checks it. What the environment holds goes before what `secrets.env` beside the file holds.
pub fn config(path: &Path) -> Result<Config, Trouble> {
    let unreadable = |source| Trouble::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let wrong = |problems| Trouble::Problems { file: path.display().to_string(), problems };
    let text = Config::decode(&bytes).map_err(wrong)?;
    let secrets = secrets(&folder(path).join(SECRETS_FILE))?;
    let look = |name: &str| {
        let held = || secrets.get(name).map(|value| value.expose_secret().to_owned());
        std::env::var(name).ok().or_else(held)
    };
    Config::parse(text, &folder(path), &look).map_err(wrong)
}

/// The folder of a configuration's file.
pub fn folder(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// The values of a secrets file; none if there is no such file.
fn secrets(path: &Path) -> Result<BTreeMap<String, SecretString>, Trouble> {
    let unread = |source| Trouble::Secrets { path: path.to_owned(), source };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unread(error)),
    };
    let mode = mode(path).map_err(unread)?;
    if mode & 0o077 != 0 {
        return Err(Trouble::Permissive { path: path.to_owned(), mode });
    }
    let file = path.display().to_string();
    secrets_file::parse(&text).map_err(|problems| Trouble::Problems { file, problems })
}

#[cfg(unix)]
fn mode(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_path: &Path) -> io::Result<u32> {
    Ok(0o600)
}
