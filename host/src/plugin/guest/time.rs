//! The time of one call: the guest's own, in which it computes or sleeps, and that in which it waits for the host's
//! services. Each has a limit of its own. It knows nothing of what is done in either.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::UpdateDeadline;

use crate::plugin::engine;

/// So long a call waits for HTTP and the store in all: twice what one slow request may take.
pub const WAITING_MAX: Duration = Duration::from_secs(120);

/// The time of one call, shared with who ends it: the store is lent to the call meanwhile.
#[derive(Debug, Clone)]
pub struct OwnTime(Arc<Mutex<Stopwatch>>);

#[derive(Debug)]
pub(super) struct Stopwatch {
    pub limit: Duration,
    spent: Duration,
    since: Option<Instant>,
    waited: Duration,
}

/// The call has waited for services as long as one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this call has waited {} s for HTTP and the store: do less in one call", WAITING_MAX.as_secs())]
pub struct WaitedTooLong;

impl OwnTime {
    pub(super) fn new(limit: Duration) -> Self {
        let (spent, waited) = (Duration::ZERO, Duration::ZERO);
        Self(Arc::new(Mutex::new(Stopwatch { limit, spent, since: None, waited })))
    }

    /// Waits for one of the host's services, which bounds its own time; the guest's stands meanwhile.
    pub async fn stands_for<T>(&self, service: impl Future<Output = T>) -> Result<T, WaitedTooLong> {
        let left = {
            let mut stopwatch = self.stopwatch();
            stopwatch.stop();
            WAITING_MAX.saturating_sub(stopwatch.waited)
        };
        let began = Instant::now();
        let answer = tokio::time::timeout(left, service).await;
        let mut stopwatch = self.stopwatch();
        stopwatch.waited += began.elapsed();
        stopwatch.start();
        answer.map_err(|_| WaitedTooLong)
    }

    /// What the guest has used up so far.
    pub fn spent(&self) -> Duration {
        self.stopwatch().spent()
    }

    /// Waits for the end of the guest's own time.
    pub(super) async fn over(&self) {
        loop {
            let left = match &*self.stopwatch() {
                stopwatch if stopwatch.is_over() => return,
                stopwatch => stopwatch.left(),
            };
            tokio::time::sleep(left.max(engine::TICK)).await;
        }
    }

    pub(super) fn verdict(&self) -> UpdateDeadline {
        if self.stopwatch().is_over() { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) }
    }

    pub(super) fn stopwatch(&self) -> MutexGuard<'_, Stopwatch> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Stopwatch {
    pub fn start(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    pub fn stop(&mut self) {
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
        time.stands_for(service).await.expect("it is done at once");
        assert_eq!(time.over().now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_services_only_so_long_in_all() {
        let time = OwnTime::new(Duration::from_secs(1));
        time.stopwatch().start();
        let began = Instant::now();
        let mut served = 0;
        while time.stands_for(tokio::time::sleep(Duration::from_secs(50))).await.is_ok() {
            served += 1;
        }
        let is_over = || began.elapsed().abs_diff(WAITING_MAX) < Duration::from_secs(1);
        assert!(served == 2 && is_over(), "{served} in {:?}", began.elapsed());
        assert!(matches!(time.verdict(), UpdateDeadline::Yield(1)), "its own time is not touched");
        assert!(time.stands_for(std::future::pending::<()>()).await.is_err());
        assert!(is_over(), "nothing is left to wait");
    }
}
