//! The body of a request, read strictly: each parameter of the API is honoured, has no effect by its meaning, or is
//! refused by name (`unsupported`). None is passed over in silence.

use serde_json::Value;

use super::complaint::Complaint;
use super::table::Table;
use super::{Offer, Question, messages, offers, tools, unsupported};
use crate::auth::Caller;
use crate::message::{Format, Role, Schema, Utterance, Wishes};

/// The official API's own bound.
const STOPS_MAX: usize = 4;
/// As much text may be held back in a stream, to see whether it is a stop.
const STOP_BYTES_MAX: usize = 256;
const TEMPERATURE_MAX: f32 = 2.0;
/// A pipeline may hand over a thousand: what it adds to those that it was shown has room.
const ASSISTANTS_MESSAGES_MAX: usize = 900;

/// One request that makes sense.
#[derive(Debug)]
pub struct Asked {
    model: String,
    conversation: Vec<Utterance>,
    wishes: Wishes,
    pub is_stream: bool,
    /// A stream tells at its end what the answer took.
    pub include_usage: bool,
}

impl Asked {
    pub fn parse(body: &[u8], offers: &[Offer]) -> Result<Self, Complaint> {
        let parsed = serde_json::from_slice(body);
        let parsed =
            parsed.map_err(|error| Complaint::unreadable(format!("the body is no JSON: {error}")))?;
        let Value::Object(fields) = parsed else {
            return Err(Complaint::unreadable("the body is not a JSON object".to_owned()));
        };
        let mut body = Table::body(fields);
        let model = body.needed_text("model")?;
        let offer = offers::named(&model, offers)?;
        let listed = body.list("messages")?.ok_or_else(|| Complaint::missing("messages"))?;
        let conversation = messages::read(listed)?;
        let is_stream = body.flag("stream")?.unwrap_or_default();
        let include_usage = include_usage(&mut body, is_stream)?;
        let wishes = wishes(&mut body, offer)?;
        unsupported::refuse(&mut body)?;
        body.close()?;
        if offer.is_assistant {
            check_last(&conversation)?;
        }
        Ok(Self { model, conversation, wishes, is_stream, include_usage })
    }

    pub fn question(self, caller: Caller, request_id: String) -> Question {
        let Self { model, conversation, wishes, .. } = self;
        let Caller { person, token_id: key, .. } = caller;
        Question { model, conversation, wishes, person, key, request_id }
    }
}

fn include_usage(body: &mut Table, is_stream: bool) -> Result<bool, Complaint> {
    let Some(mut options) = body.table("stream_options")? else { return Ok(false) };
    if !is_stream {
        return Err(Complaint::invalid(
            "stream_options",
            "is for streams; send `stream: true`, or leave it out",
        ));
    }
    let include_usage = options.flag("include_usage")?.unwrap_or_default();
    if options.flag("include_obfuscation")? == Some(true) {
        let path = options.path("include_obfuscation");
        return Err(Complaint::unsupported(path, "chunks are sent as they are; leave it out, or send false"));
    }
    options.close()?;
    Ok(include_usage)
}

fn wishes(body: &mut Table, offer: &Offer) -> Result<Wishes, Complaint> {
    let (tools, tool_choice) = tools::read(body, offer)?;
    Ok(Wishes {
        verbatim: !offer.is_assistant,
        max_tokens: max_tokens(body)?,
        temperature: body.share("temperature", TEMPERATURE_MAX)?,
        top_p: body.share("top_p", 1.0)?,
        seed: body.whole("seed")?,
        stop: stop(body)?,
        format: format(body, offer)?,
        tools,
        tool_choice,
    })
}

/// Under its old name or its new one.
fn max_tokens(body: &mut Table) -> Result<Option<u32>, Complaint> {
    let (old, new) = (body.tokens("max_tokens")?, body.tokens("max_completion_tokens")?);
    if old.is_some() && new.is_some() {
        return Err(Complaint::invalid("max_tokens", "and `max_completion_tokens` say the same; send one"));
    }
    Ok(old.or(new))
}

fn stop(body: &mut Table) -> Result<Vec<String>, Complaint> {
    let stops = match body.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(stops)) => stops,
        Some(stop) => vec![stop],
    };
    let rule = "must be a text, or a list of up to 4, of 1 to 256 bytes each";
    let is_fit = |text: &&str| (1..=STOP_BYTES_MAX).contains(&text.len());
    let stops: Option<Vec<String>> =
        stops.iter().map(|stop| stop.as_str().filter(is_fit).map(str::to_owned)).collect();
    let stops = stops.filter(|stops| stops.len() <= STOPS_MAX);
    stops.ok_or_else(|| Complaint::invalid("stop", rule))
}

fn format(body: &mut Table, offer: &Offer) -> Result<Option<Format>, Complaint> {
    let Some(mut format) = body.table("response_format")? else { return Ok(None) };
    let kind = format.needed_text("type")?;
    let read = match kind.as_str() {
        "text" => None,
        "json_object" => Some(Format::Object),
        "json_schema" => Some(Format::Schema(schema(format.needed_table("json_schema")?)?)),
        _ => {
            let rule = "must be `text`, `json_object` or `json_schema`";
            return Err(Complaint::invalid(format.path("type"), rule));
        }
    };
    format.close()?;
    if read.is_some() && !offer.formats {
        let advice = format!("the model of `{}` knows no forms; leave it out, or ask another", offer.id);
        return Err(Complaint::unsupported("response_format", &advice));
    }
    Ok(read)
}

fn schema(mut wished: Table) -> Result<Schema, Complaint> {
    let schema = wished.schema("schema")?.ok_or_else(|| Complaint::missing(wished.path("schema")))?;
    let read = Schema {
        name: wished.name("name")?,
        description: wished.text("description")?,
        strict: wished.flag("strict")?,
        schema,
    };
    wished.close()?;
    Ok(read)
}

/// A pipeline is told what a person says now, and what was said before.
fn check_last(conversation: &[Utterance]) -> Result<(), Complaint> {
    if conversation.len() > ASSISTANTS_MESSAGES_MAX {
        let rule =
            format!("has more than {ASSISTANTS_MESSAGES_MAX} messages, the most that an assistant takes");
        return Err(Complaint::invalid("messages", &rule));
    }
    let last = conversation.last().filter(|last| last.role == Role::User);
    if last.is_some_and(|last| !last.plain_text().trim().is_empty()) {
        return Ok(());
    }
    Err(Complaint::invalid("messages", "must end with a `user` message with text in it, to ask an assistant"))
}
