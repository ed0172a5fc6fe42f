//! A weights file in GGUF goes in, tokens come out: many sequences side by side on one inference thread.
//!
//! Knows llama.cpp and nothing above it: it has never heard of chat, HTTP or WASM, nor of an async runtime (a
//! [`Generation`] is a `futures_core::Stream` with its own waker). Whoever renders a chat template hands over
//! [`Span`]s, so that what a person wrote can never become a control token.
//!
//! Reading order: [`engine`](Engine) is the door, `batch` the step loop behind it, `sequence` what one step works on,
//! `events` the way back to the caller; `weights` guards the file before C++ sees it.

mod backend;
mod batch;
mod engine;
mod events;
mod inspection;
mod metadata;
mod prompt;
mod request;
mod sampling;
mod schema;
mod sequence;
mod shared;
mod text;
mod weights;

pub use backend::system_info;
pub use engine::{Config, Engine};
pub use events::{Blocking, Done, Event, Finish, Generation, GenerationError};
pub use inspection::{Inspection, inspect};
pub use metadata::Metadata;
pub use prompt::Span;
pub use request::{Request, StartError};
pub use shared::{Activity, Finished, SequenceStats, Stats};
pub use weights::LoadError;
