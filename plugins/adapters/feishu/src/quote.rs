//! What a message quotes: the event names the quoted message, its words have to be fetched.
//!
//! A question without its quote is better than none: whatever goes wrong here is logged and nothing else.

use parlor_sdk::{Fault, Message, encoding::percent, json::Value, log};

use crate::{
    address::Address,
    api::{self, Answer},
    content::{self, Content, Mention},
};

/// More would push the question out of a small model's sight.
const QUOTE_CHARACTERS_MAX: usize = 4_000;
/// Messages of a bundle that was forwarded.
const FORWARDED_MAX: usize = 50;

/// Puts the quoted words in, and what came with them.
pub fn enrich(mut message: Message) -> Message {
    let parent = Address::decode(&message.address).ok().flatten().and_then(|address| address.parent);
    let Some(parent) = parent else { return message };
    match fetch(&parent) {
        Ok(quoted) => {
            message.quoted = Some(quoted.text.chars().take(QUOTE_CHARACTERS_MAX).collect());
            message.attachments.extend(quoted.attachments);
        }
        Err(fault) => log::warn(
            "the quoted message cannot be read; the question goes on without it",
            &[("reason", &fault.reason)],
        ),
    }
    message
}

fn fetch(parent: &str) -> Result<Content, Fault> {
    match ask(parent)? {
        Answer::Refused(refusal) if refusal.is_stale_token() => {
            api::expire_token()?;
            read(parent, ask(parent)?)
        }
        answer => read(parent, answer),
    }
}

fn ask(parent: &str) -> Result<Answer, Fault> {
    let path = format!("/open-apis/im/v1/messages/{}", percent(parent));
    api::send(api::request("GET", &path)?.limit_key(parent))
}

fn read(parent: &str, answer: Answer) -> Result<Content, Fault> {
    let data = match answer {
        Answer::Done(data) => data,
        Answer::Refused(refusal) => return Err(refusal.fault()),
    };
    let items = data.get("items").map(Value::items).unwrap_or_default();
    let (first, rest) = items.split_first().ok_or_else(|| Fault::gone("the quoted message is no more"))?;
    let mut quoted = one(parent, first);
    // A bundle's own messages come behind it.
    for item in rest.iter().take(FORWARDED_MAX) {
        let item = one(parent, item);
        quoted.text = format!("{}\n{}", quoted.text, item.text);
        quoted.attachments.extend(item.attachments);
    }
    if quoted.text.is_empty() {
        let named = |name: &Option<String>| name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let names: Vec<String> = quoted
            .attachments
            .iter()
            .map(|file| format!("[{:?}{}]", file.kind, named(&file.name)).to_lowercase())
            .collect();
        quoted.text = names.join(" ");
    }
    Ok(quoted)
}

fn one(parent: &str, item: &Value) -> Content {
    if item.get("deleted").and_then(Value::as_bool) == Some(true) {
        return Content { text: "[a message that was taken back]".to_owned(), attachments: Vec::new() };
    }
    let mentions: Vec<Mention> =
        item.get("mentions").map(Value::items).unwrap_or_default().iter().filter_map(Mention::read).collect();
    let body = item.get("body").and_then(|body| body.text("content")).unwrap_or_default();
    content::read(item.text("msg_type").unwrap_or_default(), body, parent, &mentions)
}
