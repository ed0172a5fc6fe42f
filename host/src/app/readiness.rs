//! Whether all is there that serving needs, for probes and for the metrics of the queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::doors::health::{Check, Readiness};
use crate::model::Model;
use crate::model::breaker::Standing;
use crate::turn::Turns;

/// What probes ask.
pub struct State(pub Arc<Turns>);

#[async_trait]
impl Readiness for State {
    fn report(&self) -> Vec<Check> {
        let mut checks = vec![self.store(), self.drain()];
        checks.extend(self.0.models.iter().map(|(name, model)| {
            let ready = model.ready();
            let detail = ready.clone().err().unwrap_or_else(|| standing(&**model));
            Check { name: format!("model {name}"), ok: ready.is_ok(), detail }
        }));
        checks
    }

    async fn refresh(&self) {
        for (name, model) in &self.0.models {
            if let Some(standing) = model.standing() {
                self.0.metrics.set_model_breaker(name, &Standing::WORDS, standing.word());
            }
        }
        if let Ok(queue) = self.0.store.queue().await {
            let now = self.0.clock.now();
            let age = queue.oldest_received_at.map_or(0, |since| now.saturating_sub(since));
            self.0.metrics.set_queue(queue.unfinished, queue.dead, Duration::from_millis(age));
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
    fn store(&self) -> Check {
        let ok = self.0.can_store();
        let detail = if ok { "writes" } else { "the last message could not be stored" };
        Check { name: "store".to_owned(), ok, detail: detail.to_owned() }
    }

    fn drain(&self) -> Check {
        let ok = !self.0.drain.draining();
        let detail = if ok { "takes messages" } else { "shutting down" };
        Check { name: "doors".to_owned(), ok, detail: detail.to_owned() }
    }
}
