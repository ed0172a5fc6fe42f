//! The message bus: what comes in and goes out, told to whoever listens now.
//!
//! It hands out what people say, so there is none unless the configuration names it. It is best effort by its nature:
//! a notice is given after the commit that it tells of, at most once, and is gone for who does not listen; who listens
//! too slowly is told how many it missed. It holds up nobody who publishes. Where nodes share a Redis they hear each
//! other, by `relay`. It does not know doors, nor turns.

mod relay;

use std::sync::Arc;

use redis::ConnectionInfo;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::telemetry::Metrics;
use relay::Relay;

/// Notices that wait for the slowest listener: with the bound of a text 16 MiB at most.
const NOTICES_KEPT: usize = 256;
/// Text of one notice; the conversation has the rest.
pub const CONTENT_BYTES_MAX: usize = 64 << 10;
/// Each holds one of the operators' connections.
const LISTENERS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Somebody wrote it.
    In,
    /// The bot said it.
    Out,
}

/// One message that came in or went out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The adapter that speaks it, or the door of the host's own.
    pub platform: String,
    pub channel: String,
    pub direction: Direction,
    pub conversation: String,
    /// Of what came in; what went out answers it.
    pub message_id: String,
    /// Who wrote what came in.
    pub person: String,
    pub content: String,
    /// The content is longer than a notice holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// When it was stored, or its delivery was; RFC 3339.
    pub timestamp: String,
    pub request_id: String,
    /// The channel that it went out through, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

/// Where notices are given. Without a name there is none.
#[derive(Debug, Default)]
pub struct Bus(Option<Open>);

#[derive(Debug)]
struct Open {
    name: String,
    notices: broadcast::Sender<Arc<Notice>>,
    seats: Arc<Semaphore>,
    relay: Option<Relay>,
}

/// Why nobody may listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHeard {
    #[error("there is no bus: set `bus.name` in the configuration, which hands out what people say")]
    Closed,
    #[error("{LISTENERS_MAX} listen already; come again when one has left")]
    Crowded,
}

/// What a listener hears next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Notice(Arc<Notice>),
    /// As many are gone, since it listened too slowly.
    Missed(u64),
}

/// One listener's end.
#[derive(Debug)]
pub struct Listener {
    notices: broadcast::Receiver<Arc<Notice>>,
    _seat: OwnedSemaphorePermit,
}

impl Bus {
    /// Within this process.
    pub fn named(name: &str) -> Bus {
        let (notices, seats) = (broadcast::Sender::new(NOTICES_KEPT), Semaphore::new(LISTENERS_MAX));
        Bus(Some(Open { name: name.to_owned(), notices, seats: Arc::new(seats), relay: None }))
    }

    /// The same over all nodes that have these servers in common, on the Pub/Sub channel of this name, where any other
    /// subscriber hears it too. Starts tasks, which end with it.
    pub fn relayed(name: &str, servers: Vec<ConnectionInfo>, metrics: Arc<Metrics>) -> Bus {
        let bus = Bus::named(name);
        let relay = |open: Open| {
            let relay = Relay::start(name, servers, open.notices.clone(), metrics);
            Open { relay: Some(relay), ..open }
        };
        Bus(bus.0.map(relay))
    }

    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|open| open.name.as_str())
    }

    /// Whether anybody may listen: without one nothing has to be put together. Who listens elsewhere is not known.
    pub fn is_heard(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.relay.is_some() || open.notices.receiver_count() > 0)
    }

    /// Tells those who listen now. Waits for nobody.
    pub fn publish(&self, notice: Notice) {
        if let Some(open) = &self.0 {
            let notice = Arc::new(notice.cut());
            if let Some(relay) = &open.relay {
                relay.pass_on(notice.clone());
            }
            // Nobody listens any more.
            let _ = open.notices.send(notice);
        }
    }

    /// Hears what is published from now on.
    pub fn listen(&self) -> Result<Listener, NotHeard> {
        let open = self.0.as_ref().ok_or(NotHeard::Closed)?;
        let seat = open.seats.clone().try_acquire_owned().map_err(|_| NotHeard::Crowded)?;
        Ok(Listener { notices: open.notices.subscribe(), _seat: seat })
    }
}

impl Listener {
    /// None: nothing is published any more.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.notices.recv().await {
            Ok(notice) => Some(Heard::Notice(notice)),
            Err(RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Notice {
    fn cut(mut self) -> Notice {
        if self.content.len() > CONTENT_BYTES_MAX {
            self.content.truncate(self.content.floor_char_boundary(CONTENT_BYTES_MAX));
            self.is_cut = true;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(content: &str) -> Notice {
        Notice {
            platform: "p".to_owned(),
            channel: "c".to_owned(),
            direction: Direction::In,
            conversation: "v".to_owned(),
            message_id: "m".to_owned(),
            person: "u".to_owned(),
            content: content.to_owned(),
            is_cut: false,
            timestamp: "1970-01-01T00:00:00Z".to_owned(),
            request_id: "r".to_owned(),
            via: None,
        }
    }

    #[tokio::test]
    async fn who_listens_too_slowly_is_told_how_many_it_missed_and_holds_up_nobody() {
        let bus = Bus::named("parlor");
        let (mut slow, mut quick) = (bus.listen().unwrap(), bus.listen().unwrap());
        for number in 0..NOTICES_KEPT + 7 {
            bus.publish(notice(&number.to_string()));
            assert_eq!(quick.next().await, Some(Heard::Notice(Arc::new(notice(&number.to_string())))));
        }
        assert_eq!(slow.next().await, Some(Heard::Missed(7)));
        assert_eq!(
            slow.next().await,
            Some(Heard::Notice(Arc::new(notice("7")))),
            "and then the oldest there is"
        );
    }

    #[tokio::test]
    async fn a_listener_hears_what_comes_after_it_and_leaves_its_seat() {
        assert_eq!(Bus::default().listen().map(drop), Err(NotHeard::Closed));
        let bus = Bus::named("parlor");
        bus.publish(notice("before"));
        assert!(!bus.is_heard());
        let mut listeners: Vec<_> = (0..LISTENERS_MAX).map(|_| bus.listen().unwrap()).collect();
        assert_eq!(bus.listen().map(drop), Err(NotHeard::Crowded));
        bus.publish(notice("after"));
        assert_eq!(listeners[0].next().await, Some(Heard::Notice(Arc::new(notice("after")))));
        listeners.pop();
        assert!(bus.listen().is_ok());
    }

    #[tokio::test]
    async fn a_text_is_bounded_between_two_characters() {
        let bus = Bus::named("parlor");
        let mut listener = bus.listen().unwrap();
        bus.publish(notice(&"字".repeat(CONTENT_BYTES_MAX)));
        let Some(Heard::Notice(cut)) = listener.next().await else { panic!("it was published") };
        assert!(cut.is_cut);
        assert_eq!(cut.content, "字".repeat(CONTENT_BYTES_MAX / 3));
    }
}
