//! The settings of a plugin: a small JSON Schema of an object, written as TOML.
//!
//! A plain subset is checked here rather than by a crate of the whole standard; an unknown keyword is refused
//! when the manifest is read, so that nothing is silently not checked. The console draws its form from it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::read::{Table, neighbour};

/// What a value's schema may hold.
const KEYWORDS: &[&str] = &[
    "type",
    "title",
    "description",
    "default",
    "examples",
    "enum",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
];
/// What a text stands for. The host reads `LINES_OF_FILE` and knows whether a `MODEL` is configured.
const FORMATS: &[&str] = &["uri", MODEL, LINES_OF_FILE];
/// A name out of the configuration's `models`.
const MODEL: &str = "model";
/// The operator writes a file's path, and the plugin gets its lines.
const LINES_OF_FILE: &str = "lines-of-file";
const TYPES: &[&str] = &["string", "integer", "number", "boolean", "array", "object"];
/// Deeper settings are no settings.
const DEPTH_MAX: usize = 8;

/// A checked JSON Schema of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    root: Value,
}

impl Default for Schema {
    fn default() -> Self {
        Self { root: serde_json::json!({ "type": "object", "properties": {} }) }
    }
}

impl Schema {
    /// The schema as JSON Schema.
    pub fn json(&self) -> &Value {
        &self.root
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.properties().map(|(name, _)| name.as_str())
    }

    /// The settings that are a file's path to the operator and the file's lines to the plugin.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let files = self.properties().filter(|(_, schema)| schema["format"] == LINES_OF_FILE);
        files.map(|(name, _)| name.as_str())
    }

    /// The models that settings name, each with its setting.
    pub fn models(&self, given: &BTreeMap<String, Value>) -> Vec<(String, String)> {
        let mut models = Vec::new();
        for (name, schema) in self.properties() {
            match given.get(name) {
                Some(Value::String(model)) if schema["format"] == MODEL => {
                    models.push((name.clone(), model.clone()));
                }
                Some(Value::Array(list)) if schema["items"]["format"] == MODEL => {
                    let listed = list.iter().filter_map(Value::as_str).enumerate();
                    models.extend(listed.map(|(at, model)| (format!("{name}[{at}]"), model.to_owned())));
                }
                _ => {}
            }
        }
        models
    }

    /// What the host fills in for a setting that the operator leaves out.
    pub fn default_of(&self, name: &str) -> Option<&Value> {
        self.root["properties"].get(name)?.get("default")
    }

    fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.root["properties"].as_object().into_iter().flatten()
    }

    pub(super) fn problems(&self, given: &BTreeMap<String, Value>) -> Vec<String> {
        let given: Map<String, Value> = given.clone().into_iter().collect();
        let mut problems = Vec::new();
        check_object("", &given, &self.root, &mut problems);
        problems
    }

    pub(super) fn with_defaults(&self, given: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        let mut all = given.clone();
        for (name, schema) in self.properties() {
            if let Some(default) = schema.get("default") {
                all.entry(name.clone()).or_insert_with(|| default.clone());
            }
        }
        all
    }
}

/// `[settings]`, or the empty schema.
pub(super) fn read(table: &Table<'_>) -> Schema {
    let Some(below) = table.table("settings") else { return Schema::default() };
    let mut root = table.json("settings").unwrap_or_default();
    if root.get("type").is_none() {
        root["type"] = Value::from("object");
    }
    let mut problems = Vec::new();
    if root["type"] != "object" {
        problems.push("`settings` describes an object: write `type = \"object\"` or leave it out".to_owned());
    }
    check_schema("settings", &root, 0, &mut problems);
    problems.into_iter().for_each(|text| below.problem(text));
    Schema { root }
}

/// Whether a schema is one that can be checked.
fn check_schema(at: &str, schema: &Value, depth: usize, problems: &mut Vec<String>) {
    let Some(fields) = schema.as_object().filter(|_| depth < DEPTH_MAX) else {
        problems.push(format!("`{at}` is no schema: write a table such as `{{ type = \"string\" }}`"));
        return;
    };
    for keyword in fields.keys().filter(|keyword| !KEYWORDS.contains(&keyword.as_str())) {
        problems.push(format!("`{at}`: unknown keyword `{keyword}`{}", neighbour(keyword, KEYWORDS)));
    }
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if !TYPES.contains(&kind) {
        problems.push(format!("`{at}`: say its `type`, one of {}", TYPES.join(", ")));
    }
    for (keyword, value) in fields.iter().filter(|(keyword, value)| !is_sound(keyword, value)) {
        problems.push(format!("`{at}`: `{keyword}` cannot be {value}"));
    }
    check_format(at, fields, depth, problems);
    check_required(at, fields, problems);
    check_below(at, fields, depth, problems);
    if let Some(default) = fields.get("default") {
        check_value(at, default, schema, problems);
    }
}

fn is_sound(keyword: &str, value: &Value) -> bool {
    match keyword {
        "minimum" | "maximum" => value.is_number(),
        "minLength" | "maxLength" | "minItems" | "maxItems" => value.is_u64(),
        "title" | "description" => value.is_string(),
        "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        "additionalProperties" => value.is_boolean(),
        "enum" => value.as_array().is_some_and(|list| !list.is_empty()),
        "examples" => value.is_array(),
        "required" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        "properties" => value.is_object(),
        _ => true,
    }
}

/// A file is read for a setting of its own, and what stands in the manifest is no path.
fn check_format(at: &str, fields: &Map<String, Value>, depth: usize, problems: &mut Vec<String>) {
    let Some(format) = fields.get("format").and_then(Value::as_str) else { return };
    if fields.get("type").and_then(Value::as_str) != Some("string") {
        problems.push(format!("`{at}`: `format` is for a text: write `type = \"string\"`"));
    }
    if format == LINES_OF_FILE && (depth != 1 || fields.contains_key("default")) {
        problems.push(format!("`{at}`: `{LINES_OF_FILE}` is for a setting itself, without a default"));
    }
}

fn check_required(at: &str, fields: &Map<String, Value>, problems: &mut Vec<String>) {
    let properties = fields.get("properties").and_then(Value::as_object);
    let names: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for name in required(fields).filter(|name| !names.contains(name)) {
        problems.push(format!("`{at}`: `required` names `{name}`{}", neighbour(name, &names)));
    }
}

fn required(fields: &Map<String, Value>) -> impl Iterator<Item = &str> {
    fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn check_below(at: &str, fields: &Map<String, Value>, depth: usize, problems: &mut Vec<String>) {
    for (name, schema) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check_schema(&format!("{at}.{name}"), schema, depth + 1, problems);
    }
    if let Some(items) = fields.get("items") {
        check_schema(&format!("{at}[]"), items, depth + 1, problems);
    }
}

/// Whether an object is what its schema says. `at` is its name, empty for the settings themselves.
fn check_object(at: &str, given: &Map<String, Value>, schema: &Value, problems: &mut Vec<String>) {
    let Some(fields) = schema.as_object() else { return };
    let none = Map::new();
    let properties = fields.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    for (name, value) in given {
        match properties.get(name) {
            Some(schema) => check_value(&below(at, name), value, schema, problems),
            None if fields.get("additionalProperties") == Some(&Value::Bool(true)) => {}
            None => {
                problems.push(format!("unknown setting `{}`{}", below(at, name), neighbour(name, &names)));
            }
        }
    }
    for name in required(fields).filter(|name| !given.contains_key(*name)) {
        let why = properties.get(name).and_then(|schema| schema["description"].as_str());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        problems.push(format!("set `{}`{why}", below(at, name)));
    }
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn check_value(at: &str, value: &Value, schema: &Value, problems: &mut Vec<String>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    if !is_of(kind, value) {
        problems.push(format!("`{at}` is {}: {} is wanted", name_of(value), article(kind)));
        return;
    }
    check_enum(at, value, schema, problems);
    match value {
        Value::Number(number) => {
            check_bounds(at, number.as_f64(), "minimum", "maximum", "", schema, problems)
        }
        Value::String(text) => check_text(at, text, schema, problems),
        Value::Array(list) => check_list(at, list, schema, problems),
        Value::Object(fields) => check_object(at, fields, schema, problems),
        Value::Null | Value::Bool(_) => {}
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a table",
    }
}

fn check_enum(at: &str, value: &Value, schema: &Value, problems: &mut Vec<String>) {
    let Some(allowed) = schema["enum"].as_array() else { return };
    if !allowed.contains(value) {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        problems.push(format!("`{at}` must be one of {}", allowed.join(", ")));
    }
}

fn check_text(at: &str, text: &str, schema: &Value, problems: &mut Vec<String>) {
    #[allow(clippy::cast_precision_loss, reason = "no text is that long")]
    let length = text.chars().count() as f64;
    check_bounds(at, Some(length), "minLength", "maxLength", " characters", schema, problems);
    let is_url = || url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if schema["format"] == "uri" && !is_url() {
        problems.push(format!("`{at}` is no URL: begin with `https://`"));
    }
}

fn check_list(at: &str, list: &[Value], schema: &Value, problems: &mut Vec<String>) {
    #[allow(clippy::cast_precision_loss, reason = "no list is that long")]
    let length = list.len() as f64;
    check_bounds(at, Some(length), "minItems", "maxItems", " entries", schema, problems);
    for (index, value) in list.iter().enumerate() {
        if let Some(items) = schema.get("items") {
            check_value(&format!("{at}[{index}]"), value, items, problems);
        }
    }
}

fn check_bounds(
    at: &str,
    number: Option<f64>,
    least: &str,
    most: &str,
    unit: &str,
    schema: &Value,
    problems: &mut Vec<String>,
) {
    let Some(number) = number else { return };
    if schema[least].as_f64().is_some_and(|least| number < least) {
        problems.push(format!("`{at}` is below its least, {}{unit}", schema[least]));
    }
    if schema[most].as_f64().is_some_and(|most| number > most) {
        problems.push(format!("`{at}` is over its most, {}{unit}", schema[most]));
    }
}
