//! Golden requests of a release (`[[selftest]]`) and how vector files are driven (`[[vectors]]`).
//!
//! Only their shape; the loader runs the first and `plugin test` the second. Texts in `[[vectors]]` are
//! templates that are not looked into here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::read::Table;
use super::{Kind, quantity};

/// A request that a release must answer rightly before it serves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SelfTest {
    pub name: String,
    pub clock_ms: u64,
    pub settings: BTreeMap<String, Value>,
    /// Made up for this test; never an operator's.
    pub secrets: BTreeMap<String, String>,
    pub request: GoldenRequest,
    pub expect: Expectation,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoldenRequest {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reception {
    Answer,
    #[default]
    Accept,
    Inquire,
    Refuse,
}

/// What must come out of a golden request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectation {
    pub reception: Reception,
    pub status: Option<u16>,
    /// One object a message; the fields that stand there must be equal. A mere count in the manifest is so
    /// many empty objects. None: not looked at.
    pub messages: Option<Vec<Value>>,
}

/// How the vectors of these algorithms become requests, and what is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorRule {
    pub algorithms: Vec<String>,
    /// Why these are not about this plugin; they get no verdict then.
    pub skip: Option<String>,
    pub clock_ms: Option<Value>,
    pub settings: Option<Value>,
    pub secrets: Option<Value>,
    pub request: Option<Value>,
    pub expect: Option<Value>,
    pub respond: Option<Value>,
    pub checks: Option<Value>,
}

/// No golden request brings more.
const MESSAGES_MAX: u64 = 100;

const RECEPTIONS: &[(&str, Reception)] = &[
    ("answer", Reception::Answer),
    ("accept", Reception::Accept),
    ("inquire", Reception::Inquire),
    ("refuse", Reception::Refuse),
];

pub(super) fn read_selftest(table: Table<'_>, kind: Kind) -> SelfTest {
    if kind == Kind::Pipeline {
        table.problem("golden requests are for adapters: remove this `[[selftest]]`");
    }
    let test = SelfTest {
        name: table.need("name", quantity::line),
        clock_ms: table.u64("clock-ms").unwrap_or_default(),
        settings: object(table.json("settings")),
        secrets: table.pairs("secrets").into_iter().collect(),
        request: needed(&table, "request").map(read_request).unwrap_or_default(),
        expect: needed(&table, "expect").map(read_expectation).unwrap_or_default(),
    };
    table.finish();
    test
}

fn needed<'a>(table: &Table<'a>, key: &'static str) -> Option<Table<'a>> {
    let below = table.table(key);
    if below.is_none() && !table.has_problem_at(key) {
        table.problem(format!("`{key}` is missing: add it"));
    }
    below
}

fn object(value: Option<Value>) -> BTreeMap<String, Value> {
    match value {
        Some(Value::Object(fields)) => fields.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

fn read_request(table: Table<'_>) -> GoldenRequest {
    let text = |key| table.text(key).map(|(text, _)| text.to_owned());
    let request = GoldenRequest {
        method: table.parsed("method", quantity::method).unwrap_or_else(|| "POST".to_owned()),
        path: text("path").unwrap_or_else(|| "/".to_owned()),
        query: text("query").unwrap_or_default(),
        headers: table.pairs("headers").into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)).collect(),
        body: text("body").unwrap_or_default(),
    };
    table.finish();
    request
}

fn read_expectation(table: Table<'_>) -> Expectation {
    let status = table.u64("status").map(|status| u16::try_from(status).unwrap_or(0));
    if status.is_some_and(|status| !(100..=599).contains(&status)) {
        table.problem("`status` is no HTTP status: write one of 100 to 599");
    }
    let expectation = Expectation {
        reception: table.choice("reception", RECEPTIONS).unwrap_or(Reception::Accept),
        status,
        messages: messages(&table),
    };
    table.finish();
    expectation
}

fn messages(table: &Table<'_>) -> Option<Vec<Value>> {
    match table.json("messages")? {
        Value::Array(list) if list.iter().all(Value::is_object) => Some(list),
        Value::Number(count) if count.as_u64().is_some_and(|count| count <= MESSAGES_MAX) => {
            let any = || Value::Object(serde_json::Map::new());
            Some((0..count.as_u64()?).map(|_| any()).collect())
        }
        _ => {
            table.problem("`messages` is their number, or a list of tables, one a message");
            None
        }
    }
}

pub(super) fn read_vectors(table: Table<'_>) -> VectorRule {
    let algorithms: Vec<String> = table.texts("algo").into_iter().map(|(text, _)| text.to_owned()).collect();
    if algorithms.is_empty() && !table.has_problem_at("algo") {
        table.problem("say in `algo` which vectors these are");
    }
    let rule = VectorRule {
        algorithms,
        skip: table.parsed("skip", quantity::line),
        clock_ms: table.json("clock-ms"),
        settings: table.json("settings"),
        secrets: table.json("secrets"),
        request: table.json("request"),
        expect: table.json("expect"),
        respond: table.json("respond"),
        checks: table.json("checks"),
    };
    table.finish();
    rule
}
