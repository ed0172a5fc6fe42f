//! The chunks of a chat completion, put together.
//!
//! It reads what the many servers make of OpenAI's format: missing indices, content in parts, usage in a
//! chunk of its own or in every one, a whole `message` in the place of deltas. It does not know bytes or
//! time; `answer` feeds it.

use serde::Deserialize;
use serde_json::Value;

use crate::message::{FinishReason, ToolCall};
use crate::model::{Delta, Usage};

/// Text and arguments of one answer. The longest context that is served today is below 8 MiB of text.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Tool calls of one answer; the official API ends at 128 too.
const TOOL_CALLS_MAX: usize = 128;

#[derive(Debug, Deserialize)]
pub struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Tokens>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    delta: Option<Part>,
    message: Option<Part>,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Part {
    content: Option<Value>,
    /// What a model says that was asked for a form and will not answer in it.
    refusal: Option<Value>,
    tool_calls: Option<Vec<CallPart>>,
}

#[derive(Debug, Deserialize)]
struct CallPart {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionPart>,
}

#[derive(Debug, Deserialize)]
struct FunctionPart {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Tokens {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// Why an answer is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("it has more than {TOOL_CALLS_MAX} tool calls")]
    TooManyCalls,
    #[error("the arguments of tool call `{0}` are no JSON")]
    Arguments(String),
    #[error("it ended without `finish_reason` or `[DONE]`")]
    Truncated,
    #[error("there was no choice in it")]
    Empty,
}

/// The state of one answer.
#[derive(Debug, Default)]
pub struct Assembly {
    calls: Vec<Call>,
    finish: Option<FinishReason>,
    tokens: Tokens,
    bytes: usize,
    has_choice: bool,
}

impl Assembly {
    /// Takes a chunk; what it adds to the text comes back.
    pub fn take(&mut self, chunk: Chunk) -> Result<String, Flaw> {
        if let Some(tokens) = chunk.usage {
            self.tokens = tokens;
        }
        let mut text = String::new();
        for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index == 0) {
            self.take_choice(choice, &mut text)?;
        }
        self.count(text.len())?;
        Ok(text)
    }

    fn take_choice(&mut self, choice: Choice, text: &mut String) -> Result<(), Flaw> {
        self.has_choice = true;
        if let Some(word) = choice.finish_reason.as_deref().filter(|word| !word.is_empty()) {
            self.finish = Some(finish_reason(word));
        }
        let Some(part) = choice.delta.or(choice.message) else {
            return Ok(());
        };
        append_text(part.content.as_ref(), text);
        append_text(part.refusal.as_ref(), text);
        part.tool_calls.into_iter().flatten().try_for_each(|call| self.take_call(call))
    }

    fn take_call(&mut self, part: CallPart) -> Result<(), Flaw> {
        let at = self.call_of(&part);
        if at >= TOOL_CALLS_MAX {
            return Err(Flaw::TooManyCalls);
        }
        if at == self.calls.len() {
            self.calls.push(Call { index: part.index, ..Call::default() });
        }
        let call = &mut self.calls[at];
        if let Some(id) = part.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        let Some(function) = part.function else {
            return Ok(());
        };
        if let Some(name) = function.name {
            call.name.push_str(&name);
        }
        let arguments = function.arguments.map(arguments_text).unwrap_or_default();
        call.arguments.push_str(&arguments);
        self.count(arguments.len())
    }

    /// Where a part belongs: by its index. Servers that send no index, or 0 for all, send whole calls, each
    /// with an id of its own.
    fn call_of(&self, part: &CallPart) -> usize {
        let id = part.id.as_deref().filter(|id| !id.is_empty());
        let is_same = |call: &Call| id.is_none_or(|id| call.id.is_empty() || call.id == id);
        let found = match part.index {
            Some(_) => self.calls.iter().rposition(|call| call.index == part.index && is_same(call)),
            None => {
                self.calls.len().checked_sub(1).filter(|last| id.is_none() || is_same(&self.calls[*last]))
            }
        };
        found.unwrap_or(self.calls.len())
    }

    fn count(&mut self, bytes: usize) -> Result<(), Flaw> {
        self.bytes += bytes;
        if self.bytes > ANSWER_BYTES_MAX { Err(Flaw::TooLong) } else { Ok(()) }
    }

    /// The model has said that it is done.
    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The tool calls and the closing figures. `done`: the server has said `[DONE]` or sent all at once.
    pub fn close(&mut self, done: bool) -> Result<Vec<Delta>, Flaw> {
        if !done && self.finish.is_none() {
            return Err(Flaw::Truncated);
        }
        if !self.has_choice {
            return Err(Flaw::Empty);
        }
        let mut calls = std::mem::take(&mut self.calls);
        // The length cut the last one off: half a call is none.
        if self.finish == Some(FinishReason::Length) {
            calls.pop_if(|last| !is_json(&last.arguments));
        }
        let usage = self.usage(!calls.is_empty());
        let calls = calls.into_iter().map(|call| Ok(Delta::ToolCall(whole(call)?)));
        calls.chain([Ok(Delta::Done(usage))]).collect()
    }

    /// Some servers say `stop` although they call a tool.
    fn usage(&self, has_calls: bool) -> Usage {
        let reason = self.finish.unwrap_or(FinishReason::Other);
        let plain = matches!(reason, FinishReason::Stop | FinishReason::Other);
        Usage {
            finish_reason: if has_calls && plain { FinishReason::ToolCalls } else { reason },
            prompt_tokens: figure(self.tokens.prompt_tokens),
            completion_tokens: figure(self.tokens.completion_tokens),
        }
    }
}

fn figure(tokens: Option<u64>) -> u32 {
    u32::try_from(tokens.unwrap_or_default()).unwrap_or(u32::MAX)
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "stop" | "eos" | "end_turn" | "stop_sequence" => FinishReason::Stop,
        "length" | "max_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::Filtered,
        "abort" | "cancelled" => FinishReason::Cancelled,
        _ => FinishReason::Other,
    }
}

/// A string, or parts of which those with a `text` count.
fn append_text(content: Option<&Value>, text: &mut String) {
    match content {
        Some(Value::String(words)) => text.push_str(words),
        Some(Value::Array(parts)) => {
            let words = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            text.extend(words);
        }
        _ => {}
    }
}

/// JSON in a string, as it should be, or the object itself.
fn arguments_text(arguments: Value) -> String {
    match arguments {
        Value::String(text) => text,
        Value::Null => String::new(),
        object => object.to_string(),
    }
}

/// The contract promises JSON; a tool without parameters may be called with nothing at all.
fn whole(call: Call) -> Result<ToolCall, Flaw> {
    let Call { id, name, arguments, .. } = call;
    let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
    if !is_json(&arguments) {
        return Err(Flaw::Arguments(name));
    }
    Ok(ToolCall { id, name, arguments, extra: Vec::new() })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
