//! A message in the form that a store keeps: JSON that operators may read, and an address that they may not.
//!
//! It does not know rows or keys; each store has its own.

use serde::{Deserialize, Serialize};

use super::vault::Vault;
use super::{Incoming, StoreError, Via};
use crate::clock::Millis;
use crate::message::{Message, Reply};

/// A message on its way in.
#[derive(Debug)]
pub struct Letter {
    pub id: String,
    pub conversation: String,
    /// JSON, without the address.
    pub message: String,
    /// Sealed.
    pub address: Vec<u8>,
    pub request_id: String,
    pub hold_until: Option<Millis>,
    pub is_awaited: bool,
    pub due_at: Option<Millis>,
}

/// A message as it is written. Earlier versions pass over what they do not know.
#[derive(Serialize, Deserialize)]
struct Written<M> {
    #[serde(flatten)]
    message: M,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<Reply>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    via: Option<WrittenVia>,
    /// An operator had it tried once more: it came then, whenever it was sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// Whose channel it is anybody may read, but not the address.
#[derive(Serialize, Deserialize)]
struct WrittenVia {
    channel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
    /// Sealed; hex.
    address: String,
}

/// What a row's column tells of a message.
pub struct Told {
    /// With its address.
    pub message: Message,
    pub settled: Option<Reply>,
    pub via: Option<Via>,
}

impl Letter {
    /// Seals the address and writes the rest as JSON.
    pub fn new(vault: &Vault, channel: &str, incoming: Incoming) -> Result<Letter, StoreError> {
        let Incoming { message, request_id, hold_delivery_until, settled, via, is_awaited, due_at } =
            incoming;
        let via = via.map(|via| WrittenVia::seal(vault, channel, &message.id, via)).transpose()?;
        Ok(Letter {
            address: vault.seal(&place(channel, &message.id), &message.address)?,
            message: to_json(&Written { message: &message, settled, via, replayed: false })?,
            id: message.id,
            conversation: message.conversation,
            request_id,
            hold_until: hold_delivery_until,
            is_awaited,
            due_at,
        })
    }
}

impl WrittenVia {
    fn seal(vault: &Vault, channel: &str, message_id: &str, via: Via) -> Result<Self, StoreError> {
        let address = hex::encode(vault.seal(&place_via(channel, message_id), &via.address)?);
        Ok(Self { channel: via.channel, conversation: via.conversation, address })
    }

    /// None: it was changed, or sealed by another key.
    fn unseal(self, vault: &Vault, channel: &str, message_id: &str) -> Option<Via> {
        let sealed = hex::decode(&self.address).ok()?;
        let address = vault.unseal(&place_via(channel, message_id), &sealed).ok()?;
        Some(Via { address, ..self.named() })
    }

    /// Without its address.
    fn named(self) -> Via {
        Via { channel: self.channel, conversation: self.conversation, address: Vec::new() }
    }
}

/// Binds a sealed address to its row. The length keeps channel and id apart.
fn place(channel: &str, message_id: &str) -> Vec<u8> {
    format!("address {} {channel}{message_id}", channel.len()).into_bytes()
}

fn place_via(channel: &str, message_id: &str) -> Vec<u8> {
    format!("via {} {channel}{message_id}", channel.len()).into_bytes()
}

/// The address of a row by itself.
pub fn read_address(vault: &Vault, channel: &str, id: &str, address: &[u8]) -> Result<Vec<u8>, &'static str> {
    vault.unseal(&place(channel, id), address).map_err(|_| UNSEALED)
}

const UNSEALED: &str = "the stored address was changed or sealed by another key";

/// A message with its address, what is said to it if that is settled, and the way of its reply. When one that was
/// replayed was sent is not told.
pub fn read_message(
    vault: &Vault,
    channel: &str,
    id: &str,
    json: &str,
    address: &[u8],
) -> Result<Told, &'static str> {
    let Written { mut message, settled, via, replayed } =
        serde_json::from_str::<Written<Message>>(json).map_err(|_| "the stored message cannot be read")?;
    message.address = read_address(vault, channel, id, address)?;
    message.sent_at_ms = message.sent_at_ms.filter(|_| !replayed);
    let via = via.map(|via| via.unseal(vault, channel, id).ok_or(UNSEALED)).transpose()?;
    Ok(Told { message, settled, via })
}

/// The same as an operator may read it: without addresses.
pub fn read_named(json: &str) -> Option<(Message, Option<Via>)> {
    let Written { message, via, .. } = serde_json::from_str::<Written<Message>>(json).ok()?;
    Some((message, via.map(WrittenVia::named)))
}

/// JSON of a noun of ours.
pub fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    // The error's own text may quote what was said.
    serde_json::to_string(value).map_err(|_| StoreError::Unusable("a value has no JSON form".to_owned()))
}
