//! The plugins and channels of a configuration, wired as `serve` wires them and then let go: what keeps them from
//! serving comes back.
//!
//! It works in a folder of its own and changes nothing in the data folder, so that it may run beside a host.
//! Compiled plugins are taken from there if they are there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::wiring::Wiring;
use super::{COMPILED, Parts, shelf};
use crate::adapter::Permits;
use crate::config::Config;
use crate::egress::Egress;
use crate::plugin::manifest::Manifest;
use crate::plugin::shelf::Rejected;
use crate::store::sqlite::SqliteStore;
use crate::store::vault::{KEY_FILE, Vault};
use crate::telemetry::Metrics;

/// What came out.
#[derive(Debug)]
pub struct Examined {
    /// Files of the plugin folder that do not serve.
    pub rejected: Vec<Rejected>,
    /// What keeps channels from serving, a sentence each.
    pub problems: Vec<String>,
    /// What the plugins that serve say of themselves.
    pub manifests: Vec<Manifest>,
}

/// Loads the plugins and wires the channels in `scratch`, an empty folder that this user alone can read.
///
/// # Errors
/// If not even that can be tried: the plugin folder cannot be read, the machine gives no memory or thread.
pub async fn examine(config: &Config, parts: &Parts, scratch: &Path) -> anyhow::Result<Examined> {
    borrow_compiled(&config.data, scratch);
    let vault = Vault::open(scratch)?;
    let shelf = Arc::new(shelf(config, scratch, parts, &vault, Arc::new(Metrics::new()))?);
    let folder = &config.plugins.folder;
    let rejected = shelf.load_folder(folder).await;
    let rejected =
        rejected.with_context(|| format!("cannot read the plugin folder `{}`", folder.display()))?;
    let mut wiring = Wiring {
        config,
        parts,
        shelf: shelf.clone(),
        store: Arc::new(SqliteStore::open(scratch, vault)?),
        egress: Egress::new(config.endpoints.clone())?,
        permits: Arc::new(Permits::new(shelf.instances_max)),
        problems: Vec::new(),
        gates: BTreeMap::new(),
    };
    drop(wiring.channels());
    let releases = shelf.names().into_iter().filter_map(|name| shelf.release(&name));
    let manifests = releases.map(|release| release.manifest.clone()).collect();
    Ok(Examined { rejected, problems: wiring.problems, manifests })
}

/// What is not taken over is compiled anew: this saves time and nothing else.
fn borrow_compiled(data: &Path, scratch: &Path) {
    let (from, to) = (data.join(COMPILED), scratch.join(COMPILED));
    if std::fs::copy(data.join(KEY_FILE), scratch.join(KEY_FILE)).is_err() {
        return;
    }
    let (Ok(entries), Ok(())) = (std::fs::read_dir(from), std::fs::create_dir_all(&to)) else { return };
    for entry in entries.flatten() {
        let own = to.join(entry.file_name());
        if std::fs::hard_link(entry.path(), &own).is_err() {
            drop(std::fs::copy(entry.path(), &own));
        }
    }
}
