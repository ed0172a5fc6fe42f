//! A message that comes while another one of its conversation is being answered: it waits, is put together with the
//! others that wait, or stops the answer, as the channel says.
//!
//! Only what one person says in one breath is put together or stops an answer: in a group nobody's question is mixed
//! with another's, nor broken off by it. What is put together the store remembers over a crash. A running turn hears
//! of a message that came in here; of one that came to another node the next claim tells.

use super::{Ended, Turn, TurnError, Turns};
use crate::config::Meanwhile;
use crate::conversation::{self, End};
use crate::message::Message;
use crate::store::{Ending, Progress, Waiting};

/// Whether two messages belong together: of the same person, and both to the bot or both not.
pub(super) fn is_one_breath(first: &Message, second: &Message) -> bool {
    first.sender.id == second.sender.id && first.addressed == second.addressed
}

impl Turns {
    /// Looks at what waits behind a claimed turn before it is run. An error: it is not run.
    pub(super) async fn look_behind(&self, turn: &mut Turn) -> Result<(), TurnError> {
        if !turn.looks_behind() {
            return Ok(());
        }
        let waiting = self.store.behind(turn.claim.lease).await?;
        match turn.claim.progress {
            Progress::Unanswered { .. } => self.face(turn, waiting).await,
            Progress::Answered { .. } => {
                let answered_too = waiting.into_iter().filter(|waiting| waiting.is_gathered);
                let answered_too: Vec<_> = answered_too.map(|waiting| waiting.message).collect();
                turn.claim.message = conversation::in_one_breath(turn.claim.message.clone(), answered_too);
                Ok(())
            }
            Progress::Withdrawn { .. } => Ok(()),
        }
    }

    /// What becomes of a message that is not answered yet, in view of those behind it.
    async fn face(&self, turn: &mut Turn, waiting: Vec<Waiting>) -> Result<(), TurnError> {
        let first = turn.claim.message.clone();
        let follows = |next: &Waiting| is_one_breath(&first, &next.message);
        let followers: Vec<Waiting> = waiting.into_iter().take_while(follows).collect();
        match turn.channel.meanwhile {
            Meanwhile::Interrupt if first.addressed && !followers.is_empty() => Err(TurnError::Interrupted),
            Meanwhile::Merge => {
                let ids: Vec<_> = followers.iter().map(|next| next.message.id.clone()).collect();
                if !ids.is_empty() {
                    self.store.gather(turn.claim.lease, &ids).await?;
                    tracing::info!(messages = ids.len() + 1, "messages are answered together");
                }
                self.settle_if_stale(turn, followers.last(), None);
                turn.gathered = followers.into_iter().map(|next| next.message).collect();
                Ok(())
            }
            Meanwhile::Queue | Meanwhile::Interrupt => {
                self.settle_if_stale(turn, None, followers.first());
                Ok(())
            }
        }
    }

    /// Another message came, and this one's answer stops: what is shown of it is closed as it stands. It stays in the
    /// history, since the next one goes on from it.
    pub(super) async fn break_off(&self, turn: &Turn) -> Result<Ended, TurnError> {
        let (reply, may_show) = (turn.cut_off(), turn.may_have_left_a_card());
        let closed = match may_show {
            true => self.close_card(turn, &reply).await?,
            false => Some(Vec::new()),
        };
        let Some(receipt) = closed else { return Ok(Ended::Retried) };
        let said = if turn.channel.history > 0 {
            conversation::broken_off(&turn.claim.message, &reply)
        } else {
            Vec::new()
        };
        let ending = Ending::Delivered { receipt };
        self.record_sent(|| self.store.finish(turn.claim.lease, self.clock.now(), &ending, &said)).await?;
        self.tell(turn, End::Withdrawn);
        if may_show {
            self.tell_said(turn, &reply);
        }
        Ok(Ended::Interrupted)
    }
}

impl Turn {
    /// Whoever waits on the line gets what he asked for, and what is said aside stops for nobody.
    pub(super) fn is_interruptible(&self) -> bool {
        !self.claim.is_held && self.claim.message.addressed
    }

    /// Whoever waits on a line asked for this one message and gets its answer; what is settled is not asked.
    fn looks_behind(&self) -> bool {
        let has_rule = self.channel.meanwhile != Meanwhile::Queue || self.channel.stale.is_some();
        let is_held = self.claim.is_held || self.channel.adapter.is_none();
        has_rule && !is_held && self.claim.settled.is_none()
    }
}
