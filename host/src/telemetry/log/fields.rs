//! The fields of a line: named by ECS, each cut at a bound, the innermost value of a name winning.
//!
//! Names with a dot are ECS names already; a few short ones stand for such; all others become labels.
//! <https://www.elastic.co/docs/reference/ecs>

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};

/// The longest value that a line holds; what is longer is cut and says so.
pub const FIELD_BYTES_MAX: usize = 8 * 1024;

/// Short names that stages use, and what they are called outside.
const ECS_NAMES: [(&str, &str); 8] = [
    ("message", "message"),
    ("request_id", "http.request.id"),
    ("person", "user.hash"),
    ("action", "event.action"),
    ("error", "error.message"),
    ("error_type", "error.type"),
    ("method", "http.request.method"),
    ("status", "http.response.status_code"),
];

/// Names that only the writer of the line may set.
const RESERVED: [&str; 6] =
    ["@timestamp", "log.level", "log.logger", "ecs.version", "service.name", "service.version"];

/// What the `log` facade adds about the source: known from the logger, or of no use.
const FACADE: [&str; 3] = ["log.module_path", "log.file", "log.line"];

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

/// Names and values in the order in which the names first came.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(Cow<'static, str>, Value)>);

impl Fields {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub fn extend(&mut self, inner: &Fields) {
        for (name, value) in &inner.0 {
            self.set(name.clone(), value.clone());
        }
    }

    /// Takes out a text that has a place of its own in the line.
    pub fn take_text(&mut self, name: &str) -> Option<String> {
        let index =
            self.0.iter().position(|(known, value)| known == name && matches!(value, Value::Text(_)))?;
        match self.0.remove(index).1 {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn set(&mut self, name: Cow<'static, str>, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn put(&mut self, field: &Field, value: Value) {
        if !FACADE.contains(&field.name()) {
            self.set(ecs_name(field.name()), value);
        }
    }

    fn put_text(&mut self, field: &Field, text: impl fmt::Display) {
        self.put(field, Value::Text(cut(text)));
    }
}

fn ecs_name(name: &'static str) -> Cow<'static, str> {
    let name = name.strip_prefix("r#").unwrap_or(name);
    if let Some((_, known)) = ECS_NAMES.iter().find(|(short, _)| *short == name) {
        return Cow::Borrowed(known);
    }
    if name.contains('.') && !RESERVED.contains(&name) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("labels.{name}"))
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put_text(field, Chain(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }
}

/// An error and its causes, outermost first.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Writes a value down without ever holding more than the bound, however long it is.
fn cut(value: impl fmt::Display) -> String {
    let mut kept = Kept::default();
    // A `Display` that fails has said what it could.
    let _ = write!(kept, "{value}");
    if kept.bytes_cut > 0 {
        kept.text.push_str(&format!("… ({} bytes cut)", kept.bytes_cut));
    }
    kept.text
}

#[derive(Default)]
struct Kept {
    text: String,
    bytes_cut: usize,
}

impl fmt::Write for Kept {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = if self.bytes_cut > 0 { 0 } else { FIELD_BYTES_MAX - self.text.len() };
        let fits = more.floor_char_boundary(room);
        self.text.push_str(&more[..fits]);
        self.bytes_cut += more.len() - fits;
        Ok(())
    }
}
