//! One JSON object of a request, whose fields are taken out one by one: what is left was not understood, and is
//! refused by name.
//!
//! A field that is `null` is as good as none: the clients write all that they know of.

use serde_json::{Map, Value};

use super::complaint::Complaint;

#[derive(Debug)]
pub struct Table {
    /// Such as `messages[0]`; empty for the body itself.
    path: String,
    fields: Map<String, Value>,
}

impl Table {
    pub fn of(path: String, value: Value) -> Result<Self, Complaint> {
        match value {
            Value::Object(fields) => Ok(Self { path, fields }),
            _ => Err(Complaint::invalid(path, "must be an object")),
        }
    }

    pub fn body(fields: Map<String, Value>) -> Self {
        Self { path: String::new(), fields }
    }

    /// A field by its whole name.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    fn take_as<T>(
        &mut self,
        name: &str,
        rule: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, Complaint> {
        let Some(value) = self.take(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| Complaint::invalid(self.path(name), rule))
    }

    pub fn text(&mut self, name: &str) -> Result<Option<String>, Complaint> {
        self.take_as(name, "must be a text", text)
    }

    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Complaint> {
        self.take_as(name, "must be `true` or `false`", |value| value.as_bool())
    }

    /// From 0 to `max`.
    pub fn share(&mut self, name: &str, max: f32) -> Result<Option<f32>, Complaint> {
        let rule = format!("must be a number from 0 to {max}");
        let is_within = |number: &f32| (0.0..=max).contains(number);
        self.take_as(name, &rule, |value| value.as_f64().map(|number| number as f32).filter(is_within))
    }

    pub fn tokens(&mut self, name: &str) -> Result<Option<u32>, Complaint> {
        let read = |value: Value| u32::try_from(value.as_u64()?).ok().filter(|tokens| *tokens > 0);
        self.take_as(name, "must be a whole number of tokens, 1 or more", read)
    }

    pub fn whole(&mut self, name: &str) -> Result<Option<i64>, Complaint> {
        self.take_as(name, "must be a whole number", |value| value.as_i64())
    }

    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Complaint> {
        let read = |value| match value {
            Value::Array(items) => Some(items),
            _ => None,
        };
        self.take_as(name, "must be a list", read)
    }

    pub fn table(&mut self, name: &str) -> Result<Option<Table>, Complaint> {
        let path = self.path(name);
        self.take(name).map(|value| Table::of(path, value)).transpose()
    }

    pub fn needed_text(&mut self, name: &str) -> Result<String, Complaint> {
        self.text(name)?.ok_or_else(|| Complaint::missing(self.path(name)))
    }

    pub fn needed_table(&mut self, name: &str) -> Result<Table, Complaint> {
        self.table(name)?.ok_or_else(|| Complaint::missing(self.path(name)))
    }

    /// A JSON Schema, as text; it must be an object.
    pub fn schema(&mut self, name: &str) -> Result<Option<String>, Complaint> {
        let read = |value: Value| value.is_object().then(|| value.to_string());
        self.take_as(name, "must be a JSON Schema object", read)
    }

    /// The name of a tool or a schema, by the API's rule.
    pub fn name(&mut self, name: &str) -> Result<String, Complaint> {
        const CHARS_MAX: usize = 64;
        let text = self.needed_text(name)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(text);
        }
        Err(Complaint::invalid(self.path(name), "takes 1 to 64 letters, digits, `_` and `-`"))
    }

    /// Nothing is passed over in silence.
    pub fn close(self) -> Result<(), Complaint> {
        match self.fields.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(Complaint::unknown(self.path(name))),
            None => Ok(()),
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
