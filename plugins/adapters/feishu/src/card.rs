//! What a reply looks like: a card of one markdown element, or plain text; cut into parts that fit.
//!
//! Models repeat what they read: nothing here lets a text mention anybody, or show a picture that the platform
//! does not know, for which it would refuse the whole card.

use parlor_sdk::{
    Reply,
    json::{Value, object},
    text,
};

/// The element that grows.
pub const ELEMENT: &str = "answer";
/// What a card shows that has no words yet.
pub const WAITING: &str = "…";
/// A card may have 30 KB as JSON; this leaves room for what is around the words.
pub const CARD_BYTES_MAX: usize = 24_000;
/// A request to a custom group robot may have 20 KB.
pub const ROBOT_BYTES_MAX: usize = 15_000;
/// What lists of chats show of a card.
const SUMMARY_CHARACTERS_MAX: usize = 80;

/// A reply in parts of at most so many bytes, counted as JSON writes them.
pub fn split(reply: &Reply, bytes_max: usize) -> Vec<String> {
    let title = reply.title.as_deref().map(|title| title.trim()).filter(|title| !title.is_empty());
    let title = title.map(|title| format!("**{title}**\n\n")).unwrap_or_default();
    split_text(&format!("{title}{}", reply.text), bytes_max)
}

/// The same of words alone.
pub fn split_text(markdown: &str, bytes_max: usize) -> Vec<String> {
    let shown: String = markdown.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let weigh = |grapheme: &str| {
        grapheme.bytes().map(|byte| if matches!(byte, b'"' | b'\\' | b'\n' | b'\t') { 2 } else { 1 }).sum()
    };
    text::split_by(&quieten(&unpicture(&shown)), bytes_max, weigh)
}

/// Makes links of pictures, except in code: a card takes pictures by the platform's own keys alone.
fn unpicture(markdown: &str) -> String {
    let mut fence: Option<&str> = None;
    let mut out = String::with_capacity(markdown.len());
    for line in markdown.split_inclusive('\n') {
        let bare = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| bare.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            _ => {}
        }
        match fence.or(marker) {
            Some(_) => out.push_str(line),
            None => out.push_str(&line.replace("![", "[")),
        }
    }
    out
}

/// Puts a zero-width space into every tag that would mention somebody, above all everybody.
fn quieten(markdown: &str) -> String {
    let mut quiet = String::with_capacity(markdown.len());
    for (offset, character) in markdown.char_indices() {
        quiet.push(character);
        if character == '<' && mentions(&markdown[offset + 1..]) {
            quiet.push('\u{200b}');
        }
    }
    quiet
}

/// Whether a tag's name comes next that stands for a person: `<at id=all>`, `<at user_id="all">`, `<person …>`.
fn mentions(behind: &str) -> bool {
    let behind = behind.trim_start_matches(|c: char| c == '/' || c.is_whitespace());
    ["at", "person"].iter().any(|name| {
        let starts = behind.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        starts && !behind[name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

/// The content of a card that grows.
pub fn growing(markdown: &str) -> Value {
    card(markdown, [("streaming_mode", true.into()), ("summary", summary(WAITING))])
}

/// The content of a card that stays as it is, or that is replaced as a whole.
pub fn whole(markdown: &str) -> Value {
    card(markdown, [("streaming_mode", false.into()), ("summary", summary(markdown))])
}

/// Switches a card's growth on or off. Off, lists of chats show how the answer begins.
pub fn settings(grows: bool, markdown: &str) -> String {
    let shown = if grows { summary(WAITING) } else { summary(markdown) };
    let config = object([("streaming_mode", grows.into()), ("summary", shown)]);
    object([("config", config)]).canonical()
}

/// JSON 2.0; `update_multi`: all who see it see its updates.
fn card<const N: usize>(markdown: &str, config: [(&str, Value); N]) -> Value {
    let config = object(config.into_iter().chain([("update_multi", true.into())]));
    let element =
        object([("tag", "markdown".into()), ("element_id", ELEMENT.into()), ("content", markdown.into())]);
    let body = object([("elements", Value::Array(vec![element]))]);
    object([("schema", "2.0".into()), ("config", config), ("body", body)])
}

fn summary(markdown: &str) -> Value {
    let plain: String = markdown.chars().filter(|c| !matches!(c, '#' | '*' | '`' | '>')).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(SUMMARY_CHARACTERS_MAX).collect();
    object([("content", short.into())])
}
