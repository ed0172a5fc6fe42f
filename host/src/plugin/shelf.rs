//! What serves, by plugin name: one swap changes it for every channel at once.
//!
//! Whoever picked a release keeps it until he is done; the next caller gets the new one. A candidate beside the
//! stable release gets its share of the conversations, always the same ones. It decides nothing: `deployment` does.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::message::Favour;
use crate::plugin::release::Release;
use crate::plugin::services::Services;

/// Why a channel may count on what the shelf gives.
pub const FITTED: &str =
    "nothing gets on the shelf that is not fitted for all channels, and nothing is taken off it";

/// A release with what it may reach on each channel that uses it.
#[derive(Debug)]
pub struct Fitted {
    pub release: Arc<Release>,
    reach: BTreeMap<Arc<str>, Services>,
}

impl Fitted {
    pub fn new(release: Arc<Release>, reach: BTreeMap<Arc<str>, Services>) -> Fitted {
        Fitted { release, reach }
    }

    /// What it may reach on this channel; none if the channel does not use it.
    pub fn services(&self, channel: &str) -> Option<&Services> {
        self.reach.get(channel)
    }
}

/// A release on trial beside the stable one.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub fitted: Arc<Fitted>,
    pub share: Share,
}

/// What a candidate gets to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many of a hundred conversations.
    Weight(u8),
    /// It runs beside the stable release and is compared with it; nothing of it is sent.
    Shadow,
}

/// What serves one plugin's name.
#[derive(Debug, Clone)]
pub struct Serving {
    pub stable: Arc<Fitted>,
    pub candidate: Option<Candidate>,
}

impl Serving {
    /// The release for a conversation.
    pub fn pick(&self, conversation: &str, favour: Favour) -> &Arc<Fitted> {
        match &self.candidate {
            Some(candidate) if candidate.serves(conversation, favour) => &candidate.fitted,
            _ => &self.stable,
        }
    }
}

impl Candidate {
    /// Whether a conversation is the candidate's.
    pub fn serves(&self, conversation: &str, favour: Favour) -> bool {
        match (favour, self.share) {
            (Favour::Stable, _) => false,
            (Favour::Candidate, _) => true,
            (Favour::Its, Share::Shadow) => false,
            (Favour::Its, Share::Weight(weight)) => place(conversation) < weight,
        }
    }
}

/// A conversation's place among a hundred: the same on every node and after a restart, so that raising the weight
/// takes conversations over and gives none back.
fn place(conversation: &str) -> u8 {
    let digest = ring::digest::digest(&ring::digest::SHA256, conversation.as_bytes());
    let head = digest.as_ref().first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
    u8::try_from(head % 100).unwrap_or(0)
}

/// The plugins that serve one host.
#[derive(Default)]
pub struct Shelf {
    serving: ArcSwap<BTreeMap<String, Arc<Serving>>>,
    swaps: watch::Sender<()>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.serving.load().iter()).finish()
    }
}

impl Shelf {
    /// Lets this serve its plugin's name from the next call on.
    pub fn put(&self, serving: Serving) {
        let serving = Arc::new(serving);
        let name = serving.stable.release.manifest.name.clone();
        self.serving.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            all.insert(name.clone(), serving.clone());
            all
        });
        self.swaps.send_replace(());
    }

    /// Tells of each swap from now on.
    pub fn swaps(&self) -> watch::Receiver<()> {
        self.swaps.subscribe()
    }

    /// What serves this name now.
    pub fn serving(&self, name: &str) -> Option<Arc<Serving>> {
        self.serving.load().get(name).cloned()
    }

    /// The stable release of this name.
    pub fn release(&self, name: &str) -> Option<Arc<Release>> {
        Some(self.serving.load().get(name)?.stable.release.clone())
    }

    pub fn names(&self) -> Vec<String> {
        self.serving.load().keys().cloned().collect()
    }
}
