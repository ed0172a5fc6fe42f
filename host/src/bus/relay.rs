//! Notices between the nodes of one Redis, by Pub/Sub: what this one tells is published, what others tell is told here.
//!
//! Whoever publishes puts a notice into a bounded queue and goes on: what finds no room there, or no Redis, is dropped
//! and counted. It does not know who listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisResult};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{NOTICES_KEPT, Notice};
use crate::store::redis::{Heard, TIMEOUT, follow};
use crate::telemetry::Metrics;

/// Published in one round trip.
const PIECE_MAX: usize = 64;
/// Before a lost connection is made anew.
const PAUSE: Duration = Duration::from_millis(500);
/// What is longer is none of ours: content takes six bytes for one at most, and the rest is names.
const WRITTEN_BYTES_MAX: usize = 1 << 20;

/// A notice as other nodes and other programs get it.
#[derive(Serialize, Deserialize)]
struct Written<N> {
    #[serde(flatten)]
    notice: N,
    /// The process that tells it, new at each start.
    node: String,
}

/// Ends its tasks when it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    waiting: mpsc::Sender<Arc<Notice>>,
    drops: Arc<Drops>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Relay {
    /// `channel`: of Pub/Sub; `notices`: where those of other nodes are told.
    pub fn start(
        channel: &str,
        servers: Vec<ConnectionInfo>,
        notices: broadcast::Sender<Arc<Notice>>,
        metrics: Arc<Metrics>,
    ) -> Relay {
        let (waiting, queue) = mpsc::channel(NOTICES_KEPT);
        let drops = Arc::new(Drops { metrics, is_told: AtomicBool::new(false) });
        let node = uuid::Uuid::new_v4().simple().to_string();
        let mouth = Mouth {
            servers: servers.clone(),
            next: 0,
            line: None,
            channel: channel.to_owned(),
            node: node.clone(),
            drops: drops.clone(),
        };
        let hearing = hear(servers, channel.to_owned(), node, notices);
        Relay { waiting, drops, tasks: [tokio::spawn(mouth.speak(queue)), tokio::spawn(hearing)] }
    }

    /// Waits for nobody.
    pub fn pass_on(&self, notice: Arc<Notice>) {
        if self.waiting.try_send(notice).is_err() {
            self.drops.count(1, "more comes than it takes");
        }
    }
}

/// Notices that other nodes did not hear.
#[derive(Debug)]
struct Drops {
    metrics: Arc<Metrics>,
    /// That there are some is in the log once, until one came through again.
    is_told: AtomicBool,
}

impl Drops {
    fn count(&self, notices: usize, reason: &str) {
        self.metrics.bus("dropped", notices);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                reason,
                "Redis does not get what is told on the bus: others miss it, and messages are answered all the same"
            );
        }
    }

    fn is_over(&self, notices: usize) {
        self.metrics.bus("published", notices);
        if self.is_told.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis gets again what is told on the bus");
        }
    }
}

/// What publishes, one piece after another.
struct Mouth {
    servers: Vec<ConnectionInfo>,
    /// The server that is tried next: any node of a Cluster will do.
    next: usize,
    line: Option<MultiplexedConnection>,
    channel: String,
    node: String,
    drops: Arc<Drops>,
}

impl Mouth {
    async fn speak(mut self, mut queue: mpsc::Receiver<Arc<Notice>>) {
        let mut piece = Vec::with_capacity(PIECE_MAX);
        while queue.recv_many(&mut piece, PIECE_MAX).await > 0 {
            // What could not be published may have been: it is not told twice.
            match self.publish(&piece).await {
                Ok(()) => self.drops.is_over(piece.len()),
                Err(error) => {
                    self.drops.count(piece.len(), &error.to_string());
                    self.line = None;
                    sleep(PAUSE).await;
                }
            }
            piece.clear();
        }
    }

    async fn publish(&mut self, piece: &[Arc<Notice>]) -> RedisResult<()> {
        let mut told = redis::pipe();
        for notice in piece {
            let written = Written { notice: &**notice, node: self.node.clone() };
            let json = serde_json::to_vec(&written).expect("a notice is texts and a word");
            told.cmd("PUBLISH").arg(&self.channel).arg(json).ignore();
        }
        told.exec_async(self.line().await?).await
    }

    async fn line(&mut self) -> RedisResult<&mut MultiplexedConnection> {
        let line = match self.line.take() {
            Some(line) => line,
            None => {
                let server = self.servers[self.next % self.servers.len()].clone();
                self.next += 1;
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(TIMEOUT))
                    .set_response_timeout(Some(TIMEOUT));
                Client::open(server)?.get_multiplexed_async_connection_with_config(&config).await?
            }
        };
        Ok(self.line.insert(line))
    }
}

/// Tells here what other nodes tell. What others publish on the channel and is no notice is passed over.
async fn hear(
    servers: Vec<ConnectionInfo>,
    channel: String,
    node: String,
    notices: broadcast::Sender<Arc<Notice>>,
) {
    let tell = |heard| {
        let Heard::Said(word) = heard else { return };
        if let Some(notice) = read(word.get_payload_bytes(), &node) {
            // Nobody listens here.
            let _ = notices.send(Arc::new(notice));
        }
    };
    follow(&servers, &channel, tell).await;
}

/// None: it is our own, or none.
fn read(payload: &[u8], own: &str) -> Option<Notice> {
    if payload.len() > WRITTEN_BYTES_MAX {
        return None;
    }
    let Written { notice, node } = serde_json::from_slice::<Written<Notice>>(payload).ok()?;
    (node != own).then(|| notice.cut())
}
