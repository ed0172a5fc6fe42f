//! The store of several nodes: Redis 7 or Valkey, alone or as a Cluster.
//!
//! Every operation is one script that touches one hash slot, so that it happens as a whole or not at all, on a
//! Cluster too. What belongs to a channel lies in one partition: messages are known by (channel, id), and a batch
//! of a channel's messages is one transaction, whatever conversations they are of. A server alone has one
//! partition; in a Cluster channels share [`PARTITIONS`]. All allowances are one slot, since a call takes of each
//! or of none.
//!
//! Times are kept by the server's clock: the script moves what a caller says by as much as his clock is off, so that
//! nodes whose clocks differ agree on leases. No streams: a stream has no due times, no order within a conversation
//! and no fences, which are all that a queue of turns is about; sorted sets have. Nodes wake each other by Pub/Sub
//! (`nodes`), where a word that is lost costs a second and nothing else.
//!
//! The scripts are in `script` and the `.lua` files beside it, the connection in `link`. Message text lies readable
//! in Redis; reply addresses are sealed by the vault. It does not know plugins or HTTP.

mod audit;
mod health;
mod link;
mod nodes;
mod oversight;
mod releases;
mod script;
mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::{ConnectionInfo, FromRedisValue, IntoConnectionInfo as _};
use ring::hmac;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as Turnstile;

use super::letter::{Letter, Told, read_address, read_message, to_json};
use super::oversight::DEAD_KEPT;
use super::sqlite::{KEYS_MAX, check_size};
use super::vault::Vault;
use super::{
    ADDRESS_KEPT, Acceptance, Allowance, BEHIND_MAX, Bound, Claim, Delivery, EndedAs, Ending, HandOver,
    Incoming, Lease, Outcome, Progress, Queue, Store, StoreError, Verdict, Waiting,
};
use crate::clock::{Clock, Millis};
use crate::message::{Message, Reply, Utterance};
use link::{Link, Manner, Server, foreign};
use script::{Call, NEVER};

pub use health::{Health, Risk};
pub use link::TIMEOUT;
pub use subscription::{Heard, follow};

/// Of a new Cluster: far more than it has nodes, and few enough to look through at each claim.
pub const PARTITIONS: u32 = 16;
/// A turn's number has its partition in its last digits to this base.
const PARTITIONS_MAX: i64 = 64;
/// How this version lays out what it stores; one that it does not know is a later version's.
const FORM: u32 = 1;
/// Turns or keys deleted by one script, which holds up everybody.
const SWEEP_MAX: u64 = 500;
/// Of two nodes that look for the next turn at once one comes too late; it looks again so often.
const LOOKS_MAX: u32 = 8;
/// Redis may start at the same time as its hosts.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// What opens with the key that seals the addresses.
const PROOF: &[u8] = b"parlor";
/// Bounds of what the script counts with: 115 days, and far more at once than the configuration allows.
const INTERVAL_MAX: u128 = 10_000_000_000_000;
const BURST_MAX: u32 = 1_000_000;
/// A partition that did not answer is not asked for turns again until then.
const PAUSE: Duration = Duration::from_secs(1);

/// Which Redis, and what of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URLs; several are of one Cluster.
    pub addresses: Vec<Address>,
    /// Begins the names of all keys: several hosts that have nothing to do with each other may share a Redis.
    pub prefix: String,
    /// A write counts once so many replicas have it.
    pub wait_replicas: u32,
    pub options: Options,
}

/// What only tests choose.
#[derive(Debug, Clone)]
pub struct Options {
    pub timeout: Duration,
    pub time: Time,
}

/// Whose clock counts.
#[derive(Debug, Clone)]
pub enum Time {
    /// The server's. The clock is the one that callers tell the time by.
    Server(Arc<dyn Clock>),
    /// The callers', who are all one: for tests that step the time.
    Caller,
}

/// Where a server is, and how to get in.
#[derive(Clone)]
pub struct Address(ConnectionInfo);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Without the password.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.addr())
    }
}

impl Address {
    /// From `redis://user:password@host:port/database`, `rediss://…` for TLS, or `redis+unix:///path`.
    ///
    /// # Errors
    /// Why it is none, without quoting it.
    pub fn parse(url: &str) -> Result<Address, String> {
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        Ok(Address(info))
    }

    /// What it takes to connect there.
    pub fn info(&self) -> &ConnectionInfo {
        use_ring();
        &self.0
    }

    /// Asks the server about itself.
    pub async fn examine(&self) -> Result<Health, StoreError> {
        use_ring();
        health::examine(&self.0, TIMEOUT).await
    }
}

/// TLS takes what the process has chosen; ring is all that there is.
fn use_ring() {
    let _already = rustls::crypto::ring::default_provider().install_default();
}

/// A `Store` that several nodes share. Dropping it leaves it to the others.
#[derive(Debug)]
pub struct RedisStore {
    link: Arc<Link>,
    nodes: nodes::Nodes,
    vault: Arc<Vault>,
    audit_key: hmac::Key,
    clock: Option<Arc<dyn Clock>>,
    prefix: String,
    partitions: u32,
    /// For each partition the last claim whose answer came, and since when it does not answer. One claim at a time.
    claims: Turnstile<Vec<Partition>>,
}

#[derive(Debug, Clone, Default)]
struct Partition {
    heard: String,
    silent_since: Option<Instant>,
}

/// A leased row as it lies in Redis, in groups.
type Claimed = (
    (String, i64, u32, u32),
    (String, String, String),
    (String, Vec<u8>, Option<String>, Option<Vec<u8>>),
    (Millis, u8, u8, u8),
);

impl RedisStore {
    /// Connects; several addresses, or one of a server that says so, are a Cluster.
    ///
    /// # Errors
    /// If none of them answers for a while, or what is stored there is not for this host.
    pub async fn connect(settings: Settings, vault: Vault) -> Result<RedisStore, StoreError> {
        use_ring();
        let until = Instant::now() + CONNECT_PATIENCE;
        loop {
            match RedisStore::try_connect(&settings, &vault).await {
                Err(StoreError::Unavailable(reason)) if Instant::now() < until => {
                    tracing::warn!(reason, "Redis is not there yet");
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_connect(settings: &Settings, vault: &Vault) -> Result<RedisStore, StoreError> {
        let Settings { addresses, prefix, wait_replicas, options } = settings;
        let is_cluster = look_at(addresses, *wait_replicas).await?;
        let nodes: Vec<ConnectionInfo> = addresses.iter().map(|address| address.0.clone()).collect();
        let node = uuid::Uuid::new_v4().simple().to_string();
        let (clock, is_by_caller) = match &options.time {
            Time::Server(clock) => (Some(clock.clone()), false),
            Time::Caller => (None, true),
        };
        let manner = Manner {
            timeout: options.timeout,
            wait_replicas: *wait_replicas,
            node: node.clone(),
            is_by_caller,
        };
        let link = Arc::new(Link::new(server(&nodes, is_cluster, options.timeout)?, manner));
        let partitions = found(&link, prefix, vault, if is_cluster { PARTITIONS } else { 1 }).await?;
        let tags: Vec<String> = (0..partitions).map(|partition| tag(prefix, partition)).collect();
        join_all(tags.iter().map(|tag| nodes::live(&link, tag.clone()))).await;
        let channel = format!("{prefix}:stirred");
        Ok(RedisStore {
            nodes: nodes::Nodes::join(link.clone(), tags, nodes, channel, node),
            link,
            audit_key: hmac::Key::new(hmac::HMAC_SHA256, &vault.subkey(b"audit")),
            vault: Arc::new(vault.clone()),
            clock,
            prefix: prefix.clone(),
            partitions,
            claims: Turnstile::new(vec![Partition::default(); partitions as usize]),
        })
    }

    /// The caller's clock, for what is told no time.
    fn now(&self) -> Millis {
        self.clock.as_ref().map_or(0, |clock| clock.now())
    }

    async fn run<T: FromRedisValue>(&self, call: Call) -> Result<T, StoreError> {
        self.link.run(call, self.now()).await
    }

    fn partition_of(&self, name: &str) -> u32 {
        let digest = Sha256::digest(name);
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % self.partitions
    }

    /// An operation on what belongs to a channel, or to a space.
    fn of(&self, op: &'static str, name: &str) -> Call {
        Call::new(op, tag(&self.prefix, self.partition_of(name)))
    }

    fn in_partition(&self, op: &'static str, partition: u32) -> Call {
        Call::new(op, tag(&self.prefix, partition))
    }

    fn of_allowances(&self, op: &'static str) -> Call {
        Call::new(op, format!("{{{}:a}}", self.prefix))
    }

    /// An operation under a lease.
    fn under(&self, op: &'static str, lease: Lease) -> Result<Call, StoreError> {
        let (partition, seq) = self.place_of(lease.turn).ok_or(StoreError::LeaseLost)?;
        Ok(self.in_partition(op, partition).durable().with(seq).with_number(lease.fence))
    }

    /// Partition and number of a turn; none if there is no such partition.
    fn place_of(&self, turn: i64) -> Option<(u32, String)> {
        let partition = u32::try_from(turn.rem_euclid(PARTITIONS_MAX)).ok()?;
        let seq = turn.div_euclid(PARTITIONS_MAX);
        (partition < self.partitions).then(|| (partition, format!("{seq:016}")))
    }

    /// Where the next turn is, if there is one. A Cluster's partitions are looked through side by side; those that
    /// do not answer wait, and hold up no other.
    async fn next_partition(
        &self,
        partitions: &mut [Partition],
        now: Millis,
        bounds: &[Bound],
    ) -> Result<Option<u32>, StoreError> {
        if partitions.len() == 1 {
            return Ok(Some(0));
        }
        let asked = (0..).zip(partitions.iter()).filter(|(_, partition)| !partition.is_paused());
        let peeks = asked.map(async |(number, partition)| {
            let peek = self.in_partition("peek", number).at(now).with(&partition.heard);
            (number, self.run::<Option<(Millis, String)>>(peek.with_all(pairs(bounds))).await)
        });
        let (mut next, mut broken, mut answers) = (None, None, 0);
        for (number, peeked) in join_all(peeks).await {
            let partition = &mut partitions[number as usize];
            partition.silent_since = peeked.is_err().then(Instant::now);
            match peeked {
                Ok(found) => {
                    answers += 1;
                    next = next.into_iter().chain(found.map(|(due, seq)| (due, seq, number))).min();
                }
                Err(error) => broken = Some(error),
            }
        }
        match broken {
            Some(error) if answers == 0 => Err(error),
            _ => Ok(next.map(|(_, _, number)| number)),
        }
    }

    async fn claim_in(
        &self,
        partitions: &mut [Partition],
        number: u32,
        now: Millis,
        lease: Duration,
        bounds: &[Bound],
    ) -> Result<Option<Result<Claim, Unreadable>>, StoreError> {
        let heard = &mut partitions[number as usize].heard;
        let claim = self.in_partition("claim", number).durable().at(now).with(&*heard);
        let claim = claim.with_time(millis(lease)).with_all(pairs(bounds));
        let Some(claimed) = self.run::<Option<Claimed>>(claim).await? else { return Ok(None) };
        let (seq, fence, ..) = &claimed.0;
        *heard = format!("{seq} {fence}");
        let turn = seq.parse::<i64>().map_err(|_| foreign())? * PARTITIONS_MAX + i64::from(number);
        let lease = Lease { turn, fence: *fence };
        Ok(Some(open(&self.vault, lease, claimed)))
    }

    /// Ends a turn whose row does not make sense, so that it holds up nobody.
    async fn bury(&self, now: Millis, unreadable: Unreadable) -> Result<(), StoreError> {
        let Unreadable { lease, request_id, reason } = unreadable;
        tracing::error!(turn = lease.turn, request_id, reason, "a stored turn is unreadable and ends");
        self.finish(lease, now, &Ending::Dead { reason: reason.to_owned() }, &[]).await
    }

    /// A message on its way in, as one more argument of a call.
    fn with_message(&self, call: Call, channel: &str, message: Incoming) -> Result<Call, StoreError> {
        let letter = Letter::new(&self.vault, channel, message)?;
        let time = |time: Option<Millis>| time.map_or_else(String::new, |time| time.min(NEVER).to_string());
        let home = if letter.is_awaited { self.link.node() } else { "" };
        let call = call.with(letter.id).with(letter.conversation).with(letter.message).with(letter.address);
        Ok(call.with(letter.request_id).with(time(letter.hold_until)).with(home).with(time(letter.due_at)))
    }

    /// Fields of a message's row; none if it is unknown.
    async fn look<T: FromRedisValue>(
        &self,
        channel: &str,
        message_id: &str,
        fields: &[&str],
    ) -> Result<Option<T>, StoreError> {
        self.run(self.of("look", channel).with(channel).with(message_id).with_all(fields)).await
    }

    /// The queue of each channel that ever had one.
    async fn all_queues(&self) -> Result<BTreeMap<String, Queue>, StoreError> {
        let mut queues = BTreeMap::new();
        for partition in 0..self.partitions {
            let found: Vec<(String, u64, u64, Option<Millis>)> =
                self.run(self.in_partition("queues", partition)).await?;
            queues.extend(found.into_iter().map(|(channel, unfinished, dead, oldest_received_at)| {
                (channel, Queue { unfinished, dead, oldest_received_at })
            }));
        }
        Ok(queues)
    }

    /// Runs an operation in every partition, so often that less than a whole piece is left.
    async fn sweep_with(&self, call: impl Fn(Call) -> Call, op: &'static str) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for partition in 0..self.partitions {
            loop {
                let piece: u64 = self.run(call(self.in_partition(op, partition))).await?;
                deleted += piece;
                if piece < SWEEP_MAX {
                    break;
                }
            }
        }
        Ok(deleted)
    }
}

impl Partition {
    fn is_paused(&self) -> bool {
        self.silent_since.is_some_and(|since| since.elapsed() < PAUSE)
    }
}

/// A row behind a claimed turn.
type Behind = (String, String, String, Vec<u8>, Millis, u8, u8);

/// None: it is not asked as others are, or its own claim will tell what is wrong with it.
fn waiting(vault: &Vault, row: Behind) -> Option<Waiting> {
    let (channel, id, message, address, received_at, gathered, held) = row;
    let Told { message, settled, .. } = read_message(vault, &channel, &id, &message, &address).ok()?;
    let waiting = Waiting { message, received_at, is_gathered: gathered == 1 };
    (settled.is_none() && held == 0).then_some(waiting)
}

/// A turn whose row does not make sense.
struct Unreadable {
    lease: Lease,
    request_id: String,
    reason: &'static str,
}

fn open(vault: &Vault, lease: Lease, claimed: Claimed) -> Result<Claim, Unreadable> {
    let (
        (_, _, claims, attempts),
        (channel, message_id, request_id),
        (message, address, reply, checkpoint),
        (received_at, withdrawn, held, seen),
    ) = claimed;
    let unreadable = |reason| Unreadable { lease, request_id: request_id.clone(), reason };
    let Told { message, settled, via } =
        read_message(vault, &channel, &message_id, &message, &address).map_err(unreadable)?;
    let checkpoint = checkpoint.unwrap_or_default();
    let progress = match reply {
        _ if withdrawn == 1 => Progress::Withdrawn { checkpoint },
        None => Progress::Unanswered { checkpoint },
        Some(reply) => {
            let reply = serde_json::from_str(&reply);
            let reply = reply.map_err(|_| unreadable("the stored answer cannot be read"))?;
            Progress::Answered { reply, checkpoint }
        }
    };
    let (is_held, may_be_seen) = (held == 1, seen == 1);
    Ok(Claim {
        lease,
        channel,
        message,
        request_id,
        received_at,
        settled,
        via,
        progress,
        claims,
        attempts,
        is_held,
        may_be_seen,
    })
}

/// Looks at every server, warns of what may be lost there, and tells whether they are a Cluster. One that does not
/// answer is passed over as long as another does.
async fn look_at(addresses: &[Address], wait_replicas: u32) -> Result<bool, StoreError> {
    let (mut is_cluster, mut broken) = (None, None);
    for address in addresses {
        let health = match address.examine().await {
            Ok(health) => health,
            Err(error) => {
                broken = Some(error);
                continue;
            }
        };
        for risk in health.risks(wait_replicas) {
            match risk {
                Risk::Everyday(risk) => tracing::warn!(%address, risk, "this Redis may lose what is stored"),
                Risk::Rare(risk) => tracing::info!(%address, risk, "what this Redis may lose"),
            }
        }
        if addresses.len() > 1 && !health.is_cluster {
            let reason = format!("several addresses are those of a Cluster, and `{address}` is in none");
            return Err(StoreError::Unusable(reason));
        }
        is_cluster = Some(health.is_cluster);
    }
    is_cluster.ok_or_else(|| broken.unwrap_or_else(foreign))
}

fn server(nodes: &[ConnectionInfo], is_cluster: bool, timeout: Duration) -> Result<Server, StoreError> {
    let server = match nodes {
        [node] if !is_cluster => {
            redis::Client::open(node.clone()).map(|client| Server::One(Box::new(client)))
        }
        nodes => Server::cluster(nodes.to_vec(), timeout),
    };
    server.map_err(|error| link::plain(&error))
}

/// Makes sure that what is stored there is of a form that we know and sealed by our key; tells its partitions.
async fn found(link: &Link, prefix: &str, vault: &Vault, partitions: u32) -> Result<u32, StoreError> {
    let proof = hex::encode(vault.seal(b"proof", PROOF)?);
    let call = Call::new("found", format!("{{{prefix}:l}}")).durable();
    let call = call.with(format!("{FORM} {partitions}")).with(proof);
    let (layout, proof): (String, String) = link.run(call, 0).await?;
    let (form, partitions) = layout.split_once(' ').ok_or_else(foreign)?;
    let (form, partitions): (u32, u32) =
        (form.parse().map_err(|_| foreign())?, partitions.parse().map_err(|_| foreign())?);
    if form != FORM {
        return Err(StoreError::Unusable(format!(
            "what is stored in Redis has form {form}, and this parlor knows {FORM}: run the version that wrote it, \
             or set another `prefix`"
        )));
    }
    let sealed = hex::decode(proof).map_err(|_| foreign())?;
    vault.unseal(b"proof", &sealed).map_err(|_| {
        StoreError::Unusable(
            "what is stored in Redis was sealed with another `auth.jwt_secret`: give all nodes the same one, or set \
             another `prefix`"
                .to_owned(),
        )
    })?;
    Ok(partitions)
}

/// The hash tag of a partition.
fn tag(prefix: &str, partition: u32) -> String {
    format!("{{{prefix}:{partition}}}")
}

/// Each channel behind the number of turns that it may have.
fn pairs(bounds: &[Bound]) -> impl Iterator<Item = String> {
    bounds.iter().map(|bound| format!("{} {}", bound.turns, bound.channel))
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A life in milliseconds, or nothing.
fn life(ttl: Option<Duration>) -> String {
    // Short of what the script's clock can be moved by.
    const LIFE_MAX: Millis = 4_000_000_000_000_000;
    ttl.map_or_else(String::new, |ttl| millis(ttl).min(LIFE_MAX).to_string())
}

/// A noun of ours out of JSON.
fn from_json<T: for<'a> serde::Deserialize<'a>>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|_| foreign())
}

/// An exchange as one entry of a history, or nothing.
fn exchange(said: &[Utterance]) -> Result<String, StoreError> {
    if said.is_empty() { Ok(String::new()) } else { to_json(&said) }
}

#[async_trait]
impl Store for RedisStore {
    async fn accept(
        &self,
        channel: &str,
        now: Millis,
        messages: Vec<Incoming>,
    ) -> Result<Vec<Acceptance>, StoreError> {
        let mut call = self.of("accept", channel).durable().at(now).with(channel);
        for message in messages {
            call = self.with_message(call, channel, message)?;
        }
        let accepted: Vec<u8> = self.run(call).await?;
        let acceptance = |new: u8| if new == 1 { Acceptance::New } else { Acceptance::Duplicate };
        Ok(accepted.into_iter().map(acceptance).collect())
    }

    async fn withdraw(&self, channel: &str, now: Millis, ids: &[String]) -> Result<Vec<String>, StoreError> {
        self.run(self.of("withdraw", channel).durable().at(now).with(channel).with_all(ids)).await
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        bounds: &[Bound],
    ) -> Result<Option<Claim>, StoreError> {
        let mut partitions = self.claims.lock().await;
        for _ in 0..LOOKS_MAX {
            let Some(number) = self.next_partition(&mut partitions, now, bounds).await? else {
                return Ok(None);
            };
            match self.claim_in(&mut partitions, number, now, lease, bounds).await? {
                Some(Ok(claim)) => return Ok(Some(claim)),
                Some(Err(unreadable)) => self.bury(now, unreadable).await?,
                None if self.partitions == 1 => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    async fn renew(&self, lease: Lease, until: Millis) -> Result<(), StoreError> {
        self.run(self.under("renew", lease)?.with_time(until)).await
    }

    async fn behind(&self, lease: Lease) -> Result<Vec<Waiting>, StoreError> {
        let call = self.under("behind", lease)?.with_number(BEHIND_MAX as u64);
        let rows: Vec<Behind> = self.run(call).await?;
        Ok(rows.into_iter().map_while(|row| waiting(&self.vault, row)).collect())
    }

    async fn gather(&self, lease: Lease, ids: &[String]) -> Result<(), StoreError> {
        self.run(self.under("gather", lease)?.with_all(ids)).await
    }

    async fn answer(&self, lease: Lease, now: Millis, reply: &Reply) -> Result<Delivery, StoreError> {
        let call = self.under("answer", lease)?.at(now).with(to_json(reply)?);
        let held: Option<Millis> = self.run(call).await?;
        Ok(held.map_or(Delivery::Due, |until| Delivery::Held { until }))
    }

    async fn checkpoint(&self, lease: Lease, now: Millis, checkpoint: &[u8]) -> Result<(), StoreError> {
        self.run(self.under("checkpoint", lease)?.at(now).with(checkpoint)).await
    }

    async fn give_up(&self, lease: Lease) -> Result<(), StoreError> {
        self.run(self.under("give_up", lease)?).await
    }

    async fn postpone(
        &self,
        lease: Lease,
        until: Millis,
        failure: Option<&str>,
        may_be_seen: bool,
    ) -> Result<(), StoreError> {
        let seen = if may_be_seen { "1" } else { "0" };
        self.run(self.under("postpone", lease)?.with_time(until).with(seen).with_all(failure)).await
    }

    async fn finish(
        &self,
        lease: Lease,
        now: Millis,
        ending: &Ending,
        said: &[Utterance],
    ) -> Result<(), StoreError> {
        let (state, reason, receipt) = match ending {
            Ending::Delivered { receipt } => ("delivered", "", to_json(receipt)?),
            Ending::Dead { reason } => ("dead", reason.as_str(), String::new()),
            Ending::Withdrawn => ("withdrawn", "", String::new()),
        };
        let call = self.under("finish", lease)?.at(now).with(state).with(reason).with(receipt);
        self.run(call.with(exchange(said)?)).await
    }

    async fn ended(&self, channel: &str, message_id: &str) -> Result<Option<EndedAs>, StoreError> {
        let row: Option<(String, Option<Millis>)> =
            self.look(channel, message_id, &["state", "ended"]).await?;
        let ended = row.and_then(|(state, ended)| ended.map(|_| state));
        Ok(ended.map(|state| match state.as_str() {
            "dead" => EndedAs::Dead,
            "withdrawn" => EndedAs::Withdrawn,
            _ => EndedAs::Delivered,
        }))
    }

    async fn discard(&self, channel: &str, message_id: &str) -> Result<bool, StoreError> {
        self.run(self.of("discard", channel).durable().with(channel).with(message_id)).await
    }

    async fn message(&self, channel: &str, message_id: &str) -> Result<Option<Message>, StoreError> {
        let row: Option<(String,)> = self.look(channel, message_id, &["message"]).await?;
        row.map(|(json,)| from_json(&json)).transpose()
    }

    async fn address(&self, channel: &str, conversation: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let call = self.of("address", channel).with(channel).with(conversation);
        let known: Option<(String, Vec<u8>)> = self.run(call).await?;
        let read = |(id, sealed): (String, Vec<u8>)| read_address(&self.vault, channel, &id, &sealed);
        known.map(read).transpose().map_err(|reason| StoreError::Unusable(reason.to_owned()))
    }

    async fn outcome(&self, channel: &str, message_id: &str) -> Result<Option<Outcome>, StoreError> {
        let row: Option<(String, Option<String>)> =
            self.look(channel, message_id, &["state", "reply"]).await?;
        let Some((state, reply)) = row else { return Ok(None) };
        Ok(Some(match (state.as_str(), reply) {
            ("withdrawn", _) => Outcome::Withdrawn,
            // Also of a dead letter: who asks again gets what could not be delivered.
            (_, Some(reply)) => Outcome::Answered(from_json(&reply)?),
            ("dead", None) => Outcome::Dead,
            // Delivered without an answer: there was nothing to say.
            ("delivered", None) => Outcome::Answered(Reply::default()),
            (_, None) => Outcome::Pending,
        }))
    }

    async fn hand_over(
        &self,
        channel: &str,
        message_id: &str,
        now: Millis,
        said: &[Utterance],
    ) -> Result<HandOver, StoreError> {
        let call = self.of("hand_over", channel).durable().at(now).with(channel).with(message_id);
        Ok(match self.run::<u8>(call.with(exchange(said)?)).await? {
            0 => HandOver::Nothing,
            1 => HandOver::Done,
            _ => HandOver::Delivering,
        })
    }

    async fn release_hold(
        &self,
        channel: &str,
        message_id: &str,
        due: Millis,
        checkpoint: &[u8],
    ) -> Result<(), StoreError> {
        let call = self.of("release_hold", channel).durable().with(channel).with(message_id);
        self.run(call.with_time(due).with(checkpoint)).await
    }

    async fn history(
        &self,
        channel: &str,
        conversation: &str,
        turns: u32,
    ) -> Result<Vec<Utterance>, StoreError> {
        let call = self.of("history", channel).with(channel).with(conversation).with_number(turns);
        let exchanges: Vec<String> = self.run(call).await?;
        let read = |json: &String| from_json::<Vec<Utterance>>(json);
        Ok(exchanges.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn forget(&self, channel: &str, conversation: &str) -> Result<bool, StoreError> {
        self.run(self.of("forget", channel).durable().with(channel).with(conversation)).await
    }

    async fn next_due(&self, bounds: &[Bound]) -> Result<Option<Millis>, StoreError> {
        let asked = (0..self.partitions).map(|partition| {
            self.run::<Option<Millis>>(self.in_partition("next_due", partition).with_all(pairs(bounds)))
        });
        // What a partition has that does not answer is due when it answers again.
        let (due, mut broken): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().partition(Result::is_ok);
        match broken.pop() {
            Some(Err(error)) if due.is_empty() => Err(error),
            _ => Ok(due.into_iter().flatten().flatten().min()),
        }
    }

    async fn stirred(&self) {
        self.nodes.stirred().await;
    }

    async fn queue(&self) -> Result<Queue, StoreError> {
        let mut whole = Queue::default();
        for queue in self.all_queues().await?.into_values() {
            whole.unfinished += queue.unfinished;
            whole.dead += queue.dead;
            let oldest = whole.oldest_received_at.into_iter().chain(queue.oldest_received_at);
            whole.oldest_received_at = oldest.min();
        }
        Ok(whole)
    }

    async fn sweep(&self, now: Millis, before: Millis) -> Result<u64, StoreError> {
        let dead_before = before.min(now.saturating_sub(millis(DEAD_KEPT)));
        let turns = |call: Call| call.at(now).with_time(before).with_time(dead_before).with_number(SWEEP_MAX);
        let keys = |call: Call| call.at(now).with_number(SWEEP_MAX);
        let unused_since = now.saturating_sub(millis(ADDRESS_KEPT));
        let addresses = |call: Call| call.at(now).with_time(unused_since).with_number(SWEEP_MAX);
        let swept =
            self.sweep_with(turns, "sweep_turns").await? + self.sweep_with(keys, "sweep_memory").await?;
        Ok(swept + self.sweep_with(addresses, "sweep_addresses").await?)
    }

    async fn get(&self, space: &str, now: Millis, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.run(self.of("get", space).at(now).with(space).with(key)).await
    }

    async fn set(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<(), StoreError> {
        check_size(key, value)?;
        let call = self.of("set", space).durable().at(now).with(space).with(key).with(value);
        self.run(call.with(life(ttl)).with_number(KEYS_MAX as u64)).await
    }

    async fn delete(&self, space: &str, key: &str) -> Result<(), StoreError> {
        self.run(self.of("delete", space).durable().with(space).with(key)).await
    }

    async fn increment(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StoreError> {
        check_size(key, &[])?;
        let call = self.of("increment", space).durable().at(now).with(space).with(key).with_number(by);
        self.run(call.with(life(ttl)).with_number(KEYS_MAX as u64)).await
    }

    async fn take(&self, now: Millis, allowances: &[Allowance]) -> Result<Verdict, StoreError> {
        let mut call = self.of_allowances("take").at(now);
        for Allowance { key, interval, burst } in allowances {
            let interval = u64::try_from(interval.as_micros().clamp(1, INTERVAL_MAX));
            let interval = interval.expect("it is clamped to less");
            call = call.with(key).with_number(interval).with_number((*burst).clamp(1, BURST_MAX));
        }
        let refused: Option<(usize, Millis)> = self.run(call).await?;
        Ok(refused.map_or(Verdict::Granted, |(which, again_at)| Verdict::Refused { which, again_at }))
    }

    async fn lacks_release(&self, digest: &str) -> Result<bool, StoreError> {
        Ok(self.release_pieces(digest).await?.is_none())
    }

    async fn keep_release(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put_release(digest, bytes).await
    }

    async fn release(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_release(digest).await
    }

    async fn drop_release(&self, digest: &str) -> Result<(), StoreError> {
        self.run(self.of("drop_release", digest).with(digest)).await
    }
}
