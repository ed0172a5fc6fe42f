//! One line of the log, written as JSON or for people. Whatever a value holds, it stays one line and moves no
//! cursor: control characters, line separators and marks that turn the reading direction come out escaped.

use std::fmt::Write;

use tracing::Level;

use super::fields::{Fields, Value};
use crate::clock::{Millis, rfc3339};

/// The version of the field names: <https://www.elastic.co/docs/reference/ecs/ecs-ecs>.
const ECS_VERSION: &str = "8.11.0";

pub struct Line<'a> {
    pub time: Millis,
    pub level: Level,
    pub logger: String,
    pub message: String,
    pub fields: &'a Fields,
}

impl Line<'_> {
    pub fn to_json(&self) -> String {
        let mut json = format!("{{\"@timestamp\":\"{}\"", rfc3339(self.time));
        push_member(&mut json, "log.level", &self.level.as_str().to_ascii_lowercase());
        push_member(&mut json, "message", &self.message);
        push_member(&mut json, "ecs.version", ECS_VERSION);
        push_member(&mut json, "service.name", env!("CARGO_PKG_NAME"));
        push_member(&mut json, "service.version", env!("CARGO_PKG_VERSION"));
        push_member(&mut json, "log.logger", &self.logger);
        for (name, value) in self.fields.iter() {
            match value {
                Value::Text(text) => push_member(&mut json, name, text),
                number => push_raw_member(&mut json, name, &json_number(number)),
            }
        }
        json.push_str("}\n");
        json
    }

    pub fn to_plain(&self, has_colours: bool) -> String {
        let (dim, colour, plain) =
            if has_colours { ("\x1b[2m", colour(self.level), "\x1b[0m") } else { ("", "", "") };
        let mut line =
            format!("{dim}{}{plain} {colour}{:>5}{plain} ", rfc3339(self.time), self.level.as_str());
        if !self.logger.starts_with(env!("CARGO_PKG_NAME")) {
            let _ = write!(line, "{dim}{}:{plain} ", self.logger);
        }
        push_visible(&mut line, &self.message);
        for (name, value) in self.fields.iter() {
            let _ = write!(line, " {dim}{}={plain}", name.strip_prefix("labels.").unwrap_or(name));
            push_plain_value(&mut line, value);
        }
        line.push('\n');
        line
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

fn push_member(json: &mut String, name: &str, text: &str) {
    json.push(',');
    push_quoted(json, name);
    json.push(':');
    push_quoted(json, text);
}

fn push_raw_member(json: &mut String, name: &str, raw: &str) {
    json.push(',');
    push_quoted(json, name);
    json.push(':');
    json.push_str(raw);
}

fn json_number(value: &Value) -> String {
    match value {
        Value::Signed(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Float(number) if number.is_finite() => number.to_string(),
        Value::Float(_) | Value::Text(_) => "null".to_owned(),
    }
}

fn push_quoted(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            hidden if is_hidden(hidden) => push_code_units(json, hidden),
            visible => json.push(visible),
        }
    }
    json.push('"');
}

fn push_code_units(json: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        let _ = write!(json, "\\u{unit:04x}");
    }
}

fn push_plain_value(line: &mut String, value: &Value) {
    match value {
        Value::Text(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
            line.push('"');
            push_visible(line, &text.replace('"', "\\\""));
            line.push('"');
        }
        Value::Text(text) => push_visible(line, text),
        number => line.push_str(&json_number(number)),
    }
}

fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        if is_hidden(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

/// Control characters (ANSI sequences begin with one), line and paragraph separators, direction marks, tags.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{e0000}'..='\u{e007f}')
}
