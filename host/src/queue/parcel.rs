//! A message as it lies in a queue: sealed, since it holds what people wrote and where replies go.
//!
//! Only a host with the same `auth.jwt_secret` opens it, so that nobody else's message is taken for one of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::QueueError;
use crate::message::Message;
use crate::store::vault::Vault;

/// The place that a sealed parcel belongs to.
const CONTEXT: &[u8] = b"parcel";

/// A verified message on its way to the run that answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    pub channel: String,
    pub message: Message,
    /// Follows the turn through every log line.
    pub request_id: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record was not put into the queue by this host, or `auth.jwt_secret` is another one")]
pub struct NotOurs;

#[derive(Serialize, Deserialize)]
struct Written {
    channel: String,
    message: Message,
    address: String,
    request_id: String,
}

impl Parcel {
    /// The same for all parcels of one conversation, and tells nothing of it.
    pub fn group(&self) -> String {
        digest(&self.channel, &self.message.conversation)
    }

    /// The same each time that a platform sends this message.
    pub fn id(&self) -> String {
        digest(&self.channel, &self.message.id)
    }
}

/// Hexadecimal, 64 characters.
fn digest(channel: &str, name: &str) -> String {
    let text = format!("{}\0{channel}\0{name}", channel.len());
    hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

/// Seals parcels and opens them.
#[derive(Debug, Clone)]
pub struct Wrapper(Vault);

impl Wrapper {
    /// From the secret that all runs of a function have in common.
    pub fn new(jwt_secret: &SecretString) -> Self {
        Self(Vault::derived(jwt_secret.expose_secret().as_bytes(), b"queue"))
    }

    /// base64 text.
    pub fn wrap(&self, parcel: &Parcel) -> Result<String, QueueError> {
        let written = Written {
            channel: parcel.channel.clone(),
            message: parcel.message.clone(),
            address: STANDARD.encode(&parcel.message.address),
            request_id: parcel.request_id.clone(),
        };
        let plain = serde_json::to_vec(&written).map_err(|_| QueueError::Seal)?;
        let sealed = self.0.seal(CONTEXT, &plain).map_err(|_| QueueError::Seal)?;
        Ok(STANDARD.encode(sealed))
    }

    pub fn unwrap(&self, text: &str) -> Result<Parcel, NotOurs> {
        let sealed = STANDARD.decode(text).map_err(|_| NotOurs)?;
        let plain = self.0.unseal(CONTEXT, &sealed).map_err(|_| NotOurs)?;
        let written: Written = serde_json::from_slice(&plain).map_err(|_| NotOurs)?;
        let address = STANDARD.decode(written.address).map_err(|_| NotOurs)?;
        let message = Message { address, ..written.message };
        Ok(Parcel { channel: written.channel, message, request_id: written.request_id })
    }
}
