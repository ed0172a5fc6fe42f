//! A request that takes its answer in its own response: the host waits as long as the adapter says, then
//! lets it present what there is.

use std::time::Duration;

use tokio::sync::watch;

use super::inbox::NotKept;
use super::{Channel, Turns};
use crate::adapter::{AdapterError, Speaker};
use crate::clock::Millis;
use crate::conversation::{self, Heard};
use crate::ingress;
use crate::message::{HttpResponse, Message, Reply};
use crate::plugin::{Inquiry, Presentation, Snapshot};
use crate::store::{HandOver, Outcome, StoreError};
use crate::telemetry;

/// The longest that any platform keeps a request open.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// No platform that asks again hangs up later than this after the adapter has stopped waiting.
const HELD_MAX: Duration = Duration::from_secs(10);
/// A delivery of what was not presented starts this much after the wait, so that both never send.
const HOLD_MARGIN: Duration = Duration::from_secs(10);
/// How long the number of times that a platform asked is remembered.
const ASKED_LIFE: Duration = Duration::from_secs(3600);

/// Who asks for what came of which message.
struct Asking<'a> {
    channel: &'a Channel,
    adapter: &'a Speaker,
    message_id: &'a str,
    /// The adapter's own.
    context: &'a [u8],
    /// The message, where the request brought it.
    said: Option<Message>,
    request_id: &'a str,
}

impl Turns {
    pub(super) async fn inquire(
        &self,
        channel: &Channel,
        adapter: &Speaker,
        inquiry: Inquiry,
        request_id: &str,
    ) -> (&'static str, HttpResponse) {
        let Inquiry { messages, message_id, context, wait } = inquiry;
        let wait = wait.min(WAIT_MAX);
        let mut heard = self.listeners.listen((channel.name.clone(), message_id.clone()));
        let said = messages.iter().find(|message| message.id == message_id).cloned();
        let hold = Some(wait + HOLD_MARGIN);
        let outcome = match self.store_messages(channel, messages, request_id, hold).await {
            Ok(outcome) => outcome,
            Err(error) => return super::intake::refused(&error.into()),
        };
        let asking =
            Asking { channel, adapter, message_id: &message_id, context: &context, said, request_id };
        match self.present(asking, wait, &mut heard).await {
            Ok(response) => (outcome, response),
            Err(Unpresented::NotKept(error)) => super::intake::refused(&error),
            Err(Unpresented::Adapter(error)) => {
                tracing::error!(error = telemetry::chain(&error), "the adapter did not present the reply");
                ("failed", ingress::refusal(&error.fault()))
            }
        }
    }

    async fn present(
        &self,
        asking: Asking<'_>,
        wait: Duration,
        heard: &mut watch::Receiver<Heard>,
    ) -> Result<HttpResponse, Unpresented> {
        let Asking { channel, adapter, message_id: id, context, .. } = asking;
        let reply = self.wait_for_reply(channel, id, wait, heard).await?;
        let asked = self.asked(channel, id).await;
        let unfinished =
            || Snapshot { reply: Reply::text(heard.borrow().text.clone()), finished: false, asked };
        let snapshot = match &reply {
            Waited::Reply(reply) => Some(Snapshot { reply: reply.clone(), finished: true, asked }),
            Waited::Pending => Some(unfinished()),
            Waited::Unknown => None,
        };
        let mut presentation = adapter.present(context, snapshot).await?;
        if !presentation.complete && !matches!(reply, Waited::Unknown) {
            self.keep_unfinished(channel, id).await?;
        }
        if self.record(&asking, reply, &presentation).await? == HandOver::Delivering {
            // It comes the other way.
            self.keep_unfinished(channel, id).await?;
            presentation = adapter.present(context, Some(unfinished())).await?;
        }
        match presentation.response {
            Some(response) => Ok(response),
            None => Ok(self.hold_the_line().await),
        }
    }

    /// What goes on behind the response is this host's to do, if it keeps anything.
    async fn keep_unfinished(&self, channel: &Channel, id: &str) -> Result<(), Unpresented> {
        if !self.inbox.is_store() && self.let_go(&(channel.name.clone(), id.to_owned())).await? {
            return Err(Unpresented::NotKept(NotKept::Unfinished));
        }
        Ok(())
    }

    /// The platform hangs up when it has waited long enough, and asks again.
    async fn hold_the_line(&self) -> HttpResponse {
        tokio::select! {
            () = tokio::time::sleep(HELD_MAX) => {}
            () = self.drain.cancelled() => {}
        }
        ingress::problem(503, "not ready, ask again")
    }

    /// The finished reply, at once if it is stored, else when the turn says it or the wait is over.
    async fn wait_for_reply(
        &self,
        channel: &Channel,
        id: &str,
        wait: Duration,
        heard: &mut watch::Receiver<Heard>,
    ) -> Result<Waited, StoreError> {
        if let Some(done) = self.settled(channel, id).await? {
            return Ok(done);
        }
        drop(tokio::time::timeout(wait, heard.wait_for(|heard| heard.end.is_some())).await);
        Ok(self.settled(channel, id).await?.unwrap_or(Waited::Pending))
    }

    async fn settled(&self, channel: &Channel, id: &str) -> Result<Option<Waited>, StoreError> {
        Ok(match self.store.outcome(&channel.name, id).await? {
            Some(Outcome::Answered(reply)) => Some(Waited::Reply(reply)),
            Some(Outcome::Pending) => None,
            Some(Outcome::Dead | Outcome::Withdrawn) => Some(Waited::Reply(Reply::default())),
            None => Some(Waited::Unknown),
        })
    }

    async fn asked(&self, channel: &Channel, id: &str) -> u32 {
        let space = format!("asked:{}", channel.name);
        let asked = self.store.increment(&space, self.clock.now(), id, 1, Some(ASKED_LIFE)).await;
        asked.ok().and_then(|asked| u32::try_from(asked).ok()).unwrap_or(1)
    }

    /// Writes down what the response hands over, before it is written: who asks again gets it again.
    async fn record(
        &self,
        asking: &Asking<'_>,
        reply: Waited,
        presentation: &Presentation,
    ) -> Result<HandOver, StoreError> {
        let Asking { channel, message_id, said, request_id, .. } = asking;
        let now = self.clock.now();
        match (presentation.complete, reply) {
            (true, Waited::Reply(reply)) => {
                let exchange =
                    said.as_ref().map_or_else(Vec::new, |message| conversation::exchange(message, &reply));
                let outcome = self.store.hand_over(&channel.name, message_id, now, &exchange).await?;
                if let Some(message) = said.as_ref().filter(|_| outcome == HandOver::Done) {
                    self.tell_said_back(channel, message, &reply, request_id);
                }
                Ok(outcome)
            }
            (false, Waited::Reply(_) | Waited::Pending) => {
                let due: Millis =
                    now + presentation.again_within.unwrap_or_default().min(WAIT_MAX).as_millis() as u64;
                self.store.release_hold(&channel.name, message_id, due, &presentation.checkpoint).await?;
                self.wake.notify_one();
                Ok(HandOver::Nothing)
            }
            _ => Ok(HandOver::Nothing),
        }
    }
}

enum Waited {
    Reply(Reply),
    Pending,
    Unknown,
}

enum Unpresented {
    NotKept(NotKept),
    Adapter(AdapterError),
}

impl From<StoreError> for Unpresented {
    fn from(error: StoreError) -> Self {
        Self::NotKept(error.into())
    }
}

impl From<AdapterError> for Unpresented {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(error)
    }
}
