//! A prompt as the JSON of `POST /chat/completions`.
//!
//! It does not know how the request is sent nor what comes back. `extra` of a prompt is not passed on:
//! servers differ in what they take, and refuse what they do not know.

use serde_json::{Map, Value, json};

use crate::message::{Format, Prompt, Role, Schema, Tool, ToolCall, Utterance};
use crate::model::ModelError;
use crate::model::wording::spoken;

/// What the configuration says about every request.
#[derive(Debug, Clone)]
pub struct Settings {
    pub model: String,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
}

/// Fails when the prompt holds a schema that is no JSON.
pub fn body(prompt: &Prompt, settings: &Settings) -> Result<Value, ModelError> {
    let messages: Vec<Value> = prompt.messages.iter().map(message).collect();
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(settings.model));
    body.insert("messages".to_owned(), json!(messages));
    body.insert("stream".to_owned(), json!(true));
    body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    put(&mut body, "max_tokens", prompt.max_tokens.or(settings.max_tokens).map(|tokens| json!(tokens)));
    let temperature = prompt.temperature.or(settings.temperature);
    put(&mut body, "temperature", temperature.map(|temperature| json!(shortest(temperature))));
    put(&mut body, "top_p", prompt.top_p.map(|top_p| json!(shortest(top_p))));
    put(&mut body, "seed", prompt.seed.map(|seed| json!(seed)));
    put(&mut body, "stop", (!prompt.stop.is_empty()).then(|| json!(prompt.stop)));
    if !prompt.tools.is_empty() {
        let tools: Vec<Value> = prompt.tools.iter().map(tool).collect::<Result<_, _>>()?;
        body.insert("tools".to_owned(), json!(tools));
        put(&mut body, "tool_choice", prompt.tool_choice.as_deref().map(tool_choice));
    }
    put(&mut body, "response_format", response_format(prompt)?);
    Ok(Value::Object(body))
}

fn put(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

/// 0.7 and not 0.699999988079071.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

fn message(utterance: &Utterance) -> Value {
    let text = spoken(utterance);
    let mut message = Map::new();
    message.insert("role".to_owned(), json!(utterance.role.as_str()));
    let silent = text.is_empty() && !utterance.tool_calls.is_empty();
    message.insert("content".to_owned(), if silent { Value::Null } else { json!(text) });
    if utterance.role == Role::Assistant && !utterance.tool_calls.is_empty() {
        let calls: Vec<Value> = utterance.tool_calls.iter().map(tool_call).collect();
        message.insert("tool_calls".to_owned(), json!(calls));
    }
    put(&mut message, "tool_call_id", utterance.tool_call_id.as_ref().map(|id| json!(id)));
    Value::Object(message)
}

fn tool_call(call: &ToolCall) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}

fn tool(tool: &Tool) -> Result<Value, ModelError> {
    let parameters = schema(&tool.parameters, &format!("the parameters of tool `{}`", tool.name))?;
    let mut function = json!({"name": tool.name, "description": tool.description, "parameters": parameters});
    if tool.strict {
        function["strict"] = json!(true);
    }
    Ok(json!({"type": "function", "function": function}))
}

/// A mode, or else the name of the tool that must be called.
fn tool_choice(choice: &str) -> Value {
    match choice {
        "auto" | "none" | "required" => json!(choice),
        name => json!({"type": "function", "function": {"name": name}}),
    }
}

/// A caller's form as he has it; else a pipeline's schema.
fn response_format(prompt: &Prompt) -> Result<Option<Value>, ModelError> {
    match (&prompt.format, &prompt.response_schema) {
        (Some(Format::Object), _) => Ok(Some(json!({"type": "json_object"}))),
        (Some(Format::Schema(wished)), _) => wished_schema(wished).map(Some),
        (None, Some(text)) => strict_schema(text).map(Some),
        (None, None) => Ok(None),
    }
}

fn wished_schema(wished: &Schema) -> Result<Value, ModelError> {
    let mut form = Map::new();
    form.insert("name".to_owned(), json!(wished.name));
    put(&mut form, "description", wished.description.as_ref().map(|text| json!(text)));
    put(&mut form, "strict", wished.strict.map(|is_strict| json!(is_strict)));
    form.insert("schema".to_owned(), schema(&wished.schema, "`json_schema`")?);
    Ok(json!({"type": "json_schema", "json_schema": form}))
}

/// Strict, since the prompt says that the answer must satisfy it: better refused than not held to.
fn strict_schema(text: &str) -> Result<Value, ModelError> {
    let schema = schema(text, "`response_schema`")?;
    Ok(json!({
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": true, "schema": schema},
    }))
}

fn schema(text: &str, what: &str) -> Result<Value, ModelError> {
    let schema: Option<Value> = serde_json::from_str(text).ok().filter(Value::is_object);
    schema.ok_or_else(|| ModelError::Refused(format!("{what} is no JSON Schema object")))
}
