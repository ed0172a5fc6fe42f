//! Whom this machine's configuration trusts, for commands that also work without one.

use std::path::Path;

use anyhow::Context as _;
use minisign::PublicKey;

use crate::plugin::signature::Trust;

/// Keys that were named on the command line, each by itself or by its `.pub` file.
pub fn keys(named: &[String]) -> anyhow::Result<Vec<PublicKey>> {
    named.iter().map(|named| key(named)).collect()
}

fn key(named: &str) -> anyhow::Result<PublicKey> {
    if let Ok(key) = PublicKey::from_base64(named) {
        return Ok(key);
    }
    let text = std::fs::read_to_string(named)
        .with_context(|| format!("`{named}` is neither a public key (`RW…`) nor a file that can be read"))?;
    let line = text.lines().find(|line| line.starts_with("RW")).unwrap_or_default();
    PublicKey::from_base64(line).ok().with_context(|| format!("`{named}` holds no minisign public key"))
}

/// What the configuration says; none: there is no configuration.
pub fn configured(config: &Path) -> anyhow::Result<Option<Trust>> {
    if !config.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    let plugins = crate::command::load(config)?.plugins;
    Ok(Some(Trust::new(plugins.trusted_keys, plugins.allow_unsigned)))
}
