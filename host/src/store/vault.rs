//! The host's own key: it seals what lies in a file and must not be read there.
//!
//! The key is 32 bytes in `host.key`, made at the first start and readable by its owner alone. Keys for
//! single purposes are derived from it, so that no two uses share one. It does not know what it seals, nor
//! the secrets of the configuration; stores seal addresses with it, and `egress` the tokens that it leaves there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Name of the key's file in the data folder.
pub const KEY_FILE: &str = "host.key";

const KEY_BYTES: usize = 32;
/// First byte of everything sealed, so that a later form can be told from this one.
const FORM: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the key file `{path}` cannot be read or made")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "the key file `{path}` is not {KEY_BYTES} bytes long: restore it from a backup, do not make a new one"
    )]
    WrongSize { path: PathBuf },
    #[error("the key file `{path}` may be read by others (mode {mode:o}): run `chmod 600` on it")]
    Permissive { path: PathBuf, mode: u32 },
    #[error("the system gives no random bytes")]
    NoRandom,
    #[error("sealed by another key, or changed since")]
    Rejected,
}

/// Seals and opens bytes, and derives keys.
#[derive(Clone)]
pub struct Vault {
    master: hmac::Key,
    seal: LessSafeKey,
    random: SystemRandom,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(***)")
    }
}

impl Vault {
    /// Reads the key of this data folder; makes folder and key if they are not there.
    pub fn open(folder: &Path) -> Result<Vault, VaultError> {
        let path = folder.join(KEY_FILE);
        let key = match read_key(&path) {
            Err(VaultError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                make_key(folder, &path)?;
                read_key(&path)?
            }
            other => other?,
        };
        Ok(Vault::new(&key))
    }

    /// From a secret of the configuration, for what several processes have to open without a file in common.
    pub fn derived(secret: &[u8], purpose: &[u8]) -> Vault {
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"parlor vault"), secret);
        let master = hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref());
        Vault::new(&derive(&master, purpose))
    }

    fn new(key: &[u8; KEY_BYTES]) -> Vault {
        let master = hmac::Key::new(hmac::HMAC_SHA256, key);
        let sealing = derive(&master, b"seal");
        let unbound = UnboundKey::new(&AES_256_GCM, &sealing).expect("an AES-256 key has 32 bytes");
        Vault { master, seal: LessSafeKey::new(unbound), random: SystemRandom::new() }
    }

    /// A key for one purpose; the same label gives the same key for as long as the key file lives.
    pub fn subkey(&self, label: &[u8]) -> [u8; 32] {
        derive(&self.master, &[b"subkey ", label].concat())
    }

    /// Encrypts and authenticates. `context` names the place it belongs to and must be given to `unseal`.
    ///
    /// The nonce is random, which AES-GCM bears for 2^32 seals with one key.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| VaultError::NoRandom)?;
        let mut text = plain.to_vec();
        self.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text)
            .map_err(|_| VaultError::Rejected)?;
        Ok([&[FORM], nonce.as_slice(), &text].concat())
    }

    /// What was sealed in this context; anything else is rejected.
    pub fn unseal(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (form, rest) = sealed.split_first().ok_or(VaultError::Rejected)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Rejected)?;
        if *form != FORM {
            return Err(VaultError::Rejected);
        }
        let mut text = text.to_vec();
        let plain = self
            .seal
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut text)
            .map_err(|_| VaultError::Rejected)?;
        Ok(plain.to_vec())
    }
}

/// HKDF's expand step for one block: the master key is uniform already, so nothing needs extracting.
fn derive(master: &hmac::Key, label: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(master, &[b"parlor ", label, &[1]].concat());
    tag.as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes")
}

fn read_key(path: &Path) -> Result<[u8; KEY_BYTES], VaultError> {
    let failed = |source| VaultError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    refuse_permissive(path, &file)?;
    let mut key = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key).map_err(failed)?;
    key.try_into().map_err(|_| VaultError::WrongSize { path: path.to_owned() })
}

#[cfg(unix)]
fn refuse_permissive(path: &Path, file: &File) -> Result<(), VaultError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| VaultError::File { path: path.to_owned(), source };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(VaultError::Permissive { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn refuse_permissive(_path: &Path, _file: &File) -> Result<(), VaultError> {
    Ok(())
}

/// Makes the key under a passing name and links it to its own one, so that a crash leaves either no key or
/// a whole one, and the first of two processes wins.
fn make_key(folder: &Path, path: &Path) -> Result<(), VaultError> {
    let failed = |source| VaultError::File { path: path.to_owned(), source };
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| VaultError::NoRandom)?;
    fs::create_dir_all(folder).map_err(failed)?;
    let passing = folder.join(format!("{KEY_FILE}.{}", uuid::Uuid::new_v4()));
    let linked = write_private(&passing, &key).and_then(|()| fs::hard_link(&passing, path));
    fs::remove_file(&passing).ok();
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => sync_folder(folder).map_err(failed),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private().create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens files for writing that their owner alone may read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
