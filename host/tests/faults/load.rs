//! So many knocks a second, whatever becomes of those before: a crowd does not wait for its answers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::knock::Knock;
use crate::row::Times;

/// What became of one knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Status(u16),
    /// Nobody took the connection.
    TurnedAway,
    /// The connection was taken, and broke off without an answer.
    Dropped,
}

#[derive(Debug, Default)]
pub struct Load {
    /// In the order of sending: how it went, and how long it took.
    pub fates: Vec<(Fate, Duration)>,
}

impl Load {
    pub fn count(&self, is_it: impl Fn(Fate) -> bool) -> usize {
        self.fates.iter().filter(|(fate, _)| is_it(*fate)).count()
    }

    pub fn acknowledged(&self) -> Times {
        let of = |(fate, time): &(Fate, Duration)| (*fate == Fate::Status(200)).then_some(*time);
        Times::of(self.fates.iter().filter_map(of).collect())
    }
}

async fn knock_once(knock: Knock, address: SocketAddr) -> (Fate, Duration) {
    let began = Instant::now();
    let fate = match knock.post(address).await {
        Ok(status) => Fate::Status(status),
        Err(error) if error.is_connect() => Fate::TurnedAway,
        Err(_) => Fate::Dropped,
    };
    (fate, began.elapsed())
}

/// Sends all of them, evenly, and waits for every fate.
pub async fn send(knocks: Vec<Knock>, a_second: u32, address: SocketAddr) -> Load {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / a_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::with_capacity(knocks.len());
    for knock in knocks {
        ticks.tick().await;
        sent.push(tokio::spawn(knock_once(knock, address)));
    }
    let mut load = Load::default();
    for fate in sent {
        load.fates.push(fate.await.unwrap());
    }
    load
}
