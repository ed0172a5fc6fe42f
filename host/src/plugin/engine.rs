//! The wasmtime engine: one for the process, one set of tunables for compiling and running.
//!
//! A `.cwasm` is bound to these tunables, so both sides take them from `settings`. Nothing here knows a
//! plugin; `release` builds on the engine and `compile` uses its settings in a child process.

use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// A guest's deadline is kept to within one tick.
pub const TICK: Duration = Duration::from_millis(5);

/// The stack of a guest; deeper recursion traps.
const GUEST_STACK_BYTES: usize = 512 << 10;
/// The fiber that the guest and the host functions it calls run on.
const FIBER_STACK_BYTES: usize = 2 << 20;
/// The most that any manifest may ask for.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;
/// What a small guest has, kept resident between instances of one slot: zeroing it is cheaper than a fault.
const MEMORY_KEPT_BYTES: usize = 256 << 10;
const TABLE_KEPT_BYTES: usize = 64 << 10;
pub const TABLE_ELEMENTS_MAX: usize = 20_000;

/// What one component may be made of, so that no plugin drains the pool for its neighbours. One of the SDK has
/// three core instances, one memory and two tables; one in JavaScript has a second memory, with nothing in it.
pub const CORE_INSTANCES_MAX: u32 = 32;
pub const MEMORIES_MAX: u32 = 2;
pub const TABLES_MAX: u32 = 4;

/// Slots for instances, from a machine with 2^43 bytes of address space down to a small container.
const POOLS: [u32; 2] = [1000, 64];
/// Without a pool each instance maps memory of its own; as many as the small pool has are enough.
const INSTANCES_WITHOUT_POOL: u32 = 64;

/// The engine, and how many instances may live at a time.
#[derive(Debug)]
pub struct Built {
    pub engine: Engine,
    pub instances_max: usize,
}

/// The tunables that an artefact is bound to.
pub fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_component_model(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);
    #[cfg(all(feature = "failpoints", target_os = "linux"))]
    super::memories::fit(&mut config);
    config
}

/// An engine with the largest pool that this machine's address space allows, else without one.
pub fn build() -> Result<Built, wasmtime::Error> {
    #[cfg(all(feature = "failpoints", target_os = "linux"))]
    if super::memories::are_lent() {
        return Ok(Built {
            engine: Engine::new(&settings())?,
            instances_max: INSTANCES_WITHOUT_POOL as usize,
        });
    }
    build_of(settings)
}

/// The same of other settings, for who compares.
pub fn build_of(settings: impl Fn() -> Config) -> Result<Built, wasmtime::Error> {
    for slots in POOLS {
        match Engine::new(settings().allocation_strategy(pool(slots))) {
            Ok(engine) => return Ok(Built { engine, instances_max: slots as usize }),
            Err(error) => {
                tracing::debug!(slots, error = %error, "no address space for this pool, trying a smaller one");
            }
        }
    }
    Ok(Built { engine: Engine::new(&settings())?, instances_max: INSTANCES_WITHOUT_POOL as usize })
}

fn pool(slots: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_MAX)
        .total_memories(slots * MEMORIES_MAX)
        .total_tables(slots * TABLES_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .total_stacks(slots)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Advances the engine's epoch until the engine is gone. One thread for the process.
pub fn tick(engine: &Engine) -> std::io::Result<()> {
    let weak = engine.weak();
    let beat = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("epoch".to_owned()).spawn(beat).map(drop)
}
