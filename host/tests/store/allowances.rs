//! What every store must do about allowances: part of the conformance suite.

use std::time::Duration;

use parlor::clock::Millis;
use parlor::store::{Allowance, Store, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::NOW;

const CASES: usize = 64;

fn allowance(key: &str, interval_ms: u64, burst: u32) -> Allowance {
    Allowance { key: key.to_owned(), interval: Duration::from_millis(interval_ms), burst }
}

async fn take(store: &dyn Store, now: Millis, allowances: &[Allowance]) -> Verdict {
    store.take(now, allowances).await.unwrap()
}

async fn is_granted(store: &dyn Store, now: Millis, allowance: &Allowance) -> bool {
    take(store, now, std::slice::from_ref(allowance)).await == Verdict::Granted
}

pub async fn a_burst_is_granted_and_then_one_for_each_interval(store: &dyn Store) {
    let slow = allowance("a", 1000, 3);
    for _ in 0..3 {
        assert!(is_granted(store, NOW, &slow).await);
    }
    let refused = take(store, NOW, std::slice::from_ref(&slow)).await;
    assert_eq!(refused, Verdict::Refused { which: 0, again_at: NOW + 1000 });
    assert!(!is_granted(store, NOW + 999, &slow).await);
    assert!(is_granted(store, NOW + 1000, &slow).await);
    assert!(!is_granted(store, NOW + 1001, &slow).await);
    for _ in 0..3 {
        assert!(is_granted(store, NOW + 60_000, &slow).await, "a pause gives the burst back, and no more");
    }
    assert!(!is_granted(store, NOW + 60_000, &slow).await);
    assert!(is_granted(store, NOW, &allowance("b", 1000, 1)).await, "another key, another bucket");
    assert_eq!(take(store, NOW, &[]).await, Verdict::Granted);
}

pub async fn an_allowance_that_refuses_costs_nothing_at_the_others(store: &dyn Store) {
    let (wide, narrow) = (allowance("wide", 1000, 2), allowance("narrow", 5000, 1));
    let both = [wide.clone(), narrow.clone()];
    assert_eq!(take(store, NOW, &both).await, Verdict::Granted);
    for _ in 0..10 {
        let refused = take(store, NOW, &both).await;
        assert_eq!(refused, Verdict::Refused { which: 1, again_at: NOW + 5000 });
    }
    assert!(is_granted(store, NOW, &wide).await, "ten refusals took nothing of it");
    let refused = take(store, NOW, &[narrow, wide]).await;
    assert_eq!(refused, Verdict::Refused { which: 0, again_at: NOW + 5000 }, "the one that lasts longest");
}

pub async fn a_clock_that_is_set_back_locks_nobody_out(store: &dyn Store) {
    let hourly = allowance("a", 1000, 5);
    for _ in 0..5 {
        assert!(is_granted(store, NOW + 3_600_000, &hourly).await);
    }
    let refused = take(store, NOW, std::slice::from_ref(&hourly)).await;
    assert_eq!(refused, Verdict::Refused { which: 0, again_at: NOW + 1000 }, "as if the burst were used now");
    assert!(is_granted(store, NOW + 1000, &hourly).await);
}

pub async fn a_limit_that_is_lowered_counts_at_once(store: &dyn Store) {
    for _ in 0..50 {
        assert!(is_granted(store, NOW, &allowance("a", 60_000, 100)).await);
    }
    let lowered = allowance("a", 1000, 2);
    let refused = take(store, NOW, std::slice::from_ref(&lowered)).await;
    assert_eq!(refused, Verdict::Refused { which: 0, again_at: NOW + 1000 });
    assert!(is_granted(store, NOW + 1000, &lowered).await);
}

#[derive(Debug, Clone)]
struct Case {
    interval_us: u64,
    burst: u32,
    /// Between one attempt and the next, in milliseconds.
    gaps: Vec<u64>,
}

fn case() -> impl Strategy<Value = Case> {
    let gap = prop_oneof![4 => Just(0_u64), 4 => 0..20_u64, 1 => 0..5000_u64];
    (1..3_000_000_u64, 1..8_u32, proptest::collection::vec(gap, 1..50))
        .prop_map(|(interval_us, burst, gaps)| Case { interval_us, burst, gaps })
}

/// For any attempts: no span of time sees more than the burst and one for each interval; and a refusal's time
/// is exact.
pub async fn no_span_of_time_sees_more_than_its_due(store: &dyn Store) {
    let mut runner = TestRunner::deterministic();
    for number in 0..CASES {
        let case = case().new_tree(&mut runner).unwrap().current();
        judge(store, number, &case).await;
    }
}

async fn judge(store: &dyn Store, number: usize, case: &Case) {
    let interval = Duration::from_micros(case.interval_us);
    let named = |name: &str| Allowance { key: format!("{name} {number}"), interval, burst: case.burst };
    let (whole, early, late) = (named("whole"), named("early"), named("late"));
    let (mut now, mut granted) = (NOW, Vec::new());
    for (step, gap) in case.gaps.iter().enumerate() {
        now += gap;
        let verdict = take(store, now, std::slice::from_ref(&whole)).await;
        // Two more buckets with the same history, to be asked what the first one must not be asked.
        for twin in [&early, &late] {
            let twin = Allowance { key: format!("{} {step}", twin.key), ..twin.clone() };
            for at in granted.iter().copied() {
                assert_eq!(take(store, at, std::slice::from_ref(&twin)).await, Verdict::Granted, "{case:?}");
            }
            if let Verdict::Refused { again_at, .. } = verdict {
                let is_early = twin.key.starts_with("early");
                let at = if is_early { again_at - 1 } else { again_at };
                assert_eq!(is_granted(store, at, &twin).await, !is_early, "{case:?} {step}");
            }
        }
        if verdict == Verdict::Granted {
            granted.push(now);
        }
    }
    for (first, from) in granted.iter().enumerate() {
        for (last, to) in granted.iter().enumerate().skip(first) {
            let due = u64::from(case.burst) + (to - from) * 1000 / case.interval_us;
            assert!((last - first + 1) as u64 <= due, "{case:?}: more than {due} from {from} to {to}");
        }
    }
}
