//! One open socket: reads what the driver has room for, writes what it is told, pings, and finds out that it is dead.
//!
//! It does not know what the frames say.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc::{self, OwnedPermit, error::TrySendError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::drain::Drain;
use crate::egress::Socket;
use crate::message::Frame;
use crate::plugin::Closure;

/// Middleboxes forget a quiet connection after a minute or so.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Whoever answers no ping for so long is not there any more, whatever TCP thinks.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// A platform that takes no frame within this time reads nothing any more.
const WRITE_MAX: Duration = Duration::from_secs(10);
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Frames that wait to be written.
const OUTGOING_MAX: usize = 256;
/// What a log may hold of the platform's reason.
const REASON_CHARACTERS_MAX: usize = 120;
/// No code was told (RFC 6455 §7.1.5).
const NO_CODE: u16 = 1005;

/// Sockets of one channel, in the order in which they were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineId(pub u64);

/// What happened on a socket.
#[derive(Debug)]
pub(super) struct Event {
    pub line: LineId,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Frame(Frame),
    Ended(Closure),
}

/// The driver's end of an open socket; dropped, it is closed once what was told to it is written.
#[derive(Debug)]
pub(super) struct Line {
    outgoing: mpsc::Sender<Frame>,
    pub opened: Instant,
}

impl Line {
    /// Starts the task of a socket.
    pub(super) fn start(
        id: LineId,
        channel: &str,
        socket: Socket,
        events: mpsc::Sender<Event>,
        drain: &Drain,
    ) -> Line {
        let (outgoing, told) = mpsc::channel(OUTGOING_MAX);
        let pump = Pump { id, socket, events, told, goodbye: None };
        drop(drain.spawn(format!("socket of {channel}"), pump.run()));
        Line { outgoing, opened: Instant::now() }
    }

    /// Whether there was room for it; a platform that takes nothing has none.
    pub(super) fn send(&self, frame: Frame) -> bool {
        !matches!(self.outgoing.try_send(frame), Err(TrySendError::Full(_)))
    }
}

struct Pump {
    id: LineId,
    socket: Socket,
    events: mpsc::Sender<Event>,
    told: mpsc::Receiver<Frame>,
    /// The platform's, once it said so.
    goodbye: Option<(u16, String)>,
}

/// Why the pump stops.
enum End {
    /// The driver wants no more of it.
    Dropped,
    Over,
}

/// When the socket is looked after.
struct Watch {
    pings: Interval,
    /// The last sign of life, or since when one is looked for.
    alive: Instant,
}

impl Pump {
    async fn run(mut self) {
        let end = self.pump().await;
        if let End::Dropped = end {
            return self.close().await;
        }
        let why = self.goodbye.take().map_or(Closure::Lost, |(code, reason)| Closure::Closed(code, reason));
        // The driver may be gone.
        let _ = self.events.send(Event { line: self.id, what: What::Ended(why) }).await;
        self.hear_out().await;
    }

    /// Reads only with a place for what it reads, so that a driver that is behind holds the platform back; writes
    /// all the while, since an acknowledgement is what the driver waits for.
    async fn pump(&mut self) -> End {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut watch = Watch { pings, alive: Instant::now() };
        let mut place: Option<OwnedPermit<Event>> = None;
        loop {
            tokio::select! {
                told = self.told.recv() => match told {
                    None => return End::Dropped,
                    Some(frame) => if !self.write(message(frame)).await { return End::Over },
                },
                reserved = self.events.clone().reserve_owned(), if place.is_none() => match reserved {
                    Ok(reserved) => {
                        place = Some(reserved);
                        watch.alive = Instant::now();
                    }
                    Err(_) => return End::Dropped,
                },
                read = self.socket.next(), if place.is_some() => {
                    watch.alive = Instant::now();
                    match read {
                        Some(Ok(Message::Close(goodbye))) => {
                            self.goodbye = Some(goodbye.map_or((NO_CODE, String::new()), told));
                            return End::Over;
                        }
                        Some(Ok(read)) => self.take(read, &mut place),
                        Some(Err(_)) | None => return End::Over,
                    }
                }
                _ = watch.pings.tick() => {
                    let is_silent = place.is_some() && watch.alive.elapsed() >= SILENCE_MAX;
                    if is_silent || !self.write(Message::Ping(Bytes::new())).await {
                        return End::Over;
                    }
                }
            }
        }
    }

    fn take(&mut self, read: Message, place: &mut Option<OwnedPermit<Event>>) {
        let frame = match read {
            Message::Text(text) => Frame::Text(text.as_str().to_owned()),
            Message::Binary(bytes) => Frame::Binary(bytes),
            // A ping is answered by the socket itself.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_) => return,
        };
        if let Some(place) = place.take() {
            place.send(Event { line: self.id, what: What::Frame(frame) });
        }
    }

    async fn write(&mut self, message: Message) -> bool {
        matches!(timeout(WRITE_MAX, self.socket.send(message)).await, Ok(Ok(())))
    }

    /// Says goodbye, and waits a moment for the platform's.
    async fn close(mut self) {
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if let Ok(Ok(())) = timeout(FAREWELL_MAX, self.socket.close(Some(goodbye))).await {
            self.hear_out().await;
        }
    }

    /// Asked once more the socket sends our half of a goodbye, and then there is nothing more.
    async fn hear_out(&mut self) {
        let farewell = async { while let Some(Ok(_)) = self.socket.next().await {} };
        let _ = timeout(FAREWELL_MAX, farewell).await;
    }
}

fn told(goodbye: CloseFrame) -> (u16, String) {
    let plain = goodbye.reason.as_str().chars().filter(|c| !c.is_control());
    (goodbye.code.into(), plain.take(REASON_CHARACTERS_MAX).collect())
}

fn message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Binary(bytes) => Message::Binary(bytes),
    }
}
