//! Secret keys to sign with: where they lie, how they are opened, how they are made.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};

use super::file;

/// What minisign itself uses.
const FOLDER_VARIABLE: &str = "MINISIGN_CONFIG_DIR";
const FOLDER: &str = ".minisign";
const FILE: &str = "minisign.key";
/// Algorithms, salt and limits of the password, then the key with its number and its checksum.
const KEY_BYTES: usize = 158;
/// How the password protects it.
const KDF: Range<usize> = 2..4;
const PROTECTED: &[u8] = b"Sc";
/// minisign leaves the checksum out where no password can be wrong.
const UNCHECKED: [u8; 32] = [0; 32];

#[derive(Debug, clap::Args)]
pub struct Secret {
    /// The minisign secret key; minisign's own place if left out, `~/.minisign/minisign.key`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A file whose first line is the key's password; it is asked for on the terminal if left out
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// With `--generate`: a key that whoever has the file can sign with
    #[arg(long, requires = "generate", conflicts_with = "password_file")]
    no_password: bool,
}

/// A key pair that was made, and where it lies.
pub struct Made {
    pub secret_file: PathBuf,
    pub public_file: PathBuf,
    pub public: PublicKey,
}

impl Secret {
    /// Opens the key.
    pub fn read(&self) -> anyhow::Result<KeyPair> {
        let path = self.path()?;
        let name = || format!("the secret key `{}`", path.display());
        let advice = "make one by `parlor plugin sign --generate`, or name another by `--key`";
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}; {advice}", name()))?;
        let bytes = decoded(&text).with_context(name)?;
        let key = if bytes[KDF] == *PROTECTED {
            let password = self.password("Password of the secret key", false)?;
            SecretKeyBox::from_string(&text)?.into_secret_key(Some(password))
        } else if bytes.ends_with(&UNCHECKED) {
            SecretKey::from_bytes(&bytes)
        } else {
            SecretKeyBox::from_string(&text)?.into_unencrypted_secret_key()
        };
        let sk = key.map_err(|error| anyhow::anyhow!("{}: {error}", name()))?;
        Ok(KeyPair { pk: PublicKey::from_secret_key(&sk)?, sk })
    }

    /// Makes a pair. What lies there is never overwritten: with a key, plugins would lose their author.
    pub fn generate(&self) -> anyhow::Result<Made> {
        let secret_file = self.path()?;
        let public_file = secret_file.with_extension("pub");
        for path in [&secret_file, &public_file] {
            ensure!(!path.exists(), "`{}` is there already; name another file by `--key`", path.display());
        }
        let pair = if self.no_password {
            KeyPair::generate_unencrypted_keypair()?
        } else {
            KeyPair::generate_encrypted_keypair(Some(
                self.password("Password for the new secret key", true)?,
            ))?
        };
        if let Some(folder) = secret_file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        }
        file::create_private(&secret_file, &pair.sk.to_box(None)?.to_bytes())?;
        file::replace(&public_file, &pair.pk.to_box()?.to_bytes())?;
        Ok(Made { secret_file, public_file, public: pair.pk })
    }

    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.key {
            return Ok(path.clone());
        }
        if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
            return Ok(Path::new(&folder).join(FILE));
        }
        let home = std::env::home_dir()
            .context("there is no home folder to look for a key in; name one by `--key`")?;
        Ok(home.join(FOLDER).join(FILE))
    }

    fn password(&self, prompt: &str, is_new: bool) -> anyhow::Result<String> {
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read the password file `{}`", path.display()))?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if !std::io::stdin().is_terminal() {
            let instead = if is_new { ", or take `--no-password`" } else { "" };
            bail!(
                "there is no terminal to ask for the password on; name a file by `--password-file`{instead}"
            );
        }
        let mut question = dialoguer::Password::new().with_prompt(prompt);
        if is_new {
            question = question.with_confirmation("Once more", "the two differ");
        }
        Ok(question.interact()?)
    }
}

/// The key's bytes, which stand in the second line.
fn decoded(text: &str) -> anyhow::Result<Vec<u8>> {
    let line = text.lines().nth(1).unwrap_or_default();
    let key = BASE64_STANDARD.decode(line.trim()).unwrap_or_default();
    let is_key = key.len() == KEY_BYTES && key.starts_with(b"Ed");
    ensure!(is_key, "it is no minisign secret key; name another file by `--key`");
    Ok(key)
}
