//! A message in the form that a store keeps: JSON that operators may read, and an address that they may not.
//!
//! It does not know rows or keys; each store has its own.

use serde::{Deserialize, Serialize};

use super::vault::Vault;
use super::{Incoming, StoreError};
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
}

/// A message as it is written. Earlier versions pass over what they do not know.
#[derive(Serialize, Deserialize)]
struct Written<M> {
    #[serde(flatten)]
    message: M,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<Reply>,
}

impl Letter {
    /// Seals the address and writes the rest as JSON.
    pub fn new(vault: &Vault, channel: &str, incoming: Incoming) -> Result<Letter, StoreError> {
        let Incoming { message, request_id, hold_delivery_until, settled, is_awaited } = incoming;
        Ok(Letter {
            address: vault.seal(&place(channel, &message.id), &message.address)?,
            message: to_json(&Written { message: &message, settled })?,
            id: message.id,
            conversation: message.conversation,
            request_id,
            hold_until: hold_delivery_until,
            is_awaited,
        })
    }
}

/// Binds a sealed address to its row. The length keeps channel and id apart.
fn place(channel: &str, message_id: &str) -> Vec<u8> {
    format!("address {} {channel}{message_id}", channel.len()).into_bytes()
}

/// A message with its address, and what is said to it if that is settled.
pub fn read_message(
    vault: &Vault,
    channel: &str,
    id: &str,
    json: &str,
    address: &[u8],
) -> Result<(Message, Option<Reply>), &'static str> {
    let Written { mut message, settled } =
        serde_json::from_str::<Written<Message>>(json).map_err(|_| "the stored message cannot be read")?;
    message.address = vault
        .unseal(&place(channel, id), address)
        .map_err(|_| "the stored address was changed or sealed by another key")?;
    Ok((message, settled))
}

/// JSON of a noun of ours.
pub fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    // The error's own text may quote what was said.
    serde_json::to_string(value).map_err(|_| StoreError::Unusable("a value has no JSON form".to_owned()))
}
