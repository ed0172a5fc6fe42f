//! Tables with known keys. One list of keys is the struct, its reading, its defaults and its JSON Schema.
//!
//! ```text
//! section! {
//!     /// What the table is.
//!     LimitsFile {
//!         /// What the key is.
//!         body: Size<1024, 1048576> = "1MiB";     // with a default, as one would write it in the file
//!         path: FilePath = required;
//!         threads: Count<1, 64> = optional;       // an `Option`
//!     }
//! }
//! ```

use serde_json::{Map, Value, json};

use super::kinds::Read;
use super::problem::shorten;
use super::reader::Reader;
use super::tree::{self, Entry, Node, What};

macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $text:literal])* $key:ident: $kind:ty = $rule:tt;)* }) => {
        $(#[doc = $about])*
        pub(super) struct $name {
            $($(#[doc = $text])* pub(super) $key: $crate::config::section::field_type!($kind, $rule),)*
        }

        impl $name {
            pub(super) const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            /// Reads the table; `stray` has the first word about a key that is not in it.
            pub(super) fn read_with(
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader<'_>,
                stray: &dyn Fn(&str) -> $crate::config::section::Stray,
            ) -> Option<Self> {
                let table = $crate::config::section::Table::of(node, Self::KEYS, stray, reader)?;
                $(let $key = $crate::config::section::field_read!($kind, $rule, table, stringify!($key), reader);)*
                Some(Self { $($key: $key?),* })
            }
        }

        impl $crate::config::kinds::Read for $name {
            fn read(
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                Self::read_with(node, reader, &|_| $crate::config::section::Stray::Unknown)
            }

            fn schema() -> serde_json::Value {
                #[allow(unused_mut)]
                let mut table = $crate::config::section::TableSchema::new(concat!($($about),*));
                $(table.add(
                    stringify!($key),
                    <$kind as $crate::config::kinds::Read>::schema(),
                    concat!($($text),*),
                    $crate::config::section::field_rule!($rule),
                );)*
                table.finish()
            }
        }
    };
}

macro_rules! field_type {
    ($kind:ty, optional) => { Option<$kind> };
    ($kind:ty, $rule:tt) => { $kind };
}

macro_rules! field_read {
    ($kind:ty, required, $table:ident, $key:expr, $reader:ident) => {
        $table.required::<$kind>($key, $reader)
    };
    ($kind:ty, optional, $table:ident, $key:expr, $reader:ident) => {
        $table.optional::<$kind>($key, $reader)
    };
    ($kind:ty, $default:literal, $table:ident, $key:expr, $reader:ident) => {
        $table.or_default::<$kind>($key, $default, $reader)
    };
}

macro_rules! field_rule {
    (required) => {
        $crate::config::section::Rule::Required
    };
    (optional) => {
        $crate::config::section::Rule::Optional
    };
    ($default:literal) => {
        $crate::config::section::Rule::Default($default)
    };
}

pub(super) use {field_read, field_rule, field_type, section};

/// What there is to say of a key that a section does not have.
pub(super) enum Stray {
    /// It was read by somebody else.
    Fine,
    Unknown,
    /// Known, but not here.
    Elsewhere(String),
}

/// A table whose keys are being read.
pub(super) struct Table<'n> {
    node: &'n Node,
}

impl<'n> Table<'n> {
    /// `None`, with a problem, if the node is none; each unknown key is a problem too.
    pub fn of(
        node: &'n Node,
        keys: &[&str],
        stray: &dyn Fn(&str) -> Stray,
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        let What::Table(entries) = &node.what else {
            let is_nothing = node.description() == "nothing";
            let advice = if is_nothing { "; remove the key, or write `{}` for the defaults" } else { "" };
            reader.mismatch(node, "a table", advice);
            return None;
        };
        for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
            say_unknown(entry, keys, stray(&entry.key), reader);
        }
        Some(Table { node })
    }

    pub fn required<T: Read>(&self, key: &str, reader: &mut Reader<'_>) -> Option<T> {
        let value = self.optional(key, reader)?;
        if value.is_none() {
            reader.within(key, |reader| reader.problem(self.node.place, "missing; it has no default"));
        }
        value
    }

    /// `None`: there, and wrong. `Some(None)`: not there.
    pub fn optional<T: Read>(&self, key: &str, reader: &mut Reader<'_>) -> Option<Option<T>> {
        match self.node.get(key) {
            None => Some(None),
            Some(node) => reader.within(key, |reader| T::read(node, reader)).map(Some),
        }
    }

    pub fn or_default<T: Read>(&self, key: &str, default: &str, reader: &mut Reader<'_>) -> Option<T> {
        match self.optional(key, reader)? {
            Some(value) => Some(value),
            None => T::read(&default_node(default), reader),
        }
    }
}

fn default_node(yaml: &str) -> Node {
    tree::parse(yaml, &mut Vec::new()).expect("a default in a section is YAML; a test reads them all")
}

fn say_unknown(entry: &Entry, keys: &[&str], stray: Stray, reader: &mut Reader<'_>) {
    let message = match stray {
        Stray::Fine => return,
        Stray::Elsewhere(message) => message,
        Stray::Unknown => unknown("key", &entry.key, keys.iter().copied()),
    };
    reader.within(&entry.key, |reader| reader.problem(entry.place, message));
}

/// "unknown key `histroy`; did you mean `history`?", or what is known when nothing is near.
pub(super) fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let advice = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => match known_names(known) {
            Some(names) => format!("known: {names}"),
            None => format!("there is no {what}"),
        },
    };
    format!("unknown {what} `{}`; {advice}", shorten(name))
}

/// More names than this do not help anybody.
const NAMES_SHOWN_MAX: usize = 24;

fn known_names<'k>(known: impl Iterator<Item = &'k str>) -> Option<String> {
    let names: Vec<_> = known.take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Names that are compared letter by letter: more models or pipelines than that no operator spells wrong.
const COMPARED_MAX: usize = 100;

/// The name that was probably meant: at most a third of its letters are wrong.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let letters: Vec<char> = name.chars().collect();
    known
        .take(COMPARED_MAX)
        .filter(|near| near.chars().count().abs_diff(letters.len()) <= 2)
        .map(|near| (distance(&letters, &near.chars().collect::<Vec<_>>()), near))
        .filter(|(distance, near)| *distance <= 2 && *distance * 3 <= near.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, near)| near)
}

/// Letters to insert, remove, replace or swap with their neighbour.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

/// Whether a key may be left out, and what holds then.
pub(super) enum Rule {
    Required,
    Optional,
    /// As one would write it in the file.
    Default(&'static str),
}

/// The JSON Schema of a table, key by key.
pub(super) struct TableSchema {
    about: &'static str,
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

impl TableSchema {
    pub fn new(about: &'static str) -> Self {
        TableSchema { about, properties: Map::new(), required: Vec::new() }
    }

    pub fn add(&mut self, key: &'static str, mut schema: Value, about: &str, rule: Rule) {
        schema["description"] = json!(about.trim());
        match rule {
            Rule::Required => self.required.push(key),
            Rule::Optional => {}
            Rule::Default(yaml) => schema["default"] = plain_value(&default_node(yaml)),
        }
        self.properties.insert(key.to_owned(), schema);
    }

    pub fn finish(self) -> Value {
        json!({
            "description": self.about.trim(),
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}

/// A node as JSON, its variables as they stand.
fn plain_value(node: &Node) -> Value {
    match &node.what {
        What::Scalar { text, is_quoted: true } => json!(text),
        What::Scalar { text, .. } => tree::infer(text),
        What::List(items) => items.iter().map(plain_value).collect(),
        What::Table(entries) => entries.iter().map(|e| (e.key.clone(), plain_value(&e.value))).collect(),
    }
}
