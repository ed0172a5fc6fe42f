//! One line of the log, written as JSON or for people. Whatever a value holds, it stays one line and moves no
//! cursor: control characters, line separators and marks that turn the reading direction come out escaped.

use std::fmt::Write;

use tracing::Level;

use super::fields::{Fields, Value};
use crate::clock::Millis;

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

/// `2026-02-28T23:59:59.999Z`.
fn rfc3339(time: Millis) -> String {
    let (seconds, millis) = (time / 1000, time % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The date of a day counted from 1970-01-01, by years that begin in March, so that a leap day comes last:
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_written_in_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_251_199_001), "2024-02-29T23:59:59.001Z");
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_225_599_500), "2025-12-31T23:59:59.500Z");
    }
}
