//! What comes over the network: each source is looked at now and then, and what is new there is installed as a file of
//! the plugin folder is.
//!
//! What a source last brought stands in the ledger, for all nodes: a release that was rolled back does not come back
//! by itself, whichever node looks next. A source that cannot be reached, or brings what does not serve, is told of
//! once, and serving goes on.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::ledger::Brought;
use super::{Bringing, Deployments, Misfits, NotDeployed};
use crate::plugin::package::Package;
use crate::source::{self, Look, Source, SourceError};
use crate::store::StoreError;
use crate::telemetry;

/// How long a host that cannot serve waits for its sources before it says so and ends: any supervisor has more
/// patience.
const START_PATIENCE: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// How a source does.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Why the last look brought nothing.
    unreached: Option<String>,
    /// What it last brought, if that does not serve.
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    reason: String,
    /// So that it is not fetched again and again. It is with the next start: the configuration may be another one.
    mark: Option<String>,
}

/// Why a look has to be taken again.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store or the disk fails.
    #[error(transparent)]
    NotKept(#[from] NotDeployed),
}

impl Deployments {
    /// Brings what the sources have as long as a plugin of `used` does not serve, and notes what keeps those from
    /// serving that came.
    ///
    /// # Errors
    /// If the store or the disk fails.
    pub(super) async fn bring_missing(
        &self,
        used: &BTreeSet<String>,
        misfits: &mut Misfits,
    ) -> Result<(), NotDeployed> {
        let is_missing = || used.iter().any(|name| self.shelf.serving(name).is_none());
        if !is_missing() {
            return Ok(());
        }
        let fetched = self.sources.iter().map(|source| self.fetch_patiently(source));
        let mut fetched: FuturesUnordered<_> = fetched.collect();
        while let Some((source, brought)) = fetched.next().await {
            if let Some(brought) = brought
                && let Some((plugin, problems)) = self.take(source, brought).await?
                && self.shelf.serving(&plugin).is_none()
                && !problems.is_empty()
            {
                misfits.insert(plugin, problems);
            }
            if !is_missing() {
                break;
            }
        }
        Ok(())
    }

    /// What is new at a source, with the source itself.
    async fn fetch_patiently<'s>(&self, source: &'s Source) -> (&'s Source, Option<source::Brought>) {
        let mut pauses = pauses(source);
        let fetch = async {
            loop {
                match self.fetch(source).await {
                    Ok(brought) => return brought,
                    Err(missed) => self.note_missed(source, &missed),
                }
                tokio::time::sleep(pauses.next().unwrap_or(source.every)).await;
            }
        };
        (source, tokio::time::timeout(START_PATIENCE, fetch).await.ok().flatten())
    }

    pub(super) async fn follow_sources(&self) {
        join_all(self.sources.iter().map(|source| self.follow_source(source))).await;
    }

    async fn follow_source(&self, source: &Source) {
        let mut pauses_after_failures = pauses(source);
        loop {
            let pause = match self.look_at_source(source).await {
                Ok(()) if source.is_pinned() => return,
                Ok(()) => {
                    pauses_after_failures = pauses(source);
                    source.every
                }
                Err(missed) => {
                    self.note_missed(source, &missed);
                    pauses_after_failures.next().unwrap_or(source.every)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look_at_source(&self, source: &Source) -> Result<(), Missed> {
        if let Some(brought) = self.fetch(source).await? {
            self.take(source, brought).await?;
        }
        Ok(())
    }

    /// What is new at a source; none: nothing is.
    async fn fetch(&self, source: &Source) -> Result<Option<source::Brought>, Missed> {
        let noted = self.ledger.brought(&source.name).await.map_err(NotDeployed::from)?;
        let noted = noted.filter(|noted| !self.is_missed(&noted.digest));
        let mark = self.refused_mark(source).or_else(|| noted?.mark);
        let look = source.look(mark.as_deref()).await?;
        self.note_reached(source);
        Ok(match look {
            Look::Same => None,
            Look::Brought(brought) => Some(brought),
        })
    }

    /// Whether a release is wanted and its file is not here.
    fn is_missed(&self, digest: &str) -> bool {
        self.is_wanted(digest) && !self.depot.has(digest)
    }

    /// Installs what a source has brought, unless it has brought it before. Returned are its plugin and what keeps it
    /// from serving the channels that use it.
    async fn take(
        &self,
        source: &Source,
        brought: source::Brought,
    ) -> Result<Option<(String, Vec<String>)>, NotDeployed> {
        let source::Brought { bytes, mark } = brought;
        let package = match self.check(bytes) {
            Ok(package) => package,
            Err(error) => {
                self.note_refused(source, mark, &error);
                return Ok(None);
            }
        };
        let (plugin, digest) = (package.manifest.name.clone(), package.digest.clone());
        let taken = match self.is_known(source, &package).await? {
            true => self.keep_known(package).await,
            false => self.install(package, Bringing::default()).await.map(drop),
        };
        match taken {
            Ok(()) => {}
            Err(error @ (NotDeployed::Store(_) | NotDeployed::Depot { .. })) => return Err(error),
            Err(error) => {
                self.note_refused(source, mark, &error);
                let problems = if let NotDeployed::Misfit(problems) = error { problems } else { Vec::new() };
                return Ok(Some((plugin, problems)));
            }
        }
        self.standing(source, |standing| standing.refused = None);
        self.ledger.note_brought(&source.name, &Brought { digest, mark }).await?;
        Ok(Some((plugin, Vec::new())))
    }

    /// Whether a source brought this before. One that never brought anything takes a release that is known to be old
    /// for one that has come by another way.
    async fn is_known(&self, source: &Source, package: &Package) -> Result<bool, StoreError> {
        if let Some(noted) = self.ledger.brought(&source.name).await? {
            return Ok(noted.digest == package.digest);
        }
        let wanted = self.ledger.read(&package.manifest.name).await?;
        Ok(wanted.is_some_and(|wanted| wanted.knows(&package.digest)))
    }

    /// Keeps the file of a release that is wanted and was lost here, and serves it if nothing else does.
    async fn keep_known(&self, package: Package) -> Result<(), NotDeployed> {
        let plugin = package.manifest.name.clone();
        let Some(wanted) = self.ledger.read(&plugin).await? else { return Ok(()) };
        if wanted.digests().any(|digest| digest == package.digest) {
            self.depot.keep(package)?;
        }
        if self.shelf.serving(&plugin).is_some() { Ok(()) } else { self.converge_on(&plugin, wanted).await }
    }

    /// Why sources bring nothing that serves, by their addresses.
    pub fn source_troubles(&self) -> Vec<(String, String)> {
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = |standing: &Standing| {
            let refused = standing.refused.as_ref().map(|refused| refused.reason.clone());
            standing.unreached.clone().or(refused)
        };
        let troubles = standings.iter().filter_map(|(address, standing)| Some((address, reason(standing)?)));
        troubles.map(|(address, reason)| (address.clone(), reason)).collect()
    }

    fn refused_mark(&self, source: &Source) -> Option<String> {
        self.standing(source, |standing| standing.refused.as_ref()?.mark.clone())
    }

    fn note_reached(&self, source: &Source) {
        if self.standing(source, |standing| standing.unreached.take()).is_some() {
            tracing::info!(source = source.address, "a source is reached again");
        }
    }

    /// Told once, however often it is tried again.
    fn note_missed(&self, source: &Source, missed: &Missed) {
        let reason = telemetry::chain(missed);
        let before = self.standing(source, |standing| standing.unreached.replace(reason.clone()));
        if before.is_none_or(|before| before != reason) {
            tracing::warn!(
                source = source.address,
                error = reason,
                "a source brings nothing, and is tried again"
            );
        }
    }

    fn note_refused(&self, source: &Source, mark: Option<String>, error: &NotDeployed) {
        let reason = telemetry::chain(error);
        let refused = Refused { reason: reason.clone(), mark };
        let before = self.standing(source, |standing| standing.refused.replace(refused));
        if before.is_none_or(|before| before.reason != reason) {
            tracing::error!(source = source.address, error = reason, "what a source brought does not serve");
        }
    }

    fn standing<T>(&self, source: &Source, change: impl FnOnce(&mut Standing) -> T) -> T {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        change(standings.entry(source.address.clone()).or_default())
    }
}

/// Between the attempts at a source that fails: growing, up to the usual one, and never quite the same, so that nodes
/// do not ask together.
fn pauses(source: &Source) -> impl Iterator<Item = Duration> + use<> {
    ExponentialBuilder::new()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(source.every)
        .without_max_times()
        .with_jitter()
        .build()
}
