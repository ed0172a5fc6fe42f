//! What a platform pushed over a channel's long-lived socket: limited and stored like what comes by webhook, and
//! acknowledged by whoever holds the socket.

use uuid::Uuid;

use super::Turns;
use super::inbox::NotKept;
use crate::limits::Excess;
use crate::message::Message;

impl Turns {
    /// Whether one more message may come in on this channel now.
    pub async fn admit_pushed(&self, channel: &str) -> Result<(), Excess> {
        let admitted = self.limits.verified_webhook(channel).await;
        if admitted.is_err() {
            self.metrics.message(channel, "limited");
        }
        admitted
    }

    /// Takes in messages in order, and withdraws what was taken back. Durable when it returns; after an error the
    /// platform has to bring all of it again.
    pub async fn take_pushed(
        &self,
        channel: &str,
        messages: Vec<Message>,
        withdrawn: &[String],
    ) -> Result<(), NotKept> {
        let channel = self.channels.get(channel).ok_or(NotKept::Nowhere)?;
        let request_id = Uuid::now_v7().to_string();
        let kept = async {
            let outcome = self.keep_messages(channel, messages, &request_id).await?;
            self.withdraw(channel, withdrawn).await?;
            Ok(outcome)
        };
        let kept: Result<_, NotKept> = kept.await;
        self.metrics.message(&channel.name, kept.as_ref().map_or("not_stored", |outcome| outcome));
        kept.map(drop)
    }
}
