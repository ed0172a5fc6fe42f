//! An adapter that does each evil thing by its name, so that tests see what it can hurt and what it can find out.
//!
//! What the request's path names is done at once: `/trap`. What it names below `/later` is done when the reply is
//! delivered, where HTTP and the store can be reached: `/later/flood`, with the request's body as its argument. It
//! verifies nobody, and no server should ever load it.
//!
//! `misdeeds` hurts, `caller` calls where it may not, `thief` derives secrets. What the host makes of each stands in
//! `host/tests/isolation.rs` and its `thieves`, and in `guests` and `egress` of `host/tests/faults/`.

mod caller;
mod misdeeds;
mod thief;

use parlor_sdk::{
    Adapter, Delivered, Fault, HttpRequest, HttpResponse, Message, Reception, Reply, log, register_adapter,
};

#[derive(Default)]
struct Unruly;

impl Adapter for Unruly {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        match request.path.strip_prefix("/later/") {
            Some(deed) => {
                let id = request.header("x-request-id").unwrap_or(deed);
                let address = [id.as_bytes(), b"\n", deed.as_bytes(), b"\n", &request.body].concat();
                let message = Message::new(id, id, "person-canary", "canary");
                Ok(Reception::accept(Message { address, ..message }))
            }
            None => misdeeds::at_once(&request.path),
        }
    }

    /// Does what the address names, and says in the log what came of it.
    fn finish(
        &self,
        address: &[u8],
        _key: &str,
        _checkpoint: &[u8],
        _reply: &Reply,
    ) -> Result<Delivered, Fault> {
        let address = String::from_utf8_lossy(address);
        let mut lines = address.splitn(3, '\n');
        let [id, deed, argument] = [lines.next(), lines.next(), lines.next()].map(Option::unwrap_or_default);
        let outcome = match deed.split_once('/') {
            Some(("call", how)) => caller::call(how, argument),
            Some(("steal", how)) => thief::steal(how, argument),
            _ => misdeeds::later(deed)?,
        };
        log::info("deed done", &[("id", id), ("outcome", &outcome)]);
        Ok(Delivered::done())
    }
}

/// An answer of plain text.
fn say(text: &str) -> Reception {
    Reception::Answer(HttpResponse::text(200, text))
}

register_adapter!(Unruly);
