//! The way of a reply: back where the message came from, or out through another channel.
//!
//! It is chosen when a message comes in and stored with it, so that each attempt at a delivery goes the same way,
//! whatever the configuration says by then: a checkpoint of one platform is nothing to another. What somebody waits
//! for in the response is said there. It does not know how a reply is sent.

use std::sync::Arc;

use super::{Channel, Turn, Turns};
use crate::adapter::{Adapter, AdapterError};
use crate::conversation;
use crate::message::{Message, Reply};
use crate::plugin::Delivered;
use crate::plugin::release::Destination;
use crate::plugin::services::Fence;
use crate::store::{StoreError, Via};
use crate::telemetry;

/// Parts of one sentence; no platform needs more.
const EXCUSE_PARTS_MAX: u32 = 8;

/// What comes of looking for a message's way.
pub(super) enum Way {
    Back,
    Via(Via),
    /// Nobody is asked: this is said where the message came from, or nothing if it was not for the bot.
    Nowhere(Reply),
}

impl Turns {
    /// The way of the reply to a message that came in just now.
    pub(super) async fn way(&self, channel: &Channel, message: &Message) -> Result<Way, StoreError> {
        let Some(rule) = &channel.reply_via else { return Ok(Way::Back) };
        let address = match &rule.conversation {
            Some(conversation) => self.store.address(&rule.channel, conversation).await?,
            None => Some(Vec::new()),
        };
        if let Some(address) = address {
            return Ok(Way::Via(Via { channel: rule.channel.clone(), address }));
        }
        tracing::error!(channel = %channel.name, via = rule.channel, "{LEADS_NOWHERE}");
        let said = if message.addressed { conversation::apology(message) } else { Reply::default() };
        Ok(Way::Nowhere(said))
    }

    /// Says at the start which ways lead nowhere yet.
    pub async fn look_for_ways(&self) -> Result<(), StoreError> {
        for channel in self.channels.values() {
            let Some(rule) = &channel.reply_via else { continue };
            let Some(conversation) = &rule.conversation else { continue };
            if self.store.address(&rule.channel, conversation).await?.is_none() {
                tracing::warn!(channel = %channel.name, via = rule.channel, "{LEADS_NOWHERE}");
            }
        }
        Ok(())
    }

    /// The reply cannot go where it was to go: whoever asked is told so where he asked, as well as that can be done.
    /// The operator has the dead letter.
    pub(super) async fn excuse(&self, turn: &Turn) {
        let Some(adapter) = turn.channel.adapter.as_ref().filter(|_| turn.claim.via.is_some()) else {
            return;
        };
        let message = &turn.claim.message;
        let (reply, key) = (conversation::apology(message), turn.excuse_key());
        let to = Destination { address: &message.address, key: &key };
        match say_all(adapter, turn.fence(), &to, &reply).await {
            Ok(()) => self.tell_said_back(&turn.channel, message, &reply, &turn.claim.request_id),
            Err(error) => {
                tracing::error!(error = telemetry::chain(&error), "nor could whoever asked be told so");
            }
        }
    }
}

const LEADS_NOWHERE: &str = "nobody has written yet in the conversation that `reply_via` names, so that its address is \
    not known: who asks gets an apology. Write to the bot there once, or mend the name";

async fn say_all(
    adapter: &Adapter,
    fence: Arc<dyn Fence>,
    to: &Destination<'_>,
    reply: &Reply,
) -> Result<(), AdapterError> {
    let mut checkpoint = Vec::new();
    for _ in 0..EXCUSE_PARTS_MAX {
        match adapter.finish(fence.clone(), to, &checkpoint, reply).await? {
            Delivered::More(next) => checkpoint = next,
            Delivered::Done(_) => break,
        }
    }
    Ok(())
}

impl Turn {
    /// The adapter that says the reply, and where it says it. None: it is heard on the line alone.
    pub(super) fn mouth(&self) -> Option<(&Adapter, &[u8])> {
        let adapter = self.outlet.as_ref()?.adapter.as_ref()?;
        let address = self.claim.via.as_ref().map_or(&self.claim.message.address, |via| &via.address);
        Some((adapter, address))
    }
}
