//! A turn's reply on its way out: part by part, each with a checkpoint, until the platform has it all.

use std::sync::Arc;

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
    /// ids of what was sent. No adapter is asked to send nothing.
    pub(super) async fn deliver(&self, turn: &Turn, reply: &Reply) -> Result<Vec<String>, TurnError> {
        let Some((adapter, address)) = turn.mouth() else { return Ok(Vec::new()) };
        if reply.is_nothing() && !turn.may_have_left_a_card() {
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
            let delivered = adapter.finish(turn.fence(), &to, &checkpoint, reply).await;
            match delivered.map_err(|error| turn.blame(error))? {
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
            match delivered.map_err(|error| turn.blame(error))? {
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

    /// Why a delivery failed: what an adapter makes of a lost lease is its own, and no matter of the platform's.
    fn blame(&self, error: AdapterError) -> TurnError {
        if self.tenure.is_lost() { StoreError::LeaseLost.into() } else { TurnError::Delivery(error) }
    }
}
