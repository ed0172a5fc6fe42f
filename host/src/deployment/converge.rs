//! Each node comes to serve what is wanted, whichever node was told so. One that cannot says so and serves on.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Deployments, NotDeployed, Wanted};
use crate::store::StoreError;
use crate::telemetry;

impl Deployments {
    /// Looks whether something else is wanted by now.
    pub(super) async fn converge(&self) {
        if let Err(error) = self.look_at_ledger().await {
            tracing::debug!(error = %error, "what shall serve is looked at later");
        }
    }

    async fn look_at_ledger(&self) -> Result<(), StoreError> {
        let changes = self.ledger.changes().await?;
        if changes == self.settled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut newest = 0;
        for name in self.shelf.names() {
            let Some(wanted) = self.ledger.read(&name).await? else { continue };
            newest = newest.max(wanted.version);
            let known = self.all_wanted().get(&name).map(|known| known.version);
            if known != Some(wanted.version)
                && let Err(error) = self.converge_on(&name, wanted).await
            {
                self.note_trouble(&name, &error);
            }
        }
        // An entry that is still being written is seen the next time.
        if newest >= changes {
            self.settled.store(changes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Serves what is wanted, unless something else is by the time that it is ready.
    pub(super) async fn converge_on(&self, plugin: &str, wanted: Wanted) -> Result<(), NotDeployed> {
        let ready = match wanted.stable.is_empty() {
            true => None,
            false => Some(self.made_ready(plugin, &wanted, None, None).await),
        };
        let _changing = self.changing.lock().await;
        let now = self.ledger.read(plugin).await?;
        if now.is_none_or(|now| now.version != wanted.version) {
            return Ok(());
        }
        self.remember(plugin, wanted);
        if let Some(serving) = ready.transpose()? {
            self.put(plugin, serving);
        }
        Ok(())
    }

    pub(super) fn note_trouble(&self, plugin: &str, error: &NotDeployed) {
        let trouble = telemetry::chain(error);
        tracing::error!(plugin, error = trouble, "this host does not serve the release that is wanted");
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).insert(plugin.to_owned(), trouble);
    }
}
