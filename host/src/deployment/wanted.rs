//! What shall serve one plugin's name, on every node: the state that is stored.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::plugin::shelf::Share;

/// Releases that stay to go back to, the stable one among them.
const KEPT: usize = 5;
/// Releases that are remembered for having gone wrong.
const QUARANTINED_MAX: usize = 20;

/// What shall serve. Releases are named by their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Higher with each change.
    pub version: i64,
    /// Empty: none has served yet.
    pub stable: String,
    /// The stable release's manifest, for hosts that do not have its file. None: an earlier version wrote this.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Those before it, newest first.
    pub previous: Vec<String>,
    pub candidate: Option<OnTrial>,
    pub waiting: Option<Waiting>,
    /// Newest first.
    pub quarantined: Vec<Quarantined>,
}

/// A candidate, and what it gets to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnTrial {
    pub digest: String,
    pub share: StoredShare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredShare {
    Weight(u8),
    Shadow,
}

/// A release that asks for more than the stable one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub digest: String,
    /// A line each.
    pub asks: Vec<String>,
}

/// A release that went wrong while it served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    pub digest: String,
    pub reason: String,
    pub at: Millis,
}

impl Wanted {
    /// Makes a release the stable one; that before it is the first to go back to.
    pub(super) fn succeed(&mut self, digest: String) {
        if self.candidate.as_ref().is_some_and(|candidate| candidate.digest == digest) {
            self.candidate = None;
        }
        if self.stable == digest {
            return;
        }
        let before = std::mem::replace(&mut self.stable, digest);
        self.previous.retain(|previous| *previous != self.stable && *previous != before);
        if !before.is_empty() {
            self.previous.insert(0, before);
        }
        self.previous.truncate(KEPT - 1);
    }

    /// Makes the release before the stable one the stable one again.
    pub(super) fn go_back(&mut self) -> Result<(), ()> {
        if self.previous.is_empty() {
            return Err(());
        }
        self.stable = self.previous.remove(0);
        self.candidate.take_if(|candidate| candidate.digest == self.stable);
        Ok(())
    }

    pub(super) fn quarantine(&mut self, digest: &str, reason: String, at: Millis) {
        self.previous.retain(|previous| previous != digest);
        self.quarantined.insert(0, Quarantined { digest: digest.to_owned(), reason, at });
        self.quarantined.truncate(QUARANTINED_MAX);
    }

    pub(super) fn forget_waiting(&mut self, digest: &str) {
        self.waiting.take_if(|waiting| waiting.digest == digest);
    }

    pub fn quarantined(&self, digest: &str) -> Option<&Quarantined> {
        self.quarantined.iter().find(|quarantined| quarantined.digest == digest)
    }

    /// Releases whose files are kept.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let stable = (!self.stable.is_empty()).then_some(self.stable.as_str());
        let candidate = self.candidate.iter().map(|candidate| candidate.digest.as_str());
        let waiting = self.waiting.iter().map(|waiting| waiting.digest.as_str());
        stable.into_iter().chain(self.previous.iter().map(String::as_str)).chain(candidate).chain(waiting)
    }

    /// Whether a release served before, or went wrong.
    pub fn knows(&self, digest: &str) -> bool {
        self.digests().any(|known| known == digest) || self.quarantined(digest).is_some()
    }

    /// Whether a release was let in: one that waits was not.
    pub(super) fn has_let_in(&self, digest: &str) -> bool {
        let waits = self.waiting.as_ref().is_some_and(|waiting| waiting.digest == digest);
        !waits && self.knows(digest)
    }

    /// The one release that was let in whose digest begins so.
    pub(super) fn find(&self, beginning: &str) -> Option<String> {
        let is_it = |digest: &&str| digest.starts_with(beginning) && self.has_let_in(digest);
        let mut found = self.digests().filter(is_it);
        let first = found.next()?;
        found.all(|other| other == first).then(|| first.to_owned())
    }
}

impl From<Share> for StoredShare {
    fn from(share: Share) -> Self {
        match share {
            Share::Weight(weight) => StoredShare::Weight(weight),
            Share::Shadow => StoredShare::Shadow,
        }
    }
}

impl From<StoredShare> for Share {
    fn from(share: StoredShare) -> Self {
        match share {
            StoredShare::Weight(weight) => Share::Weight(weight),
            StoredShare::Shadow => Share::Shadow,
        }
    }
}
