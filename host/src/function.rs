//! The same host as a function: events of a function platform instead of connections.
//!
//! An HTTP event goes to the very router that a server's connections go to, a batch of queued messages to a
//! [`Work`]. A platform may freeze the process after each response, so nothing is left to do when one goes out. It
//! does not know turns or adapters. Reading order: `event` tells what came, `http` and `batch` answer it.
//!
//! The runtime is AWS Lambda's: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

mod batch;
mod event;
mod http;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::Router;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::drain::Drain;
use event::Event;

/// A platform that runs functions says by it where events are fetched.
const RUNTIME: &str = "AWS_LAMBDA_RUNTIME_API";
/// What is kept of a function's time to tell how it ended.
const MARGIN: Duration = Duration::from_secs(1);
/// A platform that is about to end the process gives this long for the rest.
const FAREWELL: Duration = Duration::from_millis(450);

/// Whether a function platform runs this process.
pub fn is_here() -> bool {
    std::env::var_os(RUNTIME).is_some()
}

/// Who does what a queue brings.
#[async_trait]
pub trait Work: Send + Sync {
    /// Done for good when it returns `Ok`; else the queue brings the record again. Ends by the deadline.
    async fn work(&self, record: &str, deadline: Instant) -> Result<(), String>;
}

/// What answers events.
#[derive(Clone)]
pub struct Function {
    pub router: Router,
    pub work: Arc<dyn Work>,
    /// The longest that one event may take where the platform does not say.
    pub time: Duration,
}

/// Why an event has no answer. The platform shows both to the operator.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EventError {
    kind: &'static str,
    message: String,
}

impl From<EventError> for Diagnostic {
    fn from(error: EventError) -> Self {
        Diagnostic { error_type: error.kind.to_owned(), error_message: error.message }
    }
}

/// Answers events until the platform ends the process.
pub async fn serve(function: Function, drain: Drain) -> anyhow::Result<()> {
    lambda_runtime::spawn_graceful_shutdown_handler(async move || {
        drain.drain(FAREWELL).await;
    })
    .await;
    let answer = service_fn(move |event| {
        let function = function.clone();
        async move { function.answer(event).await }
    });
    lambda_runtime::run_concurrent(answer)
        .await
        .map_err(|error| anyhow::anyhow!("the runtime stopped: {error}"))
}

impl Function {
    async fn answer(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Value, EventError> {
        let deadline = self.deadline(event.context.deadline);
        match Event::read(event.payload.get())? {
            Event::Http(request) => http::answer(&self.router, *request).await,
            Event::Batch(batch) => Ok(batch::answer(self.work.as_ref(), batch, deadline).await),
        }
    }

    /// Before the platform's own: what is cut off there is told to nobody. A platform that has no clock, or an
    /// emulator, names a time that was over before it began.
    fn deadline(&self, platform_ms: u64) -> Instant {
        let platform = SystemTime::UNIX_EPOCH + Duration::from_millis(platform_ms);
        let left = platform.duration_since(SystemTime::now()).unwrap_or(self.time);
        Instant::now() + left.saturating_sub(MARGIN)
    }
}
