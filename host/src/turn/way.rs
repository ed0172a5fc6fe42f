//! The way of a reply: back where the message came from, or out through another channel.
//!
//! It is chosen when a message comes in and stored with it, so that each attempt at a delivery goes the same way,
//! whatever the configuration says by then: a checkpoint of one platform is nothing to another. What somebody waits
//! for in the response is said there. It does not know how a reply is sent.

use super::{Channel, Turn, Turns};
use crate::adapter::Speaker;
use crate::config::ReplyVia;
use crate::conversation;
use crate::message::{Message, Reply};
use crate::store::{StoreError, Via};

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
            let ReplyVia { channel, conversation } = rule.clone();
            return Ok(Way::Via(Via { channel, conversation, address }));
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
}

const LEADS_NOWHERE: &str = "nobody has written yet in the conversation that `reply_via` names, so that its address is \
    not known: who asks gets an apology. Write to the bot there once, or mend the name";

impl Turn {
    /// The adapter that says the reply, and where it says it. None: it is heard on the line alone.
    pub(super) fn mouth(&self) -> Option<(&Speaker, &[u8])> {
        let adapter = self.served_by.outlet.as_ref()?;
        let address = self.claim.via.as_ref().map_or(&self.claim.message.address, |via| &via.address);
        Some((adapter, address))
    }
}
