//! JSON, small: read strictly into a tree, and written in the canonical form of RFC 8785.
//!
//! Strict means I-JSON: UTF-8, no duplicate names, no lone surrogates, numbers within a double; and
//! bounded in depth and in values, so that a body cannot exhaust a small guest. Objects are kept in
//! the canonical order (UTF-16 code units), so that writing is a plain walk. A plugin that would
//! rather derive its types takes `serde_json` and pays some 100 KB for it.
//!
//! ```
//! use parlor_sdk::json::{Value, object};
//!
//! let value = Value::read(r#"{"b": [1.0, null], "a": {"text": "hi"}}"#).unwrap();
//! assert_eq!(value.get("a").and_then(|a| a.text("text")), Some("hi"));
//! assert_eq!(value.canonical(), r#"{"a":{"text":"hi"},"b":[1,null]}"#);
//! assert_eq!(object([("at", 5_u32.into())]).canonical(), r#"{"at":5}"#);
//! ```

use std::fmt::Write as _;

/// Deeper nesting is refused: platforms need less than 10 levels, and each takes guest stack.
pub const DEPTH_MAX: usize = 32;
/// More values are refused: a body of 1 MiB could otherwise take 20 times its size.
pub const VALUES_MAX: usize = 50_000;

/// Whole numbers are exact in a double below it.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite double.
    Number(f64),
    /// A text.
    String(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Members in canonical order, each name once.
    Object(Vec<(String, Value)>),
}

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is not JSON.
    Syntax,
    /// A name stands twice in one object: parsers disagree on which counts.
    DuplicateName,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    TooMany,
    /// A number that a double cannot hold, or half a surrogate pair.
    NotInterchangeable,
}

impl Error {
    /// For whoever sent it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "it is not JSON",
            Self::DuplicateName => "a name stands twice in one JSON object",
            Self::TooDeep => "it is nested deeper than 32 levels",
            Self::TooMany => "it has more than 50000 values",
            Self::NotInterchangeable => "it has a number or a text that not every parser reads alike",
        }
    }
}

impl Value {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(text: &str) -> Result<Self, Error> {
        let mut reader = Reader { text, at: 0, values: 0 };
        let value = reader.value(0)?;
        reader.blank();
        if reader.at == text.len() { Ok(value) } else { Err(Error::Syntax) }
    }

    /// Reads the bytes of one JSON text.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_bytes(bytes: &[u8]) -> Result<Self, Error> {
        std::str::from_utf8(bytes).map_err(|_| Error::Syntax).and_then(Self::read)
    }

    /// An object's member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// An object's member, if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// `true` or `false`, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The number, if it is whole, not negative and exact.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) if number.fract() == 0.0 && (0.0..WHOLE_MAX).contains(number) => {
                Some(*number as u64)
            }
            _ => None,
        }
    }

    /// The items, if it is an array.
    pub fn items(&self) -> &[Value] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    /// The canonical form.
    pub fn canonical(&self) -> String {
        self.canonical_without("")
    }

    /// The canonical form of an object without its member `omitted`.
    pub fn canonical_without(&self, omitted: &str) -> String {
        let mut text = String::new();
        match self {
            Self::Object(members) if !omitted.is_empty() => {
                write_object(members.iter().filter(|(name, _)| name != omitted), &mut text);
            }
            other => write_value(other, &mut text),
        }
        text
    }
}

/// An object of these members; of two with one name, the first counts.
pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut members: Vec<_> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    sort_members(&mut members);
    members.dedup_by(|later, first| later.0 == first.0);
    Value::Object(members)
}

fn sort_members(members: &mut [(String, Value)]) {
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Value {
    /// What is no number in JSON is `null`.
    fn from(number: f64) -> Self {
        if number.is_finite() { Self::Number(number) } else { Self::Null }
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

/// What a JSON value can be read as.
pub trait FromJson: Sized {
    /// The value, if it is of this type.
    fn from_json(value: &Value) -> Option<Self>;
}

impl FromJson for Value {
    fn from_json(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromJson for String {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FromJson for bool {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromJson for u32 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl FromJson for u64 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl FromJson for f64 {
    fn from_json(value: &Value) -> Option<Self> {
        if let Value::Number(number) = value { Some(*number) } else { None }
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: &Value) -> Option<Self> {
        let Value::Array(items) = value else { return None };
        items.iter().map(T::from_json).collect()
    }
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members.iter(), out),
    }
}

fn write_object<'a>(members: impl Iterator<Item = &'a (String, Value)>, out: &mut String) {
    out.push('{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = unplain(rest.as_bytes()) {
        out.push_str(&rest[..at]);
        write_escaped(rest.as_bytes()[at], out);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// A byte that stands in no text as it is.
fn write_escaped(byte: u8, out: &mut String) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        0x08 => out.push_str("\\b"),
        b'\t' => out.push_str("\\t"),
        b'\n' => out.push_str("\\n"),
        0x0c => out.push_str("\\f"),
        b'\r' => out.push_str("\\r"),
        control => {
            let _ = write!(out, "\\u{control:04x}");
        }
    }
}

/// Where the first quote, backslash or control character stands: what lies before is taken as it is. Most of a message
/// is, so eight bytes are looked at together.
fn unplain(bytes: &[u8]) -> Option<usize> {
    let is_unplain = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    let (words, _) = bytes.as_chunks();
    let plain = 8 * words.iter().take_while(|word| !has_unplain(u64::from_le_bytes(**word))).count();
    bytes[plain..].iter().position(is_unplain).map(|at| plain + at)
}

/// Whether one of eight bytes is less than a space, a quote or a backslash: a byte that is less than another borrows
/// into its highest bit, and had no such bit before.
fn has_unplain(word: u64) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    let is_less = |word: u64, than: u8| word.wrapping_sub(EACH * u64::from(than)) & !word & (EACH * 0x80);
    let is_equal = |to: u8| is_less(word ^ (EACH * u64::from(to)), 1);
    (is_less(word, b' ') | is_equal(b'"') | is_equal(b'\\')) != 0
}

/// ECMAScript's `Number::toString`: the shortest digits that read back the same, laid out by size.
fn write_number(number: f64, out: &mut String) {
    if number == 0.0 {
        out.push('0');
        return;
    }
    let scientific = scientific(number.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` always writes an exponent");
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a small whole exponent");
    if number < 0.0 {
        out.push('-');
    }
    lay_out_digits(&digits, exponent, out);
}

/// The shortest digits, and of two that are equally near the even one: ECMAScript asks for it, and
/// `{:e}` alone does not.
fn scientific(number: f64) -> String {
    let shortest = format!("{number:e}");
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let nearest = format!("{number:.*e}", digits - 1);
    if nearest.parse() == Ok(number) { nearest } else { shortest }
}

fn lay_out_digits(digits: &str, exponent: i32, out: &mut String) {
    let count = digits.len() as i32;
    match exponent {
        21.. | ..=-7 => {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            let _ = write!(out, "{first}{point}{rest}e{exponent:+}");
        }
        -6..=-1 => {
            out.push_str("0.");
            out.push_str(&"0".repeat((-exponent - 1) as usize));
            out.push_str(digits);
        }
        _ if count <= exponent + 1 => {
            out.push_str(digits);
            out.push_str(&"0".repeat((exponent + 1 - count) as usize));
        }
        _ => {
            let (whole, fraction) = digits.split_at((exponent + 1) as usize);
            let _ = write!(out, "{whole}.{fraction}");
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(token.as_bytes());
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), Error> {
        self.blank();
        if self.take(token) { Ok(()) } else { Err(Error::Syntax) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Error::TooMany);
        }
        self.blank();
        match self.peek().ok_or(Error::Syntax)? {
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.string().map(Value::String),
            b'-' | b'0'..=b'9' => self.number(),
            _ if self.take("true") => Ok(Value::Bool(true)),
            _ if self.take("false") => Ok(Value::Bool(false)),
            _ if self.take("null") => Ok(Value::Null),
            _ => Err(Error::Syntax),
        }
    }

    /// Past the opening bracket; true if the closing one follows at once.
    fn open(&mut self, depth: usize, closing: &str) -> Result<bool, Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        self.at += 1;
        self.blank();
        Ok(self.take(closing))
    }

    /// After an item: true if the closing bracket came, false if a comma did.
    fn closes(&mut self, closing: &str) -> Result<bool, Error> {
        self.blank();
        if self.take(closing) {
            return Ok(true);
        }
        if self.take(",") { Ok(false) } else { Err(Error::Syntax) }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        let mut closed = self.open(depth, "]")?;
        while !closed {
            items.push(self.value(depth)?);
            closed = self.closes("]")?;
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Error> {
        let mut members = Vec::new();
        let mut closed = self.open(depth, "}")?;
        while !closed {
            self.blank();
            let name = self.string()?;
            self.expect(":")?;
            members.push((name, self.value(depth)?));
            closed = self.closes("}")?;
        }
        sort_members(&mut members);
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::DuplicateName);
        }
        Ok(Value::Object(members))
    }

    fn number(&mut self) -> Result<Value, Error> {
        let start = self.at;
        self.take("-");
        if !self.take("0") {
            self.digits()?;
        }
        if self.take(".") {
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        let number: f64 = self.text[start..self.at].parse().map_err(|_| Error::Syntax)?;
        if number.is_finite() { Ok(Value::Number(number)) } else { Err(Error::NotInterchangeable) }
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Error::Syntax) }
    }

    fn string(&mut self) -> Result<String, Error> {
        if !self.take("\"") {
            return Err(Error::Syntax);
        }
        let mut text = String::new();
        loop {
            let plain = unplain(&self.text.as_bytes()[self.at..]).ok_or(Error::Syntax)?;
            text.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(Error::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let escaped = self.text.as_bytes().get(self.at + 1).copied().ok_or(Error::Syntax)?;
        self.at += 2;
        Ok(match escaped {
            b'"' | b'\\' | b'/' => escaped as char,
            b'b' => '\u{8}',
            b't' => '\t',
            b'n' => '\n',
            b'f' => '\u{c}',
            b'r' => '\r',
            b'u' => return self.code_point(),
            _ => return Err(Error::Syntax),
        })
    }

    fn code_point(&mut self) -> Result<char, Error> {
        let first = self.code_unit()?;
        let units = match first {
            0xd800..=0xdbff if self.take("\\u") => vec![first, self.code_unit()?],
            _ => vec![first],
        };
        let mut characters = char::decode_utf16(units);
        match (characters.next(), characters.next()) {
            (Some(Ok(character)), None) => Ok(character),
            _ => Err(Error::NotInterchangeable),
        }
    }

    fn code_unit(&mut self) -> Result<u16, Error> {
        let hex = self.text.get(self.at..self.at + 4).ok_or(Error::Syntax)?;
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::Syntax);
        }
        self.at += 4;
        u16::from_str_radix(hex, 16).map_err(|_| Error::Syntax)
    }
}
