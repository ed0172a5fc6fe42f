//! A message in the form of its row: JSON that operators may read, and an address that they may not.

use serde::{Deserialize, Serialize};

use super::stamp;
use crate::message::{Message, Reply};
use crate::store::vault::Vault;
use crate::store::{Incoming, StoreError};

/// A message in the form of its row.
#[derive(Debug)]
pub struct Letter {
    pub id: String,
    pub conversation: String,
    pub message: String,
    pub address: Vec<u8>,
    pub request_id: String,
    pub hold_until: Option<i64>,
}

/// A message as its column has it. Earlier versions pass over what they do not know.
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
        let Incoming { message, request_id, hold_delivery_until, settled } = incoming;
        Ok(Letter {
            address: vault.seal(&place(channel, &message.id), &message.address)?,
            message: to_json(&Written { message: &message, settled })?,
            id: message.id,
            conversation: message.conversation,
            request_id,
            hold_until: hold_delivery_until.map(stamp),
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
pub fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    // The error's own text may quote what was said.
    serde_json::to_string(value).map_err(|_| StoreError::Unusable("a value has no JSON form".to_owned()))
}
