//! Messages: replies and their keys, cards that are replaced, and what is told of a message that was sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::card::{self, Card};
use super::{BOT_OPEN_ID, CHAT_A_SECOND, Code, KEY_BYTES_MAX, OpenPlatform, Outcome, SECOND_MS, Seen};

const KEY_LIFE_MS: u64 = 3_600_000;
const TEXT_BYTES_MAX: usize = 150 << 10;
pub(super) const CARD_BYTES_MAX: usize = 30 << 10;
const REPLACE_LIFE_MS: u64 = 14 * 86_400_000;

#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Messages in the order in which they came.
    pub number: u64,
    pub chat: String,
    /// The message that this one answers.
    pub to: String,
    pub is_own: bool,
    pub is_recalled: bool,
    kind: String,
    content: Value,
    mentions: Value,
    at_ms: u64,
}

impl Message {
    pub fn of_person(number: u64, chat: &str, said: &Value, at_ms: u64) -> Self {
        let content = said["content"].as_str().and_then(|text| serde_json::from_str(text).ok());
        Self {
            number,
            chat: chat.to_owned(),
            to: String::new(),
            is_own: false,
            is_recalled: false,
            kind: said["message_type"].as_str().unwrap_or_default().to_owned(),
            content: content.unwrap_or_default(),
            mentions: said["mentions"].clone(),
            at_ms,
        }
    }

    /// As a person sees it now.
    pub fn seen(&self, cards: &BTreeMap<String, Card>, now_ms: u64) -> Seen {
        let card = self.card().and_then(|id| cards.get(id));
        let (text, grows) = match card {
            Some(card) => (card::words(&card.data), card.grows(now_ms)),
            None if self.kind == "text" => {
                (self.content["text"].as_str().unwrap_or_default().to_owned(), false)
            }
            None => (card::words(&self.content), false),
        };
        Seen { text, kind: self.kind.clone(), grows }
    }

    /// The card that it shows, if that is one of its own.
    fn card(&self) -> Option<&str> {
        self.content["data"]["card_id"].as_str()
    }
}

impl OpenPlatform {
    /// `POST …/messages/{id}/reply`
    pub(super) fn reply(&self, id: &str, fields: &Value) -> Outcome {
        self.check_scope("im:message:send_as_bot")?;
        let (now, number) = (self.now_ms(), self.next());
        let mut world = self.world();
        let asked = world.messages.get(id).ok_or(231_003)?;
        if asked.is_recalled {
            return Err(230_011);
        }
        let chat = asked.chat.clone();
        let key = fields["uuid"].as_str().unwrap_or_default().to_owned();
        if key.len() > KEY_BYTES_MAX {
            return Err(99_992_402);
        }
        if let Some((known, at_ms)) = world.keys.get(&key).filter(|_| !key.is_empty())
            && now - at_ms < KEY_LIFE_MS
        {
            return Ok(json!({ "message_id": known, "chat_id": chat }));
        }
        if !self.count(&mut world, format!("chat {chat}"), CHAT_A_SECOND, SECOND_MS) {
            return Err(230_020);
        }
        let kind = fields["msg_type"].as_str().unwrap_or_default();
        let content = read_content(kind, &fields["content"])?;
        if let Some(card) = content["data"]["card_id"].as_str() {
            let entity = world.cards.get_mut(card).ok_or(230_099)?;
            // A card of its own is sent once.
            if std::mem::replace(&mut entity.is_sent, true) {
                return Err(230_099);
            }
        }
        let message = format!("om_own_{number:028x}");
        let kept = Message {
            number,
            chat: chat.clone(),
            to: id.to_owned(),
            is_own: true,
            is_recalled: false,
            kind: kind.to_owned(),
            content,
            mentions: Value::Null,
            at_ms: now,
        };
        world.messages.insert(message.clone(), kept);
        world.keys.insert(key, (message.clone(), now));
        Ok(
            json!({ "message_id": message, "chat_id": chat, "msg_type": kind, "create_time": now.to_string() }),
        )
    }

    /// `PATCH …/messages/{id}`
    pub(super) fn replace(&self, id: &str, fields: &Value) -> Outcome {
        let content = read_content("interactive", &fields["content"])?;
        let (now, mut world) = (self.now_ms(), self.world());
        if !self.count(&mut world, format!("message {id}"), CHAT_A_SECOND, SECOND_MS) {
            return Err(230_020);
        }
        let message = world.messages.get_mut(id).filter(|message| message.is_own).ok_or(231_003)?;
        let is_shared = |card: &Value| card["config"]["update_multi"] == true;
        if message.card().is_some() || !is_shared(&message.content) || !is_shared(&content) {
            return Err(230_001);
        }
        if now - message.at_ms > REPLACE_LIFE_MS {
            return Err(230_031);
        }
        message.content = content;
        Ok(json!({}))
    }

    /// `GET …/messages/{id}`
    pub(super) fn tell(&self, id: &str) -> Outcome {
        self.check_scope("im:message:readonly")?;
        let world = self.world();
        let message = world.messages.get(id).ok_or(231_003)?;
        let mentions = message.mentions.as_array().map(|mentions| {
            let told = |mention: &Value| {
                json!({ "key": mention["key"], "id": mention["id"]["open_id"],
                "id_type": "open_id", "name": mention["name"] })
            };
            mentions.iter().map(told).collect::<Vec<_>>()
        });
        let sender = if message.is_own { BOT_OPEN_ID } else { "ou_person-canary" };
        let item = json!({ "message_id": id, "msg_type": message.kind, "chat_id": message.chat,
            "deleted": message.is_recalled, "mentions": mentions, "sender": { "id": sender, "id_type": "open_id" },
            "body": { "content": message.content.to_string() } });
        Ok(json!({ "items": [item] }))
    }
}

/// The content of a message, if it has the right form and size.
fn read_content(kind: &str, content: &Value) -> Result<Value, Code> {
    let text = content.as_str().ok_or(230_001)?;
    let value: Value = serde_json::from_str(text).map_err(|_| 230_001)?;
    let most = if kind == "text" { TEXT_BYTES_MAX } else { CARD_BYTES_MAX };
    if text.len() > most {
        return Err(230_025);
    }
    match kind {
        "text" if value["text"].as_str().is_some_and(|text| !text.is_empty()) => Ok(value),
        "interactive" if value["type"] == "card" => Ok(value),
        "interactive" => card::check(&value).map(|()| value),
        _ => Err(230_001),
    }
}
