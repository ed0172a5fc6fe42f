//! Each node comes to serve what is wanted, whichever node was told so. One that cannot says so, serves on, and tries
//! again.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Deployments, NotDeployed, Wanted};
use crate::store::StoreError;
use crate::telemetry;

/// A node that is about to leave the file behind needs some seconds for it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// What fails for so long waits for somebody to mend it, and each attempt may be a compilation.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Why a plugin serves otherwise than wanted.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// Before the attempt that comes next.
    pause: Duration,
    again_at: Instant,
}

impl Deployments {
    /// Looks whether something else is wanted by now, or what failed can be had.
    pub(super) async fn converge(&self) {
        if let Err(error) = self.look_at_ledger().await {
            tracing::debug!(error = %error, "what shall serve is looked at later");
        }
    }

    async fn look_at_ledger(&self) -> Result<(), StoreError> {
        let changes = self.ledger.changes().await?;
        let due = self.due();
        if changes == self.settled.load(Ordering::Relaxed) && due.is_empty() {
            return Ok(());
        }
        let mut newest = 0;
        for name in self.shelf.names().into_iter().chain(due.iter().cloned()).collect::<BTreeSet<_>>() {
            let Some(wanted) = self.ledger.read(&name).await? else { continue };
            newest = newest.max(wanted.version);
            if wanted.version == self.wanted(&name).version && !due.contains(&name) {
                continue;
            }
            if let Err(error) = self.converge_on(&name, wanted).await {
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
        let before = self.wanted(plugin);
        self.remember(plugin, wanted);
        if let Some(serving) = ready.transpose()? {
            self.put(plugin, serving);
            // The node that wanted it so has deleted its own, and those in the store.
            drop(self.forget(before.digests().map(str::to_owned)));
        }
        Ok(())
    }

    /// Plugins in trouble whose next attempt is due.
    fn due(&self) -> BTreeSet<String> {
        let now = Instant::now();
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let due = troubles.iter().filter(|(_, trouble)| trouble.again_at <= now);
        due.map(|(plugin, _)| plugin.clone()).collect()
    }

    /// Told once, however often it is tried again.
    pub(super) fn note_trouble(&self, plugin: &str, error: &NotDeployed) {
        let reason = telemetry::chain(error);
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = troubles.get(plugin).filter(|before| before.reason == reason);
        if before.is_none() {
            tracing::error!(
                plugin,
                error = reason,
                "this host does not serve the release that is wanted, and tries again"
            );
        }
        let pause = before.map_or(PAUSE_MIN, |before| (before.pause * 2).min(PAUSE_MAX));
        let again_at = Instant::now() + pause;
        troubles.insert(plugin.to_owned(), Trouble { reason, pause, again_at });
    }
}
