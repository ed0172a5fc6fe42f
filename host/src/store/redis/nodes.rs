//! What the nodes of one Redis tell each other: that they live, and that there is something to claim.
//!
//! Both are hints. A word that is lost costs a second, since every node also looks for itself; one that says
//! nothing for a while counts as gone, and what was kept for it is anybody's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{Client, ConnectionInfo};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::script::Call;

/// A node says that it lives this often.
const BEAT: Duration = Duration::from_secs(3);
/// And is believed for this long: three beats may get lost.
const LIFE: Duration = Duration::from_secs(10);
/// Before the subscription is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// A line on which nothing comes may be dead without anybody having said so.
const LISTENED: Duration = Duration::from_secs(60);

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

/// Any node of a Cluster passes on what is published at another.
async fn listen(addresses: Vec<ConnectionInfo>, channel: String, node: String, stirred: Arc<Notify>) {
    for address in addresses.iter().cycle() {
        if let Err(error) = listen_at(address.clone(), &channel, &node, &stirred).await {
            tracing::debug!(error = %error, "not told of other nodes' messages; looked for once a second");
            sleep(PAUSE).await;
        }
    }
}

async fn listen_at(
    address: ConnectionInfo,
    channel: &str,
    node: &str,
    stirred: &Notify,
) -> redis::RedisResult<()> {
    let mut line = timeout(PAUSE, async {
        let mut line = Client::open(address)?.get_async_pubsub().await?;
        line.subscribe(channel).await?;
        Ok::<_, redis::RedisError>(line)
    })
    .await
    .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))?;
    // What was said while nobody listened.
    stirred.notify_one();
    let mut words = line.on_message();
    while let Ok(word) = timeout(LISTENED, words.next()).await {
        let word = word.ok_or((redis::ErrorKind::Io, "the line is closed"))?;
        if word.get_payload_bytes() != node.as_bytes() {
            stirred.notify_one();
        }
    }
    Ok(())
}
