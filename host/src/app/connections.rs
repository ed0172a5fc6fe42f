//! The channels whose adapters keep a socket: each stage behind what `connection` asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::memory::StoredMemory;
use crate::adapter::AdapterError;
use crate::connection::{Connection, Intake, NotTaken, Opener, Speaker, Status};
use crate::egress::{Gate, NotOpened, Socket};
use crate::message::{Fault, Frame, Message};
use crate::plugin::{Closure, Endpoint, Outcome};
use crate::telemetry;
use crate::turn::{Channel, Turns};

/// The connections of a host, by channel.
pub fn all(turns: &Arc<Turns>, gates: BTreeMap<String, Arc<Gate>>) -> BTreeMap<Arc<str>, Connection> {
    let connections = gates.into_iter().filter_map(|(name, gate)| {
        let channel = turns.channels.get(name.as_str())?.clone();
        Some((channel.name.clone(), connection(turns, channel, gate)))
    });
    connections.collect()
}

fn connection(turns: &Arc<Turns>, channel: Arc<Channel>, gate: Arc<Gate>) -> Connection {
    let memory = StoredMemory::of_connection(&channel.name, turns.store.clone(), turns.clock.clone());
    Connection {
        channel: channel.name.clone(),
        speaker: Arc::new(Voice(channel.clone())),
        opener: Arc::new(Way(gate)),
        intake: Arc::new(Door { turns: turns.clone(), channel: channel.name.clone() }),
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
struct Voice(Arc<Channel>);

impl Voice {
    async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(&crate::adapter::Adapter) -> Result<T, AdapterError>,
    ) -> Result<T, Fault> {
        let adapter = self.0.adapter.as_ref().expect("only a channel with an adapter has a connection");
        call(adapter).await.map_err(|error| {
            if !matches!(error, AdapterError::Fault(_)) {
                tracing::error!(channel = %self.0.name, error = telemetry::chain(&error), "the adapter failed");
            }
            error.fault()
        })
    }
}

#[async_trait]
impl Speaker for Voice {
    async fn dial(&self, memory: &[u8]) -> Result<Endpoint, Fault> {
        self.ask(async |adapter| adapter.dial(memory).await).await
    }

    async fn opened(&self, memory: &[u8]) -> Result<Outcome, Fault> {
        self.ask(async |adapter| adapter.opened(memory).await).await
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

/// The adapter's way out.
#[derive(Debug)]
struct Way(Arc<Gate>);

#[async_trait]
impl Opener for Way {
    async fn open(&self, endpoint: Endpoint) -> Result<Socket, NotOpened> {
        self.0.open(endpoint).await
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
