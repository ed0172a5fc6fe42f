//! The way to Redis: one connection, made anew when it breaks, and a bound on how long anybody waits for it.
//!
//! Whoever comes while it is down waits for the same attempt to connect, and no longer than the bound. It does not
//! know what is asked.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value,
};
use tokio::sync::Mutex as Turnstile;

use super::script::{self, Call, Frame};
use crate::clock::Millis;
use crate::store::StoreError;

/// An answer that takes longer comes too late for a webhook, and is worth less than a plain refusal.
pub const TIMEOUT: Duration = Duration::from_millis(500);
/// What a call may be late on the server, beside the time that its caller waits: clocks and lines are not exact.
const LATENESS: Duration = Duration::from_millis(500);
/// A Cluster mends its own connections; if nothing came through for as long it is asked anew who its nodes are.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(2);
/// One unreachable node must not use up the time of all.
const CLUSTER_CONNECT: Duration = Duration::from_millis(200);
/// Moved slots and nodes that come back; more would outlast the bound.
const CLUSTER_RETRIES: u32 = 3;

/// Where to connect to.
#[derive(Debug)]
pub enum Server {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

impl Server {
    /// # Errors
    /// Addresses that do not go together.
    pub fn cluster(nodes: Vec<redis::ConnectionInfo>, timeout: Duration) -> Result<Server, RedisError> {
        let client = ClusterClient::builder(nodes)
            .connection_timeout(CLUSTER_CONNECT)
            .response_timeout(timeout)
            .retries(CLUSTER_RETRIES)
            .build()?;
        Ok(Server::Cluster(Box::new(client)))
    }
}

#[derive(Clone)]
enum Line {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Line {
    async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Line::One(connection) => connection.req_packed_command(command).await,
            Line::Cluster(connection) => connection.req_packed_command(command).await,
        };
        answer?.extract_error()
    }
}

/// The line that is in use, and its number.
#[derive(Default)]
struct Lines {
    line: Option<Line>,
    number: u64,
}

/// A moment of the server's clock, and when by ours we heard of it.
#[derive(Debug, Clone, Copy)]
struct Heard {
    real: Millis,
    at: Instant,
}

pub struct Link {
    server: Server,
    timeout: Duration,
    wait_replicas: u32,
    node: String,
    is_by_caller: bool,
    lines: Turnstile<Lines>,
    heard: Mutex<Option<Heard>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// How a call is made.
#[derive(Debug)]
pub struct Manner {
    pub timeout: Duration,
    pub wait_replicas: u32,
    /// Of this process, new at each start.
    pub node: String,
    pub is_by_caller: bool,
}

impl Link {
    pub fn new(server: Server, manner: Manner) -> Link {
        let Manner { timeout, wait_replicas, node, is_by_caller } = manner;
        let (lines, heard) = (Turnstile::default(), Mutex::default());
        Link { server, timeout, wait_replicas, node, is_by_caller, lines, heard }
    }

    /// The name of this process among those who share the store.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Runs one operation. `now`: the caller's clock.
    pub async fn run<T: FromRedisValue>(&self, call: Call, now: Millis) -> Result<T, StoreError> {
        let mut used = None;
        let outcome = tokio::time::timeout(self.timeout, self.attempt(&call, now, &mut used)).await;
        let outcome = match outcome {
            Ok(Ok(value)) => return read(value),
            Ok(Err(error)) => error,
            Err(_) => late(self.timeout),
        };
        if let Some(number) = used.filter(|_| is_of_the_line(&outcome)) {
            self.hang_up(number).await;
        }
        Err(plain(&outcome))
    }

    async fn attempt(&self, call: &Call, now: Millis, used: &mut Option<u64>) -> Result<Value, RedisError> {
        let (mut line, number) = self.line().await?;
        *used = Some(number);
        let mut in_full = false;
        let mut is_retimed = false;
        let value = loop {
            let command = script::command(call, self.frame(call.now.unwrap_or(now)), in_full);
            match line.ask(&command).await {
                Err(error) if is_unseen(&error) && !in_full => in_full = true,
                // Our idea of the server's clock was wrong: it was set, or ours was asleep.
                Err(error) if error.code() == Some("LATE") && !is_retimed => {
                    is_retimed = true;
                    self.hear(error.detail().and_then(|real| real.trim().parse().ok()));
                }
                other => break other?,
            }
        };
        let (real, value) = redis::from_redis_value::<(Millis, Value)>(value)?;
        self.hear(Some(real));
        if call.is_durable && self.wait_replicas > 0 {
            self.wait(&mut line, call).await?;
        }
        Ok(value)
    }

    fn frame(&self, now: Millis) -> Frame<'_> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = heard.map(|Heard { real, at }| {
            let until = at.elapsed() + self.timeout + LATENESS;
            real + u64::try_from(until.as_millis()).unwrap_or(u64::MAX)
        });
        Frame { now, deadline, is_by_caller: self.is_by_caller, node: &self.node }
    }

    fn hear(&self, real: Option<Millis>) {
        let heard = real.map(|real| Heard { real, at: Instant::now() });
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }

    /// Waits until so many replicas have all that was written before this line's last command, by whomever: what a
    /// repeat finds, too.
    async fn wait(&self, line: &mut Line, call: &Call) -> Result<(), RedisError> {
        let mut wait = redis::cmd("WAIT");
        // It waits on the server, where it holds up who comes after it on the same line.
        wait.arg(self.wait_replicas).arg((self.timeout / 2).as_millis() as u64);
        let replicas = match line {
            Line::One(connection) => connection.req_packed_command(&wait).await?,
            Line::Cluster(connection) => connection.route_command(wait, owner(&call.tag)).await?,
        };
        let replicas: u32 = redis::from_redis_value(replicas.extract_error()?)?;
        if replicas < self.wait_replicas {
            let found = format!("{replicas} of {}", self.wait_replicas);
            return Err((ErrorKind::Io, "too few replicas have it", found).into());
        }
        Ok(())
    }

    /// The line, made if there is none; one attempt serves all who wait.
    async fn line(&self) -> Result<(Line, u64), RedisError> {
        let mut lines = self.lines.lock().await;
        if lines.line.is_none() {
            lines.line = Some(self.connect().await?);
            lines.number += 1;
        }
        let line = lines.line.clone().expect("it was made just now if there was none");
        Ok((line, lines.number))
    }

    async fn connect(&self) -> Result<Line, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        Ok(match &self.server {
            Server::One(client) => {
                Line::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Server::Cluster(client) => Line::Cluster(client.get_async_connection().await?),
        })
    }

    /// Whoever comes next connects anew, unless somebody has done so.
    async fn hang_up(&self, number: u64) {
        if matches!(self.server, Server::Cluster(_)) && self.silence() < CLUSTER_PATIENCE {
            return;
        }
        let mut lines = self.lines.lock().await;
        if lines.number == number {
            lines.line = None;
        }
    }

    fn silence(&self) -> Duration {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map_or(Duration::MAX, |heard| heard.at.elapsed())
    }
}

fn owner(tag: &str) -> RoutingInfo {
    let route = Route::with_key(tag, SlotAddr::Master);
    RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route))
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|_| foreign())
}

/// What Redis answers makes no sense.
pub fn foreign() -> StoreError {
    StoreError::Unusable("what is stored in Redis under this `prefix` is not parlor's".to_owned())
}

fn late(timeout: Duration) -> RedisError {
    let waited = format!("within {} ms", timeout.as_millis());
    (ErrorKind::Io, "Redis does not answer", waited).into()
}

fn is_unseen(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether a new line may be better.
fn is_of_the_line(error: &RedisError) -> bool {
    let kind = error.kind();
    error.is_io_error()
        || error.is_unrecoverable_error()
        || kind == ErrorKind::ClusterConnectionNotFound
        // What was the master is one no more.
        || kind == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// What the error means for whoever asked.
pub fn plain(error: &RedisError) -> StoreError {
    match error.code() {
        Some("LOST") => StoreError::LeaseLost,
        Some("QUOTA") => StoreError::Quota { limit: crate::store::sqlite::KEYS_MAX },
        Some("NOTANUMBER") => StoreError::NotANumber,
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => {
            StoreError::Unusable(format!("Redis lets this user not in, or not do everything ({error})"))
        }
        Some("ERR" | "WRONGTYPE" | "CROSSSLOT") => StoreError::Unusable(format!("Redis refuses ({error})")),
        _ if matches!(error.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => foreign(),
        _ if error.kind() == ErrorKind::AuthenticationFailed => {
            StoreError::Unusable("Redis does not accept the password".to_owned())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// One command on a connection of its own, which nobody else waits behind.
pub async fn ask<T: FromRedisValue>(
    node: &redis::ConnectionInfo,
    command: &Cmd,
    timeout: Duration,
) -> Result<T, StoreError> {
    let asked = async {
        let client = Client::open(node.clone())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    };
    let answer = tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| Err(late(timeout)));
    answer.map_err(|error| plain(&error))
}
