//! The model that a conversation's people chose, kept in the plugin's store.
//!
//! It is kept for 30 days from its last use; a conversation that goes on keeps its choice. What the operator
//! no longer offers is forgotten.

use std::time::Duration;

use parlor_sdk::{
    Fault, clock, encoding, log,
    store::{self, StoreError},
};

const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A choice in use is written again no more often than this.
const RENEWED: Duration = Duration::from_secs(24 * 3600);
/// Longer ids are kept by their beginning and their hash: the host's keys have 256 bytes.
const ID_BYTES_MAX: usize = 200;

/// The chosen model, if it is still offered. A store that does not answer costs the choice, not the turn.
pub fn of(conversation: &str, offered: &[String]) -> Option<String> {
    let key = key(conversation);
    let kept = store::get(&key).unwrap_or_else(|error| {
        log::warn("the chosen model cannot be read", &[("reason", &Fault::from(error).reason)]);
        None
    })?;
    let (model, since) = read(&kept)?;
    if !offered.contains(&model) {
        store::delete(&key).ok();
        return None;
    }
    let renewed_ms = u64::try_from(RENEWED.as_millis()).unwrap_or(u64::MAX);
    if clock::now_ms().saturating_sub(since) > renewed_ms {
        keep(conversation, &model).ok();
    }
    Some(model)
}

/// Keeps a choice.
///
/// # Errors
/// The store did not take it.
pub fn keep(conversation: &str, model: &str) -> Result<(), StoreError> {
    let value = format!("{}\n{model}", clock::now_ms());
    store::set(&key(conversation), value.as_bytes(), Some(KEPT))
}

/// Goes back to the channel's model.
///
/// # Errors
/// The store did not take it.
pub fn forget(conversation: &str) -> Result<(), StoreError> {
    store::delete(&key(conversation))
}

fn read(kept: &[u8]) -> Option<(String, u64)> {
    let (since, model) = std::str::from_utf8(kept).ok()?.split_once('\n')?;
    Some((model.to_owned(), since.parse().ok()?))
}

fn key(conversation: &str) -> String {
    if conversation.len() <= ID_BYTES_MAX {
        return format!("model:{conversation}");
    }
    let cut = (0..=ID_BYTES_MAX).rev().find(|at| conversation.is_char_boundary(*at)).unwrap_or(0);
    format!("model:{}#{}", &conversation[..cut], encoding::hex(&fnv(conversation).to_be_bytes()))
}

/// FNV-1a, 64 bits: ids come from a platform, not from who would collide them.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
