//! The files of releases that serve, served or may serve, by digest: so that going back needs nobody's help.

use std::path::{Path, PathBuf};

use super::NotDeployed;
use crate::plugin::loader::{LoadError, Loader};
use crate::plugin::package::Package;

#[derive(Debug)]
pub(super) struct Depot(PathBuf);

impl Depot {
    pub(super) fn open(folder: PathBuf) -> Result<Depot, NotDeployed> {
        std::fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
        Ok(Depot(folder))
    }

    /// Keeps a package's file, whole or not at all. The package goes on with the kept one.
    pub(super) fn keep(&self, package: Package) -> Result<Package, NotDeployed> {
        let path = self.path(&package.digest);
        if !path.is_file() {
            write_whole(&path, &package.bytes).map_err(|source| failed(&path, source))?;
        }
        Ok(Package { path, ..package })
    }

    /// The package of this digest.
    pub(super) fn package(&self, digest: &str, loader: &Loader) -> Result<Package, NotDeployed> {
        if !self.has(digest) {
            return Err(NotDeployed::NoFile(digest.to_owned()));
        }
        let package = loader.read(&self.path(digest)).map_err(LoadError::from)?;
        // A file that is another one by now is none.
        if package.digest == digest { Ok(package) } else { Err(NotDeployed::NoFile(digest.to_owned())) }
    }

    /// Whether the file of a release is here.
    pub(super) fn has(&self, digest: &str) -> bool {
        is_digest(digest) && self.path(digest).is_file()
    }

    /// The bytes of a release's file.
    pub(super) fn bytes(&self, digest: &str) -> Result<Vec<u8>, NotDeployed> {
        let path = self.path(digest);
        std::fs::read(&path).map_err(|source| failed(&path, source))
    }

    /// The file that this host last saw in its plugin folder under a plugin's name.
    pub(super) fn seen(&self, plugin: &str) -> Option<String> {
        std::fs::read_to_string(self.0.join(format!("{plugin}.seen"))).ok()
    }

    /// Notes it. If that fails, the file counts as new at the next start, and is installed again.
    pub(super) fn see(&self, plugin: &str, digest: &str) {
        let path = self.0.join(format!("{plugin}.seen"));
        if let Err(error) = write_whole(&path, digest.as_bytes()) {
            tracing::warn!(file = %path.display(), error = %error, "what lies in the plugin folder cannot be noted");
        }
    }

    /// Notes that a plugin is installed, whether it came by the folder or otherwise.
    pub(super) fn mark(&self, plugin: &str) {
        if self.seen(plugin).is_none() {
            self.see(plugin, "");
        }
    }

    /// Plugins that were installed here.
    pub(super) fn plugins(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names =
            entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".seen")?.to_owned()));
        names.collect()
    }

    /// Deletes a release's file. If that fails it stays.
    pub(super) fn forget(&self, digest: &str) {
        drop(std::fs::remove_file(self.path(digest)));
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.0.join(format!("{digest}.wasm"))
    }
}

/// What comes out of the store is no path.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(part, path)
}

fn failed(path: &Path, source: std::io::Error) -> NotDeployed {
    NotDeployed::Depot { path: path.to_owned(), source }
}
