//! What the nodes of one Redis tell each other: that they live, and that there is something to claim.
//!
//! Both are hints. A word that is lost costs a second, since every node also looks for itself; one that says
//! nothing for a while counts as gone, and what was kept for it is anybody's.

use std::sync::Arc;
use std::time::Duration;

use redis::ConnectionInfo;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::link::Link;
use super::script::Call;
use super::subscription::{Heard, follow};

/// A node says that it lives this often.
const BEAT: Duration = Duration::from_secs(3);
/// And is believed for this long: three beats may get lost.
const LIFE: Duration = Duration::from_secs(10);

/// Ends its tasks when it is dropped.
#[derive(Debug)]
pub struct Nodes {
    tasks: [JoinHandle<()>; 2],
    stirred: Arc<Notify>,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Nodes {
    /// `tags`: of all partitions; `channel`: where nodes speak to each other.
    pub fn join(
        link: Arc<Link>,
        tags: Vec<String>,
        addresses: Vec<ConnectionInfo>,
        channel: String,
        node: String,
    ) -> Nodes {
        let stirred = Arc::new(Notify::new());
        let listening = listen(addresses, channel, node, stirred.clone());
        Nodes { tasks: [tokio::spawn(beat(link, tags)), tokio::spawn(listening)], stirred }
    }

    /// Returns when another node has said that there is something to claim, also if it said so before.
    pub async fn stirred(&self) {
        self.stirred.notified().await;
    }
}

/// Says that this node lives.
pub async fn live(link: &Link, tag: String) {
    let call = Call::new("live", tag).with_number(LIFE.as_millis() as i64);
    if let Err(error) = link.run::<()>(call, 0).await {
        tracing::warn!(error = %error, "Redis was not told that this node lives");
    }
}

async fn beat(link: Arc<Link>, tags: Vec<String>) {
    loop {
        sleep(BEAT).await;
        futures_util::future::join_all(tags.iter().map(|tag| live(&link, tag.clone()))).await;
    }
}

async fn listen(servers: Vec<ConnectionInfo>, channel: String, node: String, stirred: Arc<Notify>) {
    let hear = |heard| match heard {
        Heard::Said(word) if word.get_payload_bytes() == node.as_bytes() => {}
        // Also what was said while nobody listened.
        Heard::Said(_) | Heard::Begins => stirred.notify_one(),
    };
    follow(&servers, &channel, hear).await;
}
