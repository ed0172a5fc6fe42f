//! The texts of a `[[vectors]]` rule, filled with one row: minijinja templates over `inputs` and `expected`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, UndefinedBehavior};
use ring::{digest, hmac};
use serde::Serialize;
use serde_json::Value;

use super::recorder::Sent;

/// One row's values, and the words that a rule may use.
pub struct Templates<'a> {
    environment: Environment<'static>,
    row: &'a Value,
}

/// What came of a row's request: what the host answered, and what the plugin then sent out.
#[derive(Debug, Default)]
pub struct Outcome<'a> {
    pub answer: Option<&'a Answer>,
    pub sent: &'a [Sent],
}

/// One response of the host.
#[derive(Debug, Serialize)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// One request, ready to be sent.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl<'a> Templates<'a> {
    pub fn new(row: &'a Value) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.add_filter("hmac_sha256_hex", |text: String, key: String| hex::encode(sign(&text, &key)));
        environment
            .add_filter("hmac_sha256_base64", |text: String, key: String| STANDARD.encode(sign(&text, &key)));
        environment.add_filter("base64", |text: String| STANDARD.encode(text));
        environment.add_filter("sha256_hex", |text: String| {
            hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
        });
        environment.add_filter("fromjson", from_json);
        Self { environment, row }
    }

    fn render(&self, text: &str, outcome: &Outcome<'_>) -> anyhow::Result<String> {
        let (inputs, expected) = (&self.row["inputs"], &self.row["expected"]);
        let values = minijinja::Value::from(minijinja::value::Serde(serde_json::json!({
            "inputs": inputs, "expected": expected, "sent": outcome.sent, "answer": outcome.answer,
        })));
        let text =
            self.environment.render_str(text, values).with_context(|| format!("the template `{text}`"))?;
        // A missing value is nothing, not the word for it.
        Ok(if text.eq_ignore_ascii_case("none") { String::new() } else { text })
    }

    /// A text; nothing if the rule has none.
    pub fn text(&self, template: Option<&Value>) -> anyhow::Result<String> {
        match template {
            None => Ok(String::new()),
            Some(Value::String(text)) => self.render(text, &Outcome::default()),
            Some(other) => Ok(other.to_string()),
        }
    }

    /// A whole number; none if it renders to nothing.
    pub fn number(&self, template: Option<&Value>) -> anyhow::Result<Option<u64>> {
        let text = self.text(template)?;
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let number = text.parse::<f64>().with_context(|| format!("`{text}` is no number"))?;
        Ok(Some(number as u64))
    }

    /// A table whose texts are rendered and whose other values stand; what renders to nothing is left out.
    pub fn table(&self, template: Option<&Value>) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut table = BTreeMap::new();
        for (name, value) in template.and_then(Value::as_object).into_iter().flatten() {
            let value = match value {
                Value::String(text) => Value::String(self.render(text, &Outcome::default())?),
                other => other.clone(),
            };
            if value != Value::String(String::new()) {
                table.insert(name.clone(), value);
            }
        }
        Ok(table)
    }

    pub fn texts(&self, template: Option<&Value>) -> anyhow::Result<BTreeMap<String, String>> {
        let table = self.table(template)?.into_iter();
        Ok(table
            .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect())
    }

    pub fn request(&self, template: &Value) -> anyhow::Result<Request> {
        let method = self.text(template.get("method"))?;
        Ok(Request {
            method: if method.is_empty() { "POST".to_owned() } else { method },
            path: self.text(template.get("path"))?,
            query: self.text(template.get("query"))?,
            headers: self.headers(template.get("headers"))?,
            body: self.text(template.get("body"))?,
        })
    }

    /// A table, or one text that becomes a JSON object: all headers of the row, under the names that it gives them.
    fn headers(&self, template: Option<&Value>) -> anyhow::Result<BTreeMap<String, String>> {
        let Some(Value::String(text)) = template else { return self.texts(template) };
        let rendered = self.render(text, &Outcome::default())?;
        let headers: BTreeMap<String, Option<String>> = serde_json::from_str(&rendered)
            .with_context(|| format!("`headers` is no table: `{rendered}`"))?;
        Ok(headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// Pairs that must be equal, over what came of the request; a pair that expects nothing is left out.
    pub fn checks(&self, template: &Value, outcome: &Outcome<'_>) -> anyhow::Result<Vec<(String, String)>> {
        let mut checks = Vec::new();
        for pair in template.as_array().into_iter().flatten() {
            let side = |at: usize| self.render(pair[at].as_str().unwrap_or_default(), outcome);
            let (expected, got) = (side(0)?, side(1)?);
            if !expected.is_empty() {
                checks.push((expected, got));
            }
        }
        Ok(checks)
    }
}

/// A JSON text as a value; what is no JSON has no parts.
fn from_json(text: minijinja::Value) -> minijinja::Value {
    let value = text.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    value.map_or(minijinja::Value::UNDEFINED, |value| minijinja::Value::from(minijinja::value::Serde(value)))
}

fn sign(text: &str, key: &str) -> impl AsRef<[u8]> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes())
}
