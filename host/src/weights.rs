//! Weights files as operators meet them: what a header tells, checksums, and the note that one was checked.
//!
//! The note lies beside the file as `<file>.sha256`, in the form of `sha256sum`, so that its `--check` reads it. It
//! does not know the configuration, and leaves loading to `model`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What every GGUF file begins with.
pub const MAGIC: &[u8] = b"GGUF";
const READ_BYTES: usize = 1 << 20;
const SUFFIX: &str = ".sha256";

/// What the header of a sound file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub architecture: String,
    /// Such as `Q4_K - Medium`.
    pub quantisation: Option<String>,
    pub parameters: u64,
    /// Tokens of context that the model was trained for.
    pub context_trained: Option<u32>,
    /// What the weights take in memory.
    pub weights_bytes: u64,
    /// What one token of context takes beside them.
    pub cache_bytes_per_token: Option<u64>,
}

/// Reads the header, and checks that every tensor lies inside the file. None: this build has no native models and
/// knows no more than that the file begins as one does.
///
/// # Errors
/// What is wrong and what to do, in words.
#[cfg(feature = "native")]
pub fn inspect(path: &Path) -> Result<Option<Header>, String> {
    let found = parlor_gguf::inspect(path).map_err(|error| error.to_string())?;
    Ok(Some(Header {
        architecture: found.architecture,
        quantisation: found.quantisation,
        parameters: found.parameters,
        context_trained: found.context_trained,
        weights_bytes: found.weights_bytes,
        cache_bytes_per_token: found.cache_bytes_per_token,
    }))
}

/// Looks at the beginning alone, since this build has no native models.
///
/// # Errors
/// What is wrong and what to do, in words.
#[cfg(not(feature = "native"))]
pub fn inspect(path: &Path) -> Result<Option<Header>, String> {
    let mut magic = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Ok(()) if magic == MAGIC => Ok(None),
        Ok(()) => Err(format!("`{}` is not a GGUF file; point the path at a `.gguf` file", path.display())),
        Err(error) => Err(format!("cannot read `{}` ({error}); fetch the model", path.display())),
    }
}

/// SHA-256 of a file in lower-case hex; `has` is told how many bytes were read so far.
pub fn sha256_of(path: &Path, has: &dyn Fn(u64)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut chunk, mut bytes) = (Sha256::new(), vec![0; READ_BYTES], 0);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => {
                hash.update(&chunk[..count]);
                bytes += count as u64;
                has(bytes);
            }
        }
    }
}

/// What is noted of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Nobody has checked it.
    None,
    /// It was checked, and was not written since.
    Verified(String),
    /// It was checked, and written since.
    Stale(String),
}

impl Note {
    /// The digest that the file has or had.
    pub fn digest(&self) -> Option<&str> {
        match self {
            Note::None => None,
            Note::Verified(digest) | Note::Stale(digest) => Some(digest),
        }
    }
}

/// Notes that a file was checked and has this digest.
pub fn note(path: &Path, sha256: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    fs::write(note_path(path), format!("{sha256}  {name}\n"))
}

/// The note beside a file.
pub fn noted(path: &Path) -> Note {
    let Ok(text) = fs::read_to_string(note_path(path)) else { return Note::None };
    let digest = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Note::None;
    }
    let written = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    match (written(path), written(&note_path(path))) {
        (Some(file), Some(note)) if file <= note => Note::Verified(digest),
        _ => Note::Stale(digest),
    }
}

fn note_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    path.with_file_name(name)
}
