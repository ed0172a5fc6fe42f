//! Random numbers, behind a trait so that a simulation can draw them by a seed.
//!
//! For pauses that nodes must not make in step. Keys, nonces and ids are not drawn here: they need the system's.

/// A source of random numbers.
pub trait Random: Send + Sync + std::fmt::Debug {
    /// From 0 to 1, without 1.
    fn fraction(&self) -> f64;
}

/// The system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fraction(&self) -> f64 {
        // The last 62 bits of a random UUID are random.
        const BITS: u32 = 53;
        let drawn = uuid::Uuid::new_v4().as_u128() & ((1 << BITS) - 1);
        drawn as f64 / (1_u64 << BITS) as f64
    }
}
