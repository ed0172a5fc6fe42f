//! The adapter for anything that can send a signed HTTP request: an envelope with a signature
//! inside, or any body with a signature in its headers.
//!
//! `receive` takes a request in, `verify` says who may, `deliver` hands the reply over. JSON is read
//! once, so that what is verified and what is read are one and the same. Knows no platform.

use parlor_sdk::{
    Adapter, Delivered, Fault, HttpRequest, Presentation, Reception, Reply, Snapshot, register_adapter,
};

mod deliver;
mod receive;
mod verify;

/// The generic webhook.
#[derive(Default)]
pub struct Webhook;

impl Adapter for Webhook {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        receive::receive(request)
    }

    fn present(&self, context: &[u8], snapshot: Option<Snapshot>) -> Presentation {
        deliver::present(context, snapshot)
    }

    fn finish(
        &self,
        address: &[u8],
        key: &str,
        _checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Delivered, Fault> {
        deliver::push(address, key, reply)
    }
}

register_adapter!(Webhook);
