//! What a request goes out under that nobody may want by the time that it has its place in a rate. It does not know what
//! goes out, nor why it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::plugin::services::Fence;

/// A lease, as long as somebody wants what goes out under it.
#[derive(Debug)]
pub(super) struct Usefulness {
    lease: Arc<dyn Fence>,
    is_over: CancellationToken,
    is_refused: AtomicBool,
}

impl Usefulness {
    pub(super) fn new(lease: Arc<dyn Fence>, is_over: &CancellationToken) -> Self {
        Self { lease, is_over: is_over.clone(), is_refused: AtomicBool::new(false) }
    }

    /// Whether a request was held back by it.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Fence for Usefulness {
    async fn holds(&self) -> bool {
        let holds = self.lease.holds().await && !self.is_over.is_cancelled();
        self.is_refused.fetch_or(!holds, Ordering::Relaxed);
        holds
    }
}
