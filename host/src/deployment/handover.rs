//! The files of releases that nodes hand each other by the store they share: an upload reaches one node, and serves on
//! all of them.
//!
//! What comes out of the store is looked at as any file is: its digest, its signature, what it is.

use sha2::{Digest as _, Sha256};

use super::{Deployments, NotDeployed};
use crate::plugin::loader::LoadError;
use crate::plugin::package::Package;
use crate::telemetry;

impl Deployments {
    /// The package of a release: from the file here, else from the one that another node left in the store.
    pub(super) async fn package(&self, digest: &str) -> Result<Package, NotDeployed> {
        match self.depot.package(digest, &self.loader) {
            Err(NotDeployed::NoFile(_)) => self.handed_over(digest).await,
            package => package,
        }
    }

    async fn handed_over(&self, digest: &str) -> Result<Package, NotDeployed> {
        let bytes = self.store.release(digest).await?;
        let bytes = bytes.ok_or_else(|| NotDeployed::NoFile(digest.to_owned()))?;
        if hex::encode(Sha256::digest(&bytes)) != digest {
            // Whoever has the right one may leave it there again.
            self.store.drop_release(digest).await?;
            return Err(NotDeployed::OtherFile(digest.to_owned()));
        }
        let package = self.loader.check(bytes).map_err(LoadError::from)?;
        tracing::info!(plugin = package.manifest.name, digest, "another node has handed a release over");
        self.depot.keep(package)
    }

    /// Leaves a release's file with the store, if that one hands files over.
    pub(super) async fn hand_over(&self, digest: &str) -> Result<(), NotDeployed> {
        if self.store.lacks_release(digest).await? {
            self.store.keep_release(digest, &self.depot.bytes(digest)?).await?;
        }
        Ok(())
    }

    /// The same of all that are here, for a store that has lost them or came later.
    pub(super) async fn hand_all_over(&self) {
        for wanted in self.all_wanted().values() {
            for digest in wanted.digests().filter(|digest| self.depot.has(digest)) {
                if let Err(error) = self.hand_over(digest).await {
                    let error = telemetry::chain(&error);
                    tracing::warn!(digest, error, "a release is not there for other nodes");
                }
            }
        }
    }

    /// Takes the files of releases that nobody can go back to out of the store. What stays there is in nobody's way.
    pub(super) async fn end_handover(&self, digests: &[String]) {
        for digest in digests {
            if let Err(error) = self.store.drop_release(digest).await {
                tracing::debug!(digest, error = %error, "the file of an old release stays in the store");
            }
        }
    }
}
