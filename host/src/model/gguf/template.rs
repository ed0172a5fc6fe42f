//! A chat template: a conversation in, the text that the model was trained on out, by who wrote what.
//!
//! Compiled once, as `transformers` does it: trimmed blocks, Python's methods, `tojson`, `raise_exception`,
//! `strftime_now`. It does not know tokens or files; `marks` keeps people's text apart from the template's.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use parlor_gguf::Span;
use serde_json::{Map, Value, json};

use super::{date, json, marks};
use crate::clock::{Clock, SystemClock};
use crate::message::{Role, ToolCall, Utterance};
use crate::model::wording::spoken;

/// What a file without a template gets: the most common form.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + \
    message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const NAME: &str = "chat";

/// A template that compiles and renders a plain question.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    source: Arc<str>,
    bos: String,
    eos: String,
    /// Some templates refuse a system message; its text then goes before the first thing that a person says.
    takes_system: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

impl Template {
    /// `bos` and `eos`: the texts of the tokens that begin a prompt and end an answer.
    pub fn compile(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let mut environment = environment().map_err(|error| TemplateError(error.to_string()))?;
        let compiled = environment.add_template_owned(NAME, without_generation_tags(source));
        compiled.map_err(|error| TemplateError(error.to_string()))?;
        let (bos, eos) = (bos.to_owned(), eos.to_owned());
        let mut template = Self { environment, source: source.into(), bos, eos, takes_system: true };
        template.render(&[Utterance::text(Role::User, "hello")])?;
        template.takes_system = template.shows_system();
        Ok(template)
    }

    /// The prompt up to where the assistant begins to speak.
    pub fn render(&self, messages: &[Utterance]) -> Result<Vec<Span>, TemplateError> {
        let messages = if self.takes_system { messages.to_vec() } else { without_system(messages) };
        let texts: Vec<String> = messages.iter().map(spoken).collect();
        if texts.len() <= marks::PAIRS_MAX {
            let paired = texts.iter().enumerate().map(|(number, text)| marks::paired(text, number));
            let rendered = self.fill(&messages, paired.collect());
            if let Some(rendered) = rendered.ok().filter(|rendered| marks::pairs_hold(rendered, &texts)) {
                return Ok(marks::spans(&rendered));
            }
        }
        // the template cuts texts apart: each piece says by itself who wrote it
        let rendered = self.fill(&messages, texts.iter().map(|text| marks::dotted(text)).collect())?;
        Ok(marks::spans(&rendered))
    }

    fn fill(&self, messages: &[Utterance], texts: Vec<String>) -> Result<String, TemplateError> {
        let messages = messages.iter().zip(texts).map(|(utterance, text)| variable(message(utterance, text)));
        let messages: Vec<_> = messages.collect();
        let template = self.environment.get_template(NAME).expect("it was added when it was compiled");
        let rendered = template.render(context! {
            messages,
            add_generation_prompt => true,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (),
            documents => (),
        });
        rendered.map_err(|error| self.explain(&error))
    }

    fn shows_system(&self) -> bool {
        let probe = [Utterance::text(Role::System, "prelude"), Utterance::text(Role::User, "hello")];
        let rendered = self.fill(&probe, vec!["prelude".to_owned(), "hello".to_owned()]);
        rendered.is_ok_and(|text| text.contains("prelude"))
    }

    /// Words of the template's own, as `raise_exception` has them, or the kind of the error: never what people
    /// wrote.
    fn explain(&self, error: &Error) -> TemplateError {
        let own = error.detail().filter(|detail| self.source.contains(detail));
        let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
        TemplateError(own.map_or_else(|| format!("{}{line}", error.kind()), str::to_owned))
    }
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_filter("tojson", json::tojson);
    environment.add_function("raise_exception", |words: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, words))
    });
    environment.add_function("strftime_now", |format: &str| {
        date::strftime(format, (SystemClock.now() / 1000).cast_signed())
    });
    Ok(environment)
}

/// `transformers` marks what the assistant says by tags of its own, for training.
fn without_generation_tags(source: &str) -> String {
    let mut source = source.to_owned();
    for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
        for (tag, plain) in [("generation", "if true"), ("endgeneration", "endif")] {
            source = source.replace(&format!("{open} {tag} {close}"), &format!("{open} {plain} {close}"));
        }
    }
    source
}

/// The system's words before the first thing that a person says.
fn without_system(messages: &[Utterance]) -> Vec<Utterance> {
    let (system, mut rest): (Vec<_>, Vec<_>) =
        messages.iter().cloned().partition(|utterance| utterance.role == Role::System);
    let prelude = system.iter().map(spoken).collect::<Vec<_>>().join("\n\n");
    match rest.iter_mut().find(|utterance| utterance.role == Role::User) {
        _ if prelude.is_empty() => {}
        Some(first) => *first = Utterance::text(Role::User, format!("{prelude}\n\n{}", spoken(first))),
        None => rest.insert(0, Utterance::text(Role::User, prelude)),
    }
    rest
}

fn message(utterance: &Utterance, text: String) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), json!(utterance.role.as_str()));
    message.insert("content".to_owned(), json!(text));
    if !utterance.tool_calls.is_empty() {
        let calls: Vec<Value> = utterance.tool_calls.iter().map(tool_call).collect();
        message.insert("tool_calls".to_owned(), json!(calls));
    }
    if let Some(id) = &utterance.tool_call_id {
        message.insert("tool_call_id".to_owned(), json!(marks::dotted(id)));
    }
    Value::Object(message)
}

fn tool_call(call: &ToolCall) -> Value {
    let arguments = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
    json!({
        "id": marks::dotted(&call.id),
        "type": "function",
        "function": {"name": marks::dotted(&call.name), "arguments": dotted(arguments)},
    })
}

/// All text within, keys too.
fn dotted(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(marks::dotted(&text)),
        Value::Array(values) => values.into_iter().map(dotted).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (marks::dotted(&name), dotted(value))).collect()
        }
        plain => plain,
    }
}

/// JSON as a template sees it.
fn variable(json: Value) -> minijinja::Value {
    match json {
        Value::Null => ().into(),
        Value::Bool(is_true) => is_true.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, number) => number.unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.into(),
        Value::Array(values) => values.into_iter().map(variable).collect(),
        Value::Object(fields) => {
            minijinja::Value::from_pairs(fields.into_iter().map(|(name, value)| (name, variable(value))))
        }
    }
}
