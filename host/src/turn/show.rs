//! A reply while it grows: the text so far, in a card that the platform lets us edit.
//!
//! Updates run beside the answer and slow neither the model nor the webhook: the newest text alone counts, so
//! that nothing queues up. Two effects of one reply never overlap and never come closer than the manifest's
//! `update-interval`, and where the card is gets stored before it is touched again. A failed update fails no
//! turn: `deliver` says the last word from the checkpoint on, whatever was shown. It does not know where the
//! text comes from, nor what becomes of the answer.

mod pace;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::usefulness::Usefulness;
use super::{Answer, Turn, TurnError, Turns};
use crate::adapter::{AdapterError, Speaker};
use crate::conversation;
use crate::message::{FaultKind, Reply};
use crate::plugin::release::Destination;
use crate::store::Claim;
use crate::telemetry;
use pace::Pace;

/// For a platform that says "slower" and not for how long.
const THROTTLED_PAUSE: Duration = Duration::from_secs(1);

/// What a person sees of a reply that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Card {
    /// The adapter's own; empty as long as nothing is shown.
    checkpoint: Vec<u8>,
    /// An update that may have opened it was not heard of.
    may_be_open: bool,
    /// Before this the platform would find the next change too soon.
    next_change: Option<Instant>,
    /// Updates that are still to come before a person sees it.
    unseen: u32,
}

impl Card {
    /// What an earlier claim left; when that changed it is not known.
    pub(super) fn of(claim: &Claim, outlet: Option<&Speaker>) -> Card {
        let checkpoint = claim.progress.checkpoint().to_vec();
        let is_open = !checkpoint.is_empty();
        let interval = outlet.and_then(Speaker::update_interval).filter(|_| is_open);
        let next_change = interval.map(|interval| Instant::now() + interval);
        let unseen = outlet.filter(|_| !is_open).map_or(0, Speaker::opening_calls);
        Card { checkpoint, may_be_open: false, next_change, unseen }
    }

    pub(super) fn checkpoint(&self) -> &[u8] {
        &self.checkpoint
    }

    /// Waits until it may be changed again.
    pub(super) async fn rest(&self) {
        if let Some(next) = self.next_change {
            sleep_until(next).await;
        }
    }

    fn is_open(&self) -> bool {
        !self.checkpoint.is_empty()
    }

    /// Another step is done. Before the last one nobody sees it, so that the next need not wait.
    fn move_to(&mut self, checkpoint: Vec<u8>) {
        self.checkpoint = checkpoint;
        self.unseen = self.unseen.saturating_sub(1);
        if self.unseen > 0 {
            self.next_change = None;
        }
    }
}

impl Turn {
    /// Whether a person sees a reply that is not whole.
    pub(super) fn has_card(&self) -> bool {
        self.card.is_open() && self.growing().is_some()
    }

    /// The same, or nobody knows: its opening was not heard of.
    pub(super) fn may_have_card(&self) -> bool {
        (self.card.is_open() || self.card.may_be_open) && self.growing().is_some()
    }

    /// The same, or whoever had the turn before may have died between opening it and writing that down.
    pub(super) fn may_have_left_a_card(&self) -> bool {
        // What nobody asked for grows in no card.
        self.may_have_card() || self.claim.may_be_seen && !self.is_job() && self.growing().is_some()
    }

    /// What closes a card for which no answer comes. Of one that may not be there nothing was seen for sure.
    pub(super) fn cut_off(&self) -> Reply {
        let heard = self.line.borrow();
        let shown = if self.card.is_open() { heard.text.as_str() } else { "" };
        conversation::cut_off(&self.claim.message, shown)
    }

    /// The adapter, where it shows the reply, and the shortest time between two updates, if its replies can grow in
    /// place.
    fn growing(&self) -> Option<(&Speaker, &[u8], Duration)> {
        let (adapter, address) = self.mouth()?;
        Some((adapter, address, adapter.update_interval()?))
    }
}

impl Turns {
    /// Answers, and shows the text beside it as it grows. No update is under way when it returns.
    pub(super) async fn answer_and_show(&self, turn: &mut Turn) -> Result<Answer, TurnError> {
        let (mut card, is_over) = (std::mem::take(&mut turn.card), CancellationToken::new());
        let asked: &Turn = turn;
        let answering = async {
            let answer = self.answer(asked).await;
            is_over.cancel();
            answer
        };
        let (answer, ()) = tokio::join!(answering, self.show(asked, &mut card, &is_over));
        turn.card = card;
        answer
    }

    /// Updates the card until the answer is there, or no further update is worth it.
    async fn show(&self, turn: &Turn, card: &mut Card, is_over: &CancellationToken) {
        // Who takes the answer on the line gets no second one in a card.
        let Some((adapter, address, interval)) = turn.growing().filter(|_| !turn.claim.is_held) else {
            return;
        };
        let key = turn.delivery_key();
        let to = Destination { address, key: &key };
        let mut pace = Pace::new(interval, adapter.keep_alive(), card.next_change);
        loop {
            tokio::select! {
                biased;
                () = is_over.cancelled() => return,
                () = pace.wait(&turn.grown) => {}
            }
            let Some(text) = pace.next(&turn.line.borrow().text, card.is_open()) else { continue };
            fail::fail_point!("show::before_update");
            let fence = Arc::new(Usefulness::new(turn.fence(), is_over));
            let outcome = adapter.update(fence.clone(), &to, &card.checkpoint, &text).await;
            if outcome.is_err() && fence.is_refused() {
                return;
            }
            card.next_change = Some(Instant::now() + interval);
            let goes_on = match outcome {
                Ok(checkpoint) => self.shown(turn, card, &mut pace, &text, checkpoint).await,
                Err(error) => {
                    card.may_be_open |= verdict(&error, card.is_open()).leaves_open();
                    self.not_shown(turn, card, &mut pace, &error)
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// An update went well. Returns whether to go on.
    async fn shown(&self, turn: &Turn, card: &mut Card, pace: &mut Pace, text: &str, next: Vec<u8>) -> bool {
        self.metrics.update(&turn.channel.name, "shown");
        if text.is_empty() && next.is_empty() {
            // This adapter shows no card without text: the first words need not wait.
            card.next_change = None;
        }
        let (was_unseen, is_moved) = (card.unseen > 0, next != card.checkpoint);
        if is_moved {
            card.move_to(next);
        }
        match is_moved && card.unseen > 0 {
            true => pace.opens(text.len()),
            false => pace.shown(text.len(), card.next_change),
        }
        if was_unseen {
            // The next step, or what came while it was opened.
            turn.grown.notify_one();
        }
        !is_moved || self.record_card(turn, card).await
    }

    /// Stores where the card is before it is touched again: after a crash it must be found, or a second one
    /// would open.
    async fn record_card(&self, turn: &Turn, card: &Card) -> bool {
        fail::fail_point!("show::before_record");
        let (lease, checkpoint) = (turn.claim.lease, &card.checkpoint);
        let stored = self.record_sent(|| self.store.checkpoint(lease, self.clock.now(), checkpoint)).await;
        fail::fail_point!("show::after_record");
        if let Err(error) = &stored {
            tracing::warn!(error = telemetry::chain(error), "the reply is shown when it is whole");
        }
        stored.is_ok()
    }

    /// Decides when the next update is worth it. Returns whether one is at all.
    fn not_shown(&self, turn: &Turn, card: &Card, pace: &mut Pace, error: &AdapterError) -> bool {
        let verdict = pace.not_shown(verdict(error, card.is_open()));
        self.metrics.update(&turn.channel.name, verdict.as_str());
        // What was not shown still waits to be.
        turn.grown.notify_one();
        let error = telemetry::chain(error);
        match verdict {
            Verdict::HeldBack(_) | Verdict::Throttled(_) => {
                tracing::debug!(error, "an update of the reply waits")
            }
            Verdict::Failed => tracing::warn!(error, "an update of the reply failed; it is tried again"),
            Verdict::GivenUp => {
                tracing::warn!(error, "updates of the reply fail; it is shown when it is whole");
                return false;
            }
        }
        true
    }
}

/// What an update that showed nothing tells of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The host kept it back: there is room for one after this.
    HeldBack(Duration),
    /// It is welcome after this, with whatever there is to show by then.
    Throttled(Duration),
    /// It may go better after a while.
    Failed,
    /// It cannot help, or it could open a second card.
    GivenUp,
}

impl Verdict {
    /// Whether the platform may have done it all the same: only a refusal says that it has not.
    fn leaves_open(self) -> bool {
        matches!(self, Verdict::Failed | Verdict::GivenUp)
    }

    fn as_str(self) -> &'static str {
        match self {
            Verdict::HeldBack(_) => "held",
            Verdict::Throttled(_) => "throttled",
            Verdict::Failed => "failed",
            Verdict::GivenUp => "given_up",
        }
    }
}

/// To edit a card again does no harm whatever came of the last attempt. To open it does, if it may be open: the
/// checkpoint that tells of it is lost.
fn verdict(error: &AdapterError, is_open: bool) -> Verdict {
    let fault = error.fault();
    match fault.kind {
        _ if matches!(error, AdapterError::HeldBack(_) | AdapterError::Busy) => {
            Verdict::HeldBack(fault.retry_after.unwrap_or(THROTTLED_PAUSE))
        }
        FaultKind::Throttled => Verdict::Throttled(fault.retry_after.unwrap_or(THROTTLED_PAUSE)),
        FaultKind::Unavailable => Verdict::Failed,
        FaultKind::Uncertain | FaultKind::Internal | FaultKind::Other if is_open => Verdict::Failed,
        _ => Verdict::GivenUp,
    }
}
