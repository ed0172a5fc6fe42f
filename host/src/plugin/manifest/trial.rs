//! What a trial of the plugin needs to know of it and its platform (`[trial]`), for `parlor plugin test`.
//!
//! Only its shape: `conformance` plays the platform by it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::quantity;
use super::read::Table;

/// Under what a plugin is tried, and what its platform answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrialRules {
    /// Before those of a golden request.
    pub settings: BTreeMap<String, Value>,
    /// Likewise. Made up; never an operator's.
    pub secrets: BTreeMap<String, String>,
    /// The first whose path fits is given.
    pub answers: Vec<Answer>,
}

/// What the platform answers to requests whose path begins so, with status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub path: String,
    /// `{{ n }}` becomes the number of the request.
    pub body: String,
    /// JSON pointer to the text that `units_max` is about.
    pub text: Option<String>,
    /// UTF-16 units of that text; a request that has more is refused.
    pub units_max: Option<u64>,
    /// Bytes of a request's whole body.
    pub bytes_max: Option<u64>,
}

impl Answer {
    /// Whether a request's body is longer than the platform takes.
    pub fn is_exceeded_by(&self, body: &[u8]) -> bool {
        let is_more = |count: usize, most: u64| u64::try_from(count).is_ok_and(|count| count > most);
        let text = || {
            let body: Value = serde_json::from_slice(body).ok()?;
            Some(body.pointer(self.text.as_ref()?)?.as_str()?.encode_utf16().count())
        };
        self.bytes_max.is_some_and(|most| is_more(body.len(), most))
            || self.units_max.is_some_and(|most| text().is_some_and(|count| is_more(count, most)))
    }
}

pub(super) fn read(table: Table<'_>) -> TrialRules {
    let settings = match table.json("settings") {
        Some(Value::Object(fields)) => fields.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let rules = TrialRules {
        settings,
        secrets: table.pairs("secrets").into_iter().collect(),
        answers: table.tables("answers").map(read_answer).collect(),
    };
    table.finish();
    rules
}

fn read_answer(table: Table<'_>) -> Answer {
    let text = |key| table.text(key).map(|(text, _)| text.to_owned());
    let answer = Answer {
        path: text("path").unwrap_or_else(|| "/".to_owned()),
        body: table.need("body", |text| Ok(text.to_owned())),
        text: table.parsed("text", quantity::pointer),
        units_max: table.u64("units-max"),
        bytes_max: table.u64("bytes-max"),
    };
    if answer.units_max.is_some() != answer.text.is_some() {
        table.problem("`text` says where the text stands whose units `units-max` counts: name both or none");
    }
    table.finish();
    answer
}
