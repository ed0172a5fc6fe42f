//! At most so many requests of one key in any such span of time, over all nodes that share a store.
//!
//! The buckets are the store's (`Store::take`); each is filled so that no span of a rate's time ever sees more than
//! its count, whatever its burst, since a platform that allows 20 a minute and locks a robot out for ten at the 21st
//! would not forgive one. A store that does not answer is replaced by buckets of this process's own: less is known
//! then, and nobody is held up. It does not know what a key stands for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Millis};
use crate::plugin::manifest::Rate;
use crate::store::allowance::Buckets;
use crate::store::{Allowance, Store, Verdict};

/// Two requests may arrive this much closer together than they left.
const JITTER: Duration = Duration::from_millis(100);
/// A quarter of a rate may go out at once, and the rest evenly after it.
const BURST_SHARE: u32 = 4;

/// How much of a rate those may take who leave room for others: three quarters, and never the last one unless
/// there is no other.
fn leaving_room(count: u32) -> u32 {
    (count - count.div_ceil(4)).max(1)
}

/// What one request takes of a rate; of its lesser share as well, if it leaves room for others.
pub(super) fn allowances(
    key: &str,
    rate: Rate,
    leaves_room: bool,
) -> impl Iterator<Item = Allowance> + use<> {
    let all = allowance(format!("out {key}"), rate);
    let lesser = Rate { count: leaving_room(rate.count), ..rate };
    [Some(all), leaves_room.then(|| allowance(format!("aside {key}"), lesser))].into_iter().flatten()
}

/// A bucket of burst `b` and interval `t` grants `b` and then one each `t`: of `n` in a span, the first `b` at once
/// and `n - b` after them, the next one when the span is over.
fn allowance(key: String, rate: Rate) -> Allowance {
    let burst = rate.count.div_ceil(BURST_SHARE);
    let span = (rate.per + JITTER).as_micros();
    let interval = span.div_ceil(u128::from(rate.count - burst + 1));
    let interval = Duration::from_micros(u64::try_from(interval).unwrap_or(u64::MAX));
    Allowance { key, interval, burst }
}

/// The requests of late, by key.
#[derive(Debug)]
pub(super) struct Rates {
    shared: Option<(Arc<dyn Store>, Arc<dyn Clock>)>,
    own: Buckets,
    began: Instant,
}

impl Default for Rates {
    fn default() -> Self {
        Self { shared: None, own: Buckets::default(), began: Instant::now() }
    }
}

impl Rates {
    /// Counted in a store, for all who share it.
    pub(super) fn shared(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { shared: Some((store, clock)), ..Self::default() }
    }

    /// Counts a request against all of these or none, or says how long to wait.
    pub(super) async fn take(&self, allowances: &[Allowance]) -> Result<(), Duration> {
        let Some((store, clock)) = &self.shared else { return self.take_of_own(allowances) };
        let now = clock.now();
        match store.take(now, allowances).await {
            Ok(verdict) => wait(now, verdict),
            Err(error) => {
                tracing::error!(error = %error, "a platform's rates are counted by this node alone");
                self.take_of_own(allowances)
            }
        }
    }

    fn take_of_own(&self, allowances: &[Allowance]) -> Result<(), Duration> {
        let now = Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX);
        wait(now, self.own.take(now, allowances))
    }
}

fn wait(now: Millis, verdict: Verdict) -> Result<(), Duration> {
    match verdict {
        Verdict::Granted => Ok(()),
        Verdict::Refused { again_at, .. } => Err(Duration::from_millis(again_at.saturating_sub(now).max(1))),
    }
}
