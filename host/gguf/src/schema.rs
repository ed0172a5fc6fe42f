//! From a JSON schema to a grammar to sample with.
//!
//! The work is llama.cpp's; this looks at the schema first, since the C++ side takes what it does not understand for
//! "any string", passes over what it has no rule for, counts down from a minimum above its maximum, and walks by
//! recursion. What would be passed over is refused by name: an answer that breaks it would look as if it were held to it.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use serde_json::{Map, Value};

use crate::request::StartError;

/// A schema becomes a grammar, and a grammar costs time at each token.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Each repetition becomes rules of the grammar, of which llama.cpp takes 2,000.
const REPETITIONS_MAX: u64 = 500;

/// Pairs of bounds; the first may not exceed the second.
const BOUNDS: [(&str, &str); 5] = [
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minimum", "maximum"),
    ("exclusiveMinimum", "maximum"),
    ("minimum", "exclusiveMaximum"),
];
const COUNTS: [&str; 4] = ["minLength", "maxLength", "minItems", "maxItems"];
/// Nothing in a grammar holds an answer to these.
const UNHELD: [&str; 20] = [
    "additionalItems",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "multipleOf",
    "not",
    "pattern",
    "patternProperties",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];
const NUMBERS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
/// Each takes the place of the whole schema.
const COMBINED: [&str; 5] = ["$ref", "oneOf", "anyOf", "allOf", "prefixItems"];
const SHAPES: [&str; 6] = ["properties", "required", "additionalProperties", "items", "enum", "const"];
/// Their values are no schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// Their values are schemas by name.
const NAMED: [&str; 3] = ["properties", "$defs", "definitions"];

pub(crate) fn grammar(model: &LlamaModel, schema: &str) -> Result<LlamaSampler, StartError> {
    let refuse = |why: &str| StartError::Schema(why.to_owned());
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(refuse("it is larger than 64 KiB"));
    }
    // Bounds the depth as well.
    let parsed: Value =
        serde_json::from_str(schema).map_err(|error| StartError::Schema(error.to_string()))?;
    if !parsed.is_object() {
        return Err(refuse("it is not a JSON object"));
    }
    check(&parsed).map_err(StartError::Schema)?;
    let grammar = llama_cpp_2::json_schema_to_grammar(schema)
        .map_err(|_| refuse("it has a keyword or a reference that cannot become a grammar"))?;
    LlamaSampler::grammar(model, &grammar, "root")
        .map_err(|_| refuse("its grammar is too large or refers to itself"))
}

fn check(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Object(keywords) => check_keywords(keywords),
        Value::Array(schemas) => schemas.iter().try_for_each(check),
        _ => Ok(()),
    }
}

fn check_keywords(keywords: &Map<String, Value>) -> Result<(), String> {
    if let Some(keyword) = UNHELD.into_iter().find(|keyword| binds(keyword, keywords.get(*keyword))) {
        return Err(format!(
            "`{keyword}` is not supported; leave it out and check the answer afterwards, or list the values as `enum`"
        ));
    }
    check_bounds(keywords)?;
    check_numbers(keywords)?;
    check_required(keywords)?;
    check_neighbours(keywords)?;
    for (keyword, value) in keywords.iter().filter(|(keyword, _)| !DATA.contains(&keyword.as_str())) {
        match value {
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                named.values().try_for_each(check)?
            }
            value => check(value)?,
        }
    }
    Ok(())
}

/// Whether a keyword asks for anything.
fn binds(keyword: &str, value: Option<&Value>) -> bool {
    match (keyword, value) {
        (_, None) | ("uniqueItems", Some(Value::Bool(false))) => false,
        ("minProperties" | "minContains", Some(least)) => least.as_u64() != Some(0),
        _ => true,
    }
}

/// Bounds become rules of whole numbers alone.
fn check_numbers(keywords: &Map<String, Value>) -> Result<(), String> {
    let may_be_fraction = match keywords.get("type") {
        None => true,
        Some(Value::Array(types)) => types.iter().any(|kind| kind == "number"),
        Some(kind) => kind == "number",
    };
    match NUMBERS.into_iter().find(|keyword| keywords.contains_key(*keyword)) {
        Some(keyword) if may_be_fraction => Err(format!(
            "`{keyword}` is supported for `integer` alone; leave it out and check the answer afterwards"
        )),
        _ => Ok(()),
    }
}

/// A member that no property describes has no rule that could ask for it.
fn check_required(keywords: &Map<String, Value>) -> Result<(), String> {
    let required = keywords.get("required").and_then(Value::as_array);
    let is_described = |name: &str| keywords.get("properties").is_some_and(|all| all.get(name).is_some());
    let strange = required.into_iter().flatten().filter_map(Value::as_str).find(|name| !is_described(name));
    strange.map_or(Ok(()), |name| {
        Err(format!("`required` names `{name}`, which is not in `properties`; add it there"))
    })
}

/// Of those that stand beside each other, one would win.
fn check_neighbours(keywords: &Map<String, Value>) -> Result<(), String> {
    let has = |keyword: &&str| keywords.contains_key(*keyword);
    let Some(one) = COMBINED.into_iter().find(has) else { return Ok(()) };
    match COMBINED.into_iter().chain(SHAPES).filter(|keyword| *keyword != one).find(has) {
        Some(other) => Err(format!("`{one}` beside `{other}` is not supported; join them into one")),
        None => Ok(()),
    }
}

fn check_bounds(keywords: &Map<String, Value>) -> Result<(), String> {
    for keyword in COUNTS {
        match keywords.get(keyword).map(Value::as_u64) {
            Some(Some(count)) if count <= REPETITIONS_MAX => (),
            None => (),
            Some(_) => return Err(format!("`{keyword}` must be a number from `0` to `{REPETITIONS_MAX}`")),
        }
    }
    let number = |keyword: &str| keywords.get(keyword).and_then(Value::as_f64);
    let crossed = BOUNDS.into_iter().find(|(low, high)| match (number(low), number(high)) {
        (Some(low), Some(high)) => low > high,
        _ => false,
    });
    crossed.map_or(Ok(()), |(low, high)| Err(format!("`{low}` is above `{high}`")))
}
