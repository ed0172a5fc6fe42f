//! A candidate that is a shadow begins each turn after the stable release did, and nothing of it goes on.
//!
//! Only `begin` is run: all that follows answers to a model, which is asked once. It reads the plugin's memory, and
//! neither writes there nor sends anything. What it makes of a turn once one of these was refused to it says nothing of
//! the release: such a call is not counted. The rest counts as any candidate's does, in traps, faults and time; that it
//! takes another step than the stable release, or the same with other words, is counted apart and held against nobody,
//! since other words are what a release of a pipeline is often made for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::message::{Fault, HttpResponse};
use crate::plugin::release::OTHER_STEP;
use crate::plugin::services::{
    Fence, Http, HttpFailure, Memory, MemoryError, NoHttp, NoMemory, Outbound, Services,
};
use crate::plugin::shelf::Fitted;
use crate::plugin::{CallError, PipelineTurn, Step};

/// Turns that shadows begin at a time; more are not rehearsed.
static SHADOWS: Semaphore = Semaphore::const_new(4);

/// What the stable release made of the turn.
pub(super) type Begun = Result<Result<Step, Fault>, CallError>;

/// Lets a shadow begin the turn too. Nobody waits for it.
pub(super) fn rehearse(shadow: Arc<Fitted>, services: Services, turn: PipelineTurn, expected: Begun) {
    let Ok(permit) = SHADOWS.try_acquire() else { return };
    tokio::spawn(async move {
        let (services, reach) = confined(services);
        let rehearsal = shadow.release.rehearse(services, turn).await;
        drop(permit);
        let label = shadow.release.label();
        if reach.was_refused() {
            tracing::debug!(
                candidate = label,
                "the shadow sends or remembers something as it begins: that call says nothing"
            );
            return;
        }
        shadow.release.tell(&rehearsal);
        if let (Ok(Ok(expected)), Ok(Ok(step))) = (&expected, &rehearsal.begun)
            && step != expected
        {
            shadow.release.found_wanting("begin", OTHER_STEP);
            let (step, expected) = (step.name(), expected.name());
            tracing::info!(
                candidate = label,
                step,
                expected,
                "the shadow begins a turn otherwise than the stable release"
            );
        }
    });
}

/// The same services without a way out, and what becomes of who looks for one.
fn confined(services: Services) -> (Services, Reach) {
    let reach = Reach { memory: services.memory.clone(), was_refused: Arc::default() };
    let confined = Services { http: Arc::new(reach.clone()), memory: Arc::new(reach.clone()), ..services };
    (confined, reach)
}

/// As far as a shadow reaches.
#[derive(Debug, Clone)]
struct Reach {
    memory: Arc<dyn Memory>,
    was_refused: Arc<AtomicBool>,
}

impl Reach {
    fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    fn refuse(&self) {
        self.was_refused.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Http for Reach {
    async fn send(&self, request: Outbound) -> Result<HttpResponse, HttpFailure> {
        self.refuse();
        NoHttp.send(request).await
    }

    fn expire_token(&self, _name: &str) {
        self.refuse();
    }

    fn for_a_call(&self) -> Arc<dyn Http> {
        Arc::new(self.clone())
    }

    fn leaving_room(&self) -> Arc<dyn Http> {
        Arc::new(self.clone())
    }

    fn within(&self, _fence: Arc<dyn Fence>) -> Arc<dyn Http> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Memory for Reach {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        self.memory.get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), MemoryError> {
        self.refuse();
        NoMemory.set(key, value, ttl).await
    }

    async fn delete(&self, key: &str) -> Result<(), MemoryError> {
        self.refuse();
        NoMemory.delete(key).await
    }

    async fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, MemoryError> {
        self.refuse();
        NoMemory.increment(key, by, ttl).await
    }
}
