//! What reads a tree: where it is, what it found wrong, and the variables that stand in scalars.
//!
//! It reads scalars as text; what the text must be is a matter of `kinds`.

use std::path::Path;

use serde_json::Value;

use super::problem::{Place, Problem, key_path, shorten};
use super::secrets_file::SECRETS_FILE;
use super::tree::{Node, What, infer};

/// The environment, as the caller hands it in.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) struct Reader<'a> {
    /// What relative paths are relative to.
    pub folder: &'a Path,
    environment: Environment<'a>,
    path: String,
    pub problems: Vec<Problem>,
}

/// A scalar whose variables are filled in.
pub(super) struct Scalar {
    pub text: String,
    pub is_quoted: bool,
    /// The variables that it names.
    pub variables: Vec<String>,
}

impl Scalar {
    /// Whether it is text by itself: in quotes, nothing else, or out of a variable, which has no type.
    fn is_text(&self) -> bool {
        self.is_quoted || !self.variables.is_empty() || infer(&self.text).is_string()
    }

    /// What it is where any kind may stand: quotes make it text, else it counts as what it looks like.
    pub fn value(self) -> Value {
        let is_text = self.is_quoted || self.text.is_empty() && !self.variables.is_empty();
        if is_text { Value::String(self.text) } else { infer(&self.text) }
    }

    /// The text as it may be shown: nothing that came out of the environment.
    pub fn shown(&self) -> String {
        match self.variables.first() {
            Some(variable) => format!("what `{variable}` holds"),
            None => format!("`{}`", shorten(&self.text)),
        }
    }
}

impl<'a> Reader<'a> {
    pub fn new(folder: &'a Path, environment: Environment<'a>) -> Self {
        Reader { folder, environment, path: String::new(), problems: Vec::new() }
    }

    pub fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem::new(place, &self.path, message));
    }

    /// Reads what stands at a key.
    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let path = key_path(&self.path, key);
        self.at(path, read)
    }

    /// Reads what stands at a place of a list.
    pub fn within_item<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let path = format!("{}[{index}]", self.path);
        self.at(path, read)
    }

    fn at<T>(&mut self, path: String, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.path, path);
        let outcome = read(self);
        self.path = outer;
        outcome
    }

    /// Says that something else was expected. `advice` begins with a semicolon, or is empty.
    pub fn mismatch(&mut self, node: &Node, expected: &str, advice: &str) {
        self.problem(node.place, format!("expected {expected}, there is {}{advice}", node.description()));
    }

    /// Text: in quotes, or what no one could take for anything else. `advice` is for a number or flag.
    pub fn text(&mut self, node: &Node, expected: &str, advice: &str) -> Option<Scalar> {
        let scalar = self.scalar(node, expected)?;
        if scalar.is_text() {
            return Some(scalar);
        }
        let advice = if scalar.value().is_null() { "" } else { advice };
        self.mismatch(node, expected, advice);
        None
    }

    /// A number or a flag: without quotes, unless they stand around a variable.
    pub fn plain(&mut self, node: &Node, expected: &str) -> Option<Scalar> {
        let scalar = self.scalar(node, expected)?;
        if !scalar.is_quoted || !scalar.variables.is_empty() {
            return Some(scalar);
        }
        let advice = if infer(&scalar.text).is_string() { "" } else { "; remove the quotes" };
        self.mismatch(node, expected, advice);
        None
    }

    /// Any scalar, its variables filled in.
    pub fn scalar(&mut self, node: &Node, expected: &str) -> Option<Scalar> {
        let What::Scalar { text, is_quoted } = &node.what else {
            self.mismatch(node, expected, "");
            return None;
        };
        let (found, messages) = expand(text, self.environment);
        let is_sound = messages.is_empty();
        for message in messages {
            self.problem(node.place, message);
        }
        is_sound.then_some(Scalar { is_quoted: *is_quoted, ..found })
    }

    /// A scalar's text without a word about what is wrong with it: somebody else says that.
    pub fn peek(&self, node: &Node) -> Option<Scalar> {
        let What::Scalar { text, is_quoted } = &node.what else { return None };
        let (found, messages) = expand(text, self.environment);
        messages.is_empty().then_some(Scalar { is_quoted: *is_quoted, ..found })
    }
}

/// `${NAME}` becomes what the environment holds and `$$` becomes `$`; also every problem with that.
fn expand(text: &str, environment: Environment<'_>) -> (Scalar, Vec<String>) {
    let mut scalar = Scalar { text: String::new(), is_quoted: false, variables: Vec::new() };
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        scalar.text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            scalar.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            rest = fill_in(after, environment, &mut scalar).unwrap_or_else(|(message, after)| {
                problems.push(message);
                after
            });
        } else {
            scalar.text.push('$');
        }
    }
    scalar.text.push_str(rest);
    (scalar, problems)
}

/// Reads `NAME}` and gives what stands behind it, with a problem if there is one.
fn fill_in<'t>(
    text: &'t str,
    environment: Environment<'_>,
    scalar: &mut Scalar,
) -> Result<&'t str, (String, &'t str)> {
    let Some((name, after)) = text.split_once('}') else {
        return Err(("`${` has no `}`; for a dollar sign write `$$`".to_owned(), ""));
    };
    if !is_variable(name) {
        let message = format!("`${{{name}}}` names no variable; for that text itself write `$${{{name}}}`");
        return Err((message, after));
    }
    let value = environment(name).ok_or_else(|| {
        let held = format!("there is no variable `{name}` in the environment, nor in `{SECRETS_FILE}`");
        (format!("{held}; set it and start again"), after)
    })?;
    scalar.variables.push(name.to_owned());
    scalar.text.push_str(&value);
    Ok(after)
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
