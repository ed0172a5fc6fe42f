//! The contract's generated types, and their conversion to and from `message`. They go no further.
//!
//! One module for each frozen world; the host's side of the imports is implemented once, in `host`.

pub mod adapter;
pub mod connection;
pub mod convert;
pub mod host;
pub mod pipeline;
