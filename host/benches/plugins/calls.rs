//! The cases that are timed, each a loop over one thing that the host does for a call.
//!
//! `fresh` is what serves in production. `bare` is the loop that wasmtime's own documentation shows, over the same
//! engine, the same component and the same host functions; `bounded` is that loop in the host's store, and `unbounded`
//! on an engine without epochs. The others are parts of a call, and what it would cost to keep an instance.

use std::cell::OnceCell;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

use crate::message::HttpRequest;
use crate::plugin::bindings::adapter::exports::parlor::plugin::adapter as made;
use crate::plugin::bindings::adapter::parlor::plugin::types;
use crate::plugin::bindings::adapter::{WebhookAdapter, WebhookAdapterPre};
use crate::plugin::guest::{self, Bounds, Guest};
use crate::plugin::imports::imports;
use crate::plugin::package::Package;
use crate::plugin::services::Services;
use crate::plugin::signature::Trust;
use crate::plugin::{Reception, Release, engine};
use crate::stopwatch::{Spent, Stopwatch};
use crate::vectors::Row;

/// The host ends a guest that asks for more than 1 000 operations on secrets, of which a call may need two: a kept
/// instance is renewed before.
const CALLS_OF_AN_INSTANCE: u32 = 400;

#[derive(Debug, Clone, Copy)]
pub enum Case {
    /// As in production: store, instance, call, and all of it dropped.
    Fresh,
    /// The call alone, on an instance that was there before, with a request that is there, as the library is called.
    Kept,
    /// Store, instance and call with wasmtime's own means, without the host's bounds and without its watching.
    Bare,
    /// The same in a store with the host's bounds: limiter, hook, fuel and deadline.
    Bounded,
    /// As `bare`, with code that was compiled without epochs.
    Unbounded,
    /// Store and instance, without a call.
    Instance,
    /// The store alone.
    Store,
    /// An instance as wasmtime gives it, in a store without the host's bounds and WASI, and no call.
    Empty,
}

/// How much a message has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    AsItIs,
    Long,
}

impl Case {
    pub const ALL: [(&'static str, Case, Length); 10] = [
        ("fresh", Case::Fresh, Length::AsItIs),
        ("kept", Case::Kept, Length::AsItIs),
        ("fresh-long", Case::Fresh, Length::Long),
        ("kept-long", Case::Kept, Length::Long),
        ("bare", Case::Bare, Length::AsItIs),
        ("bounded", Case::Bounded, Length::AsItIs),
        ("unbounded", Case::Unbounded, Length::AsItIs),
        ("instance", Case::Instance, Length::AsItIs),
        ("store", Case::Store, Length::AsItIs),
        ("empty", Case::Empty, Length::AsItIs),
    ];
}

/// One plugin, linked by the host and by hand.
pub struct Calls {
    release: Release,
    linked: Linked,
    /// Made when it is asked for: its code is compiled here.
    unbounded: OnceCell<Linked>,
    empty: InstancePre<()>,
    bounds: Bounds,
    component: Vec<u8>,
}

/// A component on an engine, ready to be instantiated.
struct Linked {
    engine: Engine,
    pre: WebhookAdapterPre<Guest>,
}

impl Calls {
    /// Compiles as the host does, in a child process, and links.
    pub fn prepare(parlor: &Path, plugin: &Path, target: Option<&str>) -> Result<Calls> {
        let package =
            Package::read(plugin, &Trust::anybody()).with_context(|| format!("`{}`", plugin.display()))?;
        let engine = engine::build().map_err(told)?.engine;
        engine::tick(&engine).context("no thread for the plugins' deadlines")?;
        let limits = &package.manifest.limits;
        let bounds = Bounds { memory_bytes: usize::try_from(limits.memory_bytes)?, time: limits.time };
        let file = Compiled::new(parlor, &package, target)?;
        // SAFETY: the compiler of this very build has just written the file, which nobody else touches.
        let component = unsafe { Component::deserialize_file(&engine, &file.0) }.map_err(told)?;
        let linked = Linked::new(&engine, &component).map_err(told)?;
        let empty = link_bare(&engine, &component).map_err(told)?;
        let bytes = package.bytes.clone();
        let release = Release::link(&imports(&engine).map_err(told)?, package, &file.0, Arc::new(|_| ()))?;
        Ok(Calls { release, linked, unbounded: OnceCell::new(), empty, bounds, component: bytes })
    }

    /// The same but for the epochs, which are neither in the code nor in the engine.
    fn unbounded(&self) -> Result<&Linked> {
        if let Some(linked) = self.unbounded.get() {
            return Ok(linked);
        }
        let settings = || {
            let mut settings = engine::settings();
            settings.epoch_interruption(false);
            settings
        };
        let engine = engine::build_of(settings).map_err(told)?.engine;
        let component = Component::new(&engine, &self.component).map_err(told)?;
        let linked = Linked::new(&engine, &component).map_err(told)?;
        Ok(self.unbounded.get_or_init(|| linked))
    }

    /// Every row has to come out as its file says, by the host's way and by ours.
    pub async fn check(&self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let feed = self.feed(row)?;
            let fresh = self.release.receive(feed.services.clone(), feed.request.clone()).await?;
            let kept = feed.instance().await?.receive(&feed.request).await?;
            let bare = feed.receive_bare(&self.linked).await?;
            for (way, reception) in [("fresh", &fresh), ("kept", &kept), ("bare", &bare)] {
                let is_accepted = verdict(reception)?;
                ensure!(is_accepted == row.is_accepted, "row `{}`, {way}: accepted: {is_accepted}", row.id);
            }
        }
        Ok(())
    }

    /// The calls with a row's request.
    pub fn feed(&self, row: &Row) -> Result<Fed<'_>> {
        Ok(Fed { calls: self, services: row.services(&self.release.manifest)?, request: row.request()? })
    }
}

fn verdict(reception: &Reception) -> Result<bool> {
    match reception {
        Reception::Accept(accepted) => {
            ensure!(accepted.messages.len() == 1, "{} messages were accepted", accepted.messages.len());
            Ok(true)
        }
        Reception::Refuse(_) => Ok(false),
        Reception::Answer(_) | Reception::Inquire(_) => bail!("neither accepted nor refused"),
    }
}

fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

impl Linked {
    fn new(engine: &Engine, component: &Component) -> wasmtime::Result<Linked> {
        let pre = WebhookAdapterPre::new(imports(engine)?.instantiate_pre(component)?)?;
        Ok(Linked { engine: engine.clone(), pre })
    }
}

/// Nothing is called on it, so nothing is there to be called.
fn link_bare(engine: &Engine, component: &Component) -> wasmtime::Result<InstancePre<()>> {
    let mut linker = Linker::<()>::new(engine);
    linker.define_unknown_imports_as_traps(component)?;
    linker.instantiate_pre(component)
}

/// Machine code in a file that goes when this does; it is mapped by then.
struct Compiled(std::path::PathBuf);

impl Compiled {
    fn new(parlor: &Path, package: &Package, target: Option<&str>) -> Result<Compiled> {
        let path = std::env::temp_dir().join(format!("parlor-bench-{}.cwasm", uuid::Uuid::now_v7()));
        let mut compile = Command::new(parlor);
        compile.args(["plugin", "compile"]).arg(&package.path).arg("--output").arg(&path);
        compile.args(target.iter().flat_map(|target| ["--target", target]));
        let status = compile.status().with_context(|| format!("cannot run `{}`", parlor.display()))?;
        ensure!(status.success(), "the plugin was not compiled ({status})");
        Ok(Compiled(path))
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Calls with one request.
pub struct Fed<'a> {
    calls: &'a Calls,
    services: Services,
    request: HttpRequest,
}

impl Fed<'_> {
    pub async fn run(&self, case: Case, calls: u32) -> Result<Spent> {
        match case {
            Case::Fresh => self.fresh(calls).await,
            Case::Kept => self.kept(calls).await,
            Case::Instance => self.instances(calls).await,
            Case::Store => Ok(self.stores(calls)),
            Case::Bare => self.bare(&self.calls.linked, calls).await,
            Case::Unbounded => self.bare(self.calls.unbounded()?, calls).await,
            Case::Bounded => self.bounded(calls).await,
            Case::Empty => self.empty(calls).await,
        }
    }

    async fn fresh(&self, calls: u32) -> Result<Spent> {
        let watch = Stopwatch::start();
        for _ in 0..calls {
            let reception = self.calls.release.receive(self.services.clone(), self.request.clone()).await?;
            black_box(reception);
        }
        Ok(watch.stop())
    }

    async fn kept(&self, calls: u32) -> Result<Spent> {
        let mut spent = Spent::default();
        let mut left = calls;
        while left > 0 {
            let now = left.min(CALLS_OF_AN_INSTANCE);
            spent += self.keep(now).await?;
            left -= now;
        }
        Ok(spent)
    }

    async fn keep(&self, calls: u32) -> Result<Spent> {
        let (mut instance, request) = (self.instance().await?, self.request.clone().into());
        // What is paid once, such as the first touch of a page, is no part of a warm call.
        instance.call(&request).await?;
        let watch = Stopwatch::start();
        for _ in 0..calls {
            black_box(instance.call(black_box(&request)).await?);
        }
        Ok(watch.stop())
    }

    async fn instances(&self, calls: u32) -> Result<Spent> {
        let watch = Stopwatch::start();
        for _ in 0..calls {
            drop(black_box(self.instance().await?));
        }
        Ok(watch.stop())
    }

    fn stores(&self, calls: u32) -> Spent {
        let watch = Stopwatch::start();
        for _ in 0..calls {
            drop(black_box(self.store()));
        }
        watch.stop()
    }

    async fn empty(&self, calls: u32) -> Result<Spent> {
        let watch = Stopwatch::start();
        for _ in 0..calls {
            let mut store = Store::new(&self.calls.linked.engine, ());
            store.epoch_deadline_async_yield_and_update(1);
            black_box(self.calls.empty.instantiate_async(&mut store).await.map_err(told)?);
        }
        Ok(watch.stop())
    }

    async fn bare(&self, linked: &Linked, calls: u32) -> Result<Spent> {
        let watch = Stopwatch::start();
        for _ in 0..calls {
            black_box(self.receive_bare(linked).await?);
        }
        Ok(watch.stop())
    }

    async fn bounded(&self, calls: u32) -> Result<Spent> {
        let watch = Stopwatch::start();
        for _ in 0..calls {
            black_box(self.instance().await?.receive(&self.request).await?);
        }
        Ok(watch.stop())
    }

    /// The loop that wasmtime's documentation shows: it yields at each epoch, and nothing ends the guest.
    async fn receive_bare(&self, linked: &Linked) -> Result<Reception> {
        let guest = Guest::new(self.services.clone(), self.request.body.clone(), self.calls.bounds);
        let mut store = Store::new(&linked.engine, guest);
        store.epoch_deadline_async_yield_and_update(1);
        let bindings = linked.pre.instantiate_async(&mut store).await.map_err(told)?;
        Instance { store, bindings }.receive(&self.request).await
    }

    fn store(&self) -> Store<Guest> {
        let body = self.request.body.clone();
        guest::store(&self.calls.linked.engine, self.services.clone(), body, self.calls.bounds)
    }

    async fn instance(&self) -> Result<Instance> {
        let mut store = self.store();
        let bindings = self.calls.linked.pre.instantiate_async(&mut store).await.map_err(told)?;
        Ok(Instance { store, bindings })
    }
}

/// An instance that takes more than one call.
struct Instance {
    store: Store<Guest>,
    bindings: WebhookAdapter,
}

impl Instance {
    /// With what the host does around a call: its own types in and out.
    async fn receive(&mut self, request: &HttpRequest) -> Result<Reception> {
        Ok(self.call(&request.clone().into()).await?.into())
    }

    async fn call(&mut self, request: &types::HttpRequest) -> Result<made::Reception> {
        let adapter = self.bindings.parlor_plugin_adapter();
        adapter.call_receive(&mut self.store, request).await.map_err(told)
    }
}
