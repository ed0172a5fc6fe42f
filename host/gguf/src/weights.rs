//! Looks at a weights file before llama.cpp does, since C++ aborts the process where this returns an error.
//!
//! Reads the GGUF header with bounds (format: ggml's docs/gguf.md, versions 2 and 3), checks that every tensor lies
//! inside the file, and the SHA-256 if one is given. Knows nothing of what the tensors mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// More keys than any real file has (they have some 30), few enough to read at once.
const KEYS_MAX: u64 = 1 << 16;
/// More tensors than any real file has (the largest have some 2,000).
const TENSORS_MAX: u64 = 1 << 17;
/// The longest name of a key by the format's own rule.
const KEY_BYTES_MAX: u64 = 65_535;
/// Where no `general.alignment` is given.
const ALIGNMENT_DEFAULT: u64 = 32;
const HASH_CHUNK_BYTES: usize = 1 << 20;

/// Why a model could not be loaded. Each text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    #[error("no model file at `{}`; fetch the model or correct the path", path.display())]
    Missing { path: PathBuf },
    #[error("`{}` is not a regular file; point the path at one `.gguf` file", path.display())]
    NotAFile { path: PathBuf },
    #[error("cannot read `{}`; check its permissions and the disk", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` is empty; fetch the model again", path.display())]
    Empty { path: PathBuf },
    #[error("`{}` is not a GGUF file; point the path at a `.gguf` file", path.display())]
    NotGguf { path: PathBuf },
    #[error("`{}` is GGUF version `{version}`, and this build reads 2 and 3; convert the model again", path.display())]
    Version { path: PathBuf, version: u32 },
    #[error(
        "`{}` is truncated: it has `{file_bytes}` bytes and needs at least `{needed_bytes}`; fetch the model again",
        path.display()
    )]
    Truncated { path: PathBuf, file_bytes: u64, needed_bytes: u64 },
    #[error("`{}` has a damaged header ({what}); fetch the model again", path.display())]
    Malformed { path: PathBuf, what: &'static str },
    #[error(
        "`{}` has SHA-256 `{found}` and `{expected}` was expected; fetch the model again, or correct the hash",
        path.display()
    )]
    HashMismatch { path: PathBuf, expected: String, found: String },
    #[error(
        "`{}` is one part of a split model; join the parts with `llama-gguf-split --merge` and load the whole",
        path.display()
    )]
    Split { path: PathBuf },
    #[error("`{}` holds no model that generates text (`{architecture}`); use a chat model", path.display())]
    NotGenerative { path: PathBuf, architecture: String },
    #[error(
        "this processor lacks `{feature}`, which the inference code needs; use a newer one, or a remote model"
    )]
    Processor { feature: &'static str },
    #[error(
        "the model was trained for `{trained}` tokens of context and `{wanted}` are configured; lower the context"
    )]
    ContextTooLong { wanted: u32, trained: u32 },
    #[error("`{field}` is `{value}` and must be {rule}")]
    Config { field: &'static str, value: u64, rule: &'static str },
    #[error("llama.cpp cannot load `{}`; its own log, at level debug, says why", path.display())]
    Refused { path: PathBuf },
    #[error(
        "llama.cpp cannot set up `{sequences}` sequences of `{context}` tokens; lower one of them, or add memory"
    )]
    Context { sequences: u32, context: u32 },
    #[error("llama.cpp was already started in this process by someone else")]
    Backend,
    #[error("cannot start the inference thread")]
    Thread { source: io::Error },
}

/// What the header told and the engine needs before it loads.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub architecture: String,
    pub name: Option<String>,
    /// `general.file_type`: llama.cpp's number of the quantisation.
    pub file_type: Option<u32>,
    /// Numbers of the architecture by what follows its name: `context_length`, `attention.head_count_kv`, …
    pub numbers: BTreeMap<String, u32>,
    /// The elements of all tensors.
    pub parameters: u64,
    /// The bytes of the file up to the end of its last tensor.
    pub needed_bytes: u64,
    has_tokenizer: bool,
    alignment: Option<u64>,
    parts: u64,
}

/// Checks the file: existence, header, sizes, and the hash if there is one to compare with.
pub(crate) fn check(path: &Path, sha256: Option<&[u8; 32]>) -> Result<Header, LoadError> {
    let (file, file_bytes) = open(path)?;
    let header = Reader::new(file, file_bytes).header().map_err(|fault| fault.at(path, file_bytes))?;
    if header.parts > 1 {
        return Err(LoadError::Split { path: path.into() });
    }
    if !header.has_tokenizer || !is_generative(&header.architecture) {
        return Err(LoadError::NotGenerative { path: path.into(), architecture: header.architecture });
    }
    sha256.map_or(Ok(()), |expected| check_hash(path, expected))?;
    Ok(header)
}

fn open(path: &Path) -> Result<(File, u64), LoadError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => LoadError::Missing { path: path.into() },
        _ => LoadError::Unreadable { path: path.into(), source },
    };
    // Asked before it is opened: opening a FIFO would wait for ever.
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(LoadError::NotAFile { path: path.into() });
    }
    if found.len() == 0 {
        return Err(LoadError::Empty { path: path.into() });
    }
    Ok((File::open(path).map_err(unreadable)?, found.len()))
}

/// Encoders load, but have nothing to say; llama.cpp aborts when one asks them for a next token.
fn is_generative(architecture: &str) -> bool {
    !architecture.contains("bert") && !architecture.starts_with("t5") && architecture != "clip"
}

fn check_hash(path: &Path, expected: &[u8; 32]) -> Result<(), LoadError> {
    let found = hash(path).map_err(|source| LoadError::Unreadable { path: path.into(), source })?;
    if found == *expected {
        return Ok(());
    }
    Err(LoadError::HashMismatch { path: path.into(), expected: hex(expected), found: hex(&found) })
}

fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; HASH_CHUNK_BYTES];
    let mut sha256 = Sha256::new();
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(sha256.finalize().into()),
            n => sha256.update(&chunk[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is wrong, before it is known with which file.
enum Fault {
    NotGguf,
    Version(u32),
    Truncated { needed: u64 },
    Malformed(&'static str),
    Io(io::Error),
}

impl Fault {
    fn at(self, path: &Path, file_bytes: u64) -> LoadError {
        let path = path.to_path_buf();
        match self {
            Self::NotGguf => LoadError::NotGguf { path },
            Self::Version(version) => LoadError::Version { path, version },
            Self::Truncated { needed } => LoadError::Truncated { path, file_bytes, needed_bytes: needed },
            Self::Malformed(what) => LoadError::Malformed { path, what },
            Self::Io(source) => LoadError::Unreadable { path, source },
        }
    }
}

/// Reads forward, and never past the end of the file.
struct Reader<R> {
    inner: BufReader<R>,
    at: u64,
    file_bytes: u64,
}

impl<R: Read + io::Seek> Reader<R> {
    fn new(inner: R, file_bytes: u64) -> Self {
        Self { inner: BufReader::with_capacity(1 << 16, inner), at: 0, file_bytes }
    }

    fn header(mut self) -> Result<Header, Fault> {
        if self.file_bytes < 4 || self.take::<4>()? != *b"GGUF" {
            return Err(Fault::NotGguf);
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(Fault::Version(version));
        }
        let (tensors, keys) = (self.u64()?, self.u64()?);
        if tensors == 0 || tensors > TENSORS_MAX || keys == 0 || keys > KEYS_MAX {
            return Err(Fault::Malformed("its counts make no sense"));
        }
        let mut header = Header::default();
        for _ in 0..keys {
            self.key(&mut header)?;
        }
        self.tensors(tensors, &mut header)?;
        Ok(header)
    }

    fn key(&mut self, header: &mut Header) -> Result<(), Fault> {
        let key = self.string(KEY_BYTES_MAX)?;
        let kind = self.u32()?;
        match (key.as_slice(), kind) {
            (b"general.architecture", STRING) => {
                header.architecture = String::from_utf8_lossy(&self.string(KEY_BYTES_MAX)?).into_owned();
            }
            (b"general.name", STRING) => {
                header.name = Some(String::from_utf8_lossy(&self.string(KEY_BYTES_MAX)?).into_owned());
            }
            (b"general.file_type", UINT32) => header.file_type = Some(self.u32()?),
            (b"general.alignment", UINT32) => header.alignment = Some(alignment(self.u32()?)?),
            (b"split.count", UINT16) => header.parts = u64::from(u16::from_le_bytes(self.take()?)),
            (b"tokenizer.ggml.model", STRING) => {
                header.has_tokenizer = self.string(KEY_BYTES_MAX)? != b"none";
            }
            (key, UINT32) => self.number(&String::from_utf8_lossy(key), header)?,
            _ => self.skip_value(kind)?,
        }
        Ok(())
    }

    /// A number of the architecture, whose name stands before the first dot.
    fn number(&mut self, key: &str, header: &mut Header) -> Result<(), Fault> {
        let number = self.u32()?;
        if let Some((architecture, rest)) = key.split_once('.')
            && architecture == header.architecture
        {
            header.numbers.insert(rest.to_owned(), number);
        }
        Ok(())
    }

    fn skip_value(&mut self, kind: u32) -> Result<(), Fault> {
        match kind {
            ARRAY => {
                let (kind, count) = (self.u32()?, self.u64()?);
                self.skip_array(kind, count)
            }
            STRING => self.skip_string(),
            _ => self.skip(scalar_bytes(kind)?),
        }
    }

    fn skip_array(&mut self, kind: u32, count: u64) -> Result<(), Fault> {
        // A string takes eight bytes at least, so a count that lies ends at the file's end and not in a long loop.
        let each = if kind == STRING { 8 } else { scalar_bytes(kind)? };
        let bytes = count.checked_mul(each).ok_or(Fault::Malformed("an array is longer than any file"))?;
        if kind != STRING {
            return self.skip(bytes);
        }
        self.ahead(bytes)?;
        (0..count).try_for_each(|_| self.skip_string())
    }

    fn tensors(&mut self, count: u64, header: &mut Header) -> Result<(), Fault> {
        let mut ends = 0;
        for _ in 0..count {
            let (elements, end) = self.tensor()?;
            header.parameters = header.parameters.saturating_add(elements);
            ends = end.max(ends);
        }
        let starts = self.at.next_multiple_of(header.alignment.unwrap_or(ALIGNMENT_DEFAULT));
        let needed = starts.checked_add(ends).ok_or(Fault::Malformed("a tensor ends beyond any file"))?;
        header.needed_bytes = needed;
        if needed > self.file_bytes { Err(Fault::Truncated { needed }) } else { Ok(()) }
    }

    /// This tensor's elements, and where its data ends, counted from the start of all data.
    fn tensor(&mut self) -> Result<(u64, u64), Fault> {
        self.skip_string()?;
        let dimensions = self.u32()?;
        if dimensions > 4 {
            return Err(Fault::Malformed("a tensor has more than four dimensions"));
        }
        let mut elements = 1_u64;
        for _ in 0..dimensions {
            elements = elements.checked_mul(self.u64()?).ok_or(Fault::Malformed("a tensor is too large"))?;
        }
        let bytes = tensor_bytes(self.u32()?, elements)?;
        let end = self.u64()?.checked_add(bytes);
        Ok((elements, end.ok_or(Fault::Malformed("a tensor ends beyond any file"))?))
    }

    fn string(&mut self, bytes_max: u64) -> Result<Vec<u8>, Fault> {
        let bytes = self.u64()?;
        if bytes > bytes_max {
            return Err(Fault::Malformed("a name is too long"));
        }
        self.ahead(bytes)?;
        let mut string = vec![0; usize::try_from(bytes).expect("it is at most KEY_BYTES_MAX")];
        self.inner.read_exact(&mut string).map_err(Fault::Io)?;
        self.at += bytes;
        Ok(string)
    }

    fn skip_string(&mut self) -> Result<(), Fault> {
        let bytes = self.u64()?;
        self.skip(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Fault> {
        self.ahead(bytes)?;
        let forward =
            i64::try_from(bytes).map_err(|_| Fault::Malformed("a value is longer than any file"))?;
        self.inner.seek_relative(forward).map_err(Fault::Io)?;
        self.at += bytes;
        Ok(())
    }

    /// Are there so many bytes left in the file?
    fn ahead(&self, bytes: u64) -> Result<(), Fault> {
        let needed = self.at.saturating_add(bytes);
        if needed > self.file_bytes { Err(Fault::Truncated { needed }) } else { Ok(()) }
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.ahead(N as u64)?;
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(Fault::Io)?;
        self.at += N as u64;
        Ok(bytes)
    }
}

// The format's numbers of value types that are named above.
const UINT16: u32 = 2;
const UINT32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

fn scalar_bytes(kind: u32) -> Result<u64, Fault> {
    match kind {
        0 | 1 | 7 => Ok(1),
        UINT16 | 3 => Ok(2),
        UINT32 | 5 | 6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(Fault::Malformed("a value has an unknown type")),
    }
}

fn alignment(bytes: u32) -> Result<u64, Fault> {
    if bytes.is_power_of_two() {
        Ok(bytes.into())
    } else {
        Err(Fault::Malformed("its alignment is no power of two"))
    }
}

fn tensor_bytes(kind: u32, elements: u64) -> Result<u64, Fault> {
    if kind >= llama_cpp_sys_2::GGML_TYPE_COUNT {
        return Err(Fault::Malformed("a tensor has an unknown type"));
    }
    // SAFETY: both read a constant table of GGML_TYPE_COUNT rows, and `kind` is below that.
    let (block, bytes) =
        unsafe { (llama_cpp_sys_2::ggml_blck_size(kind), llama_cpp_sys_2::ggml_type_size(kind) as u64) };
    // A type that was withdrawn keeps its row, with zeros.
    let block = u64::try_from(block).ok().filter(|block| *block > 0);
    let blocks = block
        .map(|block| elements.div_ceil(block))
        .ok_or(Fault::Malformed("a tensor has a withdrawn type"))?;
    blocks.checked_mul(bytes).ok_or(Fault::Malformed("a tensor is too large"))
}
