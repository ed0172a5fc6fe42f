//! The stage that speaks to a platform through its adapter: an HTTP request in, deliveries out.
//!
//! It binds one channel to whatever release serves its adapter's name: a `Speaker` is one of them, held for as
//! long as a request or a turn lasts, so that each is served wholly by one. It does not know the store, pipelines or
//! models; it knows which services each call may reach: `receive` sends nothing and remembers nothing, so that a
//! webhook never waits for anyone. Read on in `beside`: how a candidate reads what the stable release reads.

mod beside;
mod connection;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::message::{Fault, FaultKind, Favour, HttpRequest, Message, Reply};
use crate::plugin::release::Destination;
use crate::plugin::services::{Fence, NoHttp, NoMemory, Services};
use crate::plugin::shelf::{FITTED, Fitted};
use crate::plugin::{CallError, Delivered, Presentation, Reception, Shelf, Snapshot};
use watched::Watched;

/// Webhooks that are read side by side; they have instances of their own, whatever turns do. Each adapter has its part
/// of them to itself.
pub const RECEPTIONS_MAX: usize = 64;
/// Deliveries side by side.
pub const DELIVERIES_MAX: usize = 128;
/// A webhook that finds no instance within this time gets a 503, and the platform tries again.
const RECEPTION_WAIT: Duration = Duration::from_secs(1);

/// Instances for receiving, and those for delivering, which all channels share.
#[derive(Debug)]
pub struct Permits {
    /// By adapter. What one of them holds, a loop until its deadline, is never what another waits for; a part is enough
    /// for each, since a sound one reads in microseconds and waits for nobody.
    receptions: BTreeMap<String, Semaphore>,
    deliveries: Semaphore,
    /// Of the deliveries, those that may be updates: a platform that hangs in them keeps no last word waiting.
    updates: Semaphore,
}

impl Permits {
    /// A quarter of the instances each; the other half is the turns'. No adapter's part is empty.
    pub fn new(instances_max: usize, adapters: BTreeSet<String>) -> Self {
        let quarter = (instances_max / 4).max(1);
        let deliveries = DELIVERIES_MAX.min(quarter);
        let part = (RECEPTIONS_MAX.min(quarter) / adapters.len().max(1)).max(1);
        Self {
            receptions: adapters.into_iter().map(|name| (name, Semaphore::new(part))).collect(),
            deliveries: Semaphore::new(deliveries),
            updates: Semaphore::new((deliveries / 2).max(1)),
        }
    }

    fn receptions(&self, adapter: &str) -> &Semaphore {
        self.receptions.get(adapter).expect("every adapter of a channel was named")
    }
}

/// Why an adapter gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error("too many webhooks of this adapter at a time")]
    Crowded,
    #[error("all instances are busy delivering")]
    Busy,
    /// The host itself kept an update back: the platform would have refused it.
    #[error("the platform's rates leave no room for an update now")]
    HeldBack(Duration),
    #[error(transparent)]
    Call(#[from] CallError),
    /// The call broke off after a request of its own went out.
    #[error("the adapter broke off after it had sent something")]
    BrokeOff(#[source] CallError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl AdapterError {
    /// The same as a fault: a trap or a missing release may be mended by the next release.
    pub fn fault(&self) -> Fault {
        match self {
            AdapterError::Fault(fault) => fault.clone(),
            AdapterError::Busy => Fault::new(FaultKind::Throttled, self.to_string()),
            AdapterError::HeldBack(wait) => {
                Fault { retry_after: Some(*wait), ..Fault::new(FaultKind::Throttled, self.to_string()) }
            }
            AdapterError::BrokeOff(_) => Fault::new(FaultKind::Uncertain, self.to_string()),
            AdapterError::Crowded | AdapterError::Call(CallError::NoInstance(_)) => {
                Fault::new(FaultKind::Unavailable, self.to_string())
            }
            AdapterError::Call(_) => Fault::new(FaultKind::Internal, self.to_string()),
        }
    }
}

/// One channel's adapter.
#[derive(Debug)]
pub struct Adapter {
    pub name: String,
    channel: Arc<str>,
    shelf: Arc<Shelf>,
    permits: Arc<Permits>,
}

impl Adapter {
    /// Every release that the shelf has under this name must be fitted for the channel, and the permits made for it.
    pub fn new(name: String, channel: Arc<str>, shelf: Arc<Shelf>, permits: Arc<Permits>) -> Adapter {
        Adapter { name, channel, shelf, permits }
    }

    /// Reads one request of the platform; tells who did, so that what follows from it is done by the same release.
    pub async fn receive(
        &self,
        request: HttpRequest,
        favour: Favour,
    ) -> Result<(Reception, Speaker), AdapterError> {
        let waited =
            tokio::time::timeout(RECEPTION_WAIT, self.permits.receptions(&self.name).acquire()).await;
        let _permit = waited.map_err(|_| AdapterError::Crowded)?;
        let serving = self.shelf.serving(&self.name).expect(FITTED);
        match &serving.candidate {
            Some(candidate) => {
                let (stable, beside) = (self.bind(&serving.stable), self.bind(&candidate.fitted));
                let beside = Speaker { is_candidate: true, ..beside };
                beside::receive(stable, beside, candidate, request, favour).await
            }
            None => {
                let stable = self.bind(&serving.stable);
                Ok((stable.receive(request).await?, stable))
            }
        }
    }

    /// The release that speaks in a conversation.
    pub fn speaker(&self, conversation: &str, favour: Favour) -> Speaker {
        let serving = self.shelf.serving(&self.name).expect(FITTED);
        let fitted = serving.pick(conversation, favour);
        Speaker { is_candidate: !Arc::ptr_eq(fitted, &serving.stable), ..self.bind(fitted) }
    }

    fn bind(&self, fitted: &Arc<Fitted>) -> Speaker {
        let services = fitted.services(&self.channel).expect(FITTED).clone();
        Speaker { fitted: fitted.clone(), services, permits: self.permits.clone(), is_candidate: false }
    }
}

/// One release of an adapter, on one channel.
#[derive(Debug, Clone)]
pub struct Speaker {
    fitted: Arc<Fitted>,
    services: Services,
    permits: Arc<Permits>,
    /// It is on trial: with the stable release the same may go well.
    pub is_candidate: bool,
}

impl Speaker {
    /// The release, in short, for people.
    pub fn label(&self) -> String {
        self.fitted.release.label()
    }

    async fn receive(&self, request: HttpRequest) -> Result<Reception, AdapterError> {
        Ok(self.fitted.release.receive(self.quick_services(), request).await?)
    }

    /// For calls that wait for nobody.
    fn quick_services(&self) -> Services {
        Services { http: Arc::new(NoHttp), memory: Arc::new(NoMemory), ..self.services.clone() }
    }

    /// Adds what takes HTTP to find out.
    pub async fn enrich(&self, message: Message) -> Result<Message, AdapterError> {
        let _permit = self.delivery_permit().await;
        Ok(self.fitted.release.enrich(self.services.for_a_call(), message).await??)
    }

    /// The response to an inquiry.
    pub async fn present(
        &self,
        context: &[u8],
        snapshot: Option<Snapshot>,
    ) -> Result<Presentation, AdapterError> {
        let _permit = self.delivery_permit().await;
        Ok(self.fitted.release.present(self.services.for_a_call(), context, snapshot).await?)
    }

    /// The shortest time between two updates of one reply; none if the platform cannot edit what was sent.
    pub fn update_interval(&self) -> Option<Duration> {
        self.fitted.release.manifest.update_interval
    }

    /// Updates that it takes until a person sees a reply that grows.
    pub fn opening_calls(&self) -> u32 {
        self.fitted.release.manifest.opening_calls
    }

    /// How often a reply that grows is touched at least, also when there is nothing new to show.
    pub fn keep_alive(&self) -> Option<Duration> {
        self.fitted.release.manifest.keep_alive
    }

    /// Shows the text so far; returns the next checkpoint. It waits for no instance: a later update shows more.
    pub async fn update(
        &self,
        fence: Arc<dyn Fence>,
        to: &Destination<'_>,
        checkpoint: &[u8],
        text: &str,
    ) -> Result<Vec<u8>, AdapterError> {
        let _update = self.permits.updates.try_acquire().map_err(|_| AdapterError::Busy)?;
        let _permit = self.permits.deliveries.try_acquire().map_err(|_| AdapterError::Busy)?;
        // It leaves room in the manifest's rates, since the last word matters most.
        let way_out = Arc::new(Watched::new(self.services.http.leaving_room().within(fence)));
        let services = Services { http: way_out.clone(), ..self.services.clone() };
        let outcome = self.fitted.release.update(services, to, checkpoint, text).await;
        way_out
            .judge(outcome)
            .map_err(|error| way_out.held_back().filter(|_| is_throttled(&error)).unwrap_or(error))
    }

    /// Sends the reply's next part, or completes what `update` began.
    pub async fn finish(
        &self,
        fence: Arc<dyn Fence>,
        to: &Destination<'_>,
        checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Delivered, AdapterError> {
        let _permit = self.delivery_permit().await;
        let way_out = Arc::new(Watched::new(self.services.http.within(fence)));
        let services = Services { http: way_out.clone(), ..self.services.clone() };
        let outcome = self.fitted.release.finish(services, to, checkpoint, reply).await;
        way_out.judge(outcome)
    }

    async fn delivery_permit(&self) -> SemaphorePermit<'_> {
        self.permits.deliveries.acquire().await.expect("this semaphore is never closed")
    }
}

fn is_throttled(error: &AdapterError) -> bool {
    matches!(error, AdapterError::Fault(fault) if fault.kind == FaultKind::Throttled)
}
