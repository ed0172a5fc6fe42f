//! What a program is told whose turn failed: enough to do the right thing, and nothing of what happens inside.
//!
//! The log has the whole cause. Which status says the same, the door knows.

use super::TurnError;
use crate::message::{Fault, FaultKind, Trouble, TroubleKind};
use crate::model::ModelError;
use crate::pipeline::PipelineError;

pub(super) fn trouble(error: &TurnError) -> Trouble {
    match error {
        TurnError::Model(error) => of_model(error),
        TurnError::Pipeline(PipelineError::Fault { source, .. }) => of_fault(source),
        TurnError::Pipeline(cause) if cause.is_passing() => unavailable(),
        TurnError::TimedOut => Trouble::new(TroubleKind::TimedOut, "the answer took too long"),
        _ => Trouble::new(TroubleKind::Internal, "something broke on our side; the log knows more"),
    }
}

fn of_model(error: &ModelError) -> Trouble {
    match error {
        ModelError::Busy { retry_after } => {
            Trouble { retry_after: Some(*retry_after), ..Trouble::new(TroubleKind::Busy, error.to_string()) }
        }
        ModelError::ContextExceeded { prompt_tokens, context_tokens } => {
            let sentence = format!(
                "the messages have {prompt_tokens} tokens, and the model's context holds {context_tokens}; shorten them"
            );
            Trouble::new(TroubleKind::TooLong, sentence)
        }
        ModelError::Refused(_) => Trouble::new(TroubleKind::Refused, error.to_string()),
        ModelError::Denied(_) => {
            Trouble::new(TroubleKind::Internal, "the model is not set up rightly here; the log knows more")
        }
        ModelError::TimedOut => Trouble::new(TroubleKind::TimedOut, error.to_string()),
        ModelError::Resting { retry_after } => Trouble { retry_after: Some(*retry_after), ..unavailable() },
        ModelError::Unavailable(_) => unavailable(),
        ModelError::Broken(_) => Trouble::new(TroubleKind::Broken, "the model's answer broke off; ask again"),
    }
}

/// A pipeline's own words are for the operator.
fn of_fault(fault: &Fault) -> Trouble {
    let trouble = match fault.kind {
        FaultKind::Throttled => Trouble::new(TroubleKind::Busy, "the model is busy; try again later"),
        FaultKind::Unavailable | FaultKind::Uncertain => unavailable(),
        FaultKind::Invalid => {
            Trouble::new(TroubleKind::Refused, "the assistant's model does not take this request")
        }
        _ => Trouble::new(TroubleKind::Internal, "the assistant gave no answer; the log knows more"),
    };
    Trouble { retry_after: fault.retry_after, ..trouble }
}

fn unavailable() -> Trouble {
    Trouble::new(TroubleKind::Unavailable, "no answer can be given now; ask again")
}
