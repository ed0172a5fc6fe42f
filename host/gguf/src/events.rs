//! The way back: a bounded channel from the inference thread to one reader, who may poll, block or leave.
//!
//! Of its own rather than from a crate for three things: the end always fits, a reader who takes from a full channel
//! wakes the inference thread, and a sender that is lost in a panic is an event and not a silence. Knows no tokens.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::shared::Shared;

/// Deltas that may lie unread; then the sequence is parked. A second of a small model's speed.
pub(crate) const DELTAS_MAX: usize = 32;

/// What a [`Generation`] tells. `Done` or `Failed` comes last, once.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// More text: whole characters, never empty, nothing of a stop string.
    Delta(String),
    Done(Done),
    Failed(GenerationError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub finish: Finish,
    pub prompt_tokens: u32,
    /// Those of the prompt's tokens that the KV cache still held.
    pub cached_tokens: u32,
    /// Without the token that ends the completion.
    pub completion_tokens: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop string did.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// The engine was stopped.
    Cancelled,
    Deadline,
}

/// Why a generation broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    #[error("llama.cpp failed at a step: {0}")]
    Decode(String),
    #[error("the model gave no usable next token; if there is a `json_schema`, it may admit none")]
    NoToken,
    #[error("the inference thread has ended; load the model again")]
    EngineLost,
}

/// A running completion: a `Stream` of events. Dropping it cancels; its sequence is free at the next step.
pub struct Generation {
    channel: Arc<Channel>,
}

/// The writing end, on the inference thread.
pub(crate) struct Sender {
    channel: Arc<Channel>,
}

struct Channel {
    mailbox: Mutex<Mailbox>,
    arrival: Condvar,
    /// Rung when the reader makes room in a full channel, or leaves.
    engine: Arc<Shared>,
}

#[derive(Default)]
struct Mailbox {
    deltas: VecDeque<String>,
    end: Option<Event>,
    /// Nothing comes any more but what lies here.
    is_closed: bool,
    is_abandoned: bool,
    /// The engine found it full and waits.
    is_awaited: bool,
    waker: Option<Waker>,
}

pub(crate) fn channel(engine: Arc<Shared>) -> (Sender, Generation) {
    let channel = Arc::new(Channel { mailbox: Mutex::default(), arrival: Condvar::new(), engine });
    (Sender { channel: channel.clone() }, Generation { channel })
}

impl Generation {
    /// Events for a thread that may wait for them.
    pub fn blocking(self) -> Blocking {
        Blocking(self)
    }

    fn wait(&self) -> Option<Event> {
        let mut mailbox = self.channel.lock();
        loop {
            match self.channel.take(mailbox) {
                Ok(event) => return event,
                Err(empty) => {
                    mailbox = self.channel.arrival.wait(empty).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Stream for Generation {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.channel.take(self.channel.lock()) {
            Ok(event) => Poll::Ready(event),
            Err(mut empty) => {
                empty.waker = Some(ctx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        let mut mailbox = self.channel.lock();
        mailbox.is_abandoned = true;
        drop(mailbox);
        self.channel.engine.wake();
    }
}

/// See [`Generation::blocking`].
pub struct Blocking(Generation);

impl Iterator for Blocking {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.wait()
    }
}

impl Sender {
    /// Takes the delta, or gives it back if the reader lags; the engine hears the bell once there is room.
    pub fn try_send(&self, delta: String) -> Result<(), String> {
        let mut mailbox = self.channel.lock();
        if mailbox.deltas.len() >= DELTAS_MAX {
            mailbox.is_awaited = true;
            return Err(delta);
        }
        mailbox.deltas.push_back(delta);
        self.channel.announce(mailbox);
        Ok(())
    }

    /// The last text, if any, and how it ended. Always fits, so that nobody waits for a slow reader to say goodbye.
    pub fn end(self, tail: impl IntoIterator<Item = String>, end: Event) {
        let mut mailbox = self.channel.lock();
        mailbox.deltas.extend(tail.into_iter().filter(|text| !text.is_empty()));
        mailbox.end = Some(end);
        drop(mailbox);
    }

    pub fn is_abandoned(&self) -> bool {
        self.channel.lock().is_abandoned
    }
}

/// Also the way a panic or a forgotten job ends: the reader finds no end in the mailbox, and says so.
impl Drop for Sender {
    fn drop(&mut self) {
        let mut mailbox = self.channel.lock();
        mailbox.is_closed = true;
        self.channel.announce(mailbox);
    }
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event, `None` after the last, or the mailbox back if one has to wait.
    fn take<'a>(
        &self,
        mut mailbox: MutexGuard<'a, Mailbox>,
    ) -> Result<Option<Event>, MutexGuard<'a, Mailbox>> {
        if let Some(delta) = mailbox.deltas.pop_front() {
            // Half empty, so that reader and engine do not wake each other for every single token.
            let makes_room = mailbox.is_awaited && mailbox.deltas.len() <= DELTAS_MAX / 2;
            mailbox.is_awaited &= !makes_room;
            drop(mailbox);
            if makes_room {
                self.engine.wake();
            }
            return Ok(Some(Event::Delta(delta)));
        }
        if !mailbox.is_closed {
            return Err(mailbox);
        }
        // Closed once read: `is_abandoned` doubles as "the end has been told".
        if std::mem::replace(&mut mailbox.is_abandoned, true) {
            return Ok(None);
        }
        Ok(Some(mailbox.end.take().unwrap_or(Event::Failed(GenerationError::EngineLost))))
    }

    fn announce(&self, mut mailbox: MutexGuard<'_, Mailbox>) {
        let waker = mailbox.waker.take();
        drop(mailbox);
        self.arrival.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
