//! From a JSON schema to a grammar to sample with.
//!
//! The work is llama.cpp's; this looks at the schema first, since the C++ side takes what it does not understand for
//! "any string", counts down from a minimum above its maximum, and walks by recursion.

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
    if let Some(keyword) =
        ["pattern", "patternProperties"].into_iter().find(|key| keywords.contains_key(*key))
    {
        return Err(format!(
            "`{keyword}` is not supported; list the texts as `enum`, or check them afterwards"
        ));
    }
    check_bounds(keywords)?;
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
