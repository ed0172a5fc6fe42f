//! A model that runs in this process: its file, its checksum, and the memory that it takes.

use std::path::PathBuf;

use indicatif::DecimalBytes;

use super::Finding;
use super::memory::{Memory, memory};
use crate::config::Gguf;
use crate::weights::{self, Header};

const CHECK: &str = "model";
/// The backend rounds the context of each conversation up to a multiple of this.
const CONTEXT_STEP: u64 = 256;

/// What is configured.
pub struct File {
    path: PathBuf,
    sha256: Option<String>,
    context: u32,
    conversations: u32,
}

impl File {
    pub fn of(local: &Gguf) -> File {
        File {
            path: local.path.clone(),
            sha256: local.sha256.clone(),
            context: local.context,
            conversations: local.max_batch_size,
        }
    }
}

/// `is_serving`: the host runs and has the model in its memory already.
pub fn findings(name: &str, file: &File, is_serving: bool) -> Vec<Finding> {
    let header = match weights::inspect(&file.path) {
        Ok(Some(header)) => header,
        Ok(None) => {
            let (what, remedy) =
                ("this build has no native models", "build it with the feature `native`, or use an endpoint");
            return vec![Finding::fail(CHECK, name, what, remedy)];
        }
        Err(text) => {
            return vec![Finding::of_error(CHECK, name, &text, "fetch the model by `parlor model pull`")];
        }
    };
    let mut findings = vec![checksum(name, file)];
    findings.extend(context(name, file, &header));
    findings.extend(memory().map(|memory| room(name, file, &header, memory, is_serving)));
    findings
}

fn checksum(name: &str, file: &File) -> Finding {
    let shown = file.path.display();
    let Some(expected) = &file.sha256 else {
        return Finding::ok(
            CHECK,
            name,
            format!("`{shown}` is whole; no `sha256` says which file it must be"),
        );
    };
    match weights::sha256_of(&file.path, &|_| {}) {
        Ok(found) if found == *expected => {
            Finding::ok(CHECK, name, format!("`{shown}` is whole and has its SHA-256"))
        }
        Ok(found) => Finding::fail(
            CHECK,
            name,
            format!("`{shown}` has SHA-256 `{found}` and must have `{expected}`"),
            "fetch the model again by `parlor model pull`, or correct `sha256`",
        ),
        Err(error) => Finding::fail(
            CHECK,
            name,
            format!("`{shown}` cannot be read: {error}"),
            "check its permissions and the disk",
        ),
    }
}

fn context(name: &str, file: &File, header: &Header) -> Option<Finding> {
    let trained = header.context_trained.filter(|trained| file.context > *trained)?;
    let what = format!("`context` is {} tokens, and the model was trained for {trained}", file.context);
    Some(Finding::fail(CHECK, name, what, format!("set `context` to {trained} or less")))
}

/// Weights, and the cache of every conversation.
fn needed(file: &File, header: &Header) -> u64 {
    let context = u64::from(file.context).next_multiple_of(CONTEXT_STEP);
    let tokens = context.saturating_mul(u64::from(file.conversations));
    header.weights_bytes.saturating_add(header.cache_bytes_per_token.unwrap_or(0).saturating_mul(tokens))
}

fn room(name: &str, file: &File, header: &Header, memory: Memory, is_serving: bool) -> Finding {
    let needed = needed(file, header);
    let (shown, remedy) = (
        format!("needs some {} of memory", DecimalBytes(needed)),
        "take a smaller model, or lower its `context` or `max_batch_size`",
    );
    if needed > memory.total {
        let what = format!("{shown}, and there are {} in all", DecimalBytes(memory.total));
        return Finding::fail("memory", name, what, remedy);
    }
    if needed > memory.available && !is_serving {
        let what = format!("{shown}, and {} are free", DecimalBytes(memory.available));
        return Finding::warn("memory", name, what, format!("end other programs, {remedy}"));
    }
    Finding::ok("memory", name, shown)
}
