//! What is wrong with a configuration file, and where.
//!
//! A problem names places, keys and variables. It never holds a value that came from the environment, nor a
//! scalar of a place where a secret may stand.

use std::fmt::Write;

/// Where something stands in the file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    pub(super) const START: Place = Place { line: 1, column: 1 };
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub line: usize,
    pub column: usize,
    /// Such as `channels.team.history`; empty: the file as a whole.
    pub path: String,
    pub message: String,
}

impl Problem {
    pub(super) fn new(place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        let message = one_line(&message.into());
        Problem { line: place.line, column: place.column, path: path.into(), message }
    }
}

/// Line breaks and terminal codes of a key or value as `\n` and the like.
fn one_line(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// Every problem of a file, in the order in which they stand in it. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} problem(s)", .0.len())]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Problems(problems)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One problem a line, as compilers print them: `parlor.yaml:12:5: channels.team.histroy: unknown key …`.
pub fn render(problems: &Problems, file: &str) -> String {
    let mut text = String::new();
    for Problem { line, column, path, message } in problems {
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        writeln!(text, "{file}:{line}:{column}: {path}{message}").expect("a String takes any text");
    }
    text
}

/// What stands in the file is shown so that it can be found; all of a long text would hide the message.
const SHOWN_CHARS_MAX: usize = 80;

/// The beginning of a text.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The path of a key below another, in quotes where it would be misread.
pub(super) fn key_path(parent: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let key = if is_plain { key.to_owned() } else { format!("{key:?}") };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}
