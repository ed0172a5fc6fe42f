//! Whether anything goes on in one connection: the requests that it carries, to the last byte of each response.
//!
//! It does not know what they are.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    under_way: AtomicUsize,
    /// Goes up with every beginning and end, so that a look back sees whether anything went on.
    marks: AtomicUsize,
}

impl Activity {
    /// A request has come.
    pub fn enter(&self) -> Busy {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        self.0.marks.fetch_add(1, Ordering::Relaxed);
        Busy(self.0.clone())
    }

    /// Returns when no request came within `first`, or none was under way for all of a pause.
    pub async fn until_idle(&self, first: Duration, pause: Duration) {
        let mut wait = first;
        loop {
            let before = self.0.marks.load(Ordering::Relaxed);
            tokio::time::sleep(wait).await;
            let is_quiet = self.0.marks.load(Ordering::Relaxed) == before;
            if is_quiet && self.0.under_way.load(Ordering::Relaxed) == 0 {
                return;
            }
            wait = pause;
        }
    }
}

/// One request under way.
#[derive(Debug)]
pub struct Busy(Arc<Counts>);

impl Busy {
    /// The response, which counts as under way until its body is sent or dropped.
    pub fn until_sent(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::new(Sending { body, _busy: self }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.marks.fetch_add(1, Ordering::Relaxed);
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
