//! The plugins and channels of a configuration, wired as `serve` wires them and then let go: what keeps them from
//! serving comes back.
//!
//! It works in a folder of its own and changes nothing in the data folder, so that it may run beside a host.
//! Compiled plugins are taken from there if they are there.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::fit::Fitter;
use super::{COMPILED, Parts, RELEASES, loader, wiring};
use crate::config::Config;
use crate::config::mouth;
use crate::deployment::Fit as _;
use crate::egress::Egress;
use crate::plugin::Release;
use crate::plugin::loader::{Loader, Rejected, wasm_files};
use crate::plugin::manifest::Manifest;
use crate::store::sqlite::SqliteStore;
use crate::store::vault::{KEY_FILE, Vault};

/// What came out.
#[derive(Debug)]
pub struct Examined {
    /// Files that do not serve, of the plugin folder and of releases that came otherwise.
    pub rejected: Vec<Rejected>,
    /// What keeps channels from serving, a sentence each.
    pub problems: Vec<String>,
    /// What the plugins that serve say of themselves.
    pub manifests: Vec<Manifest>,
    /// Those of them that no trusted key has signed.
    pub unsigned: Vec<String>,
}

/// Loads the plugins and wires the channels in `scratch`, an empty folder that this user alone can read.
///
/// # Errors
/// If not even that can be tried: the plugin folder cannot be read, the machine gives no memory or thread.
pub async fn examine(config: &Arc<Config>, parts: &Parts, scratch: &Path) -> anyhow::Result<Examined> {
    borrow_compiled(&config.data, scratch);
    let vault = Vault::open(scratch)?;
    let loader = loader(config, scratch, parts, &vault, Arc::new(|_| ()))?;
    let folder = &config.plugins.folder;
    let loaded = loader.load_folder(folder).await;
    let (mut releases, mut rejected) =
        loaded.with_context(|| format!("cannot read the plugin folder `{}`", folder.display()))?;
    for loaded in installed(config, &loader, &releases).await {
        match loaded {
            Ok(release) => releases.push(release),
            Err(not) => rejected.push(not),
        }
    }
    let fitter = Fitter {
        config: config.clone(),
        place: parts.place,
        clock: parts.clock.clone(),
        store: Arc::new(SqliteStore::open(scratch, vault)?),
        egress: Egress::new(config.endpoints.clone())?,
    };
    let manifests: Vec<_> = releases.iter().map(|release| release.manifest.clone()).collect();
    let unsigned = releases.iter().filter(|release| release.provenance.signer().is_none());
    let unsigned = unsigned.map(|release| release.manifest.name.clone()).collect();
    let misfits = releases.into_iter().filter_map(|release| fitter.fit(release).err());
    let mut problems: Vec<_> = misfits.flatten().collect();
    let loaded: Vec<_> = manifests.iter().map(|manifest| manifest.name.clone()).collect();
    problems.extend(wiring::problems(config, &loaded));
    Ok(Examined { rejected, problems, manifests, unsigned })
}

/// The newest release of each plugin that a channel names and the folder lacks: it was uploaded, or a source brought it.
async fn installed(
    config: &Config,
    loader: &Loader,
    of_folder: &[Arc<Release>],
) -> Vec<Result<Arc<Release>, Rejected>> {
    let mouths = mouth::all(config);
    let mut missed: BTreeSet<&str> = mouths.iter().flat_map(|mouth| mouth.plugins()).collect();
    missed.retain(|name| of_folder.iter().all(|release| release.manifest.name != *name));
    let mut loaded = Vec::new();
    for path in newest_first(&config.data.join(RELEASES)) {
        if missed.is_empty() {
            break;
        }
        let Ok(package) = loader.read(&path) else { continue };
        if missed.remove(&*package.manifest.name) {
            loaded.push(loader.load(package).await.map_err(|source| Rejected { path, source }));
        }
    }
    loaded
}

/// The files of a folder that may not be there.
fn newest_first(folder: &Path) -> Vec<PathBuf> {
    let mut files = wasm_files(folder).unwrap_or_default();
    files.sort_by_key(|path| Reverse(std::fs::metadata(path).and_then(|file| file.modified()).ok()));
    files
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
