//! The first half of a turn's life: a platform's request, verified, stored, and only then answered with a 2xx.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::inbox::NotKept;
use super::way::Way;
use super::{Channel, Turns};
use crate::config::Meanwhile;
use crate::conversation::Key;
use crate::ingress;
use crate::limits;
use crate::message::{FaultKind, Favour, HttpRequest, HttpResponse, Message, Reply};
use crate::plugin::{Acceptance, Reception};
use crate::store::{self, Incoming, StoreError, Via};
use crate::telemetry;

/// How a request was taken, for logs and metrics.
struct Taken {
    outcome: &'static str,
    response: HttpResponse,
}

impl Turns {
    /// Takes one webhook of a channel in; the response may be sent as it is.
    pub async fn take(
        &self,
        channel: &str,
        request: HttpRequest,
        favour: Favour,
        request_id: &str,
    ) -> HttpResponse {
        let began = Instant::now();
        let Some(channel) = self.channels.get(channel).filter(|channel| channel.adapter.is_some()) else {
            return ingress::problem(404, "no such channel");
        };
        let taken = self.receive(channel, request, favour, request_id).await;
        self.metrics.webhook(&channel.name, taken.response.status, began.elapsed());
        self.metrics.message(&channel.name, taken.outcome);
        taken.response
    }

    async fn receive(
        &self,
        channel: &Channel,
        request: HttpRequest,
        favour: Favour,
        request_id: &str,
    ) -> Taken {
        let Some(adapter) = &channel.adapter else {
            return Taken { outcome: "unknown", response: ingress::problem(404, "no such channel") };
        };
        let (received, speaker) = match adapter.receive(request, favour).await {
            Ok((reception, speaker)) => (favouring(reception, favour), speaker),
            Err(error) => {
                let error_text = telemetry::chain(&error);
                tracing::error!(channel = %channel.name, error = error_text, "the adapter did not read the webhook");
                return Taken { outcome: "failed", response: ingress::refusal(&error.fault()) };
            }
        };
        if brings_messages(&received)
            && let Err(excess) = self.limits.verified_webhook(&channel.name).await
        {
            let response = ingress::too_many(&excess.to_string(), limits::whole_seconds(excess.wait));
            return Taken { outcome: "limited", response };
        }
        match received {
            Reception::Answer(response) => Taken { outcome: "answered", response },
            Reception::Accept(acceptance) => self.accept(channel, acceptance, request_id).await,
            Reception::Inquire(inquiry) => {
                let (outcome, response) = self.inquire(channel, &speaker, inquiry, request_id).await;
                Taken { outcome, response }
            }
            Reception::Refuse(fault) => {
                tracing::warn!(category = "security", channel = %channel.name, reason = %fault.reason, "webhook refused");
                // Told apart, since nothing but these comes of a wrong secret.
                let outcome = if fault.kind == FaultKind::Unauthorized { "unverified" } else { "refused" };
                Taken { outcome, response: ingress::refusal(&fault) }
            }
        }
    }

    async fn accept(&self, channel: &Channel, acceptance: Acceptance, request_id: &str) -> Taken {
        let kept = async {
            let outcome = self.keep_messages(channel, acceptance.messages, request_id).await?;
            self.withdraw(channel, &acceptance.withdrawn).await?;
            Ok(outcome)
        };
        match kept.await {
            Ok(outcome) => Taken { outcome, response: acceptance.response },
            Err(error) => not_kept(&error),
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
        let mut incoming = Vec::with_capacity(messages.len());
        let mut interrupting = Vec::new();
        for message in messages {
            let (settled, via) = self.before_asking(channel, &message, hold.is_some()).await?;
            let is_asked = message.addressed && settled.is_none();
            interrupting.push(is_asked.then(|| (message.conversation.clone(), message.sender.id.clone())));
            let request_id = request_id.to_owned();
            // The host's own doors have no adapter: whoever asks there hears the answer on this node.
            let is_awaited = hold.is_some() || channel.adapter.is_none();
            let due_at = None;
            incoming.push(Incoming {
                message,
                request_id,
                hold_delivery_until,
                settled,
                via,
                is_awaited,
                due_at,
            });
        }
        let notices = self.notices_of(channel, now, &incoming);
        fail::fail_point!("intake::before_commit");
        let accepted = self.store.accept(&channel.name, now, incoming).await;
        self.stores.store(accepted.is_ok(), Ordering::Relaxed);
        let accepted = accepted?;
        fail::fail_point!("intake::after_commit");
        self.interrupt(channel, &accepted, &interrupting);
        for (notice, _) in notices.into_iter().zip(&accepted).filter(|(_, it)| **it == store::Acceptance::New)
        {
            self.bus.publish(notice);
        }
        self.wake.notify_one();
        let is_new = accepted.contains(&store::Acceptance::New);
        tracing::info!(channel = %channel.name, new = is_new, "message stored");
        Ok(if is_new { "new" } else { "duplicate" })
    }

    /// What is said to a message without asking anybody, if that is so, and else the way of its reply if that is not
    /// back. Who waits in the response gets it there.
    async fn before_asking(
        &self,
        channel: &Channel,
        message: &Message,
        is_awaited: bool,
    ) -> Result<(Option<Reply>, Option<Via>), StoreError> {
        let settled = self.said_instead(channel, message, is_awaited).await?;
        if settled.is_some() || is_awaited {
            return Ok((settled, None));
        }
        Ok(match self.way(channel, message).await? {
            Way::Back => (None, None),
            Way::Via(via) => (None, Some(via)),
            Way::Nowhere(said) => (Some(said), None),
        })
    }

    /// Stops what is being answered to those who sent something new, where the channel says so.
    fn interrupt(
        &self,
        channel: &Channel,
        accepted: &[store::Acceptance],
        senders: &[Option<(String, String)>],
    ) {
        if channel.meanwhile != Meanwhile::Interrupt {
            return;
        }
        for (_, sender) in accepted.iter().zip(senders).filter(|(it, _)| **it == store::Acceptance::New) {
            if let Some((conversation, person)) = sender {
                self.running.interrupt(&channel.name, conversation, person);
            }
        }
    }

    pub(super) async fn withdraw(&self, channel: &Channel, ids: &[String]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        for id in self.store.withdraw(&channel.name, self.clock.now(), ids).await? {
            let key: Key = (channel.name.clone(), id);
            self.running.cancel(&key);
            self.listeners.withdrawn(key);
        }
        Ok(())
    }
}

/// Whether a request has something to store, rather than to ask for what came of it.
fn brings_messages(received: &Reception) -> bool {
    match received {
        Reception::Accept(acceptance) => !acceptance.messages.is_empty(),
        Reception::Inquire(inquiry) => !inquiry.messages.is_empty(),
        Reception::Answer(_) | Reception::Refuse(_) => false,
    }
}

/// What comes of these messages is done by the same releases.
fn favouring(mut reception: Reception, favour: Favour) -> Reception {
    let messages = match &mut reception {
        Reception::Accept(acceptance) => &mut acceptance.messages,
        Reception::Inquire(inquiry) => &mut inquiry.messages,
        Reception::Answer(_) | Reception::Refuse(_) => return reception,
    };
    for message in messages {
        message.favour = favour;
    }
    reception
}

fn not_kept(error: &NotKept) -> Taken {
    tracing::error!(error = %error, "a message could not be stored; the platform is asked to send it again");
    Taken { outcome: "not_stored", response: ingress::problem(503, "not stored, send it again") }
}

pub(super) fn refused(error: &NotKept) -> (&'static str, HttpResponse) {
    let taken = not_kept(error);
    (taken.outcome, taken.response)
}
