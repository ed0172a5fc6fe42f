//! The component side: bindings generated from `wit/0.1`, and the way between them and our types.
//!
//! Hidden from the documentation: only the registration macros reach in. A generated type never
//! leaves this module.

pub mod adapter;
pub mod bindings;
mod connection;
mod convert;
pub mod pipeline;
pub(crate) mod services;

pub use bindings::{
    adapter::export as export_adapter, connection::export as export_connection,
    pipeline::export as export_pipeline,
};

/// A text as an array, for a static in a link section.
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    *text.as_bytes().first_chunk().expect("the caller takes the text's own length")
}

/// Panics end the call; their words go to the host's log first.
pub(crate) fn log_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
            let words = panic.payload_as_str().unwrap_or("no message");
            crate::log::error(words, &[("panic.at", place.as_deref().unwrap_or("unknown"))]);
        }));
    });
}
