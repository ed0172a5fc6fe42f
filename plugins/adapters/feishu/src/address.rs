//! Where a reply goes: the message that it answers, and the chat that message stands in.

use parlor_sdk::{
    Fault,
    json::{Value, object},
};

/// Made from a verified event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Address {
    /// The message that is answered.
    pub message: String,
    /// Its chat: what may be sent there is counted by it.
    pub chat: String,
    /// The message that it quotes.
    pub parent: Option<String>,
    /// It stands in a thread, and so does the answer.
    pub in_thread: bool,
}

impl Address {
    /// As the host keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            ("message", self.message.as_str().into()),
            ("chat", self.chat.as_str().into()),
            ("parent", self.parent.clone().into()),
            ("in_thread", self.in_thread.into()),
        ];
        object(fields).canonical().into_bytes()
    }

    /// None for the channel's default destination.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let Some(fields) = decode(bytes)? else { return Ok(None) };
        let text = |name: &str| fields.text(name).map(str::to_owned);
        Ok(Some(Self {
            message: text("message").ok_or_else(foreign)?,
            chat: text("chat").unwrap_or_default(),
            parent: text("parent"),
            in_thread: fields.get("in_thread").and_then(Value::as_bool).unwrap_or_default(),
        }))
    }
}

/// What this plugin wrote earlier; none for no bytes.
pub fn decode(bytes: &[u8]) -> Result<Option<Value>, Fault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Value::read_bytes(bytes).map(Some).map_err(|_| foreign())
}

fn foreign() -> Fault {
    Fault::internal("an address or a checkpoint is not one that this plugin wrote")
}
