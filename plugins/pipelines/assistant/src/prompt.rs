//! From a turn and the settings to a prompt.
//!
//! What callers bring along is shown as talk, never as instruction; attachments are named in
//! words, since a text model cannot see them.

use parlor_sdk::{
    Attachment, Fault, MediaKind, Message, Prompt, Role, Turn, Utterance,
    settings::{get, get_or},
};

const PERSONA: &str = "You are a helpful assistant in a chat. Answer plainly and briefly.";

/// Nothing was said, shown or quoted.
pub fn is_empty(message: &Message) -> bool {
    message.text.trim().is_empty() && message.attachments.is_empty() && message.quoted.is_none()
}

/// The prompt for this turn.
///
/// # Errors
/// A setting is of another type than the manifest says.
pub fn lay_out(turn: &Turn) -> Result<Prompt, Fault> {
    let mut messages = vec![Utterance::system(instructions()?)];
    messages.extend(earlier(turn)?);
    messages.push(Utterance::user(words(&turn.message)));
    Ok(Prompt {
        model: model(turn)?,
        max_tokens: get("max_tokens")?,
        temperature: get::<f64>("temperature")?.map(|temperature| temperature as f32),
        stop: get_or("stop", Vec::new())?,
        cacheable: get_or("cacheable", false)?,
        ..Prompt::new(messages)
    })
}

/// The turn's own model, which somebody chose, goes before the operator's usual one; the host knows it.
fn model(turn: &Turn) -> Result<Option<String>, Fault> {
    if turn.model().is_some() { Ok(None) } else { get("model") }
}

fn instructions() -> Result<String, Fault> {
    let mut text: String = get_or("persona", PERSONA.to_owned())?;
    if let Some(language) = get::<String>("language")? {
        text.push_str(&format!("\n\nAlways answer in {language}."));
    }
    Ok(text)
}

/// What was said before: the caller's own account if there is one, else what the host kept.
fn earlier(turn: &Turn) -> Result<Vec<Utterance>, Fault> {
    let context = &turn.message.context;
    let past = if context.is_empty() { &turn.history } else { context };
    let window = get_or("history", u32::MAX)? as usize;
    let newest = past.iter().skip(past.len().saturating_sub(window));
    Ok(newest.filter(|utterance| utterance.role != Role::System || context.is_empty()).map(shown).collect())
}

/// An earlier utterance without its attachments, which are gone by now.
fn shown(utterance: &Utterance) -> Utterance {
    Utterance {
        tool_calls: utterance.tool_calls.clone(),
        tool_call_id: utterance.tool_call_id.clone(),
        extra: utterance.extra.clone(),
        ..Utterance::new(utterance.role, utterance.text())
    }
}

/// The message in words: what it quotes, its text, and what came with it.
fn words(message: &Message) -> String {
    let quote = message.quoted.as_deref().map(quote);
    let text = Some(message.text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
    let attachments = message.attachments.iter().map(name);
    quote.into_iter().chain(text).chain(attachments).collect::<Vec<_>>().join("\n\n")
}

fn quote(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}

fn name(attachment: &Attachment) -> String {
    let kind = match attachment.kind {
        MediaKind::Image => "an image",
        MediaKind::Audio => "a voice recording",
        MediaKind::Video => "a video",
        MediaKind::File => "a file",
        MediaKind::Other => "an attachment",
    };
    match &attachment.name {
        Some(name) => format!("[The person sent {kind} named \"{name}\", which you cannot open.]"),
        None => format!("[The person sent {kind}, which you cannot open.]"),
    }
}
