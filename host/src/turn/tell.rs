//! What came in and went out, told on the bus once it is stored. It does not know who listens.

use super::{Channel, Turn, Turns};
use crate::bus::{Direction, Notice};
use crate::clock::{Millis, rfc3339};
use crate::message::{Message, Reply};
use crate::store::Incoming;

impl Turns {
    /// What there will be to tell of messages that are to be stored, one for each; none if nobody listens.
    pub(super) fn notices_of(&self, channel: &Channel, now: Millis, incoming: &[Incoming]) -> Vec<Notice> {
        if !self.bus.is_heard() {
            return Vec::new();
        }
        let told = |incoming: &Incoming| {
            let message = &incoming.message;
            let notice = notice(channel, message, Direction::In, &message.text, now, &incoming.request_id);
            Notice { platform: platform(channel), ..notice }
        };
        incoming.iter().map(told).collect()
    }

    /// Tells what a turn said, if it said anything.
    pub(super) fn tell_said(&self, turn: &Turn, reply: &Reply) {
        let (channel, message) = (&turn.channel, &turn.claim.message);
        let outlet = turn.outlet.as_deref().unwrap_or(channel);
        match &turn.claim.via {
            // Where it is said is all that there is to a job.
            Some(via) if turn.is_job() => {
                let conversation = via.conversation.clone().unwrap_or_default();
                let message = Message { conversation, ..message.clone() };
                self.tell_out(outlet, outlet, &message, reply, &turn.claim.request_id, None);
            }
            via => {
                let via = via.as_ref().map(|via| via.channel.clone());
                self.tell_out(channel, outlet, message, reply, &turn.claim.request_id, via);
            }
        }
    }

    /// Tells what was said where it was asked, in a response.
    pub(super) fn tell_said_back(
        &self,
        channel: &Channel,
        message: &Message,
        reply: &Reply,
        request_id: &str,
    ) {
        self.tell_out(channel, channel, message, reply, request_id, None);
    }

    fn tell_out(
        &self,
        channel: &Channel,
        outlet: &Channel,
        message: &Message,
        reply: &Reply,
        request_id: &str,
        via: Option<String>,
    ) {
        if reply.text.is_empty() || !self.bus.is_heard() {
            return;
        }
        let now = self.clock.now();
        let notice = notice(channel, message, Direction::Out, &reply.text, now, request_id);
        self.bus.publish(Notice { platform: platform(outlet), via, ..notice });
    }
}

fn notice(
    channel: &Channel,
    message: &Message,
    direction: Direction,
    content: &str,
    at: Millis,
    request_id: &str,
) -> Notice {
    Notice {
        platform: String::new(),
        channel: channel.name.to_string(),
        direction,
        conversation: message.conversation.clone(),
        message_id: message.id.clone(),
        person: message.sender.id.clone(),
        content: content.to_owned(),
        is_cut: false,
        timestamp: rfc3339(at),
        request_id: request_id.to_owned(),
        via: None,
    }
}

/// The host's own doors keep their conversations under names that begin with the door's.
fn platform(channel: &Channel) -> String {
    let door = || channel.name.split('/').next().unwrap_or_default().to_owned();
    channel.adapter.as_ref().map_or_else(door, |adapter| adapter.name.clone())
}
