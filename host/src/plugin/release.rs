//! One immutable plugin version, compiled and linked: every call gets a fresh instance of it.
//!
//! Linking is done once a release (`InstancePre`), to imports that all releases share; a call costs an instance from
//! the pool and the call itself. Arguments and answers are the host's own types; generated ones end here. What an adapter says of a
//! long-lived socket is in `connection`, and a call that counts for nothing yet in `rehearsal`.

mod connection;
mod rehearsal;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::component::{Component, ResourceAny};
use wasmtime::{Engine, Store};

use crate::message::{Completion, Fault, HttpRequest, Message, Reply};
use crate::plugin::bindings::adapter::exports::parlor::plugin::adapter as made;
use crate::plugin::bindings::adapter::parlor::plugin::types;
use crate::plugin::bindings::{adapter, connection::ConnectedPre, pipeline};
use crate::plugin::guest::{self, Bounds, CallError, Guest};
use crate::plugin::imports::Imports;
use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::output::Output;
use crate::plugin::package::Package;
use crate::plugin::services::Services;
use crate::plugin::signature::Provenance;
use crate::plugin::{Delivered, Flow, PipelineTurn, Presentation, Reception, Snapshot, Step};

pub use rehearsal::Rehearsal;

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("its compiled file cannot be loaded: {0}")]
    Load(String),
    #[error("it does not fit the contract: {0}")]
    Link(String),
}

/// One call, as it ended.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub plugin: &'a str,
    /// Of the release that was called.
    pub digest: &'a str,
    pub function: &'static str,
    /// `ok`, `fault` (the plugin said so), or what ended it, such as `trap`.
    pub outcome: &'static str,
    /// From the call to its end, host calls included.
    pub elapsed: Duration,
    /// Of that the guest's own, with what the host does to hand values in and out.
    pub own: Duration,
}

/// Told of every call, for metrics and for whoever judges releases.
pub type Witness = Arc<dyn Fn(&Call<'_>) + Send + Sync>;

/// A step other than the stable release's: how a call ended that is held against nobody.
pub const OTHER_STEP: &str = "other_step";

/// One plugin version that can be called.
#[derive(Clone)]
pub struct Release {
    pub digest: String,
    pub manifest: Manifest,
    pub provenance: Provenance,
    engine: Engine,
    bounds: Bounds,
    linked: Linked,
    witness: Witness,
}

#[derive(Clone)]
enum Linked {
    Adapter {
        adapter: adapter::WebhookAdapterPre<Guest>,
        /// Of the world `socket-adapter` alone.
        connection: Option<ConnectedPre<Guest>>,
    },
    Pipeline(pipeline::PromptPipelinePre<Guest>),
}

impl std::fmt::Debug for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Release({} {})", self.manifest.name, self.digest)
    }
}

impl Release {
    /// Links a package to its compiled code.
    pub fn link(
        imports: &Imports,
        package: Package,
        compiled: &Path,
        witness: Witness,
    ) -> Result<Release, LinkError> {
        #[cfg(all(feature = "failpoints", target_os = "linux"))]
        super::memories::publish(&package.bytes);
        // SAFETY: the file lies in a folder that this user alone can write, and `compile::Cache` has just
        // checked its own MAC over it: it is what this host's compiler made, unchanged.
        let component = unsafe { Component::deserialize_file(imports.engine(), compiled) };
        let component = component.map_err(|error| LinkError::Load(format!("{error:#}")))?;
        let linked = Linked::new(imports, &component, &package.manifest)
            .map_err(|error| LinkError::Link(format!("{error:#}")))?;
        let limits = &package.manifest.limits;
        let memory_bytes = usize::try_from(limits.memory_bytes).unwrap_or(super::engine::MEMORY_BYTES_MAX);
        let bounds = Bounds { memory_bytes, time: limits.time };
        Ok(Release {
            digest: package.digest,
            manifest: package.manifest,
            provenance: package.provenance,
            engine: imports.engine().clone(),
            bounds,
            linked,
            witness,
        })
    }

    /// Name, version and digest, as short as people can tell releases apart by.
    pub fn label(&self) -> String {
        let short = self.digest.get(..12).unwrap_or(&self.digest);
        format!("{}@{}+{short}", self.manifest.name, self.manifest.version)
    }

    pub async fn receive(&self, services: Services, request: HttpRequest) -> Result<Reception, CallError> {
        let (mut store, bindings) = self.adapter(services, request.body.clone()).await?;
        let call = bindings.parlor_plugin_adapter();
        let outcome =
            self.watch("receive", &mut store, async |store| call.call_receive(store, &request.into()).await);
        self.bounded("receive", outcome.await?.into())
    }

    pub async fn enrich(
        &self,
        services: Services,
        message: Message,
    ) -> Result<Result<Message, Fault>, CallError> {
        let (mut store, bindings) = self.adapter(services, Bytes::new()).await?;
        let call = bindings.parlor_plugin_adapter();
        let outcome =
            self.watch("enrich", &mut store, async |store| call.call_enrich(store, &message.into()).await);
        self.bounded("enrich", outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn present(
        &self,
        services: Services,
        context: &[u8],
        snapshot: Option<Snapshot>,
    ) -> Result<Presentation, CallError> {
        let (mut store, bindings) = self.adapter(services, Bytes::new()).await?;
        let call = bindings.parlor_plugin_adapter();
        let snapshot = snapshot.map(Into::into);
        let outcome = self.watch("present", &mut store, async |store| {
            call.call_present(store, context, snapshot.as_ref()).await
        });
        self.bounded("present", outcome.await?.into())
    }

    pub async fn update(
        &self,
        services: Services,
        to: &Destination<'_>,
        checkpoint: &[u8],
        text: &str,
    ) -> Result<Result<Vec<u8>, Fault>, CallError> {
        let (mut store, bindings) = self.adapter(services, Bytes::new()).await?;
        let call = bindings.parlor_plugin_adapter();
        let outcome = self.watch("update", &mut store, async |store| {
            call.call_update(store, to.address, to.key, checkpoint, text).await
        });
        self.bounded("update", outcome.await?.map_err(Into::into))
    }

    pub async fn finish(
        &self,
        services: Services,
        to: &Destination<'_>,
        checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Result<Delivered, Fault>, CallError> {
        let (mut store, bindings) = self.adapter(services, Bytes::new()).await?;
        let call = bindings.parlor_plugin_adapter();
        let reply = reply.clone().into();
        let outcome = self.watch("finish", &mut store, async |store| {
            call.call_finish(store, to.address, to.key, checkpoint, &reply).await
        });
        self.bounded("finish", outcome.await?.map(Into::into).map_err(Into::into))
    }

    /// The URL of an attachment's bytes, with its placeholders still in it.
    pub async fn locate(
        &self,
        services: Services,
        reference: &str,
    ) -> Result<Result<String, Fault>, CallError> {
        let (mut store, bindings) = self.adapter(services, Bytes::new()).await?;
        let call = bindings.parlor_plugin_adapter();
        let outcome =
            self.watch("locate", &mut store, async |store| call.call_locate(store, reference).await);
        Ok(outcome.await?.map(|download| download.request.url).map_err(Into::into))
    }

    /// One turn's passage through this pipeline: an instance that lives as long as the turn.
    pub async fn run(self: &Arc<Self>, services: Services) -> Result<PipelineRun, CallError> {
        let Linked::Pipeline(linked) = &self.linked else {
            return Err(CallError::NoInstance("it is no pipeline".to_owned()));
        };
        let mut store = guest::store(&self.engine, services, Bytes::new(), self.bounds);
        let made = guest::in_time(&mut store, async |store| linked.instantiate_async(store).await);
        let bindings = made.await.map_err(no_instance)?;
        let runs = bindings.parlor_plugin_pipeline().run();
        let run =
            self.watch("constructor", &mut store, async |store| runs.call_constructor(store).await).await?;
        Ok(PipelineRun { release: self.clone(), store, bindings, run })
    }

    /// Tells of a call that came back and was no good all the same.
    pub fn found_wanting(&self, function: &'static str, outcome: &'static str) {
        (self.witness)(&Call {
            plugin: &self.manifest.name,
            digest: &self.digest,
            function,
            outcome,
            elapsed: Duration::ZERO,
            own: Duration::ZERO,
        });
    }

    async fn adapter(
        &self,
        services: Services,
        body: Bytes,
    ) -> Result<(Store<Guest>, adapter::WebhookAdapter), CallError> {
        let Linked::Adapter { adapter, .. } = &self.linked else {
            return Err(CallError::NoInstance("it is no adapter".to_owned()));
        };
        let mut store = guest::store(&self.engine, services, body, self.bounds);
        let made = guest::in_time(&mut store, async |store| adapter.instantiate_async(store).await);
        let bindings = made.await.map_err(no_instance)?;
        Ok((store, bindings))
    }

    /// Runs one call, tells the witness, and turns a trap into what it was.
    async fn watch<T: Told>(
        &self,
        function: &'static str,
        store: &mut Store<Guest>,
        call: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        let (began, spent) = (Instant::now(), store.data().time.spent());
        let outcome = guest::in_time(store, call).await;
        #[cfg(all(feature = "failpoints", target_os = "linux"))]
        super::memories::look_through(&self.manifest.name, function, &store.data().services);
        (self.witness)(&Call {
            plugin: &self.manifest.name,
            digest: &self.digest,
            function,
            outcome: outcome.as_ref().map_or_else(CallError::outcome, Told::outcome),
            elapsed: began.elapsed(),
            own: store.data().time.spent().saturating_sub(spent),
        });
        outcome
    }

    /// What a call brought, if it is no more than a plugin may hand over.
    fn bounded<T: Output>(&self, function: &'static str, mut brought: T) -> Result<T, CallError> {
        let bounded = brought.bound().map_err(CallError::TooMuch);
        bounded.inspect_err(|error| self.found_wanting(function, error.outcome()))?;
        Ok(brought)
    }
}

/// What a call that came back says of itself.
trait Told {
    /// `ok`, or `fault` if the plugin could not do it.
    fn outcome(&self) -> &'static str {
        "ok"
    }
}

impl<T> Told for Result<T, types::Fault> {
    fn outcome(&self) -> &'static str {
        if self.is_ok() { "ok" } else { "fault" }
    }
}

impl Told for made::Reception {}
impl Told for made::Presentation {}
impl Told for ResourceAny {}

fn no_instance(error: CallError) -> CallError {
    CallError::NoInstance(error.to_string())
}

/// Where a delivery goes, and the key that is the same at each attempt.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    pub address: &'a [u8],
    pub key: &'a str,
}

impl Linked {
    fn new(imports: &Imports, component: &Component, manifest: &Manifest) -> wasmtime::Result<Linked> {
        let linked = imports.instantiate_pre(component)?;
        match manifest.kind {
            Kind::Adapter => {
                let connects = manifest.connects.is_some();
                let connection = connects.then(|| ConnectedPre::new(linked.clone())).transpose()?;
                Ok(Linked::Adapter { adapter: adapter::WebhookAdapterPre::new(linked)?, connection })
            }
            Kind::Pipeline => Ok(Linked::Pipeline(pipeline::PromptPipelinePre::new(linked)?)),
        }
    }
}

/// One turn on its way through one pipeline.
pub struct PipelineRun {
    release: Arc<Release>,
    store: Store<Guest>,
    bindings: pipeline::PromptPipeline,
    run: ResourceAny,
}

impl PipelineRun {
    pub async fn begin(&mut self, turn: PipelineTurn) -> Result<Result<Step, Fault>, CallError> {
        let (runs, run) = (self.bindings.parlor_plugin_pipeline().run(), self.run);
        let turn = turn.into();
        let outcome = self
            .release
            .watch("begin", &mut self.store, async |store| runs.call_begin(store, run, &turn).await);
        self.release.bounded("begin", outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn resume(
        &mut self,
        completion: Result<Completion, Fault>,
    ) -> Result<Result<Step, Fault>, CallError> {
        let (runs, run) = (self.bindings.parlor_plugin_pipeline().run(), self.run);
        let completion = completion.map(Into::into).map_err(Into::into);
        let completion = completion.as_ref();
        let outcome = self
            .release
            .watch("resume", &mut self.store, async |store| runs.call_resume(store, run, completion).await);
        self.release.bounded("resume", outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn filter(&mut self, delta: &str) -> Result<Result<Flow, Fault>, CallError> {
        let (runs, run) = (self.bindings.parlor_plugin_pipeline().run(), self.run);
        let outcome = self
            .release
            .watch("filter", &mut self.store, async |store| runs.call_filter(store, run, delta).await);
        self.release.bounded("filter", outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn finish(&mut self, reply: Reply) -> Result<Result<Step, Fault>, CallError> {
        let (runs, run) = (self.bindings.parlor_plugin_pipeline().run(), self.run);
        let reply = reply.into();
        let outcome = self
            .release
            .watch("finish", &mut self.store, async |store| runs.call_finish(store, run, &reply).await);
        self.release.bounded("finish", outcome.await?.map(Into::into).map_err(Into::into))
    }
}
