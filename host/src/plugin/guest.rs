//! One call into a plugin: a fresh store, its bounds, and what the guest sees of the host.
//!
//! A store is used for one call of an adapter or one run of a pipeline and dropped after it, at the latest
//! after any trap. The guest's deadline counts its own time: the time of a host call is the host's.

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, Engine, ResourceLimiter, Store, Trap, UpdateDeadline};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxView, WasiView};

use crate::plugin::engine;
use crate::plugin::services::Services;

/// What a guest may hand over in one host call.
const HOST_CALL_BYTES_MAX: usize = 8 << 20;
/// Handles a guest may hold; a plugin of the SDK needs three.
const RESOURCES_MAX: usize = 64;
/// Random bytes of one draw: seeds and nonces are short.
const RANDOM_BYTES_MAX: u64 = 4 << 10;
/// Log lines of one call; the rest is counted and dropped.
const LOG_LINES_MAX: u32 = 100;
/// Host calls of one call; a storm of them is a defect.
const HOST_CALLS_MAX: u32 = 100_000;

/// Why a call into a plugin brought no answer. The store is dropped with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("the plugin trapped: {0}")]
    Trap(String),
    #[error("the plugin ran for longer than {} ms of its own time", .0.as_millis())]
    TimedOut(Duration),
    #[error("no instance can be made: {0}")]
    NoInstance(String),
}

impl CallError {
    /// A short word for metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            CallError::Trap(_) => "trap",
            CallError::TimedOut(_) => "timeout",
            CallError::NoInstance(_) => "no_instance",
        }
    }
}

/// Bounds of one store.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub memory_bytes: usize,
    pub time: Duration,
}

/// What belongs to one store.
pub struct Guest {
    pub services: Services,
    /// Raw body of the request in hand, for operations that cover it.
    pub body: Bytes,
    pub log_lines_left: u32,
    memory: MemoryBound,
    time: OwnTime,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A fresh store: no files, no sockets, no environment; clocks and random numbers work.
pub fn store(engine: &Engine, services: Services, body: Bytes, bounds: Bounds) -> Store<Guest> {
    let wasi = WasiCtx::builder()
        .max_random_size(RANDOM_BYTES_MAX)
        .wall_clock(WallClock(services.clock.clone()))
        .build();
    let mut table = ResourceTable::new();
    table.set_max_capacity(RESOURCES_MAX);
    let guest = Guest {
        services,
        body,
        log_lines_left: LOG_LINES_MAX,
        memory: MemoryBound { bytes_max: bounds.memory_bytes },
        time: OwnTime::new(bounds.time),
        wasi,
        table,
    };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
    store.call_hook(|mut store, hook| store.data_mut().time.pass(hook));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| Ok(store.data().time.verdict()));
    store
}

/// What a failed call was: a deadline, or a trap with its message.
pub fn call_error(error: &wasmtime::Error, store: &Store<Guest>) -> CallError {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::TimedOut(store.data().time.limit),
        Some(trap) => CallError::Trap(trap.to_string()),
        None => CallError::Trap(format!("{:#}", error.root_cause())),
    }
}

/// The guest's own time: runs while WebAssembly runs, stands while the host works for it.
struct OwnTime {
    limit: Duration,
    spent: Duration,
    since: Option<Instant>,
    host_calls_left: u32,
}

impl OwnTime {
    fn new(limit: Duration) -> Self {
        Self { limit, spent: Duration::ZERO, since: None, host_calls_left: HOST_CALLS_MAX }
    }

    fn pass(&mut self, hook: CallHook) -> wasmtime::Result<()> {
        match hook {
            CallHook::CallingWasm | CallHook::ReturningFromHost => self.since = Some(Instant::now()),
            CallHook::ReturningFromWasm | CallHook::CallingHost => self.stop(),
        }
        if matches!(hook, CallHook::CallingHost) {
            self.host_calls_left = self
                .host_calls_left
                .checked_sub(1)
                .ok_or_else(|| wasmtime::Error::msg("too many host calls in one call"))?;
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
        }
    }

    fn verdict(&self) -> UpdateDeadline {
        let running = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        if self.spent + running > self.limit { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) }
    }
}

struct MemoryBound {
    bytes_max: usize,
}

impl ResourceLimiter for MemoryBound {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.bytes_max)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= engine::TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        engine::CORE_INSTANCES_MAX as usize
    }

    fn memories(&self) -> usize {
        engine::MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        engine::TABLES_MAX as usize
    }
}

struct WallClock(std::sync::Arc<dyn crate::clock::Clock>);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now())
    }
}
