//! A prompt in, a stream of deltas out: what a language model is to the host.
//!
//! It does not know conversations, plugins or platforms. Backends: `gguf` in this process, `openai` over
//! HTTP, `echo` to try the wiring without a model. `breaker` leaves a server alone that fails.

pub mod breaker;
pub mod echo;
#[cfg(feature = "native")]
pub mod gguf;
pub mod openai;
mod wording;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use self::breaker::Standing;
use crate::message::{Fault, FaultKind, FinishReason, Prompt, ToolCall};

/// One step of a model's answer. A stream ends with `Done` or with an error, never silently.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    Text(String),
    ToolCall(ToolCall),
    Done(Usage),
}

/// The closing figures of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub finish_reason: FinishReason,
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("the model is busy; try again in {} s", retry_after.as_secs().max(1))]
    Busy { retry_after: Duration },
    #[error(
        "the prompt has {prompt_tokens} tokens and the model's context {context_tokens}; shorten the history or raise `context`"
    )]
    ContextExceeded { prompt_tokens: u32, context_tokens: u32 },
    /// The backend refuses this request for good: a parameter, a schema, a text.
    #[error("the model refuses: {0}")]
    Refused(String),
    /// The backend's server refuses whatever we ask, which is the operator's to mend.
    #[error("the model's server does not serve us: {0}; look at `endpoint`, `model` and `api_key`")]
    Denied(String),
    #[error("the model did not finish in time")]
    TimedOut,
    /// Its server has failed so often that it is left alone for a while.
    #[error("the model's server failed again and again and is left alone for {} s", retry_after.as_secs().max(1))]
    Resting { retry_after: Duration },
    #[error("the model cannot be reached: {0}")]
    Unavailable(String),
    /// The answer broke off: a truncated stream, garbage, a failed step.
    #[error("the model's answer broke off: {0}")]
    Broken(String),
}

impl ModelError {
    /// A short word for metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            ModelError::Busy { .. } => "busy",
            ModelError::ContextExceeded { .. } => "context_exceeded",
            ModelError::Refused(_) => "refused",
            ModelError::Denied(_) => "denied",
            ModelError::TimedOut => "timed_out",
            ModelError::Resting { .. } => "resting",
            ModelError::Unavailable(_) => "unavailable",
            ModelError::Broken(_) => "broken",
        }
    }

    /// What a pipeline is told.
    pub fn fault(&self) -> Fault {
        let kind = match self {
            ModelError::Busy { .. } => FaultKind::Throttled,
            ModelError::ContextExceeded { .. } | ModelError::Refused(_) => FaultKind::Invalid,
            ModelError::Denied(_) => FaultKind::Unauthorized,
            ModelError::TimedOut
            | ModelError::Resting { .. }
            | ModelError::Unavailable(_)
            | ModelError::Broken(_) => FaultKind::Unavailable,
        };
        let retry_after = match self {
            ModelError::Busy { retry_after } | ModelError::Resting { retry_after } => Some(*retry_after),
            _ => None,
        };
        Fault { kind, reason: self.to_string(), retry_after }
    }

    /// Whether another model may answer the same prompt: the fault is this one's, and not the prompt's.
    pub fn is_of_this_model(&self) -> bool {
        !matches!(self, ModelError::ContextExceeded { .. } | ModelError::Refused(_))
    }
}

/// The answer as it comes; dropping it cancels the generation.
pub type Answer = BoxStream<'static, Result<Delta, ModelError>>;

/// What a model can be asked for beyond text. What it cannot is refused, never passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It calls tools.
    pub tools: bool,
    /// Its answer keeps to a form.
    pub formats: bool,
    /// The longest answer that the operator lets a caller wish for.
    pub max_tokens: Option<u32>,
}

impl Abilities {
    /// Whether it can do what this prompt asks for.
    pub fn suffice_for(&self, prompt: &Prompt) -> bool {
        (self.tools || prompt.tools.is_empty()) && (self.formats || prompt.format.is_none())
    }
}

/// A language model behind any backend.
#[async_trait]
pub trait Model: Send + Sync + std::fmt::Debug {
    /// Starts one answer. The whole of it, retries included, ends by `deadline`.
    async fn ask(&self, prompt: &Prompt, deadline: Instant) -> Result<Answer, ModelError>;

    /// What it can do beyond text.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Whether it can answer now; else one plain sentence for a probe.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether its server is asked or left alone. None: it has none.
    fn standing(&self) -> Option<Standing> {
        None
    }

    /// Returns once it is loaded, or with one plain sentence why it never will be.
    async fn loaded(&self) -> Result<(), String> {
        Ok(())
    }
}
