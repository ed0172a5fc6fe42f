//! The way from a file to a release that may serve: read, verify and check → compile in a child → link → self-test.
//!
//! Start-up and a later swap take the same path. A loader serves nobody: what it made goes to the `shelf` of a host,
//! by way of whoever decides that it shall serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::plugin::compile::{Cache, CompileError};
use crate::plugin::engine::Built;
use crate::plugin::imports::{Imports, imports};
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
    /// It was loaded and does not come to serve.
    #[error("{0}")]
    NotDeployed(String),
}

/// A file that did not become a release.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{}`: {source}", path.display())]
pub struct Rejected {
    pub path: PathBuf,
    pub source: LoadError,
}

/// What makes releases, in one process.
pub struct Loader {
    imports: Imports,
    /// Instances that may live at a time, for those who bound their calls.
    pub instances_max: usize,
    cache: Cache,
    witness: Witness,
    trust: Trust,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loader({:?})", self.cache)
    }
}

impl Loader {
    pub fn new(built: Built, cache: Cache, witness: Witness, trust: Trust) -> Loader {
        let imports = imports(&built.engine).expect("each import has a name of its own");
        Loader { imports, instances_max: built.instances_max, cache, witness, trust }
    }

    /// Loads every `.wasm` of a folder, in the order of their names; tells which did not load and why.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn load_folder(&self, folder: &Path) -> std::io::Result<(Vec<Arc<Release>>, Vec<Rejected>)> {
        let (mut releases, mut rejected) = (Vec::<Arc<Release>>::new(), Vec::new());
        for path in wasm_files(folder)? {
            match self.load_first(&path, &releases).await {
                Ok(release) => releases.push(release),
                Err(source) => rejected.push(Rejected { path, source }),
            }
        }
        Ok((releases, rejected))
    }

    async fn load_first(&self, path: &Path, others: &[Arc<Release>]) -> Result<Arc<Release>, LoadError> {
        let package = self.read(path)?;
        let name = &package.manifest.name;
        if others.iter().any(|other| other.manifest.name == *name) {
            return Err(LoadError::SecondOfItsName(name.clone()));
        }
        self.load(package).await
    }

    /// Reads a plugin's file, if it may be trusted.
    pub fn read(&self, path: &Path) -> Result<Package, PackageError> {
        Package::read(path, &self.trust)
    }

    /// The same of a plugin's bytes, which lie in no file yet.
    pub fn check(&self, bytes: Vec<u8>) -> Result<Package, PackageError> {
        Package::check(PathBuf::new(), bytes, &self.trust)
    }

    /// Takes one package the whole way.
    pub async fn load(&self, package: Package) -> Result<Arc<Release>, LoadError> {
        let compiled = self.cache.compiled(self.imports.engine(), &package).await?;
        let release = Arc::new(Release::link(&self.imports, package, &compiled, self.witness.clone())?);
        selftest::run(&release).await?;
        if release.provenance.signer().is_none() {
            tracing::warn!(plugin = %release.manifest.name, "no trusted key signed this plugin; it may serve since `plugins.allow_unsigned` is true");
        }
        Ok(release)
    }

    /// Deletes what was compiled of a release that nobody goes back to.
    pub fn forget(&self, digest: &str) {
        self.cache.forget(digest);
    }
}

/// The plugin files of a folder, in the order of their names.
pub fn wasm_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
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
