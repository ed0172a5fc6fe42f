//! What a queue brings back, handed to the turns.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::config::Config;
use crate::function::Work;
use crate::queue::Wrapper;
use crate::telemetry;
use crate::turn::Turns;

/// A batch is worked off within it where the platform does not say how much time there is: the longest it gives.
const TIME_MAX: Duration = Duration::from_secs(900);

pub struct Worker {
    turns: Arc<Turns>,
    wrapper: Wrapper,
}

impl Worker {
    pub fn new(turns: Arc<Turns>, jwt_secret: &SecretString) -> Self {
        Self { turns, wrapper: Wrapper::new(jwt_secret) }
    }
}

#[async_trait]
impl Work for Worker {
    async fn work(&self, record: &str, deadline: Instant) -> Result<(), String> {
        let parcel = self.wrapper.unwrap(record).map_err(|error| error.to_string())?;
        self.turns.work_off(parcel, deadline).await.map_err(|error| telemetry::chain(&error))
    }
}

/// The longest that one event can take: the slowest channel's turn.
pub fn time(config: &Config) -> Duration {
    let channels = config.channels.values().map(|channel| channel.limits.time);
    let chat = config.chat.as_ref().map(|chat| chat.limits.time);
    channels.chain(chat).max().map_or(TIME_MAX, |time| time.min(TIME_MAX))
}
