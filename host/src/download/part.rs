//! The unfinished file: `<file>.part`, and beside it in `<file>.part.json` what it is a part of.
//!
//! One process writes it, by a lock on it. It becomes the file when it is whole, checked and on the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use url::Url;

use super::{DownloadError, Progress};
use crate::space;

const READ_BYTES: usize = 1 << 20;

pub struct Part {
    target: PathBuf,
    path: PathBuf,
    file: tokio::fs::File,
    hash: Sha256,
    /// What is there.
    pub bytes: u64,
    state: State,
}

/// What the next process must know to go on.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    url: String,
    /// A strong entity tag or a date, for `If-Range`.
    validator: Option<String>,
}

/// The size of a file that lies at this place already.
pub fn occupied(path: &Path) -> Result<Option<u64>, DownloadError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found.len())),
        Ok(_) => Err(DownloadError::Occupied { path: path.to_owned(), why: "is no file".to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("look at", path, source)),
    }
}

/// In lower-case hex, on a thread of its own.
pub async fn sha256_of(path: PathBuf) -> Result<String, DownloadError> {
    let read = move || {
        let mut hash = Sha256::new();
        let outcome = File::open(&path).and_then(|mut file| feed(&mut file, &mut hash));
        outcome.map(|_| hex::encode(hash.finalize())).map_err(|source| failed("read", &path, source))
    };
    tokio::task::spawn_blocking(read).await.expect("reading a file does not panic")
}

fn feed(file: &mut File, hash: &mut Sha256) -> io::Result<u64> {
    let (mut bytes, mut chunk) = (0, vec![0; READ_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(bytes),
            count => {
                hash.update(&chunk[..count]);
                bytes += count as u64;
            }
        }
    }
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> DownloadError {
    DownloadError::File { act, path: path.to_owned(), source }
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

impl Part {
    /// Takes the unfinished file for this process; what is there of the same address stays.
    pub async fn open(target: &Path, url: &Url, progress: &dyn Progress) -> Result<Part, DownloadError> {
        if let Some(folder) = folder(target) {
            fs::create_dir_all(&folder).map_err(|source| failed("make the folder", &folder, source))?;
        }
        let path = beside(target, ".part");
        let file = lock(&path)?;
        let wanted = State { url: without_query(url), validator: None };
        let found = fs::read(beside(target, ".part.json")).ok();
        let found = found.and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        let bytes = file.metadata().map_err(|source| failed("look at", &path, source))?.len();
        let goes_on = bytes > 0 && found.as_ref().is_some_and(|found| found.url == wanted.url);
        let mut part = Part {
            target: target.to_owned(),
            path,
            file: tokio::fs::File::from_std(file),
            hash: Sha256::new(),
            bytes: 0,
            state: found.filter(|_| goes_on).unwrap_or(wanted),
        };
        if goes_on {
            progress.says(&format!("{} are there already; looking through them", space::shown(bytes)));
            part.read_again().await?;
        } else {
            part.restart().await?;
        }
        Ok(part)
    }

    /// Hashes what a former process left.
    async fn read_again(&mut self) -> Result<(), DownloadError> {
        let (path, mut hash) = (self.path.clone(), Sha256::new());
        let read =
            move || File::open(&path).and_then(|mut file| feed(&mut file, &mut hash)).map(|n| (n, hash));
        let read = tokio::task::spawn_blocking(read).await.expect("reading a file does not panic");
        let (bytes, hash) = read.map_err(|source| failed("read", &self.path, source))?;
        (self.bytes, self.hash) = (bytes, hash);
        let sought = self.file.seek(io::SeekFrom::Start(bytes)).await;
        sought.map(drop).map_err(|source| failed("read", &self.path, source))
    }

    /// Forgets what is there.
    pub async fn restart(&mut self) -> Result<(), DownloadError> {
        (self.bytes, self.hash, self.state.validator) = (0, Sha256::new(), None);
        let emptied = async {
            self.file.set_len(0).await?;
            self.file.seek(io::SeekFrom::Start(0)).await
        };
        emptied.await.map(drop).map_err(|source| failed("write", &self.path, source))?;
        self.save()
    }

    /// What proves to the server that the rest belongs to what is here.
    pub fn validator(&self) -> Option<&str> {
        self.state.validator.as_deref()
    }

    pub fn remember(&mut self, validator: Option<String>) -> Result<(), DownloadError> {
        if self.state.validator == validator {
            return Ok(());
        }
        self.state.validator = validator;
        self.save()
    }

    fn save(&self) -> Result<(), DownloadError> {
        let path = beside(&self.target, ".part.json");
        let text = serde_json::to_vec(&self.state).expect("two texts are JSON");
        fs::write(&path, text).map_err(|source| failed("write", &path, source))
    }

    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(chunk).await.map_err(|source| failed("write", &self.path, source))?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Sees to it that what was written is in the file.
    pub async fn flush(&mut self) -> Result<(), DownloadError> {
        self.file.flush().await.map_err(|source| failed("write", &self.path, source))
    }

    /// The folder that it lies in.
    pub fn folder(&self) -> PathBuf {
        folder(&self.target).unwrap_or_else(|| PathBuf::from("."))
    }

    /// Throws it away: it can never become the file.
    pub fn discard(&self) {
        // What cannot be deleted is found out and begun anew by the next download.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(beside(&self.target, ".part.json"));
    }

    /// Checks what is there and gives it its name; size and SHA-256 come back.
    pub async fn finish(
        mut self,
        expected: Option<&str>,
        accept: &(dyn Fn(&Path) -> Result<(), String> + Sync),
    ) -> Result<(u64, String), DownloadError> {
        self.flush().await?;
        self.file.sync_all().await.map_err(|source| failed("write", &self.path, source))?;
        let found = hex::encode(self.hash.clone().finalize());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.discard();
            return Err(DownloadError::Mismatch { expected: expected.to_owned(), found });
        }
        if let Err(why) = accept(&self.path) {
            self.discard();
            return Err(DownloadError::Unfit(why));
        }
        fs::rename(&self.path, &self.target).map_err(|source| failed("rename", &self.path, source))?;
        let _ = fs::remove_file(beside(&self.target, ".part.json"));
        let folder = self.folder();
        sync_folder(&folder).map_err(|source| failed("write", &folder, source))?;
        Ok((self.bytes, found))
    }
}

fn folder(target: &Path) -> Option<PathBuf> {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned)
}

/// Signatures in a query change with each visit, the file does not.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Opens and locks the file that has this name once the lock is held: its former owner may have renamed it.
fn lock(path: &Path) -> Result<File, DownloadError> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|source| failed("write", path, source))?;
        match file.try_lock() {
            Ok(()) if is_still(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DownloadError::Busy(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed("lock", path, source)),
        }
    }
}

#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(not(unix))]
fn is_still(_file: &File, _path: &Path) -> bool {
    true
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
