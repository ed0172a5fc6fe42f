//! The adapter for Feishu and Lark: an app's events by HTTP callback in, replies as cards that grow in place,
//! or by a custom group robot, out.
//!
//! `verify` says who may, `receive` takes events in, `content` reads what a message holds, `quote` fetches what
//! it quotes. `deliver` sends replies with `card` (what they look like) and `api` (requests, and what answers
//! mean); `robot` is the way through a custom group robot. What the platform's documentation leaves open is
//! decided in the README. Knows nothing of models or other platforms.

use parlor_sdk::{
    Adapter, Delivered, Fault, HttpRequest, Message, Reception, Reply, adapter::Download, register_adapter,
};

mod address;
mod api;
mod card;
mod checkpoint;
mod content;
mod deliver;
mod quote;
mod receive;
mod robot;
mod verify;

/// Feishu and Lark, by HTTP callback.
#[derive(Default)]
pub struct Feishu;

impl Adapter for Feishu {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        receive::receive(request)
    }

    fn enrich(&self, message: Message) -> Result<Message, Fault> {
        Ok(quote::enrich(message))
    }

    fn update(&self, address: &[u8], key: &str, checkpoint: Vec<u8>, text: &str) -> Result<Vec<u8>, Fault> {
        deliver::update(address, key, checkpoint, text)
    }

    fn finish(
        &self,
        address: &[u8],
        key: &str,
        checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Delivered, Fault> {
        deliver::finish(address, key, checkpoint, reply)
    }

    fn locate(&self, reference: &str) -> Result<Download, Fault> {
        content::locate(reference)
    }
}

register_adapter!(Feishu);
