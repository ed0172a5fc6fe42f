//! What the host says on a socket, as JSON has it.

use serde::Serialize;

use super::{Names, Step};
use crate::doors::chat::{Event, Refusal, Usage};
use crate::doors::problem::{Problem, whole_seconds};

/// One frame of the host's. `id` is the client's own of the question that it is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Told<'a> {
    /// Stored: it will be answered whatever becomes of the line.
    Accepted {
        id: &'a str,
        message_id: &'a str,
        session_id: &'a str,
    },
    /// All text so far: replaces what the client has.
    Snapshot {
        id: &'a str,
        text: String,
    },
    Delta {
        id: &'a str,
        text: String,
    },
    Done {
        id: &'a str,
        message_id: &'a str,
        session_id: &'a str,
        reply: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    Stopped {
        id: &'a str,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        code: &'static str,
        message: String,
        /// Whole seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    Pong,
}

impl<'a> Told<'a> {
    pub fn accepted(id: &'a str, names: &'a Names) -> Self {
        Told::Accepted { id, message_id: &names.message_id, session_id: &names.session_id }
    }

    pub fn step(id: &'a str, names: &'a Names, step: Step) -> Self {
        match step {
            Step::Snapshot(text) => Told::Snapshot { id, text },
            Step::Stopped => Told::Stopped { id },
            Step::Event(Event::Delta(text)) => Told::Delta { id, text },
            Step::Event(Event::Done(reply)) => Told::Done {
                id,
                message_id: &names.message_id,
                session_id: &names.session_id,
                reply: reply.text,
                model: reply.model,
                usage: reply.usage,
            },
            Step::Event(Event::Failed { status, code, message, retry_after }) => {
                Told::problem(Some(id), Refusal { status, code, message, retry_after }.into())
            }
        }
    }

    pub fn problem(id: Option<&'a str>, problem: Problem) -> Self {
        Told::Error {
            id,
            code: problem.code,
            message: problem.message.into_owned(),
            retry_after: problem.retry_after.map(whole_seconds),
        }
    }
}
