//! The network as one host reaches it: a platform that cannot be reached, says no, is slow, or does what it was asked
//! for and is not heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parlor::egress::{Network, Request};
use parlor::message::HttpResponse;
use parlor::plugin::services::{FailureKind, HttpFailure};

use super::ledger::Key;
use super::platforms::Platforms;
use super::world::{Life, World};

#[derive(Debug)]
pub struct ShakyNetwork {
    pub world: Arc<World>,
    pub life: Life,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Unreachable,
    Throttled,
    Broken,
    Unanswered,
    DoneUnanswered,
    DoneBroken,
}

impl ShakyNetwork {
    fn fate(&self) -> Fate {
        let (world, weather) = (&self.world, &self.world.weather);
        let fates = [
            ("platform unreachable", weather.unreachable, Fate::Unreachable),
            ("platform throttles", weather.throttles, Fate::Throttled),
            ("platform breaks", weather.breaks, Fate::Broken),
            ("platform silent before it did it", weather.unanswered, Fate::Unanswered),
            ("platform silent after it did it", weather.done_unanswered, Fate::DoneUnanswered),
            ("platform broken after it did it", weather.done_broken, Fate::DoneBroken),
        ];
        let struck = fates.into_iter().find(|(fault, rate, _)| world.strikes(fault, *rate));
        struck.map_or(Fate::Done, |(_, _, fate)| fate)
    }

    /// Lets the platform do it, and notes what people see for the first time.
    async fn done(&self, request: Request, is_heard: bool) -> (HttpResponse, String) {
        let before = counted(&self.world);
        let response = self.world.platforms.respond(request).await;
        let mut ledger = self.world.ledger();
        let mut told = String::new();
        for (key, count) in counted(&self.world) {
            for _ in before.get(&key).copied().unwrap_or_default()..count {
                ledger.shown(&key, self.life.start, is_heard);
                told.push_str(&format!(" shows q{}", ledger.number(&key)));
            }
        }
        (response, told)
    }
}

fn counted(world: &World) -> BTreeMap<Key, usize> {
    let mut counts = BTreeMap::new();
    for sight in world.platforms.sights() {
        *counts.entry(sight.to).or_default() += 1;
    }
    counts
}

fn failed(kind: FailureKind, request_sent: bool) -> HttpFailure {
    HttpFailure { kind, reason: format!("simulated: {kind:?}"), request_sent, retry_after: None }
}

fn refusal(status: u16, headers: Vec<(String, String)>) -> HttpResponse {
    HttpResponse { status, headers, body: bytes::Bytes::new() }
}

#[async_trait]
impl Network for ShakyNetwork {
    async fn exchange(&self, request: Request) -> Result<HttpResponse, HttpFailure> {
        let (world, life) = (&self.world, &self.life);
        let line = format!("n{} {} {}", life.node, request.method, request.url.path());
        let about = Platforms::about(&request);
        if let Some(key) = &about {
            world.ledger().sends(key);
        }
        // The host's check of its lease and the request behind it are one moment: nothing comes between them.
        world.brink(life, "request before").await;
        if world.strikes("platform dawdles", world.weather.dawdles) {
            world.pause(1, 2_000).await;
            world.alive(life).await;
        }
        let (fate, timeout) = (self.fate(), request.timeout);
        if let Some(key) = &about {
            world.ledger().requested(key, world.age());
        }
        let (outcome, told) = match fate {
            Fate::Unreachable => (Err(failed(FailureKind::Refused, false)), String::new()),
            Fate::Throttled => {
                let wait = world.chance.between(1, 5);
                if let Some(key) = &about {
                    world.ledger().throttled(key, life.start, world.age() + Duration::from_secs(wait));
                }
                (Ok(refusal(429, vec![("retry-after".to_owned(), wait.to_string())])), String::new())
            }
            Fate::Broken => (Ok(refusal(503, Vec::new())), String::new()),
            Fate::Unanswered => (Err(failed(FailureKind::TimedOut, true)), String::new()),
            Fate::Done => {
                let (response, told) = self.done(request, true).await;
                (Ok(response), told)
            }
            Fate::DoneUnanswered => {
                let (_, told) = self.done(request, false).await;
                (Err(failed(FailureKind::TimedOut, true)), told)
            }
            Fate::DoneBroken => {
                let (_, told) = self.done(request, false).await;
                (Ok(refusal(502, Vec::new())), told)
            }
        };
        if let Some(key) = &about {
            world.ledger().has_sent(key);
        }
        let status = outcome.as_ref().map_or(0, |response| response.status);
        world.tell(format!("{line}: {fate:?} {status}{told}"));
        world.step(life, "request behind").await;
        if matches!(fate, Fate::Unanswered | Fate::DoneUnanswered) {
            tokio::time::sleep(timeout).await;
            world.awake(life).await;
        }
        outcome
    }
}
