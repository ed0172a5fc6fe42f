//! Which releases serve: installed, tried beside the stable one, promoted, rolled back.
//!
//! ```text
//! file → package → loaded (compiled, self-tested) → fitted for its channels → wanted, in the store → on the shelf
//! ```
//! What is wanted lies in the store, so that every node comes to serve the same; a step that fails leaves everything
//! as it was, and a host that dies anywhere in between begins again with what is wanted. It knows plugins and the
//! store, and neither turns nor doors: how a release is fitted comes in as `Fit`. Read on in `wanted` (the state),
//! `judge` (automatic rollback), `folder` (files that come while the host runs), `sources` (what comes over the
//! network), `converge` (what other nodes want) and `handover` (their files).

mod converge;
mod depot;
mod folder;
mod handover;
mod judge;
mod ledger;
mod sources;
mod wanted;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::plugin::loader::{LoadError, Loader, Rejected};
use crate::plugin::manifest::{Manifest, grown};
use crate::plugin::package::Package;
use crate::plugin::shelf::{Candidate, Fitted, Serving, Share};
use crate::plugin::{Release, Shelf};
use crate::source::Source;
use crate::store::{Store, StoreError};
use crate::telemetry;
use converge::Trouble;
use depot::Depot;
pub use folder::Misfits;
pub use judge::{Figures, Tallies};
use ledger::Ledger;
use sources::Standing;
pub use wanted::{OnTrial, Quarantined, Waiting, Wanted};

/// How a release becomes one that may serve the channels of this host.
pub trait Fit: Send + Sync + std::fmt::Debug {
    /// # Errors
    /// Everything that keeps it from serving a channel that uses it, a sentence each.
    fn fit(&self, release: Arc<Release>) -> Result<Fitted, Vec<String>>;
}

/// Why a release does not come to serve. What served before goes on.
#[derive(Debug, thiserror::Error)]
pub enum NotDeployed {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("it does not fit the configuration:\n{}", .0.join("\n"))]
    Misfit(Vec<String>),
    #[error("it was taken out of service: {0}; install a mended one")]
    Quarantined(String),
    #[error("no plugin `{0}` is installed")]
    NoSuchPlugin(String),
    #[error("`{plugin}` has no release whose digest begins with `{digest}`")]
    NoSuchRelease { plugin: String, digest: String },
    #[error("`{0}` has no candidate")]
    NoCandidate(String),
    #[error("`{0}` has no release before this one")]
    NothingBefore(String),
    #[error("no node has the file of release {0} any more: put it into the plugin folder, or upload it here")]
    NoFile(String),
    #[error(
        "the store had another file as that of release {0}: somebody changed it; upload the release again"
    )]
    OtherFile(String),
    #[error("releases cannot be kept in `{}`; check its owner and free space", path.display())]
    Depot { path: PathBuf, source: std::io::Error },
    #[error("what shall serve cannot be stored, so nothing was changed")]
    Store(#[from] StoreError),
}

/// What came of bringing a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// It serves, as stable.
    Serves,
    OnTrial(Share),
    /// It asks for more than the stable one does: somebody must say yes.
    Waits(Vec<String>),
}

/// How a release is brought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bringing {
    /// None: it takes the stable one's place at once.
    pub share: Option<Share>,
    /// Somebody has seen what it asks for and says yes.
    pub is_approved: bool,
}

/// The releases of one host.
#[derive(Debug)]
pub struct Deployments {
    loader: Arc<Loader>,
    shelf: Arc<Shelf>,
    fit: Arc<dyn Fit>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    ledger: Ledger,
    depot: Depot,
    tallies: Arc<Tallies>,
    /// Where releases come from beside the folder.
    sources: Vec<Source>,
    /// How the sources do, by their addresses.
    standings: Mutex<BTreeMap<String, Standing>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    /// Changes of the store's that this host has seen through.
    settled: AtomicI64,
    /// As this host last read or wrote it.
    wanted: Mutex<BTreeMap<String, Arc<Wanted>>>,
    /// Plugins that serve otherwise than wanted here, and why.
    troubles: Mutex<BTreeMap<String, Trouble>>,
    /// Files that do not serve.
    rejected: Mutex<Vec<Rejected>>,
}

/// What deployments stand on.
#[derive(Debug)]
pub struct Ground {
    pub loader: Arc<Loader>,
    pub shelf: Arc<Shelf>,
    pub fit: Arc<dyn Fit>,
    pub clock: Arc<dyn Clock>,
    pub store: Arc<dyn Store>,
    pub tallies: Arc<Tallies>,
    /// Where releases are kept, in the data folder.
    pub depot: PathBuf,
    /// Where they come from beside the folder.
    pub sources: Vec<Source>,
}

impl Deployments {
    /// # Errors
    /// If the folder for releases cannot be made.
    pub fn new(ground: Ground) -> Result<Deployments, NotDeployed> {
        let Ground { loader, shelf, fit, clock, store, tallies, depot, sources } = ground;
        Ok(Deployments {
            loader,
            shelf,
            fit,
            ledger: Ledger::new(store.clone(), clock.clone()),
            store,
            clock,
            depot: Depot::open(depot)?,
            tallies,
            sources,
            standings: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            settled: AtomicI64::new(-1),
            wanted: Mutex::default(),
            troubles: Mutex::default(),
            rejected: Mutex::default(),
        })
    }

    /// A package of a file's bytes.
    ///
    /// # Errors
    /// If it is none, or nobody trusted signed it.
    pub fn check(&self, bytes: Vec<u8>) -> Result<Package, NotDeployed> {
        Ok(self.loader.check(bytes).map_err(LoadError::from)?)
    }

    /// Brings a package the whole way.
    ///
    /// # Errors
    /// Why it does not serve. What served before goes on.
    pub async fn install(&self, package: Package, how: Bringing) -> Result<Installed, NotDeployed> {
        let (name, digest) = (package.manifest.name.clone(), package.digest.clone());
        refuse_quarantined(self.ledger.read(&name).await?.as_ref(), &digest)?;
        let package = self.depot.keep(package)?;
        // It may take a minute to compile: nobody who wants to go back meanwhile waits for it.
        let fitted = self.shared(&name, package).await;
        let fitted = fitted.inspect_err(|_| drop(self.forget([digest.clone()])))?;
        let _changing = self.changing.lock().await;
        let before = self.ledger.read(&name).await?;
        refuse_quarantined(before.as_ref(), &digest)?;
        self.take_in(&name, before.unwrap_or_default(), fitted, how).await
    }

    /// Lets a release that is ready take the place that it was brought for.
    async fn take_in(
        &self,
        plugin: &str,
        mut wanted: Wanted,
        fitted: Arc<Fitted>,
        how: Bringing,
    ) -> Result<Installed, NotDeployed> {
        let digest = fitted.release.digest.clone();
        let asks = self.asks(&wanted, &fitted.release).await;
        if !asks.is_empty() && !how.is_approved {
            tracing::warn!(
                release = fitted.release.label(),
                asks = asks.join("; "),
                "a release asks for more than the one that serves: it waits for a yes"
            );
            wanted.waiting = Some(Waiting { digest, asks: asks.clone() });
            self.write(plugin, wanted).await?;
            return Ok(Installed::Waits(asks));
        }
        wanted.forget_waiting(&digest);
        let has_another = !wanted.stable.is_empty() && wanted.stable != digest;
        if let Some(share) = how.share.filter(|_| has_another) {
            wanted.candidate = Some(OnTrial { digest, share: share.into() });
            self.serve(plugin, wanted, None, Some(fitted)).await?;
            return Ok(Installed::OnTrial(share));
        }
        wanted.succeed(digest);
        self.serve(plugin, wanted, Some(fitted), None).await?;
        Ok(Installed::Serves)
    }

    /// Says yes to what a waiting release asks for.
    ///
    /// # Errors
    /// If none waits, or it does not serve after all.
    pub async fn approve(&self, plugin: &str, digest: &str) -> Result<Installed, NotDeployed> {
        let wanted = self.ledger.read(plugin).await?.ok_or_else(|| no_plugin(plugin))?;
        let waiting = wanted.waiting.filter(|waiting| waiting.digest == digest);
        let waiting = waiting.ok_or_else(|| no_release(plugin, digest))?;
        let package = self.package(&waiting.digest).await?;
        self.install(package, Bringing { share: None, is_approved: true }).await
    }

    /// Lets a release that was installed before run beside the stable one, or changes a candidate's share.
    ///
    /// # Errors
    /// If there is none of this digest, or it does not serve.
    pub async fn try_beside(&self, plugin: &str, digest: &str, share: Share) -> Result<(), NotDeployed> {
        let _changing = self.changing.lock().await;
        let mut wanted = self.ledger.read(plugin).await?.ok_or_else(|| no_plugin(plugin))?;
        let digest = wanted.find(digest).ok_or_else(|| no_release(plugin, digest))?;
        refuse_quarantined(Some(&wanted), &digest)?;
        wanted.candidate = Some(OnTrial { digest, share: share.into() });
        self.serve(plugin, wanted, None, None).await
    }

    /// Makes the candidate the stable release.
    ///
    /// # Errors
    /// If there is none.
    pub async fn promote(&self, plugin: &str) -> Result<(), NotDeployed> {
        let _changing = self.changing.lock().await;
        let mut wanted = self.ledger.read(plugin).await?.ok_or_else(|| no_plugin(plugin))?;
        let candidate = wanted.candidate.take().ok_or_else(|| NotDeployed::NoCandidate(plugin.to_owned()))?;
        wanted.succeed(candidate.digest);
        self.serve(plugin, wanted, None, None).await
    }

    /// Ends the candidate's trial.
    ///
    /// # Errors
    /// If there is none.
    pub async fn withdraw(&self, plugin: &str) -> Result<(), NotDeployed> {
        let _changing = self.changing.lock().await;
        let mut wanted = self.ledger.read(plugin).await?.ok_or_else(|| no_plugin(plugin))?;
        wanted.candidate.take().ok_or_else(|| NotDeployed::NoCandidate(plugin.to_owned()))?;
        self.serve(plugin, wanted, None, None).await
    }

    /// Goes back to the release before the stable one. Nothing is compiled.
    ///
    /// # Errors
    /// If there is none.
    pub async fn roll_back(&self, plugin: &str) -> Result<(), NotDeployed> {
        let _changing = self.changing.lock().await;
        let mut wanted = self.ledger.read(plugin).await?.ok_or_else(|| no_plugin(plugin))?;
        wanted.go_back().map_err(|()| NotDeployed::NothingBefore(plugin.to_owned()))?;
        self.serve(plugin, wanted, None, None).await
    }

    /// Takes a release out of service for good: it went wrong while it served.
    async fn quarantine(&self, plugin: &str, digest: &str, reason: String) -> Result<(), NotDeployed> {
        let _changing = self.changing.lock().await;
        let mut wanted = self.ledger.read(plugin).await?.ok_or_else(|| no_plugin(plugin))?;
        if wanted.candidate.as_ref().is_some_and(|candidate| candidate.digest == digest) {
            wanted.candidate = None;
        } else if wanted.stable == digest {
            wanted.go_back().map_err(|()| NotDeployed::NothingBefore(plugin.to_owned()))?;
        } else {
            return Ok(());
        }
        tracing::error!(plugin, digest, reason, "a release is taken out of service");
        wanted.quarantine(digest, reason, self.clock.now());
        self.serve(plugin, wanted, None, None).await
    }

    /// What this release asks for beyond the stable one.
    async fn asks(&self, wanted: &Wanted, release: &Release) -> Vec<String> {
        if wanted.stable.is_empty() || wanted.has_let_in(&release.digest) {
            return Vec::new();
        }
        match self.stable_manifest(&release.manifest.name, wanted).await {
            Some(stable) => grown(&stable, &release.manifest),
            None => [format!("cannot be compared, since this host does not have {}", wanted.stable)]
                .into_iter()
                .chain(grown(&release.manifest.without_permissions(), &release.manifest))
                .collect(),
        }
    }

    /// What the stable release may do: it serves here, or it is written down, or its file is to be had.
    async fn stable_manifest(&self, plugin: &str, wanted: &Wanted) -> Option<Manifest> {
        let serving = self.shelf.release(plugin).filter(|serving| serving.digest == wanted.stable);
        if let Some(serving) = serving {
            return Some(serving.manifest.clone());
        }
        let written = wanted.manifest.as_deref().and_then(|text| Manifest::parse(text).ok());
        match written {
            Some(manifest) => Some(manifest),
            None => self.package(&wanted.stable).await.ok().map(|package| package.manifest),
        }
    }

    /// Brings what is wanted on the shelf, and only then writes down that it is wanted. `stable` and `candidate` are
    /// what is at hand of them.
    async fn serve(
        &self,
        plugin: &str,
        mut wanted: Wanted,
        stable: Option<Arc<Fitted>>,
        candidate: Option<Arc<Fitted>>,
    ) -> Result<(), NotDeployed> {
        let serving = self.made_ready(plugin, &wanted, stable, candidate).await?;
        wanted.manifest = Some(serving.stable.release.manifest.text.to_string());
        self.write(plugin, wanted).await?;
        self.put(plugin, serving);
        Ok(())
    }

    async fn made_ready(
        &self,
        plugin: &str,
        wanted: &Wanted,
        stable: Option<Arc<Fitted>>,
        candidate: Option<Arc<Fitted>>,
    ) -> Result<Serving, NotDeployed> {
        let stable = match stable {
            Some(stable) => stable,
            None => self.fitted_of(plugin, &wanted.stable).await?,
        };
        let candidate = match &wanted.candidate {
            Some(on_trial) => {
                let fitted = match candidate {
                    Some(candidate) => candidate,
                    None => self.fitted_of(plugin, &on_trial.digest).await?,
                };
                Some(Candidate { fitted, share: on_trial.share.into() })
            }
            None => None,
        };
        Ok(Serving { stable, candidate })
    }

    /// A release that is fitted: from the shelf if it serves there, else made from its file.
    async fn fitted_of(&self, plugin: &str, digest: &str) -> Result<Arc<Fitted>, NotDeployed> {
        if let Some(serving) = self.shelf.serving(plugin) {
            let candidate = serving.candidate.iter().map(|candidate| &candidate.fitted);
            let mut all = candidate.chain([&serving.stable]);
            if let Some(fitted) = all.find(|fitted| fitted.release.digest == digest) {
                return Ok(fitted.clone());
            }
        }
        let package = self.package(digest).await?;
        self.fitted(plugin, package).await
    }

    /// A release that is fitted, and whose file other nodes find.
    async fn shared(&self, plugin: &str, package: Package) -> Result<Arc<Fitted>, NotDeployed> {
        let digest = package.digest.clone();
        let fitted = self.fitted(plugin, package).await?;
        self.hand_over(&digest).await?;
        Ok(fitted)
    }

    async fn fitted(&self, plugin: &str, package: Package) -> Result<Arc<Fitted>, NotDeployed> {
        let serving = self.shelf.serving(plugin);
        let served = serving.filter(|serving| serving.stable.release.digest == package.digest);
        if let Some(serving) = served {
            return Ok(serving.stable.clone());
        }
        let release = self.loader.load(package).await?;
        Ok(Arc::new(self.fit.fit(release).map_err(NotDeployed::Misfit)?))
    }

    async fn write(&self, plugin: &str, mut wanted: Wanted) -> Result<(), NotDeployed> {
        self.ledger.write(plugin, &mut wanted).await?;
        let before = self.wanted(plugin);
        self.depot.mark(plugin);
        self.remember(plugin, wanted);
        let forgotten = self.forget(before.digests().map(str::to_owned));
        self.end_handover(&forgotten).await;
        Ok(())
    }

    fn put(&self, plugin: &str, serving: Serving) {
        let stable = serving.stable.release.label();
        let candidate = serving.candidate.as_ref();
        let candidate =
            candidate.map(|candidate| format!("{}, {:?}", candidate.fitted.release.label(), candidate.share));
        tracing::info!(stable, candidate, "plugin serves");
        self.tallies.begin(&serving);
        self.shelf.put(serving);
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(plugin);
    }

    fn remember(&self, plugin: &str, wanted: Wanted) {
        let mut all = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(plugin.to_owned(), Arc::new(wanted));
    }

    /// What shall serve a plugin's name, as far as this host knows; nothing if it was never installed.
    pub fn wanted(&self, plugin: &str) -> Arc<Wanted> {
        let all = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(plugin).cloned().unwrap_or_default()
    }

    /// The same of all plugins.
    fn all_wanted(&self) -> BTreeMap<String, Arc<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a release's file is kept, for whichever plugin.
    fn is_wanted(&self, digest: &str) -> bool {
        let all = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().any(|wanted| wanted.digests().any(|kept| kept == digest))
    }

    /// Why a plugin does not serve as wanted on this host; none if it does.
    pub fn trouble(&self, plugin: &str) -> Option<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.get(plugin).map(|trouble| trouble.reason.clone())
    }

    /// Files that do not serve and sources that bring nothing: their names or addresses, and why.
    pub fn rejected(&self) -> Vec<(String, String)> {
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        let told = rejected.iter().map(|rejected| {
            let file = rejected.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (file, telemetry::chain(&rejected.source))
        });
        told.chain(self.source_troubles()).collect()
    }

    /// How a release has done since it began to serve.
    pub fn figures(&self, digest: &str) -> Figures {
        self.tallies.figures(digest)
    }

    /// Deletes the files that this host has of releases that nobody can go back to any more; tells of which.
    fn forget(&self, digests: impl IntoIterator<Item = String>) -> Vec<String> {
        let forgotten: Vec<String> = digests.into_iter().filter(|digest| !self.is_wanted(digest)).collect();
        for digest in &forgotten {
            self.depot.forget(digest);
            self.loader.forget(digest);
            self.tallies.forget(digest);
        }
        forgotten
    }
}

fn refuse_quarantined(wanted: Option<&Wanted>, digest: &str) -> Result<(), NotDeployed> {
    match wanted.and_then(|wanted| wanted.quarantined(digest)) {
        Some(quarantined) => Err(NotDeployed::Quarantined(quarantined.reason.clone())),
        None => Ok(()),
    }
}

fn no_plugin(plugin: &str) -> NotDeployed {
    NotDeployed::NoSuchPlugin(plugin.to_owned())
}

fn no_release(plugin: &str, digest: &str) -> NotDeployed {
    NotDeployed::NoSuchRelease { plugin: plugin.to_owned(), digest: digest.to_owned() }
}
