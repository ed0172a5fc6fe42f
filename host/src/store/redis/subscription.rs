//! A line on which a Redis tells what is published: made anew whenever it breaks, for as long as somebody wants to hear.
//!
//! Pub/Sub keeps nothing: what is said while the line is down is not heard. It does not know what is said.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, ConnectionInfo, ErrorKind, Msg, RedisResult};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Before a broken line is made anew, and how long a server may take to answer.
const PAUSE: Duration = Duration::from_secs(1);
/// A line may be dead without anybody having said so: it is asked this often.
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// What somebody who follows a channel hears.
pub enum Heard {
    /// The line is up, for the first time or again: what was said before was missed.
    Begins,
    Said(Msg),
}

/// Hears what is published on a channel. Any node of a Cluster passes on what is published at another.
pub async fn follow(servers: &[ConnectionInfo], channel: &str, mut hear: impl FnMut(Heard) + Send) {
    for server in servers.iter().cycle() {
        if let Err(error) = follow_at(server, channel, &mut hear).await {
            tracing::debug!(channel, error = %error, "what Redis publishes is not heard; it is tried again");
            sleep(PAUSE).await;
        }
    }
}

async fn follow_at(
    server: &ConnectionInfo,
    channel: &str,
    hear: &mut (impl FnMut(Heard) + Send),
) -> RedisResult<()> {
    let (mut line, mut words) = in_time(subscribe(server, channel)).await?;
    hear(Heard::Begins);
    let mut ticks = interval(ASKED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            word = words.next() => hear(Heard::Said(word.ok_or((ErrorKind::Io, "the line is closed"))?)),
            _ = ticks.tick() => in_time(line.ping()).await?,
        }
    }
}

async fn subscribe(server: &ConnectionInfo, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
    let mut line = Client::open(server.clone())?.get_async_pubsub().await?;
    line.subscribe(channel).await?;
    Ok(line.split())
}

async fn in_time<T>(asked: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(PAUSE, asked).await.unwrap_or_else(|_| Err((ErrorKind::Io, "no answer in time").into()))
}
