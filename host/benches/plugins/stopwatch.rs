//! Time that calls took: CPU of this thread, which a busy machine does not stretch, and the clock on the wall.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub cpu: Duration,
    pub wall: Duration,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.wall += other.wall;
    }
}

#[derive(Debug)]
pub struct Stopwatch {
    cpu: Duration,
    wall: Instant,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    pub fn stop(self) -> Spent {
        Spent { cpu: cpu() - self.cpu, wall: self.wall.elapsed() }
    }
}

/// Set by who counts instructions instead, by a tool that hides the page on which the kernel shows its clocks.
const COUNTED: &str = "PARLOR_BENCH_COUNTED";

fn cpu() -> Duration {
    if std::env::var_os(COUNTED).is_some() {
        return Duration::ZERO;
    }
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let parts = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    let (Ok(seconds), Ok(nanoseconds)) = parts else { return Duration::ZERO };
    Duration::new(seconds, nanoseconds)
}
