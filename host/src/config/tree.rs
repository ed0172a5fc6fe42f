//! YAML text as a tree whose nodes know their place.
//!
//! It knows YAML, not Parlor: what keys mean is `file`'s. The parser hands out events, so the tree is built
//! without recursion and every bound holds before anything is allocated for what exceeds it.

use std::collections::HashMap;

use serde_json::Value;
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::problem::{Place, Problem, key_path};

/// Far deeper than any key; what recurses over a tree relies on it.
const DEPTH_MAX: usize = 32;
/// What aliases may repeat in sum, as if it were written out: at most they double the largest file.
const REPEATED_BYTES_MAX: usize = super::file::FILE_BYTES_MAX;

/// A node of the file. It has no `Debug`, since it may hold a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub place: Place,
    pub what: What,
}

#[derive(Clone)]
pub(super) enum What {
    Scalar { text: String, is_quoted: bool },
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Clone)]
pub(super) struct Entry {
    pub place: Place,
    pub key: String,
    pub value: Node,
}

impl Node {
    /// The entries of a table; of anything else none.
    pub fn entries(&self) -> &[Entry] {
        match &self.what {
            What::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; of anything else none.
    pub fn items(&self) -> &[Node] {
        match &self.what {
            What::List(items) => items,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// What it is, for a message; never its text.
    pub fn description(&self) -> &'static str {
        match &self.what {
            What::Table(_) => "a table",
            What::List(_) => "a list",
            What::Scalar { is_quoted: true, .. } => "text",
            What::Scalar { text, .. } => match infer(text) {
                Value::Null => "nothing",
                Value::Bool(_) => "a flag",
                Value::Number(_) => "a number",
                _ => "text",
            },
        }
    }

    /// About what it takes in memory: its text and the nodes around it.
    fn bytes(&self) -> usize {
        let below: usize = match &self.what {
            What::Scalar { text, .. } => text.len(),
            What::List(items) => items.iter().map(Node::bytes).sum(),
            What::Table(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.bytes()).sum(),
        };
        size_of::<Node>() + below
    }

    fn height(&self) -> usize {
        let below = match &self.what {
            What::Scalar { .. } => return 0,
            What::List(items) => items.iter().map(Node::height).max(),
            What::Table(entries) => entries.iter().map(|entry| entry.value.height()).max(),
        };
        1 + below.unwrap_or(0)
    }
}

/// What a plain scalar is: YAML's core schema, but for numbers that JSON does not know (`007`, `.inf`), which
/// stay text so that no digit is lost.
pub(super) fn infer(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_number)
}

/// The tree of a file with one document; `None` if what went to `problems` leaves none.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut builder = Builder::default();
    let outcome = read_events(text, &mut builder);
    problems.append(&mut builder.duplicates);
    match outcome {
        Ok(()) => Some(builder.root.unwrap_or(Node { place: Place::START, what: What::Table(Vec::new()) })),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn read_events(text: &str, builder: &mut Builder) -> Result<(), Problem> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| not_yaml(&error))?;
        builder.take(event, span)?;
    }
    Ok(())
}

fn not_yaml(error: &ScanError) -> Problem {
    let place = place_of(*error.marker());
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(place),
        kind => Problem::new(place, "", format!("this is not YAML: {kind}")),
    }
}

fn too_deep(place: Place) -> Problem {
    Problem::new(place, "", format!("nested deeper than {DEPTH_MAX} levels"))
}

fn place_of(marker: granit_parser::Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

/// A list or table whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    what: What,
    /// The key that waits for its value.
    key: Option<(Place, String)>,
    /// Where each key came first.
    seen: HashMap<String, Place>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    repeated_bytes: usize,
    root: Option<Node>,
    duplicates: Vec<Problem>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = place_of(span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_quoted = style != ScalarStyle::Plain || self.is_text(place, tag.as_deref())?;
                self.add(Node { place, what: What::Scalar { text: text.into_owned(), is_quoted } }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(place, anchor, tag.as_deref(), What::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.start(place, anchor, tag.as_deref(), What::Table(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.repeat(place, id),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Problem::new(place, "", "a second document begins here; a configuration has one"))
            }
            _ => Ok(()),
        }
    }

    fn is_text(&self, place: Place, tag: Option<&Tag>) -> Result<bool, Problem> {
        match tag {
            None => Ok(false),
            Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(true),
            Some(_) => Err(self.no_tags(place)),
        }
    }

    fn no_tags(&self, place: Place) -> Problem {
        Problem::new(place, self.path(), "YAML tags have no meaning here; remove the `!…`")
    }

    fn start(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, what: What) -> Result<(), Problem> {
        if tag.is_some() {
            return Err(self.no_tags(place));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(too_deep(place));
        }
        self.open.push(Open { place, anchor, what, key: None, seen: HashMap::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let open = self.open.pop().expect("the parser ends only what it has started");
        self.add(Node { place: open.place, what: open.what }, open.anchor)
    }

    fn repeat(&mut self, place: Place, id: usize) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(Problem::new(place, self.path(), "this alias stands within its own anchor"));
        };
        if self.open.len() + node.height() > DEPTH_MAX {
            return Err(too_deep(place));
        }
        self.repeated_bytes += node.bytes();
        if self.repeated_bytes > REPEATED_BYTES_MAX {
            return Err(Problem::new(place, self.path(), "the aliases of this file repeat more than 1 MiB"));
        }
        let node = Node { place, what: node.what.clone() };
        self.add(node, 0)
    }

    /// Puts a complete node where it belongs.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.what, open.key.take()) {
            (What::List(items), _) => items.push(node),
            (What::Table(entries), Some((place, key))) => entries.push(Entry { place, key, value: node }),
            (_, None) => return self.add_key(node),
            (What::Scalar { .. }, _) => unreachable!("a scalar is never open"),
        }
        Ok(())
    }

    /// Waits for the value of a key; a key that was there before is a problem.
    fn add_key(&mut self, node: Node) -> Result<(), Problem> {
        let place = node.place;
        let key = key_of(node).map_err(|message| Problem::new(place, self.path(), message))?;
        let open = self.open.last_mut().expect("only a table has keys, and it is open");
        let first = *open.seen.entry(key.clone()).or_insert(place);
        let message = format!("duplicate key `{key}`; it stands in line {} already", first.line);
        open.key = Some((place, key));
        if first != place {
            self.duplicates.push(Problem::new(place, self.path(), message));
        }
        Ok(())
    }

    /// The path of the value that is read now.
    fn path(&self) -> String {
        self.open.iter().fold(String::new(), |path, open| match (&open.what, &open.key) {
            (What::List(items), _) => format!("{path}[{}]", items.len()),
            (_, Some((_, key))) => key_path(&path, key),
            _ => path,
        })
    }
}

fn key_of(node: Node) -> Result<String, &'static str> {
    match node.what {
        What::Scalar { text, is_quoted: false } if text == "<<" => {
            Err("merge keys (`<<`) are not part of YAML 1.2; write the keys out")
        }
        What::Scalar { text, .. } => Ok(text),
        _ => Err("a key must be text"),
    }
}
