//! What a weights file says of itself in its header, without loading it: for lists, checks and estimates.
//!
//! `weights` reads the header; this says what its numbers mean.

use std::ffi::CStr;
use std::path::Path;

use crate::weights::{self, Header, LoadError};

/// llama.cpp keeps keys and values in 16 bits where nothing else is asked for.
const CACHE_BYTES_PER_VALUE: u64 = 2;

/// What the header of a sound file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// `general.name`, if it has one.
    pub name: Option<String>,
    /// `general.architecture`, such as `llama`.
    pub architecture: String,
    /// llama.cpp's words for `general.file_type`, such as `Q4_K - Medium`.
    pub quantisation: Option<String>,
    pub parameters: u64,
    /// Tokens of context that the model was trained for.
    pub context_trained: Option<u32>,
    /// Bytes up to the end of the last tensor: what the weights take in memory.
    pub weights_bytes: u64,
    /// What one token of context takes in the cache of keys and values, where the header tells.
    pub cache_bytes_per_token: Option<u64>,
}

/// Reads the header of a file and checks that every tensor lies inside of it. Reads no weights.
///
/// # Errors
/// Those with which [`Engine::load`](crate::Engine::load) would refuse the file before it loads it.
pub fn inspect(path: &Path) -> Result<Inspection, LoadError> {
    let header = weights::check(path, None)?;
    Ok(Inspection {
        quantisation: header.file_type.and_then(quantisation),
        parameters: header.parameters,
        context_trained: header.numbers.get("context_length").copied(),
        weights_bytes: header.needed_bytes,
        cache_bytes_per_token: cache_bytes_per_token(&header),
        name: header.name.filter(|name| !name.is_empty()),
        architecture: header.architecture,
    })
}

fn quantisation(file_type: u32) -> Option<String> {
    // SAFETY: it takes any number, and gives a constant text or null.
    let name = unsafe { llama_cpp_sys_2::llama_ftype_name(file_type) };
    if name.is_null() {
        return None;
    }
    // SAFETY: llama.cpp's texts end in a zero and live as long as the process.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    (!name.starts_with("unknown")).then(|| name.into_owned())
}

/// Keys and values of every layer for one token. None where layers differ (an array instead of a number).
fn cache_bytes_per_token(header: &Header) -> Option<u64> {
    let number = |key: &str| header.numbers.get(key).map(|number| u64::from(*number));
    let heads = number("attention.head_count")?;
    let each = number("embedding_length")?.checked_div(heads)?;
    let keys = number("attention.key_length").unwrap_or(each);
    let values = number("attention.value_length").unwrap_or(each);
    let heads_kept = number("attention.head_count_kv").unwrap_or(heads);
    Some(number("block_count")? * heads_kept * (keys + values) * CACHE_BYTES_PER_VALUE)
}
