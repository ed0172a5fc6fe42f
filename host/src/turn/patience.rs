//! A person who writes more than he may: what is said to him instead of an answer.
//!
//! His messages are stored and acknowledged as any others, since a platform that is refused would bring them
//! again for hours, and everybody else's with them, or give the bot up. He is told once how long to wait, and
//! that what he writes until then is not answered; so a flood makes one sentence and asks no model.

use super::{Channel, Turns};
use crate::conversation;
use crate::limits::whole_seconds;
use crate::message::{Message, Reply};
use crate::store::StoreError;

impl Turns {
    /// What is said to a message whose sender is over his limit: a sentence, or nothing if it was said already,
    /// or if the message was not for the bot. Who waits on the line is always told. None: it is answered.
    pub(super) async fn said_instead(
        &self,
        channel: &Channel,
        message: &Message,
        is_awaited: bool,
    ) -> Result<Option<Reply>, StoreError> {
        if !self.counts(channel, message).await? {
            return Ok(None);
        }
        let person = &message.sender.id;
        let is_aside = !message.addressed;
        let Err(excess) = self.limits.message(&channel.name, person, is_aside).await else { return Ok(None) };
        let is_told = is_awaited || !is_aside && self.limits.tells(&channel.name, person, excess.wait).await;
        let sentence = || conversation::patience(message, whole_seconds(excess.wait));
        Ok(Some(if is_told { sentence() } else { Reply::default() }))
    }

    /// What a platform brings again is counted once. The host's own door has counted already, when it gave the
    /// question a place.
    async fn counts(&self, channel: &Channel, message: &Message) -> Result<bool, StoreError> {
        if channel.adapter.is_none() || !self.limits.limits_people(&channel.name) {
            return Ok(false);
        }
        Ok(self.store.outcome(&channel.name, &message.id).await?.is_none())
    }
}
