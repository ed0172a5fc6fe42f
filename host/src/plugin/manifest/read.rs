//! Walks parsed TOML and gathers what is wrong with it, line by line.
//!
//! A table remembers which keys it was asked for; what is left in the end is unknown. It knows no key itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Problem;

/// What was found wrong so far, by its place in the text.
pub(super) struct Problems<'a> {
    source: &'a str,
    found: RefCell<Vec<(usize, String)>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, found: RefCell::default() }
    }

    pub(super) fn add(&self, at: usize, text: impl Into<String>) {
        self.found.borrow_mut().push((at, text.into()));
    }

    /// The value if nothing is wrong, else all problems in the order of their lines.
    pub(super) fn or<T>(self, value: T) -> Result<T, Vec<Problem>> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(value);
        }
        found.sort();
        found.dedup();
        let line = |at: usize| self.source.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        Err(found.into_iter().map(|(at, text)| Problem { line: line(at), text }).collect())
    }
}

/// One table of the manifest.
pub(super) struct Table<'a> {
    problems: &'a Problems<'a>,
    fields: &'a DeTable<'a>,
    /// Where it begins in the text.
    at: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn root(problems: &'a Problems<'a>, fields: &'a DeTable<'a>) -> Self {
        Self { problems, fields, at: 0, asked: RefCell::default() }
    }

    fn below(&self, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let Some(fields) = value.get_ref().as_table() else {
            self.problem_at(value.span().start, "a table is wanted here");
            return None;
        };
        Some(Self { problems: self.problems, fields, at: value.span().start, asked: RefCell::default() })
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn problem(&self, text: impl Into<String>) {
        self.problems.add(self.at, text);
    }

    pub(super) fn problem_at(&self, at: usize, text: impl Into<String>) {
        self.problems.add(at, text);
    }

    /// Whether something wrong was found inside the value of this key.
    pub(super) fn has_problem_at(&self, key: &str) -> bool {
        let Some(span) = self.fields.get(key).map(Spanned::span) else { return false };
        self.problems.found.borrow().iter().any(|(at, _)| span.contains(at))
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.fields.get(key)
    }

    fn wrong(&self, key: &str, span: Range<usize>, what: &str) {
        self.problem_at(span.start, format!("`{key}`: {what}"));
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// A text and where it stands.
    pub(super) fn text(&self, key: &'static str) -> Option<(&'a str, usize)> {
        let value = self.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(key, value.span(), "a text in quotes is wanted");
        }
        Some((text?, value.span().start))
    }

    /// An optional text made into something else.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, at) = self.text(key)?;
        parse(text).map_err(|what| self.wrong(key, at..at, &what)).ok()
    }

    /// The same for a key that must be there.
    pub(super) fn need<T: Default>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        if !self.fields.contains_key(key) {
            self.problem(format!("`{key}` is missing: add it"));
        }
        self.parsed(key, parse).unwrap_or_default()
    }

    pub(super) fn bool(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        let is = value.get_ref().as_bool();
        if is.is_none() {
            self.wrong(key, value.span(), "`true` or `false` is wanted");
        }
        is
    }

    pub(super) fn u64(&self, key: &'static str) -> Option<u64> {
        let value = self.get(key)?;
        let number = json(value.get_ref()).as_u64();
        if number.is_none() {
            self.wrong(key, value.span(), "a whole number, not negative, is wanted");
        }
        number
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let value = self.get(key)?;
        let number = json(value.get_ref()).as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = bounds.into_inner();
            self.wrong(key, value.span(), &format!("a whole number from {least} to {most} is wanted"));
        }
        number
    }

    /// A needed text out of a closed list.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, of: &[(&str, T)]) -> Option<T> {
        if !self.fields.contains_key(key) {
            self.problem(format!("`{key}` is missing: choose {}", names(of)));
        }
        let (text, at) = self.text(key)?;
        self.chosen(key, text, at, of)
    }

    /// A list of texts out of a closed list.
    pub(super) fn choices<T: Copy>(&self, key: &'static str, of: &[(&str, T)]) -> Vec<T> {
        self.texts(key).into_iter().filter_map(|(text, at)| self.chosen(key, text, at, of)).collect()
    }

    fn chosen<T: Copy>(&self, key: &str, text: &str, at: usize, of: &[(&str, T)]) -> Option<T> {
        let found = of.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.wrong(key, at..at, &format!("`{text}` is none of {}", names(of)));
        }
        found
    }

    /// A list of texts and where each stands.
    pub(super) fn texts(&self, key: &'static str) -> Vec<(&'a str, usize)> {
        let mut texts = Vec::new();
        for value in self.list(key) {
            match value.get_ref().as_str() {
                Some(text) => texts.push((text, value.span().start)),
                None => self.wrong(key, value.span(), "a list of texts is wanted"),
            }
        }
        texts
    }

    fn list(&self, key: &'static str) -> &'a [Spanned<DeValue<'a>>] {
        let Some(value) = self.get(key) else { return &[] };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value.span(), "a list in square brackets is wanted");
            return &[];
        };
        list
    }

    pub(super) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        self.get(key).and_then(|value| self.below(value))
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> impl Iterator<Item = Table<'a>> + use<'a> {
        let tables: Vec<_> = self.list(key).iter().filter_map(|value| self.below(value)).collect();
        tables.into_iter()
    }

    pub(super) fn json(&self, key: &'static str) -> Option<Value> {
        self.get(key).map(|value| json(value.get_ref()))
    }

    /// Names and texts of a table of texts, in the order of the file.
    pub(super) fn pairs(&self, key: &'static str) -> Vec<(String, String)> {
        let Some(table) = self.table(key) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name, value) in ordered(table.fields) {
            match value.get_ref().as_str() {
                Some(text) => pairs.push((name.get_ref().to_string(), text.to_owned())),
                None => self.wrong(name.get_ref(), value.span(), "a text in quotes is wanted"),
            }
        }
        pairs
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.fields.keys().filter(|key| !asked.contains(&&**key.get_ref())) {
            let near = neighbour(key.get_ref(), &asked);
            self.problem_at(key.span().start, format!("unknown key `{}`{near}", key.get_ref()));
        }
    }
}

fn names<T>(of: &[(&str, T)]) -> String {
    of.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

type Field<'a> = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>);

/// The fields of a table as the author wrote them.
fn ordered<'a>(fields: &'a DeTable<'a>) -> Vec<Field<'a>> {
    let mut fields: Vec<Field<'a>> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| name.span().start);
    fields
}

/// A TOML value as JSON; a date becomes its text.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => {
            number.as_str().replace('_', "").parse::<f64>().map_or(Value::Null, Value::from)
        }
        DeValue::Boolean(is) => Value::from(*is),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(fields) => {
            let fields = ordered(fields).into_iter();
            fields.map(|(name, value)| (name.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}

fn integer(number: &toml::de::DeInteger<'_>) -> Value {
    i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
}

/// `, did you mean …?`, or nothing if none is near.
pub(super) fn neighbour(word: &str, of: &[&str]) -> String {
    let nearest = of.iter().map(|name| (distance(word, name), name)).min();
    match nearest {
        Some((steps, name)) if steps <= 1 + word.chars().count() / 3 => format!(": did you mean `{name}`?"),
        _ if of.is_empty() => ": remove it".to_owned(),
        _ => {
            // Some are looked for twice.
            let known: BTreeSet<_> = of.iter().map(|name| format!("`{name}`")).collect();
            format!(": known are {}", known.into_iter().collect::<Vec<_>>().join(", "))
        }
    }
}

/// Letters to add, drop or change between two words.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
