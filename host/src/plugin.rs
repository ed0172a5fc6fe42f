//! Plugins: WebAssembly components behind the contract of `wit/`.

pub mod manifest;
pub mod secrets;
pub mod services;
