//! One call into a plugin: a fresh store, its bounds, and what the guest sees of the host.
//!
//! A store is used for one call of an adapter or one run of a pipeline and dropped after it, at the latest
//! after any trap. The guest's deadline counts its own time, in which it computes or sleeps; the time that one
//! of the host's services takes, such as an HTTP request, is the host's and has a deadline of its own.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
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
    pub time: OwnTime,
    host_calls_left: u32,
    memory: MemoryBound,
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
        time: OwnTime::new(bounds.time),
        host_calls_left: HOST_CALLS_MAX,
        memory: MemoryBound { bytes_max: bounds.memory_bytes, bytes: 0 },
        wasi,
        table,
    };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
    store.call_hook(|mut store, hook| store.data_mut().pass(hook));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| Ok(store.data().time.verdict()));
    store
}

/// Runs a call to its end or to that of the guest's own time: a tick of the epoch ends a guest that computes,
/// and dropping the call ends one that waits for something of WASI's, such as a sleep.
pub async fn in_time<T>(
    store: &mut Store<Guest>,
    call: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
) -> Result<T, CallError> {
    let time = store.data().time.clone();
    let outcome = tokio::select! {
        biased;
        outcome = call(&mut *store) => outcome,
        () = time.over() => Err(Trap::Interrupt.into()),
    };
    outcome.map_err(|error| call_error(&error, &time))
}

/// What a failed call was: a deadline, or a trap with its message.
fn call_error(error: &wasmtime::Error, time: &OwnTime) -> CallError {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::TimedOut(time.stopwatch().limit),
        Some(trap) => CallError::Trap(trap.to_string()),
        None => CallError::Trap(format!("{:#}", error.root_cause())),
    }
}

impl Guest {
    fn pass(&mut self, hook: CallHook) -> wasmtime::Result<()> {
        match hook {
            CallHook::CallingWasm | CallHook::ReturningFromHost => self.time.stopwatch().start(),
            CallHook::ReturningFromWasm => self.time.stopwatch().stop(),
            CallHook::CallingHost => self.count_host_call()?,
        }
        Ok(())
    }

    fn count_host_call(&mut self) -> wasmtime::Result<()> {
        let left = self.host_calls_left.checked_sub(1);
        self.host_calls_left = left.ok_or_else(|| wasmtime::Error::msg("too many host calls in one call"))?;
        Ok(())
    }
}

/// The guest's own time, shared with who ends its call: the store is lent to the call meanwhile.
#[derive(Debug, Clone)]
pub struct OwnTime(Arc<Mutex<Stopwatch>>);

#[derive(Debug)]
struct Stopwatch {
    limit: Duration,
    spent: Duration,
    since: Option<Instant>,
}

impl OwnTime {
    fn new(limit: Duration) -> Self {
        Self(Arc::new(Mutex::new(Stopwatch { limit, spent: Duration::ZERO, since: None })))
    }

    /// Waits for one of the host's services, which bounds its own time; the guest's stands meanwhile.
    pub async fn stands_for<T>(&self, service: impl Future<Output = T>) -> T {
        self.stopwatch().stop();
        let answer = service.await;
        self.stopwatch().start();
        answer
    }

    /// What the guest has used up so far.
    pub fn spent(&self) -> Duration {
        self.stopwatch().spent()
    }

    /// Waits for the end of the guest's own time.
    async fn over(&self) {
        loop {
            let left = match &*self.stopwatch() {
                stopwatch if stopwatch.is_over() => return,
                stopwatch => stopwatch.left(),
            };
            tokio::time::sleep(left.max(engine::TICK)).await;
        }
    }

    fn verdict(&self) -> UpdateDeadline {
        if self.stopwatch().is_over() { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) }
    }

    fn stopwatch(&self) -> MutexGuard<'_, Stopwatch> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Stopwatch {
    fn start(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn stop(&mut self) {
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
        }
    }

    fn spent(&self) -> Duration {
        self.spent + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.spent())
    }

    /// Never while a service works: what it sends may be half-way out.
    fn is_over(&self) -> bool {
        self.since.is_some() && self.left().is_zero()
    }
}

/// Over all memories that a guest has.
struct MemoryBound {
    bytes_max: usize,
    bytes: usize,
}

impl ResourceLimiter for MemoryBound {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        let fits = bytes <= self.bytes_max;
        if fits {
            self.bytes = bytes;
        }
        Ok(fits)
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_guest_is_not_ended_while_a_service_works_for_it() {
        let time = OwnTime::new(Duration::ZERO);
        time.stopwatch().start();
        assert!(matches!(time.verdict(), UpdateDeadline::Interrupt));
        assert_eq!(time.over().now_or_never(), Some(()));
        let service = async {
            assert!(matches!(time.verdict(), UpdateDeadline::Yield(1)));
            assert_eq!(time.over().now_or_never(), None);
        };
        time.stands_for(service).await;
        assert_eq!(time.over().now_or_never(), Some(()));
    }
}
