//! What a client says on a socket, read strictly: a field that is missing, wrong or unknown is refused by its
//! name, not passed over.

use serde::Deserialize;
use serde_json::Value;

use crate::doors::chat::{check_id, check_query, invalid};
use crate::doors::problem::Problem;

/// One frame of a client's.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Ask { id: String, query: String, session_id: Option<String> },
    Stop { id: String },
    Ping,
}

/// A frame that makes no sense, and which question it was about if that much can be told.
#[derive(Debug)]
pub struct Garbage {
    pub id: Option<String>,
    pub problem: Problem,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    #[serde(rename = "type")]
    kind: Option<Value>,
    id: Option<Value>,
    query: Option<Value>,
    session_id: Option<Value>,
}

impl Asked {
    pub fn parse(frame: &str) -> Result<Self, Garbage> {
        let whole = |problem| Garbage { id: None, problem };
        // A list of values in the right order would pass for an object otherwise.
        if !frame.trim_start().starts_with('{') {
            return Err(whole(invalid("the message is not a JSON object".to_owned())));
        }
        let mut frame: Frame =
            serde_json::from_str(frame).map_err(|error| whole(invalid(format!("the message: {error}"))))?;
        let id = text("id", frame.id.take())
            .and_then(|id| id.as_deref().map_or(Ok(()), |id| check_id("id", id)).map(|()| id))
            .map_err(whole)?;
        frame.read(id.clone()).map_err(|problem| Garbage { id, problem })
    }
}

impl Frame {
    fn read(self, id: Option<String>) -> Result<Asked, Problem> {
        let kind = needed("type", text("type", self.kind)?)?;
        let (query, session_id) = (text("query", self.query)?, text("session_id", self.session_id)?);
        match kind.as_str() {
            "ask" => ask(needed("id", id)?, needed("query", query)?, session_id),
            "stop" => {
                foreign("stop", &[("query", &query), ("session_id", &session_id)])?;
                Ok(Asked::Stop { id: needed("id", id)? })
            }
            "ping" => {
                foreign("ping", &[("id", &id), ("query", &query), ("session_id", &session_id)])?;
                Ok(Asked::Ping)
            }
            _ => Err(invalid("`type` is `ask`, `stop` or `ping`".to_owned())),
        }
    }
}

fn ask(id: String, query: String, session_id: Option<String>) -> Result<Asked, Problem> {
    check_query(&query)?;
    session_id.as_deref().map_or(Ok(()), |id| check_id("session_id", id))?;
    Ok(Asked::Ask { id, query, session_id })
}

fn text(field: &str, value: Option<Value>) -> Result<Option<String>, Problem> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(format!("`{field}` is not a text"))),
    }
}

fn needed(field: &str, value: Option<String>) -> Result<String, Problem> {
    value.ok_or_else(|| invalid(format!("`{field}` is missing")))
}

/// Refuses a field that the frame has no use for.
fn foreign(kind: &str, fields: &[(&str, &Option<String>)]) -> Result<(), Problem> {
    match fields.iter().find(|(_, value)| value.is_some()) {
        Some((field, _)) => Err(invalid(format!("`{field}` does not belong to `{kind}`"))),
        None => Ok(()),
    }
}
