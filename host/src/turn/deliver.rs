//! A turn's reply on its way out: part by part, each with a checkpoint, until the platform has it all.

use super::{Turn, TurnError, Turns};
use crate::message::Reply;
use crate::plugin::Delivered;
use crate::plugin::release::Destination;

/// Parts of one reply; an adapter that never says `done` is a defect.
const PARTS_MAX: u32 = 200;

impl Turns {
    /// Sends the reply from the checkpoint on, or completes the card in which it grew; returns the platform's
    /// ids of what was sent.
    pub(super) async fn deliver(&self, turn: &Turn, reply: &Reply) -> Result<Vec<String>, TurnError> {
        let Some((adapter, address)) = turn.mouth() else { return Ok(Vec::new()) };
        turn.card.rest().await;
        let mut checkpoint = turn.card.checkpoint().to_vec();
        let key = turn.delivery_key();
        let to = Destination { address, key: &key };
        for _ in 0..PARTS_MAX {
            fail::fail_point!("turn::before_send");
            match adapter.finish(&to, &checkpoint, reply).await.map_err(TurnError::Delivery)? {
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
            match adapter.finish(&to, &checkpoint, reply).await.map_err(TurnError::Delivery)? {
                Delivered::More(next) => checkpoint = next,
                Delivered::Done(_) => return Ok(()),
            }
        }
        Err(TurnError::EndlessDelivery)
    }
}
