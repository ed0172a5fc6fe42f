//! The channels whose adapters may keep a socket: each stage behind what `connection` asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::memory::StoredMemory;
use crate::adapter::{Adapter, AdapterError};
use crate::connection::{Connection, Intake, NotTaken, Opener, Speaker, Status};
use crate::egress::{NotOpened, Socket};
use crate::message::{Fault, Frame, Message};
use crate::plugin::services::Http;
use crate::plugin::{Closure, Endpoint, Outcome};
use crate::telemetry;
use crate::turn::{Channel, Turns};

/// The connections of a host, by channel. A release that keeps no socket may be followed by one that does.
pub fn all(turns: &Arc<Turns>) -> BTreeMap<Arc<str>, Connection> {
    let spoken = turns.channels.values().filter_map(|channel| Some((channel, channel.adapter.as_ref()?)));
    spoken.map(|(channel, adapter)| (channel.name.clone(), connection(turns, channel, adapter))).collect()
}

fn connection(turns: &Arc<Turns>, channel: &Arc<Channel>, adapter: &Adapter) -> Connection {
    let voice = Arc::new(Voice { channel: channel.clone(), way_out: Mutex::default() });
    let memory = StoredMemory::of_connection(&channel.name, turns.store.clone(), turns.clock.clone());
    Connection {
        channel: channel.name.clone(),
        speaker: voice.clone(),
        opener: voice,
        intake: Arc::new(Door { turns: turns.clone(), channel: channel.name.clone() }),
        swaps: adapter.swaps(),
        memory: Arc::new(memory),
        status: Arc::new(Status::default()),
        clock: turns.clock.clone(),
        random: turns.random.clone(),
        metrics: turns.metrics.clone(),
        drain: turns.drain.clone(),
    }
}

/// The channel's adapter.
#[derive(Debug)]
struct Voice {
    channel: Arc<Channel>,
    /// That of the call which dialled last: it keeps the ticket.
    way_out: Mutex<Option<Arc<dyn Http>>>,
}

impl Voice {
    fn adapter(&self) -> &Adapter {
        self.channel.adapter.as_ref().expect("only a channel with an adapter has a connection")
    }

    async fn ask<T>(&self, call: impl AsyncFnOnce(&Adapter) -> Result<T, AdapterError>) -> Result<T, Fault> {
        call(self.adapter()).await.map_err(|error| {
            if !matches!(error, AdapterError::Fault(_)) {
                tracing::error!(channel = %self.channel.name, error = telemetry::chain(&error), "the adapter failed");
            }
            error.fault()
        })
    }
}

#[async_trait]
impl Speaker for Voice {
    fn connects(&self) -> bool {
        self.adapter().does_connect()
    }

    async fn dial(&self, memory: &[u8]) -> Result<Endpoint, Fault> {
        let (endpoint, way_out) = self.ask(async |adapter| adapter.dial(memory).await).await?;
        *self.way_out.lock().unwrap_or_else(PoisonError::into_inner) = Some(way_out);
        Ok(endpoint)
    }

    async fn opened(&self, memory: &[u8], context: &[u8]) -> Result<Outcome, Fault> {
        self.ask(async |adapter| adapter.opened(memory, context).await).await
    }

    async fn hear(&self, memory: &[u8], frame: Frame) -> Result<Outcome, Fault> {
        self.ask(async |adapter| adapter.hear(memory, frame).await).await
    }

    async fn heartbeat(&self, memory: &[u8]) -> Result<Outcome, Fault> {
        self.ask(async |adapter| adapter.heartbeat(memory).await).await
    }

    async fn closed(&self, memory: &[u8], why: Closure) -> Result<Outcome, Fault> {
        self.ask(async |adapter| adapter.closed(memory, why).await).await
    }
}

#[async_trait]
impl Opener for Voice {
    async fn open(&self, endpoint: Endpoint) -> Result<Socket, NotOpened> {
        let way_out = self.way_out.lock().unwrap_or_else(PoisonError::into_inner).take();
        way_out.expect("an endpoint is opened once it was dialled").open(endpoint).await
    }
}

/// The inbox.
#[derive(Debug)]
struct Door {
    turns: Arc<Turns>,
    channel: Arc<str>,
}

#[async_trait]
impl Intake for Door {
    async fn admit(&self) -> Result<(), NotTaken> {
        self.turns.admit_pushed(&self.channel).await.map_err(|excess| NotTaken(excess.to_string()))
    }

    async fn take(&self, messages: Vec<Message>, withdrawn: Vec<String>) -> Result<(), NotTaken> {
        let taken = self.turns.take_pushed(&self.channel, messages, &withdrawn).await;
        taken.map_err(|error| NotTaken(telemetry::chain(&error)))
    }
}
