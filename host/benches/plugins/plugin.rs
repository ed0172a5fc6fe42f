//! The host's plugin module as this program sees it, with its glue to the contract built in once more.
//!
//! The host keeps that glue to itself. Here it links an instance that lives through many calls, which the host never
//! does, so that both sides of the comparison run the same code.

pub use parlor::plugin::*;

#[allow(dead_code, reason = "the host uses all of it, the bench a part")]
pub mod bindings;
