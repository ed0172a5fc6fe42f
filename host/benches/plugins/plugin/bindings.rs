//! The host's own sources; see `host/src/plugin/bindings.rs`.

#[path = "../../../src/plugin/bindings/adapter.rs"]
pub mod adapter;
#[path = "../../../src/plugin/bindings/connection.rs"]
pub mod connection;
#[path = "../../../src/plugin/bindings/convert.rs"]
pub mod convert;
#[path = "../../../src/plugin/bindings/host.rs"]
pub mod host;
#[path = "../../../src/plugin/bindings/pipeline.rs"]
pub mod pipeline;
