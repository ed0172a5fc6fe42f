//! Whether anything goes on in one connection: the requests that it carries, to the last byte of each response,
//! and a head that has begun.
//!
//! Its own clock rather than hyper's, which takes a pause between two requests for a head that does not come.
//! It does not know what they are.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, Version};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What one connection is doing, shared by all that see a part of it.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The next deadline has come nearer.
    head_begins: Notify,
    /// The first request has come.
    asks: Notify,
}

#[derive(Debug)]
struct State {
    under_way: usize,
    has_asked: bool,
    /// Frames of HTTP/2 that come between requests are no head that has begun.
    is_multiplexed: bool,
    /// The connection's start, or the end of its last request.
    quiet_since: Instant,
    /// The first byte of a head that is not whole yet.
    head_since: Option<Instant>,
}

impl Activity {
    /// A connection begins.
    pub fn begin() -> Self {
        let (under_way, has_asked, is_multiplexed) = (0, false, false);
        let (quiet_since, head_since) = (Instant::now(), None);
        let state = State { under_way, has_asked, is_multiplexed, quiet_since, head_since };
        let (head_begins, asks) = (Notify::new(), Notify::new());
        Self(Arc::new(Shared { state: Mutex::new(state), head_begins, asks }))
    }

    /// Bytes have come.
    pub fn read(&self) {
        let mut state = self.0.lock();
        let is_head = state.under_way == 0 && state.has_asked && !state.is_multiplexed;
        if is_head && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
            self.0.head_begins.notify_one();
        }
    }

    /// A request has come, whole up to its body.
    pub fn enter(&self, version: Version) -> Busy {
        let mut state = self.0.lock();
        state.under_way += 1;
        state.has_asked = true;
        state.is_multiplexed = version >= Version::HTTP_2;
        state.head_since = None;
        self.0.asks.notify_one();
        Busy(self.0.clone())
    }

    /// Returns once a request has come.
    pub async fn asked(&self) {
        if !self.0.lock().has_asked {
            self.0.asks.notified().await;
        }
    }

    /// Returns when the first head, or a later one that has begun, is not whole within `head_max`; or when
    /// nothing was under way for all of a pause.
    pub async fn until_idle(&self, head_max: Duration, pause_max: Duration) {
        loop {
            let due = self.0.lock().due(head_max, pause_max);
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due.unwrap_or(now + pause_max)) => {}
                () = self.0.head_begins.notified() => {}
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// When it has been quiet for too long; none while a request is under way.
    fn due(&self, head_max: Duration, pause_max: Duration) -> Option<Instant> {
        let head_since = if self.has_asked { self.head_since } else { Some(self.quiet_since) };
        let due = head_since.map_or(self.quiet_since + pause_max, |since| since + head_max);
        (self.under_way == 0).then_some(due)
    }
}

/// One request under way.
#[derive(Debug)]
pub struct Busy(Arc<Shared>);

impl Busy {
    /// The response, which counts as under way until its body is sent or dropped.
    pub fn until_sent(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::new(Sending { body, _busy: self }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way -= 1;
        state.quiet_since = Instant::now();
    }
}

struct Sending {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
