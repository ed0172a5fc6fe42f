//! From a verified request to one message.
//!
//! An envelope says query, session and history; any other signed body is the message's text itself.

use parlor_sdk::{
    Acceptance, Fault, HttpRequest, HttpResponse, Message, Reception, Role, Utterance, json::Value, settings,
};

use crate::{
    deliver::{self, Address},
    verify::{self, Scheme},
};

/// A longer text is refused: no model reads it.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// A longer id is refused: it is kept as a key.
const ID_BYTES_MAX: usize = 256;
/// Older entries of the history that a caller brings along are left out.
const HISTORY_ENTRIES_MAX: usize = 50;
/// As many bytes of it, counted from the newest, are kept.
const HISTORY_BYTES_MAX: usize = 64 * 1024;
/// How long a response is held open unless the setting says otherwise; most clients wait 30 s.
const WAIT_MS: u32 = 25_000;

/// Takes one request in.
pub fn receive(request: &HttpRequest) -> Result<Reception, Fault> {
    let message = match Scheme::of(request)? {
        Scheme::Envelope => signed_envelope(request)?,
        Scheme::Hub => {
            let digest = verify::hub(request)?;
            let delivery = request.header("x-github-delivery").filter(|id| !id.is_empty());
            signed_body(request, delivery.unwrap_or(digest))?
        }
        Scheme::Standard => {
            let id = verify::standard(request)?;
            signed_body(request, id)?
        }
    };
    answer(message)
}

fn signed_envelope(request: &HttpRequest) -> Result<Message, Fault> {
    let envelope = request.json()?;
    verify::envelope(&envelope)?;
    let sent_at = verify::envelope_time(&envelope)?;
    let mut message = read_envelope(&envelope)?.ok_or_else(|| {
        Fault::invalid("the envelope needs `header.message_id` and `payload.query` as text")
    })?;
    message.sent_at_ms = Some(sent_at);
    Ok(message)
}

/// A body that its headers sign: an envelope if it is one, else text. Its own `signature` and
/// timestamp do not count, since the headers cover all of it.
fn signed_body(request: &HttpRequest, id: &str) -> Result<Message, Fault> {
    let text = request.text()?;
    let envelope = match Value::read(text) {
        Ok(value) => read_envelope(&value)?,
        Err(_) => None,
    };
    match envelope {
        Some(message) => Ok(message),
        None => Ok(Message::new(checked_id(id)?, id, "webhook", checked_text(text)?)),
    }
}

/// The message of an envelope; none if this is no envelope.
fn read_envelope(envelope: &Value) -> Result<Option<Message>, Fault> {
    let (Some(header), Some(payload)) = (envelope.get("header"), envelope.get("payload")) else {
        return Ok(None);
    };
    let (Some(id), Some(query)) = (header.text("message_id"), payload.text("query")) else {
        return Ok(None);
    };
    require_platform(header.text("platform"))?;
    let conversation = payload.text("session_id").filter(|session| !session.is_empty()).unwrap_or(id);
    let sender = payload.text("user_id").unwrap_or(conversation);
    let mut message =
        Message::new(checked_id(id)?, checked_id(conversation)?, checked_id(sender)?, checked_text(query)?);
    message.context = history(payload);
    Ok(Some(message))
}

fn require_platform(platform: Option<&str>) -> Result<(), Fault> {
    let expected: Option<String> = settings::get("platform")?;
    if expected.is_none() || expected.as_deref() == platform {
        return Ok(());
    }
    Err(Fault::invalid("`header.platform` is not the one that this channel is set to"))
}

fn checked_id(id: &str) -> Result<&str, Fault> {
    let sane = !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.chars().any(char::is_control);
    if sane {
        Ok(id)
    } else {
        Err(Fault::invalid("an id is empty, longer than 256 bytes, or not plain text"))
    }
}

fn checked_text(text: &str) -> Result<&str, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::invalid("the message has no text"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::invalid("the message is longer than 262144 bytes"));
    }
    Ok(text)
}

/// The newest entries of `payload.context.history` that fit, oldest first.
fn history(payload: &Value) -> Vec<Utterance> {
    let entries = payload.get("context").and_then(|context| context.get("history"));
    let mut room = HISTORY_BYTES_MAX;
    let newest = entries.map(Value::items).unwrap_or_default().iter().rev();
    let fits = |utterance: &Utterance| {
        let bytes = utterance.text().len();
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    };
    let mut kept: Vec<_> = newest.filter_map(utterance).take(HISTORY_ENTRIES_MAX).take_while(fits).collect();
    kept.reverse();
    kept
}

/// What the wire calls `system` is somebody's words like any other.
fn utterance(entry: &Value) -> Option<Utterance> {
    let role = match entry.text("role")? {
        "user" | "system" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    Some(Utterance::new(role, entry.text("content")?))
}

/// Waits for the reply, or takes the message in and pushes the reply later.
fn answer(mut message: Message) -> Result<Reception, Fault> {
    let address = Address { message_id: message.id.clone(), session_id: message.conversation.clone() };
    message.address = address.encode();
    let by_callback = settings::get::<String>("answer")?.as_deref() == Some("callback");
    if by_callback {
        let response = HttpResponse::json(202, &address.answer("", false));
        let acceptance = Acceptance { response, messages: vec![message], ..Acceptance::default() };
        return Ok(Reception::Accept(acceptance));
    }
    let wait_ms = settings::get_or("wait_ms", WAIT_MS)?;
    let context = deliver::context(&address)?;
    Ok(Reception::inquire(message, wait_ms, context))
}
