//! What the platform sends: events, sealed and signed, and its first call to an address.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{APP_ID, BOT_OPEN_ID, ENCRYPT_KEY, OpenPlatform, VERIFICATION_TOKEN, message};
use crate::support::client;
use crate::support::requests::hmac_sha256;

/// One request to a host's webhook, ready to be sent, and sent again.
#[derive(Debug, Clone)]
pub struct Event {
    /// The message that it is about.
    pub message: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Event {
    /// Sends it once: status and body.
    pub async fn post(&self, url: &str) -> (u16, String) {
        let mut request = client().post(url).header("content-type", "application/json; charset=utf-8");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.body(self.body.clone()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// As the official library's tests take it.
    pub fn as_case(&self) -> Value {
        let headers: serde_json::Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({ "headers": headers, "body": self.body })
    }
}

/// What the app's encrypt key makes of a body.
pub fn seal(plain: &str, vector: [u8; 16]) -> String {
    let key = Sha256::digest(ENCRYPT_KEY);
    let cipher = cbc::Encryptor::<Aes256>::new_from_slices(&key, &vector).unwrap();
    let sealed = cipher.encrypt_padded_vec::<Pkcs7>(plain.as_bytes());
    json!({ "encrypt": STANDARD.encode([vector.as_slice(), &sealed].concat()) }).to_string()
}

/// The three headers over a body as it is sent.
pub fn sign(body: &str, timestamp: &str, nonce: &str) -> Vec<(String, String)> {
    let signature = hex::encode(Sha256::digest(format!("{timestamp}{nonce}{ENCRYPT_KEY}{body}")));
    [
        ("X-Lark-Request-Timestamp", timestamp),
        ("X-Lark-Request-Nonce", nonce),
        ("X-Lark-Signature", signature.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The HMAC of nothing, under seconds, a line feed and the secret.
pub fn robot_sign(secret: &str, timestamp: &str) -> String {
    STANDARD.encode(hmac_sha256(&format!("{timestamp}\n{secret}"), b""))
}

impl OpenPlatform {
    /// A direct message of the person whose chat this is.
    pub fn direct(&self, chat: &str, text: &str) -> Event {
        self.said(chat, json!({ "chat_type": "p2p", "content": json!({ "text": text }).to_string() }))
    }

    /// A message in a group that names the bot.
    pub fn group(&self, chat: &str, text: &str, more: Value) -> Event {
        let bot = json!({ "key": "@_user_1", "id": { "open_id": BOT_OPEN_ID, "union_id": "on_bot", "user_id": "" },
            "mentioned_type": "bot", "name": "Bot", "tenant_key": "tenant" });
        let mut fields = json!({ "chat_type": "group", "mentions": [bot],
            "content": json!({ "text": format!("@_user_1 {text}") }).to_string() });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.said(chat, fields)
    }

    /// A message of somebody, kept as the platform keeps it.
    fn said(&self, chat: &str, fields: Value) -> Event {
        let (number, now) = (self.next(), self.now_ms());
        let id = format!("om_{number:032x}");
        let mut said = json!({ "message_id": id, "chat_id": chat, "message_type": "text",
            "create_time": now.to_string(), "update_time": now.to_string() });
        said.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let kept = message::Message::of_person(number, chat, &said, now);
        self.world().messages.insert(id.clone(), kept);
        let ids = json!({ "union_id": "on_person-canary", "open_id": format!("ou_person-canary-{chat}"), "user_id": "" });
        let sender = json!({ "sender_id": ids, "sender_type": "user", "tenant_key": "tenant" });
        self.event("im.message.receive_v1", &id, json!({ "sender": sender, "message": said }))
    }

    /// The person took a message back.
    pub fn recall(&self, message: &str) -> Event {
        if let Some(kept) = self.world().messages.get_mut(message) {
            kept.is_recalled = true;
        }
        let event = json!({ "message_id": message, "chat_id": "oc", "recall_type": "message_owner" });
        self.event("im.message.recalled_v1", message, event)
    }

    /// Any event, sealed and signed as the platform does it.
    pub fn event(&self, kind: &str, message: &str, event: Value) -> Event {
        let header = json!({ "event_id": format!("{:032x}", self.next()), "event_type": kind, "app_id": APP_ID,
            "create_time": self.now_ms().to_string(), "token": VERIFICATION_TOKEN, "tenant_key": "tenant" });
        let plain = json!({ "schema": "2.0", "header": header, "event": event }).to_string();
        Event { message: message.to_owned(), ..self.signed(&plain) }
    }

    pub fn signed(&self, plain: &str) -> Event {
        let vector = u128::from(self.next()).to_be_bytes();
        let body = seal(plain, vector);
        let (timestamp, nonce) = ((self.now_ms() / 1000).to_string(), self.next().to_string());
        Event { message: String::new(), headers: sign(&body, &timestamp, &nonce), body }
    }

    /// Signed, and not sealed: the platform never does it.
    pub fn signed_in_the_clear(&self, plain: &str) -> Event {
        let (timestamp, nonce) = ((self.now_ms() / 1000).to_string(), self.next().to_string());
        Event { message: String::new(), headers: sign(plain, &timestamp, &nonce), body: plain.to_owned() }
    }

    /// The first call to an address: sealed, and not signed.
    pub fn challenge(&self, challenge: &str, token: &str) -> Event {
        let plain = json!({ "challenge": challenge, "token": token, "type": "url_verification" });
        let vector = u128::from(self.next()).to_be_bytes();
        Event { message: String::new(), headers: Vec::new(), body: seal(&plain.to_string(), vector) }
    }
}
