//! The first half of a turn's life: a platform's request, verified, stored, and only then answered with a 2xx.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Channel, Turns};
use crate::conversation::Key;
use crate::ingress;
use crate::message::{FaultKind, HttpRequest, HttpResponse, Message};
use crate::plugin::{Acceptance, Reception};
use crate::store::{self, Incoming, StoreError};
use crate::telemetry;

/// How a request was taken, for logs and metrics.
struct Taken {
    outcome: &'static str,
    response: HttpResponse,
}

impl Turns {
    /// Takes one webhook of a channel in; the response may be sent as it is.
    pub async fn take(&self, channel: &str, request: HttpRequest, request_id: &str) -> HttpResponse {
        let began = Instant::now();
        let Some(channel) = self.channels.get(channel).filter(|channel| channel.adapter.is_some()) else {
            return ingress::problem(404, "no such channel");
        };
        let taken = self.receive(channel, request, request_id).await;
        self.metrics.webhook(&channel.name, taken.response.status, began.elapsed());
        self.metrics.message(&channel.name, taken.outcome);
        taken.response
    }

    async fn receive(&self, channel: &Channel, request: HttpRequest, request_id: &str) -> Taken {
        let Some(adapter) = &channel.adapter else {
            return Taken { outcome: "unknown", response: ingress::problem(404, "no such channel") };
        };
        match adapter.receive(request).await {
            Ok(Reception::Answer(response)) => Taken { outcome: "answered", response },
            Ok(Reception::Accept(acceptance)) => self.accept(channel, acceptance, request_id).await,
            Ok(Reception::Inquire(inquiry)) => {
                let (outcome, response) = self.inquire(channel, adapter, inquiry, request_id).await;
                Taken { outcome, response }
            }
            Ok(Reception::Refuse(fault)) => {
                tracing::warn!(category = "security", reason = %fault.reason, "webhook refused");
                // Told apart, since nothing but these comes of a wrong secret.
                let outcome = if fault.kind == FaultKind::Unauthorized { "unverified" } else { "refused" };
                Taken { outcome, response: ingress::refusal(&fault) }
            }
            Err(error) => {
                tracing::error!(error = telemetry::chain(&error), "the adapter did not read the webhook");
                Taken { outcome: "failed", response: ingress::refusal(&error.fault()) }
            }
        }
    }

    async fn accept(&self, channel: &Channel, acceptance: Acceptance, request_id: &str) -> Taken {
        let stored = async {
            let outcome = self.store_messages(channel, acceptance.messages, request_id, None).await?;
            self.withdraw(channel, &acceptance.withdrawn).await?;
            Ok(outcome)
        };
        match stored.await {
            Ok(outcome) => Taken { outcome, response: acceptance.response },
            Err(error) => not_stored(&error),
        }
    }

    /// Commits messages to the inbox. Durable when it returns.
    pub(super) async fn store_messages(
        &self,
        channel: &Channel,
        messages: Vec<Message>,
        request_id: &str,
        hold: Option<Duration>,
    ) -> Result<&'static str, StoreError> {
        if messages.is_empty() {
            return Ok("empty");
        }
        let now = self.clock.now();
        let hold_delivery_until = hold.map(|hold| now + hold.as_millis() as u64);
        let incoming = |message| Incoming { message, request_id: request_id.to_owned(), hold_delivery_until };
        fail::fail_point!("intake::before_commit");
        let accepted =
            self.store.accept(&channel.name, now, messages.into_iter().map(incoming).collect()).await;
        self.stores.store(accepted.is_ok(), Ordering::Relaxed);
        let accepted = accepted?;
        fail::fail_point!("intake::after_commit");
        self.wake.notify_one();
        let is_new = accepted.contains(&store::Acceptance::New);
        tracing::info!(channel = %channel.name, new = is_new, "message stored");
        Ok(if is_new { "new" } else { "duplicate" })
    }

    async fn withdraw(&self, channel: &Channel, ids: &[String]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        for id in self.store.withdraw(&channel.name, self.clock.now(), ids).await? {
            let key: Key = (channel.name.clone(), id);
            self.running.cancel(&key);
        }
        Ok(())
    }
}

fn not_stored(error: &StoreError) -> Taken {
    tracing::error!(error = %error, "a message could not be stored; the platform is asked to send it again");
    let mut response = ingress::problem(503, "not stored, send it again");
    response.headers.push(("retry-after".to_owned(), "5".to_owned()));
    Taken { outcome: "not_stored", response }
}

pub(super) fn refused_by_store(error: &StoreError) -> (&'static str, HttpResponse) {
    let taken = not_stored(error);
    (taken.outcome, taken.response)
}
