//! Random numbers by a seed: the same seed draws the same numbers, on every machine.

use std::sync::{Mutex, PoisonError};

use parlor::random::Random;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug)]
pub struct Chance(Mutex<u64>);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(Mutex::new(seed))
    }

    pub fn draw(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low + 1)
    }

    /// Whether it happens, at a rate in thousandths.
    pub fn strikes(&self, rate: u64) -> bool {
        rate > 0 && self.draw() % 1000 < rate
    }

    pub fn pick<T: Copy>(&self, among: &[T]) -> T {
        among[usize::try_from(self.between(0, among.len() as u64 - 1)).expect("a place in a slice")]
    }
}

impl Random for Chance {
    fn fraction(&self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
