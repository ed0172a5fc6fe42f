//! A turn's reply on its way out: part by part, each with a checkpoint, until the platform has it all.

use std::sync::Arc;

use super::usefulness::Usefulness;
use super::{Turn, TurnError, Turns};
use crate::adapter::AdapterError;
use crate::message::Reply;
use crate::plugin::Delivered;
use crate::plugin::release::Destination;
use crate::plugin::services::Fence;
use crate::store::StoreError;

/// Parts of one reply; an adapter that never says `done` is a defect.
const PARTS_MAX: u32 = 200;

impl Turns {
    /// Sends the reply from the checkpoint on, or completes the card in which it grew; returns the platform's
    /// ids of what was sent. No adapter is asked to send nothing. A message that was taken back before any of the reply
    /// is known to be out gets none of it.
    pub(super) async fn deliver(&self, turn: &Turn, reply: &Reply) -> Result<Vec<String>, TurnError> {
        let may_be_seen = turn.may_have_left_a_card();
        let has_begun = may_be_seen || !turn.card.checkpoint().is_empty();
        // Also what nobody here heard of yet.
        if !has_begun && (turn.cancelled.is_cancelled() || self.is_taken_back(&turn.key()).await) {
            return Err(TurnError::Withdrawn);
        }
        let Some((adapter, address)) = turn.mouth() else { return Ok(Vec::new()) };
        if reply.is_nothing() && !may_be_seen {
            return Ok(Vec::new());
        }
        let cut_off = reply.is_nothing().then(|| turn.cut_off());
        let reply = cut_off.as_ref().unwrap_or(reply);
        turn.card.rest().await;
        let mut checkpoint = turn.card.checkpoint().to_vec();
        let key = turn.delivery_key();
        let to = Destination { address, key: &key };
        for _ in 0..PARTS_MAX {
            fail::fail_point!("turn::before_send");
            let is_first = checkpoint.is_empty() && !may_be_seen;
            let fence = if is_first { turn.first_fence() } else { turn.fence() };
            let delivered = adapter.finish(fence, &to, &checkpoint, reply).await;
            match delivered.map_err(|error| turn.blame(error, is_first))? {
                Delivered::More(next) => {
                    fail::fail_point!("turn::before_record");
                    self.record_sent(|| self.store.checkpoint(turn.claim.lease, self.clock.now(), &next))
                        .await?;
                    checkpoint = next;
                }
                Delivered::Done(receipt) => {
                    fail::fail_point!("turn::before_record");
                    return Ok(receipt);
                }
            }
        }
        Err(TurnError::EndlessDelivery)
    }

    /// The same for what is said in place of a reply that goes no further: nothing of it is kept, so that the reply
    /// can still go on from where it stands.
    pub(super) async fn deliver_unrecorded(&self, turn: &Turn, reply: &Reply) -> Result<(), TurnError> {
        let Some((adapter, address)) = turn.mouth() else { return Ok(()) };
        turn.card.rest().await;
        let mut checkpoint = turn.card.checkpoint().to_vec();
        let key = turn.delivery_key();
        let to = Destination { address, key: &key };
        for _ in 0..PARTS_MAX {
            let delivered = adapter.finish(turn.fence(), &to, &checkpoint, reply).await;
            match delivered.map_err(|error| turn.blame(error, false))? {
                Delivered::More(next) => checkpoint = next,
                Delivered::Done(_) => return Ok(()),
            }
        }
        Err(TurnError::EndlessDelivery)
    }
}

impl Turn {
    /// What each request of its deliveries goes out under.
    pub(super) fn fence(&self) -> Arc<dyn Fence> {
        self.tenure.clone()
    }

    /// The lease, and that the message was not taken back: for what goes out first.
    fn first_fence(&self) -> Arc<dyn Fence> {
        Arc::new(Usefulness::new(self.fence(), &self.cancelled))
    }

    /// Why a delivery failed: what an adapter makes of a request that was held back is its own, and no matter of the
    /// platform's. The first part of an answer that nobody wants is not tried again.
    fn blame(&self, error: AdapterError, is_first: bool) -> TurnError {
        if self.tenure.is_lost() {
            StoreError::LeaseLost.into()
        } else if is_first && self.cancelled.is_cancelled() {
            TurnError::Withdrawn
        } else {
            TurnError::Delivery(error)
        }
    }
}
