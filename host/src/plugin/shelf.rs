//! The releases that serve, by plugin name: load, swap, hand out.
//!
//! Start-up and a later swap take the same path: read, verify and check → compile in a child → link → self-test →
//! swap. Whoever holds a release keeps it until its call ends; the next caller gets the new one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use wasmtime::Engine;

use crate::plugin::compile::{Cache, CompileError};
use crate::plugin::engine::Built;
use crate::plugin::package::{Package, PackageError};
use crate::plugin::release::{LinkError, Release, Witness};
use crate::plugin::selftest::{self, SelfTestError};
use crate::plugin::signature::Trust;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    #[error("another file of this folder is the plugin `{0}` already; remove one of the two")]
    SecondOfItsName(String),
}

/// A file that did not become a release.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{}`: {source}", path.display())]
pub struct Rejected {
    pub path: PathBuf,
    pub source: LoadError,
}

/// The plugins of one process.
pub struct Shelf {
    engine: Engine,
    /// Instances that may live at a time, for those who bound their calls.
    pub instances_max: usize,
    cache: Cache,
    witness: Witness,
    trust: Trust,
    releases: ArcSwap<BTreeMap<String, Arc<Release>>>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.releases.load().iter()).finish()
    }
}

impl Shelf {
    pub fn new(built: Built, cache: Cache, witness: Witness, trust: Trust) -> Shelf {
        Shelf {
            engine: built.engine,
            instances_max: built.instances_max,
            cache,
            witness,
            trust,
            releases: ArcSwap::default(),
        }
    }

    /// Loads every `.wasm` of a folder, in the order of their names; tells which did not load and why.
    pub async fn load_folder(&self, folder: &Path) -> std::io::Result<Vec<Rejected>> {
        let mut rejected = Vec::new();
        for path in wasm_files(folder)? {
            if let Err(source) = self.load_first(&path).await {
                rejected.push(Rejected { path, source });
            }
        }
        Ok(rejected)
    }

    async fn load_first(&self, path: &Path) -> Result<(), LoadError> {
        let package = Package::read(path, &self.trust)?;
        if self.release(&package.manifest.name).is_some() {
            return Err(LoadError::SecondOfItsName(package.manifest.name));
        }
        self.load(package).await.map(drop)
    }

    /// Takes one package the whole way; the old release serves until the new one has proved itself.
    pub async fn load(&self, package: Package) -> Result<Arc<Release>, LoadError> {
        let compiled = self.cache.compiled(&self.engine, &package).await?;
        let release = Arc::new(Release::link(&self.engine, package, &compiled, self.witness.clone())?);
        selftest::run(&release).await?;
        self.publish(release.clone());
        Ok(release)
    }

    fn publish(&self, release: Arc<Release>) {
        if release.provenance.signer().is_none() {
            tracing::warn!(plugin = %release.manifest.name, "no trusted key signed this plugin; it serves since `plugins.allow_unsigned` is true");
        }
        tracing::info!(plugin = %release.manifest.name, version = %release.manifest.version, digest = %release.digest, "plugin serves");
        self.releases.rcu(|releases| {
            let mut releases = BTreeMap::clone(releases);
            releases.insert(release.manifest.name.clone(), release.clone());
            releases
        });
    }

    /// The release that serves this name now.
    pub fn release(&self, name: &str) -> Option<Arc<Release>> {
        self.releases.load().get(name).cloned()
    }

    pub fn names(&self) -> Vec<String> {
        self.releases.load().keys().cloned().collect()
    }
}

fn wasm_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
