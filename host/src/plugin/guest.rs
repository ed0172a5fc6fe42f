//! One call into a plugin: a fresh store, its bounds, and what the guest sees of the host.
//!
//! A store is used for one call of an adapter or one run of a pipeline and dropped after it, at the latest
//! after any trap. The guest's deadline counts its own time, in which it computes or sleeps; the time that one
//! of the host's services takes, such as an HTTP request, is the host's and has a deadline of its own.

mod budget;
mod time;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, Engine, ResourceLimiter, Store, Trap};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxView, WasiView};

use crate::plugin::engine;
use crate::plugin::output::TooMuch;
use crate::plugin::secrets::Secrets;
use crate::plugin::services::{Memory, Services};

pub use budget::{Budget, Line};
pub use time::{OwnTime, WaitedTooLong};

/// What a guest may hand over in one host call.
const HOST_CALL_BYTES_MAX: usize = 8 << 20;
/// Handles a guest may hold; a plugin of the SDK needs three.
const RESOURCES_MAX: usize = 64;
/// Random bytes of one draw: seeds and nonces are short.
const RANDOM_BYTES_MAX: u64 = 4 << 10;

/// Why a call into a plugin brought no answer. The store is dropped with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("the plugin trapped: {0}")]
    Trap(String),
    #[error("the plugin ran for longer than {} ms of its own time", .0.as_millis())]
    TimedOut(Duration),
    #[error("the plugin handed over too much: {0}")]
    TooMuch(TooMuch),
    #[error("no instance can be made: {0}")]
    NoInstance(String),
}

impl CallError {
    /// A short word for metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            CallError::Trap(_) => "trap",
            CallError::TimedOut(_) => "timeout",
            CallError::TooMuch(_) => "too_much",
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
    pub time: OwnTime,
    pub budget: Budget,
    memory: MemoryBound,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A fresh store whose guest can hurt nobody else.
pub fn store(engine: &Engine, services: Services, body: Bytes, bounds: Bounds) -> Store<Guest> {
    let mut store = Store::new(engine, Guest::new(services, body, bounds));
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
    store.call_hook(|mut store, hook| match hook {
        CallHook::CallingHost => Ok(store.data_mut().budget.host_call()?),
        _ => Ok(()),
    });
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
    time.stopwatch().start();
    let outcome = tokio::select! {
        biased;
        outcome = call(&mut *store) => outcome,
        () = time.over() => Err(Trap::Interrupt.into()),
    };
    time.stopwatch().stop();
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
    /// No files, no sockets, no environment; clocks and random numbers work.
    pub fn new(services: Services, body: Bytes, bounds: Bounds) -> Guest {
        let wasi = WasiCtx::builder()
            .allow_tcp(false)
            .allow_udp(false)
            .max_random_size(RANDOM_BYTES_MAX)
            .wall_clock(WallClock(services.clock.clone()))
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Guest {
            services,
            body,
            time: OwnTime::new(bounds.time),
            budget: Budget::default(),
            memory: MemoryBound { bytes_max: bounds.memory_bytes, bytes: 0 },
            wasi,
            table,
        }
    }

    /// The secrets, for one operation on them.
    pub fn secrets(&mut self) -> wasmtime::Result<Arc<Secrets>> {
        self.budget.secret_call()?;
        Ok(self.services.secrets.clone())
    }

    /// The plugin's memory, for one operation that writes so many bytes; none if this call may do no more.
    pub fn may_remember(&mut self, bytes: usize) -> Option<Arc<dyn Memory>> {
        self.budget.store_call(bytes).ok().map(|()| self.services.memory.clone())
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

#[cfg(all(test, feature = "compile"))]
mod tests {
    use wasmtime::component::{Component, Linker};

    use super::*;
    use crate::clock::SystemClock;
    use crate::plugin::services::{NoHttp, NoMemory};

    /// A component whose table has so many entries from the start. Its function `grow` adds to them and tells how many
    /// there were, or -1. No language of guests does that, so it is written by hand:
    ///
    /// ```wat
    /// (component
    ///     (core module $m
    ///         (table ENTRIES funcref)
    ///         (func (export "grow") (param i32) (result i32) (table.grow 0 (ref.null func) (local.get 0))))
    ///     (core instance $i (instantiate $m))
    ///     (func (export "grow") (param "by" s32) (result s32) (canon lift (core func $i "grow"))))
    /// ```
    fn table(entries: usize) -> Vec<u8> {
        let digit = |at: usize| u8::try_from(entries >> (7 * at) & 0x7f).expect("seven bits");
        let entries = [digit(0) | 0x80, digit(1) | 0x80, digit(2)];
        let bytes = |hex: &str| hex::decode(hex).expect("hex");
        [
            bytes("0061736d0d000100013e"),
            bytes("0061736d0100000001060160017f017f030201000406017000"),
            entries.to_vec(),
            bytes("0708010467726f7700000a0b010900d0702000fc0f000b"),
            bytes("0009046e616d650002016d02040100000007090140010262797a007a060a01000001000467726f77"),
            bytes("08060100000000000b0a01000467726f77010000"),
        ]
        .concat()
    }

    fn guest(engine: &Engine) -> Store<Guest> {
        let services = Services {
            channel: "test".into(),
            plugin: "test".into(),
            settings: Arc::default(),
            secrets: Arc::default(),
            http: Arc::new(NoHttp),
            memory: Arc::new(NoMemory),
            clock: Arc::new(SystemClock),
        };
        let bounds = Bounds { memory_bytes: 1 << 20, time: Duration::from_secs(60) };
        store(engine, services, Bytes::new(), bounds)
    }

    #[tokio::test]
    async fn a_table_grows_to_its_bound_and_no_further() {
        let pooled = engine::build().expect("an engine").engine;
        let on_demand = Engine::new(&engine::settings()).expect("an engine");
        for engine in [pooled, on_demand] {
            let component = |entries| Component::new(&engine, table(entries)).expect("it compiles");
            let linker = Linker::<Guest>::new(&engine);
            let mut store = guest(&engine);
            let instance = linker.instantiate_async(&mut store, &component(1)).await.expect("an instance");
            let grow = instance.get_typed_func::<(i32,), (i32,)>(&mut store, "grow").expect("it is exported");
            let bound = i32::try_from(engine::TABLE_ELEMENTS_MAX).expect("a small number");
            assert_eq!(grow.call_async(&mut store, (1_000_000_000,)).await.expect("an answer"), (-1,));
            assert_eq!(grow.call_async(&mut store, (bound,)).await.expect("an answer"), (-1,));
            assert_eq!(grow.call_async(&mut store, (bound - 1,)).await.expect("an answer"), (1,));
            // A pool refuses it before it makes an instance.
            let is_refused = match Component::new(&engine, table(engine::TABLE_ELEMENTS_MAX + 1)) {
                Ok(too_large) => linker.instantiate_async(guest(&engine), &too_large).await.is_err(),
                Err(_) => true,
            };
            assert!(is_refused, "from the start");
        }
    }
}
