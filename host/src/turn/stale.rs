//! A message that comes to its turn long after it was written, as after a night without a host: it is answered, told
//! that it is too old, or dropped, as the channel says.
//!
//! Judged when it is claimed, by the platform's time of it and by ours. It does not know why it is late.

use std::time::Duration;

use super::{Turn, Turns};
use crate::clock::Millis;
use crate::config::{Stale, WhenStale};
use crate::conversation;
use crate::message::{Message, Reply};
use crate::store::Waiting;

/// A platform brings a message at most a day late; what says that it is older has a clock that is wrong.
const SENT_BEFORE_MAX: Duration = Duration::from_secs(2 * 86_400);

impl Turns {
    /// Settles a message that is too old to be asked. `newest`: it is asked together with that one, whose age counts.
    /// `next`: that one of the same person comes next, and is told for both if it is too old as well.
    pub(super) fn settle_if_stale(&self, turn: &mut Turn, newest: Option<&Waiting>, next: Option<&Waiting>) {
        let Some(rule) = turn.channel.stale else { return };
        let now = self.clock.now();
        let own = age(&turn.claim.message, turn.claim.received_at, now);
        let age = newest.map_or(own, |newest| age_of(newest, now));
        if age <= rule.after {
            return;
        }
        let is_told_next = next.is_some_and(|next| age_of(next, now) > rule.after);
        let Some(reply) = said(rule, &turn.claim.message, is_told_next) else { return };
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(age_ms, told = !reply.text.is_empty(), "the message is too old to be answered");
        turn.claim.settled = Some(reply);
        turn.is_stale = true;
    }
}

/// None: it is answered all the same. Nothing is said to what was not for the bot.
fn said(rule: Stale, message: &Message, is_told_next: bool) -> Option<Reply> {
    match rule.then {
        WhenStale::Answer => None,
        WhenStale::Notice if message.addressed && !is_told_next => Some(conversation::too_late(message)),
        WhenStale::Notice | WhenStale::Drop => Some(Reply::default()),
    }
}

fn age_of(waiting: &Waiting, now: Millis) -> Duration {
    age(&waiting.message, waiting.received_at, now)
}

fn age(message: &Message, received_at: Millis, now: Millis) -> Duration {
    let earliest = received_at.saturating_sub(u64::try_from(SENT_BEFORE_MAX.as_millis()).unwrap_or(u64::MAX));
    let sent_at = message.sent_at_ms.filter(|sent_at| (earliest..received_at).contains(sent_at));
    Duration::from_millis(now.saturating_sub(sent_at.unwrap_or(received_at)))
}
