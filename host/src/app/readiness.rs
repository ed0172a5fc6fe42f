//! Whether all is there that serving needs, for probes and for the metrics of the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::rfc3339;
use crate::connection::{Report, State as Connected, Status};
use crate::doors::health::{Check, Readiness};
use crate::model::Model;
use crate::model::breaker::Standing;
use crate::plugin::{Release, Shelf};
use crate::telemetry::metrics::Served;
use crate::turn::Turns;

/// What probes ask.
pub struct State {
    pub turns: Arc<Turns>,
    pub shelf: Arc<Shelf>,
    pub connections: BTreeMap<Arc<str>, Arc<Status>>,
}

#[async_trait]
impl Readiness for State {
    fn report(&self) -> Vec<Check> {
        let mut checks = vec![self.store(), self.drain()];
        checks.extend(self.turns.models.iter().map(|(name, model)| {
            let ready = model.ready();
            let detail = ready.clone().err().unwrap_or_else(|| standing(&**model));
            Check { name: format!("model {name}"), ok: ready.is_ok(), detail }
        }));
        checks.extend(
            self.connections.iter().filter_map(|(name, status)| Some(connection(name, &status.report()?))),
        );
        checks
    }

    async fn refresh(&self) {
        self.turns.metrics.set_releases(self.releases());
        for (name, model) in &self.turns.models {
            if let Some(standing) = model.standing() {
                self.turns.metrics.set_model_breaker(name, &Standing::WORDS, standing.word());
            }
        }
        if let Ok(queue) = self.turns.store.queue().await {
            let now = self.turns.clock.now();
            let age = queue.oldest_received_at.map_or(0, |since| now.saturating_sub(since));
            self.turns.metrics.set_queue(queue.unfinished, queue.dead, Duration::from_millis(age));
        }
    }
}

/// A server that is left alone keeps no node from serving: another would find it no better.
fn standing(model: &dyn Model) -> String {
    match model.standing() {
        None => "loaded".to_owned(),
        Some(Standing::Closed) => "is asked".to_owned(),
        Some(Standing::HalfOpen) => {
            "failed again and again; the next question shows whether it is back".to_owned()
        }
        Some(Standing::Open { rest }) => {
            format!("failed again and again; it is left alone for {} s more", rest.as_secs().max(1))
        }
    }
}

impl State {
    fn releases(&self) -> Vec<Served> {
        let serving = self.shelf.names().into_iter().filter_map(|name| self.shelf.serving(&name));
        let served = serving.flat_map(|serving| {
            let candidate = serving.candidate.as_ref().map(|it| release(&it.fitted.release, "candidate"));
            [release(&serving.stable.release, "stable")].into_iter().chain(candidate)
        });
        served.collect()
    }

    fn store(&self) -> Check {
        let ok = self.turns.can_store();
        let detail = if ok { "writes" } else { "the last message could not be stored" };
        Check { name: "store".to_owned(), ok, detail: detail.to_owned() }
    }

    fn drain(&self) -> Check {
        let ok = !self.turns.drain.draining();
        let detail = if ok { "takes messages" } else { "shutting down" };
        Check { name: "doors".to_owned(), ok, detail: detail.to_owned() }
    }
}

fn release(release: &Release, role: &'static str) -> Served {
    let Release { digest, manifest, .. } = release;
    Served { plugin: manifest.name.clone(), version: manifest.version.clone(), digest: digest.clone(), role }
}

/// A host is ready once its first attempt at each socket has ended, so that a roll-out goes on when the new host
/// hears. A platform that is away later takes no other channel out of service.
fn connection(channel: &str, report: &Report) -> Check {
    let detail = match &report.state {
        Connected::Dialling => "dials its platform".to_owned(),
        Connected::Open { since } => format!("open since {}", rfc3339(*since)),
        Connected::Pausing { until, why } => format!("no socket until {}: {why}", rfc3339(*until)),
        Connected::Stopped { why } => format!("stopped until an operator acts: {why}"),
        Connected::Unwanted => "none is wanted".to_owned(),
        Connected::Ended => "closed: the host drains".to_owned(),
    };
    Check { name: format!("connection {channel}"), ok: report.is_tried, detail }
}
