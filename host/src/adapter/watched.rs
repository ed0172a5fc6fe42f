//! The way out of one call to an adapter, and what it tells when the call does not go well: whether anything may
//! have happened at the platform, and whether it was the host that let nothing through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::AdapterError;
use crate::message::{Fault, HttpResponse};
use crate::plugin::CallError;
use crate::plugin::services::{FailureKind, Fence, Http, HttpFailure, Outbound};

#[derive(Debug)]
pub(super) struct Watched {
    way_out: Arc<dyn Http>,
    may_have_acted: AtomicBool,
    /// What the last request would have had to wait for its place in a rate.
    held_back: Mutex<Option<Duration>>,
}

impl Watched {
    pub(super) fn new(way_out: Arc<dyn Http>) -> Self {
        Self { way_out, may_have_acted: AtomicBool::new(false), held_back: Mutex::default() }
    }

    /// A call that broke off with nothing sent can be made again, as if it had never been.
    pub(super) fn judge<T>(&self, outcome: Result<Result<T, Fault>, CallError>) -> Result<T, AdapterError> {
        match outcome {
            Err(error) if self.may_have_acted.load(Ordering::Relaxed) => Err(AdapterError::BrokeOff(error)),
            outcome => Ok(outcome??),
        }
    }

    pub(super) fn held_back(&self) -> Option<AdapterError> {
        let held_back = *self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        held_back.map(AdapterError::HeldBack)
    }

    fn note(&self, acts: bool, outcome: &Result<HttpResponse, HttpFailure>) {
        let (held_back, may_have_acted) = match outcome {
            Err(failure) if failure.request_sent => (None, acts),
            Err(failure) if failure.kind == FailureKind::Throttled => (failure.retry_after, false),
            Err(_) => (None, false),
            // The platform says that it did nothing.
            Ok(response) => (None, acts && !(400..500).contains(&response.status)),
        };
        self.may_have_acted.fetch_or(may_have_acted, Ordering::Relaxed);
        *self.held_back.lock().unwrap_or_else(PoisonError::into_inner) = held_back;
    }
}

#[async_trait]
impl Http for Watched {
    async fn send(&self, request: Outbound) -> Result<HttpResponse, HttpFailure> {
        let acts = !matches!(request.method.as_str(), "GET" | "HEAD");
        let outcome = self.way_out.send(request).await;
        self.note(acts, &outcome);
        outcome
    }

    fn expire_token(&self, name: &str) {
        self.way_out.expire_token(name);
    }

    fn for_a_call(&self) -> Arc<dyn Http> {
        self.way_out.for_a_call()
    }

    fn leaving_room(&self) -> Arc<dyn Http> {
        self.way_out.leaving_room()
    }

    fn within(&self, fence: Arc<dyn Fence>) -> Arc<dyn Http> {
        self.way_out.within(fence)
    }
}
