//! Cards: what a card may hold, and those that have a life of their own and grow.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::message::CARD_BYTES_MAX;
use super::{Code, OpenPlatform, Outcome};

/// A card grows for so long after its growth was switched on.
const STREAM_LIFE_MS: u64 = 600_000;
const TABLES_MAX: usize = 5;
const CONTENT_CHARACTERS_MAX: usize = 100_000;
const NO_CARD: Code = 200_740;
const NO_ELEMENT: Code = 300_313;
const BAD_CARD: Code = 300_301;

#[derive(Debug, Clone)]
enum Stream {
    Until(u64),
    /// Nobody was told yet that its time is over.
    Closed,
}

/// A card with a life of its own.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub data: Value,
    pub is_sent: bool,
    sequence: i64,
    stream: Stream,
    /// Keys of what was done already.
    keys: BTreeSet<String>,
}

impl Card {
    pub fn grows(&self, now_ms: u64) -> bool {
        matches!(self.stream, Stream::Until(until) if now_ms < until)
    }

    fn switch(&mut self, is_on: bool, now_ms: u64) {
        self.data["config"]["streaming_mode"] = json!(is_on);
        self.stream = if is_on { Stream::Until(now_ms + STREAM_LIFE_MS) } else { Stream::Closed };
    }
}

/// Whether the platform would show this card.
pub(super) fn check(card: &Value) -> Result<(), Code> {
    let elements = card["body"]["elements"].as_array().ok_or(230_099)?;
    if card["schema"] != "2.0" || elements.is_empty() {
        return Err(230_099);
    }
    let mut ids = BTreeSet::new();
    for element in elements {
        let content = element["content"].as_str().filter(|_| element["tag"] == "markdown").ok_or(230_099)?;
        let is_new = element["element_id"].as_str().is_none_or(|id| ids.insert(id));
        if !is_new || shows_strange_pictures(content) || tables(content) > TABLES_MAX {
            return Err(230_099);
        }
    }
    Ok(())
}

/// Pictures go by the platform's own keys.
fn shows_strange_pictures(markdown: &str) -> bool {
    let mut in_code = false;
    markdown.lines().any(|line| {
        in_code ^= line.trim_start().starts_with("```");
        !in_code && line.contains("![") && !line.contains("](img_")
    })
}

fn tables(markdown: &str) -> usize {
    markdown.lines().filter(|line| line.starts_with("|--") || line.starts_with("| --")).count()
}

/// The words of a card.
pub(super) fn words(card: &Value) -> String {
    let elements = card["body"]["elements"].as_array();
    elements.into_iter().flatten().filter_map(|element| element["content"].as_str()).collect()
}

/// A card's JSON inside a text.
fn read(fields: &Value) -> Result<Value, Code> {
    let text = fields["data"].as_str().filter(|_| fields["type"] == "card_json").ok_or(BAD_CARD)?;
    let card: Value = serde_json::from_str(text).map_err(|_| BAD_CARD)?;
    if text.len() > CARD_BYTES_MAX {
        return Err(BAD_CARD);
    }
    check(&card).map_err(|_| BAD_CARD)?;
    Ok(card)
}

impl OpenPlatform {
    /// `POST …/cards`
    pub(super) fn create_card(&self, fields: &Value) -> Outcome {
        self.check_scope("cardkit:card:write")?;
        let data = read(fields)?;
        let id = format!("73553727661{:08}", self.next());
        let grows = data["config"]["streaming_mode"] == true;
        let mut card =
            Card { data, is_sent: false, sequence: 0, stream: Stream::Closed, keys: BTreeSet::new() };
        card.switch(grows, self.now_ms());
        self.world().cards.insert(id.clone(), card);
        Ok(json!({ "card_id": id }))
    }

    /// Does one numbered operation, unless its key was seen before: then it is done.
    fn operate(
        &self,
        id: &str,
        fields: &Value,
        act: impl FnOnce(&mut Card, u64) -> Result<(), Code>,
    ) -> Outcome {
        self.check_scope("cardkit:card:write")?;
        let (now, mut world) = (self.now_ms(), self.world());
        let card = world.cards.get_mut(id).ok_or(NO_CARD)?;
        let key = fields["uuid"].as_str().unwrap_or_default().to_owned();
        if !key.is_empty() && card.keys.contains(&key) {
            return Ok(json!({}));
        }
        let sequence = fields["sequence"].as_i64().ok_or(99_992_402)?;
        if sequence <= card.sequence || sequence > i64::from(i32::MAX) {
            return Err(300_317);
        }
        act(card, now)?;
        card.sequence = sequence;
        card.keys.insert(key);
        Ok(json!({}))
    }

    /// `PUT …/cards/{id}/elements/{element}/content`
    pub(super) fn write_card(&self, id: &str, element: &str, fields: &Value) -> Outcome {
        let content =
            fields["content"].as_str().filter(|text| !text.is_empty()).ok_or(99_992_402)?.to_owned();
        if content.chars().count() > CONTENT_CHARACTERS_MAX {
            return Err(99_992_402);
        }
        self.operate(id, fields, |card, now| {
            match card.stream {
                Stream::Until(until) if now < until => {}
                Stream::Until(_) => {
                    card.stream = Stream::Closed;
                    return Err(200_850);
                }
                Stream::Closed => return Err(300_309),
            }
            let elements = card.data["body"]["elements"].as_array_mut().ok_or(NO_ELEMENT)?;
            let found = elements.iter_mut().find(|found| found["element_id"] == element).ok_or(NO_ELEMENT)?;
            if shows_strange_pictures(&content) || tables(&content) > TABLES_MAX {
                return Err(230_099);
            }
            found["content"] = json!(content);
            Ok(())
        })
    }

    /// `PATCH …/cards/{id}/settings`
    pub(super) fn set_card(&self, id: &str, fields: &Value) -> Outcome {
        let settings = fields["settings"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let settings = settings.ok_or(99_992_402)?;
        self.operate(id, fields, |card, now| {
            if let Some(is_on) = settings["config"]["streaming_mode"].as_bool() {
                card.switch(is_on, now);
            }
            if settings["config"]["summary"].is_object() {
                card.data["config"]["summary"] = settings["config"]["summary"].clone();
            }
            Ok(())
        })
    }

    /// `PUT …/cards/{id}`
    pub(super) fn rewrite_card(&self, id: &str, fields: &Value) -> Outcome {
        let data = read(&fields["card"])?;
        self.operate(id, fields, |card, now| {
            let grows = data["config"]["streaming_mode"] == true;
            card.data = data;
            card.switch(grows, now);
            Ok(())
        })
    }
}
