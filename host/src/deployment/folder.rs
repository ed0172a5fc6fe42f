//! What is installed by putting a file into the plugin folder: at the start, and while the host runs.
//!
//! A file counts when it appears whole under its name, as a rename brings it. One that is still being written is
//! damaged and not told of before it stays so. What a host has seen of its folder it notes beside its releases: at a
//! start only what is new since then is installed, so that a release that was rolled back does not come back by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Bringing, Deployments, Installed, NotDeployed, Wanted};
use crate::plugin::loader::{LoadError, Rejected, wasm_files};
use crate::plugin::package::Package;
use crate::plugin::shelf::Serving;
use crate::store::StoreError;
use crate::telemetry;

/// How soon a change of the folder is seen. It is looked at rather than watched: a look costs microseconds, and sees
/// what comes over a network or behind a link as well, of which no system tells.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How soon releases are judged, and what another node wants is seen.
const JUDGED_EVERY: Duration = Duration::from_secs(1);

/// What keeps plugins from serving the channels that use them, a sentence each.
pub type Misfits = BTreeMap<String, Vec<String>>;

/// What tells one state of a file from another without reading it.
type Look = (u64, Option<SystemTime>);

impl Deployments {
    /// Brings up what is wanted, and what is new in the folder since; what is still missing then, from the sources.
    /// `used` are the plugins that the configuration names. Returned is what keeps plugins from serving the channels
    /// that use them.
    ///
    /// # Errors
    /// If the folder or the store cannot be read.
    pub async fn begin(&self, folder: &Path, used: &BTreeSet<String>) -> anyhow::Result<Misfits> {
        let mut misfits = self.begin_files(folder).await?;
        for name in used.iter().cloned().chain(self.depot.plugins()) {
            if misfits.contains_key(&name) {
                continue;
            }
            let problems = self.begin_one(&name, None).await?;
            misfits.insert(name, problems);
        }
        misfits.retain(|name, problems| used.contains(name) && !problems.is_empty());
        self.bring_missing(used, &mut misfits).await?;
        Ok(misfits)
    }

    /// Brings up the plugins that have a file in the folder; the other files are rejected. Returned are all of these
    /// plugins, also those that nothing keeps from serving. Each file is read once, and gone from the memory before the
    /// next one: a thousand together would fill it.
    async fn begin_files(&self, folder: &Path) -> anyhow::Result<Misfits> {
        let mut begun = Misfits::new();
        for path in files(folder)? {
            let Some(package) = self.read_file(&path) else { continue };
            let name = package.manifest.name.clone();
            if begun.contains_key(&name) {
                self.reject(path, LoadError::SecondOfItsName(name));
                continue;
            }
            let problems = self.begin_one(&name, Some(&package)).await?;
            begun.insert(name, problems);
        }
        Ok(begun)
    }

    /// Brings up one plugin, by its file in the folder if it has one. Returned is what keeps it from serving the
    /// channels that use it.
    async fn begin_one(&self, name: &str, package: Option<&Package>) -> Result<Vec<String>, StoreError> {
        let problems = match (self.ledger.read(name).await?, package) {
            (Some(wanted), package) => self.begin_with(name, wanted, package).await?,
            (None, Some(package)) => self.install_file(package).await?,
            (None, None) => Vec::new(),
        };
        let serves = self.shelf.serving(name).is_some();
        Ok(if serves { Vec::new() } else { problems })
    }

    /// None: it is none, and rejected.
    fn read_file(&self, path: &Path) -> Option<Package> {
        match self.loader.read(path) {
            Ok(package) => Some(package),
            Err(error) => {
                self.reject(path.to_owned(), error.into());
                None
            }
        }
    }

    /// Brings up what was wanted when the host ended, or if that is not to be had the folder's file.
    async fn begin_with(
        &self,
        name: &str,
        wanted: Wanted,
        package: Option<&Package>,
    ) -> Result<Vec<String>, StoreError> {
        let is_lost = |package: &&Package| wanted.knows(&package.digest) && !self.depot.has(&package.digest);
        if let Some(package) = package.filter(is_lost) {
            drop(self.depot.keep(package.clone()));
        }
        let is_new = package.is_some_and(|package| self.is_new(name, &wanted, &package.digest));
        let problems = match self.converge_on(name, wanted.clone()).await {
            Ok(()) => Vec::new(),
            Err(NotDeployed::Store(error)) => return Err(error),
            Err(NotDeployed::Misfit(problems)) => problems,
            Err(error) => {
                self.note_trouble(name, &error);
                Vec::new()
            }
        };
        match package {
            Some(package) if is_new => self.install_file(package).await,
            Some(package) if self.shelf.serving(name).is_none() => {
                Ok(self.serve_file(&wanted, package).await)
            }
            _ => Ok(problems),
        }
    }

    /// Whether the folder's file came since this host last looked. One that never looked takes a release that is
    /// known to be old for one that another node has replaced.
    fn is_new(&self, name: &str, wanted: &Wanted, digest: &str) -> bool {
        match self.depot.seen(name) {
            Some(seen) => seen != digest,
            None => !wanted.knows(digest),
        }
    }

    /// Installs a file of the folder. Only a store that fails is an error: all else is told, and what served goes on.
    /// Returned is what keeps it from serving the channels that use it.
    async fn install_file(&self, package: &Package) -> Result<Vec<String>, StoreError> {
        let (name, digest) = (&package.manifest.name, &package.digest);
        let problems = match self.install(package.clone(), Bringing::default()).await {
            Ok(installed) => {
                self.accept_file(&package.path);
                let waits = matches!(installed, Installed::Waits(_));
                waits.then(|| not_let_in(name)).into_iter().collect()
            }
            Err(NotDeployed::Store(error)) => return Err(error),
            Err(error) => self.reject_deployment(&package.path, error),
        };
        self.depot.see(name, digest);
        Ok(problems)
    }

    /// Serves the folder's file though another one is wanted: that one cannot be had here. If it asks for more than
    /// that one, it has to wait here as well.
    async fn serve_file(&self, wanted: &Wanted, package: &Package) -> Vec<String> {
        match self.fitted(&package.manifest.name, package.clone()).await {
            Ok(fitted) if !self.asks(wanted, &fitted.release).await.is_empty() => {
                vec![not_let_in(&package.manifest.name)]
            }
            Ok(fitted) => {
                self.shelf.put(Serving { stable: fitted, candidate: None });
                Vec::new()
            }
            Err(error) => self.reject_deployment(&package.path, error),
        }
    }

    /// Follows the folder and the sources, and beside them the other nodes and the figures, until it is dropped: a
    /// file that takes a minute to compile, or to hand over, keeps no bad release in service.
    pub async fn follow(self: Arc<Self>, folder: PathBuf) {
        tokio::join!(
            self.follow_folder(&folder),
            self.follow_sources(),
            self.hand_all_over(),
            self.follow_the_rest()
        );
    }

    async fn follow_folder(&self, folder: &Path) {
        let mut looks = self.looks(folder);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look(folder, &mut looks).await;
        }
    }

    async fn follow_the_rest(&self) {
        loop {
            tokio::time::sleep(JUDGED_EVERY).await;
            self.judge().await;
            self.converge().await;
        }
    }

    fn looks(&self, folder: &Path) -> BTreeMap<PathBuf, Look> {
        let files = wasm_files(folder).unwrap_or_default();
        files.into_iter().filter_map(|path| Some((path.clone(), look_at(&path)?))).collect()
    }

    /// Installs what is new in the folder since the last look.
    async fn look(&self, folder: &Path, looks: &mut BTreeMap<PathBuf, Look>) {
        let now = self.looks(folder);
        self.forget_rejected(|path| now.contains_key(path));
        for (path, look) in &now {
            if looks.get(path) == Some(look) {
                continue;
            }
            match self.look_into(path).await {
                Ok(()) => drop(looks.insert(path.clone(), *look)),
                Err(error) => {
                    let error = telemetry::chain(&error);
                    tracing::error!(file = %path.display(), error, "a plugin file is looked at again");
                }
            }
        }
        looks.retain(|path, _| now.contains_key(path));
    }

    async fn look_into(&self, path: &Path) -> Result<(), StoreError> {
        match self.loader.read(path) {
            Ok(package) if self.depot.seen(&package.manifest.name).as_deref() == Some(&package.digest) => {
                Ok(())
            }
            Ok(package) => self.install_file(&package).await.map(drop),
            Err(error) => {
                self.reject(path.to_owned(), error.into());
                Ok(())
            }
        }
    }

    fn reject(&self, path: PathBuf, source: LoadError) {
        let rejected = Rejected { path, source };
        tracing::error!(error = telemetry::chain(&rejected), "a plugin does not serve");
        let mut all = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.path != rejected.path);
        all.push(rejected);
    }

    /// What a release is rejected for, if that is its configuration.
    fn reject_deployment(&self, path: &Path, error: NotDeployed) -> Vec<String> {
        let (source, problems) = match error {
            NotDeployed::Load(error) => (error, Vec::new()),
            NotDeployed::Misfit(problems) => {
                (LoadError::NotDeployed(NotDeployed::Misfit(problems.clone()).to_string()), problems)
            }
            error => (LoadError::NotDeployed(telemetry::chain(&error)), Vec::new()),
        };
        self.reject(path.to_owned(), source);
        problems
    }

    fn accept_file(&self, path: &Path) {
        self.forget_rejected(|rejected| rejected != path);
    }

    fn forget_rejected(&self, is_kept: impl Fn(&Path) -> bool) {
        self.rejected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|rejected| is_kept(&rejected.path));
    }
}

/// The plugin files of the folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    wasm_files(folder).map_err(|error| {
        anyhow::anyhow!(
            "cannot read the plugin folder `{}`; make it, or name another one by `plugins.folder`: {error}",
            folder.display()
        )
    })
}

/// Why nothing serves where the wanted release cannot be had and the folder's asks for more.
fn not_let_in(plugin: &str) -> String {
    format!(
        "plugin `{plugin}`: the file in the plugin folder asks for more than the release that shall serve, which this \
         host does not have; put that one's file into the folder, or bring the new one to a node that serves by \
         `parlor plugin install --approve`"
    )
}

fn look_at(path: &Path) -> Option<Look> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}
