//! What one asks of the engine, and why it may say no before anything runs.
//!
//! Knows the bounds of a request, not the state of the engine.

use std::time::{Duration, Instant};

use crate::prompt::Span;

/// A prompt beyond this is not worth tokenising to learn that it is too long; no context holds so much text.
const PROMPT_BYTES_MAX: usize = 1 << 20;
/// Each token is compared with every stop string.
const STOPS_MAX: usize = 16;
/// As much text as this may be held back in a stream.
const STOP_BYTES_MAX: usize = 256;

/// One completion to generate. `Request::default()` has the sampling of llama.cpp's own defaults and no prompt.
#[derive(Debug, Clone)]
pub struct Request {
    pub prompt: Vec<Span>,
    /// Tokens to generate at most, at least 1.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// The smallest set of tokens with this much probability, above 0 and up to 1; 1 is all.
    pub top_p: f32,
    /// So many of the likeliest tokens; 0 is as many as the sampler looks at (1,024).
    pub top_k: u32,
    /// Tokens with this share of the likeliest one's probability, from 0 to below 1.
    pub min_p: f32,
    /// The same seed and the same prompt, alone on the engine, give the same text. `None` is a new one each time.
    pub seed: Option<u64>,
    /// Texts that end the completion and are not part of it.
    pub stop: Vec<String>,
    /// The completion is JSON that fits this schema, unless its length cuts it off.
    pub json_schema: Option<String>,
    /// When nobody waits any longer. `None` is [`Engine`](crate::Engine)'s own bound of ten minutes.
    pub deadline: Option<Instant>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: Vec::new(),
            max_tokens: 256,
            temperature: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            seed: None,
            stop: Vec::new(),
            json_schema: None,
            deadline: None,
        }
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("the model is busy; try again in `{}` s", retry_after.as_secs())]
    Busy { retry_after: Duration },
    #[error(
        "the prompt has `{prompt_tokens}` tokens and the context holds `{context_tokens}`; shorten the prompt"
    )]
    ContextExceeded { prompt_tokens: u32, context_tokens: u32 },
    #[error("the prompt has `{bytes}` bytes and `{bytes_max}` are allowed; shorten the prompt")]
    PromptTooLarge { bytes: usize, bytes_max: usize },
    #[error("the prompt is empty")]
    EmptyPrompt,
    #[error("`{field}` must be {rule}")]
    Invalid { field: &'static str, rule: &'static str },
    #[error("`json_schema` cannot be used: {0}")]
    Schema(String),
    #[error("the model's engine has stopped; load it again")]
    Stopped,
}

/// Whether the numbers and texts of a request keep to their bounds.
pub(crate) fn check(request: &Request) -> Result<(), StartError> {
    let rules = [
        (request.max_tokens >= 1, "max_tokens", "at least `1`"),
        ((0.0..=100.0).contains(&request.temperature), "temperature", "from `0` to `100`"),
        (request.top_p > 0.0 && request.top_p <= 1.0, "top_p", "above `0` and at most `1`"),
        ((0.0..1.0).contains(&request.min_p), "min_p", "from `0` to below `1`"),
        (request.stop.len() <= STOPS_MAX, "stop", "at most `16` texts"),
        (
            request.stop.iter().all(|stop| (1..=STOP_BYTES_MAX).contains(&stop.len())),
            "stop",
            "`1` to `256` bytes each",
        ),
    ];
    match rules.into_iter().find(|(is_kept, ..)| !is_kept) {
        Some((_, field, rule)) => Err(StartError::Invalid { field, rule }),
        None => Ok(()),
    }
}

/// Whether a prompt is worth tokenising.
pub(crate) fn check_bytes(prompt: &[Span]) -> Result<(), StartError> {
    let bytes = prompt.iter().map(|span| span.text().len()).sum();
    if bytes > PROMPT_BYTES_MAX {
        return Err(StartError::PromptTooLarge { bytes, bytes_max: PROMPT_BYTES_MAX });
    }
    Ok(())
}
