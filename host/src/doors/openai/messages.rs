//! The messages of a request as utterances.
//!
//! Text alone is read: a picture, a sound or a file is refused by name. The older `function` messages become what
//! replaced them, results of tools. It does not know what a model or a pipeline makes of them.

use serde_json::Value;

use super::complaint::Complaint;
use super::table::Table;
use crate::message::{Content, Role, ToolCall, Utterance};

/// # Errors
/// The first thing that cannot be read, by name.
pub fn read(values: Vec<Value>) -> Result<Vec<Utterance>, Complaint> {
    if values.is_empty() {
        return Err(Complaint::invalid("messages", "is empty; send one message or more"));
    }
    let mut reader = Reader { utterances: Vec::new() };
    for (at, value) in values.into_iter().enumerate() {
        let message = Table::of(format!("messages[{at}]"), value)?;
        reader.take(message)?;
    }
    Ok(reader.utterances)
}

struct Reader {
    utterances: Vec<Utterance>,
}

impl Reader {
    fn take(&mut self, mut message: Table) -> Result<(), Complaint> {
        let role = message.needed_text("role")?;
        let utterance = match role.as_str() {
            "system" | "developer" => spoken(Role::System, &mut message),
            "user" => spoken(Role::User, &mut message),
            "assistant" => assistant(&mut message, self.utterances.len()),
            "tool" => result(&mut message),
            "function" => self.function_result(&mut message),
            _ => {
                let rule = "must be `system`, `developer`, `user`, `assistant`, `tool` or `function`";
                return Err(Complaint::invalid(message.path("role"), rule));
            }
        }?;
        if message.take("name").is_some() {
            return Err(Complaint::unsupported(message.path("name"), "say in the text who speaks"));
        }
        message.close()?;
        self.utterances.push(utterance);
        Ok(())
    }

    /// The older form names the function and not the call.
    fn function_result(&self, message: &mut Table) -> Result<Utterance, Complaint> {
        let name = message.needed_text("name")?;
        let calls = self.utterances.iter().rev().flat_map(|utterance| &utterance.tool_calls);
        let call = calls.into_iter().find(|call| call.name == name).ok_or_else(|| {
            Complaint::invalid(message.path("name"), "names no `function_call` of an earlier message")
        })?;
        let content = content(message, "text")?.unwrap_or_default();
        Ok(Utterance { content, tool_call_id: Some(call.id.clone()), ..Utterance::text(Role::Tool, "") })
    }
}

fn spoken(role: Role, message: &mut Table) -> Result<Utterance, Complaint> {
    let content = content(message, "text")?.ok_or_else(|| Complaint::missing(message.path("content")))?;
    Ok(Utterance { content, ..Utterance::text(role, "") })
}

fn result(message: &mut Table) -> Result<Utterance, Complaint> {
    let id = message.needed_text("tool_call_id")?;
    Ok(Utterance { tool_call_id: Some(id), ..spoken(Role::Tool, message)? })
}

fn assistant(message: &mut Table, at: usize) -> Result<Utterance, Complaint> {
    let said = content(message, "refusal")?;
    let refusal = message.text("refusal")?.map(Content::Text);
    let tool_calls = calls(message, at)?;
    // what answers of the API bring along, and nobody has filled in
    for (name, is_empty) in [("audio", false), ("annotations", true)] {
        let value = message.take(name);
        if value.is_some_and(|value| !is_empty || value.as_array().is_none_or(|list| !list.is_empty())) {
            return Err(Complaint::unsupported(message.path(name), "send text"));
        }
    }
    if said.is_none() && refusal.is_none() && tool_calls.is_empty() {
        return Err(Complaint::missing(message.path("content")));
    }
    let content = said.unwrap_or_default().into_iter().chain(refusal).collect();
    Ok(Utterance { content, tool_calls, ..Utterance::text(Role::Assistant, "") })
}

fn calls(message: &mut Table, at: usize) -> Result<Vec<ToolCall>, Complaint> {
    let path = message.path("tool_calls");
    let listed = message.list("tool_calls")?.unwrap_or_default().into_iter().enumerate();
    let mut calls = listed
        .map(|(number, value)| call(Table::of(format!("{path}[{number}]"), value)?))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(mut function) = message.table("function_call")? {
        calls.push(called(&mut function, format!("call_{at}"))?);
        function.close()?;
    }
    Ok(calls)
}

fn call(mut call: Table) -> Result<ToolCall, Complaint> {
    let id = call.needed_text("id")?;
    if call.text("type")?.is_some_and(|kind| kind != "function") {
        return Err(Complaint::unsupported(call.path("type"), "tools are functions; send `function`"));
    }
    let mut function = call.needed_table("function")?;
    let tool_call = called(&mut function, id)?;
    function.close()?;
    call.close()?;
    Ok(tool_call)
}

fn called(function: &mut Table, id: String) -> Result<ToolCall, Complaint> {
    let name = function.needed_text("name")?;
    Ok(ToolCall { id, name, arguments: function.needed_text("arguments")?, extra: Vec::new() })
}

/// A text, or parts of text; of an assistant also those by which it refused.
fn content(message: &mut Table, other_kind: &str) -> Result<Option<Vec<Content>>, Complaint> {
    let path = message.path("content");
    match message.take("content") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![Content::Text(text)])),
        Some(Value::Array(parts)) => {
            let parts = parts.into_iter().enumerate();
            let parts = parts.map(|(at, value)| part(Table::of(format!("{path}[{at}]"), value)?, other_kind));
            parts.collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(Complaint::invalid(path, "must be a text or a list of parts")),
    }
}

fn part(mut part: Table, other_kind: &str) -> Result<Content, Complaint> {
    let kind = part.needed_text("type")?;
    if kind != "text" && kind != other_kind {
        let advice = format!("parts of type `{kind}` are not read; send text");
        return Err(Complaint::unsupported(part.path("type"), &advice));
    }
    let text = part.needed_text(&kind)?;
    part.close()?;
    Ok(Content::Text(text))
}
