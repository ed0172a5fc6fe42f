//! Why something did not work, in the words that the host acts on.
//!
//! The kind decides whether the host tries again and what the person in the chat sees; the reason
//! is one plain sentence for an operator. Neither holds a secret or what people wrote.

use std::fmt;

/// What the host can do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The caller's fault; a retry cannot help.
    Invalid,
    /// Wrong or missing credentials or signature.
    Unauthorized,
    /// Slow down; see [`Fault::retry_after_ms`].
    Throttled,
    /// Passing trouble, nothing was done; a retry may help.
    Unavailable,
    /// It may have been done: a blind repeat could double it.
    Uncertain,
    /// The address, window or conversation has expired.
    Gone,
    /// A defect in this plugin.
    Internal,
    /// None of these.
    Other,
}

/// A failure with its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What can be done about it.
    pub kind: FaultKind,
    /// One plain sentence for an operator. Never holds a secret or message text.
    pub reason: String,
    /// When a retry is welcome.
    pub retry_after_ms: Option<u64>,
}

impl Fault {
    /// A fault of `kind`.
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), retry_after_ms: None }
    }

    /// The caller's fault.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, reason)
    }

    /// Credentials or signature are wrong.
    pub fn unauthorized(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Unauthorized, reason)
    }

    /// Too fast; a retry is welcome after `retry_after_ms`.
    pub fn throttled(reason: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(FaultKind::Throttled, reason) }
    }

    /// Passing trouble; nothing was done.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Unavailable, reason)
    }

    /// It may have been done.
    pub fn uncertain(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Uncertain, reason)
    }

    /// The way back to the person is closed.
    pub fn gone(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Gone, reason)
    }

    /// A defect in this plugin.
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, reason)
    }

    /// Anything else.
    pub fn other(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Other, reason)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Fault {}
