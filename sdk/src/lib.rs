//! What a plugin author sees of Parlor: two traits, plain types, and the host's services.
//!
//! An [`Adapter`] speaks a chat platform; a [`Pipeline`] turns talk into prompts and completions
//! into replies. Both are compiled to a WebAssembly component (`wasm32-wasip2`) that the host
//! loads. This crate knows the contract in `wit/0.1` and nothing of the host's inside; the
//! bindings generated from it stay in the private module `guest`.
//!
//! A whole adapter (`examples/echo.rs`), which says back what it hears:
//!
//! ```
#![doc = include_str!("../examples/echo.rs")]
//! ```
//!
//! Beside it stands a `plugin.toml`, the manifest: what the plugin is called, which settings and
//! secrets it takes and which hosts it may call. [`register_adapter!`] packs it into the component.
//!
//! Reading order: [`message`] (the nouns), [`adapter`] or [`pipeline`] (what you write), [`connection`] (an
//! adapter's platform that pushes over a socket),
//! [`settings`], [`secrets`], [`http`], [`store`], [`log`], [`clock`] (what the host does for
//! you), [`json`], [`text`] and [`encoding`] (what several platforms need), [`testing`] (how to test without
//! a host).

#![deny(missing_docs)]

pub mod message;

pub mod adapter;
pub mod connection;
pub mod pipeline;

pub mod fault;
pub mod http;

pub mod clock;
pub mod log;
pub mod secrets;
pub mod settings;
pub mod store;

pub mod encoding;
pub mod json;
pub mod text;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

mod register;

#[doc(hidden)]
pub use register::{__parlor_adapter, __parlor_connection, __parlor_pipeline};

#[doc(inline)]
pub use self::{
    adapter::{Acceptance, Adapter, Delivered, Inquiry, Presentation, Reception, Snapshot},
    connection::{Connection, Endpoint, Frame},
    fault::{Fault, FaultKind},
    http::{HttpRequest, HttpResponse, Outbound},
    message::{Attachment, Content, MediaKind, Message, Reply, Role, Scope, Sender, Utterance},
    pipeline::{Completion, Flow, Pipeline, Prompt, Step, Turn},
};

/// The version of the contract that this SDK was built against; stamped into each component.
pub const CONTRACT: &str = "0.1";

/// Where the services get their answers: the host in a component, a double in native tests.
mod seam {
    #[cfg(target_arch = "wasm32")]
    pub(crate) use crate::guest::services::*;
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) use crate::testing::services::*;
}
