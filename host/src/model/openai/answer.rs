//! A response's body, read into deltas as it comes.
//!
//! It owns the response, so that dropping it closes the connection and the server stops working. It does
//! not know prompts, keys or tries; what it cannot read is a `Failure` which says whether a new try may help.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::assembly::{ANSWER_BYTES_MAX, Assembly, Chunk, Flaw};
use super::refusal::{judge_object, words};
use super::retry::{Failure, Health};
use super::scrubber::Scrubber;
use super::sse::{Decoder, Event};
use super::{FIRST_BYTE, reason};
use crate::model::breaker::Permission;
use crate::model::{Answer, Delta, ModelError};

/// Silence between two chunks once the text flows. Servers that think aloud or send comments to keep the
/// line open do so every 15 to 30 seconds.
const IDLE: Duration = Duration::from_secs(45);
/// How long usage and `[DONE]` may come after `finish_reason`: the answer is whole without them.
const CLOSING: Duration = Duration::from_secs(3);
/// Bytes of a body, comments and JSON around the text included: a chunk of one token has about 300, so this
/// is a good 200,000 tokens.
const BODY_BYTES_MAX: usize = 64 << 20;

/// One answer on its way.
pub struct Reading {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    form: Form,
    assembly: Assembly,
    events: VecDeque<Event>,
    ready: VecDeque<Delta>,
    deadline: Instant,
    scrubber: Scrubber,
    body_bytes: usize,
    /// The first delta is out: from here on nothing can be tried again.
    has_begun: bool,
    is_closed: bool,
}

/// What the server made of `stream: true`.
enum Form {
    Events(Decoder),
    /// It ignores it and sends one JSON document.
    Whole(Vec<u8>),
}

impl Reading {
    pub fn new(response: Response, deadline: Instant, scrubber: Scrubber) -> Result<Self, Failure> {
        Ok(Self {
            form: form(&response)?,
            body: response.bytes_stream().boxed(),
            assembly: Assembly::default(),
            events: VecDeque::new(),
            ready: VecDeque::new(),
            deadline,
            scrubber,
            body_bytes: 0,
            has_begun: false,
            is_closed: false,
        })
    }

    /// None after `Done`.
    pub async fn next(&mut self) -> Result<Option<Delta>, Failure> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                self.has_begun = true;
                return Ok(Some(delta));
            }
            if self.is_closed {
                return Ok(None);
            }
            match self.chunk().await? {
                Some(bytes) => self.feed(&bytes)?,
                None => self.end()?,
            }
        }
    }

    /// The delta that was awaited, and what is left. The permit goes back when the stream does; how it ends is told
    /// to the breaker.
    pub fn into_answer(
        mut self,
        first: Option<Delta>,
        permit: OwnedSemaphorePermit,
        permission: Permission,
    ) -> Answer {
        if let Some(first) = first {
            self.ready.push_front(first);
        }
        let answer = stream::unfold(Some((self, permit, permission)), |state| async {
            let (mut reading, permit, permission) = state?;
            match reading.next().await {
                Ok(None) => None,
                Ok(Some(delta @ Delta::Done(_))) => {
                    permission.succeeded();
                    Some((Ok(delta), None))
                }
                Ok(Some(delta)) => Some((Ok(delta), Some((reading, permit, permission)))),
                Err(failure) => {
                    failure.tell(permission);
                    Some((Err(failure.error), None))
                }
            }
        });
        answer.boxed()
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let until = self.deadline.min(Instant::now() + self.patience());
        let is_finished = self.assembly.is_finished();
        match timeout_at(until, self.body.next()).await {
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(None) => Ok(None),
            // the model had said all: what is missing are figures
            _ if is_finished => Ok(None),
            Ok(Some(Err(error))) => Err(Failure::passing(ModelError::Broken(reason(error)))),
            Err(_) if self.has_begun && until < self.deadline => Err(self.silent()),
            // long, but on its way
            Err(_) if self.has_begun => {
                Err(Failure::lasting(ModelError::TimedOut).that_tells(Health::Unknown))
            }
            Err(_) => Err(Failure::lasting(ModelError::TimedOut)),
        }
    }

    fn patience(&self) -> Duration {
        match (self.assembly.is_finished(), self.has_begun) {
            (true, _) => CLOSING,
            (false, true) => IDLE,
            (false, false) => FIRST_BYTE,
        }
    }

    fn silent(&self) -> Failure {
        Failure::lasting(ModelError::Broken(format!("nothing came for {} s", IDLE.as_secs())))
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.body_bytes += bytes.len();
        if self.body_bytes > BODY_BYTES_MAX {
            return Err(broken(format!("its body has more than {BODY_BYTES_MAX} bytes")));
        }
        match &mut self.form {
            Form::Events(decoder) => {
                decoder.push(bytes, &mut self.events).map_err(|error| broken(error.to_string()))?;
                self.take_events()
            }
            Form::Whole(body) if body.len() + bytes.len() > ANSWER_BYTES_MAX => {
                Err(broken(format!("it has more than {ANSWER_BYTES_MAX} bytes")))
            }
            Form::Whole(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// The body is over, by its own word or because the connection is.
    fn end(&mut self) -> Result<(), Failure> {
        match &mut self.form {
            Form::Events(decoder) => {
                decoder.finish(&mut self.events);
                self.take_events()?;
                if self.is_closed { Ok(()) } else { self.close(false) }
            }
            Form::Whole(body) => {
                let body = std::mem::take(body);
                self.take_json(&body)?;
                self.close(true)
            }
        }
    }

    fn take_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.events.pop_front() {
            if self.is_closed {
                break;
            }
            match event.data.trim() {
                "[DONE]" => self.close(true)?,
                "" => {}
                data if event.name == "error" => return Err(self.error_event(data)),
                data => self.take_json(data.as_bytes())?,
            }
        }
        Ok(())
    }

    fn take_json(&mut self, json: &[u8]) -> Result<(), Failure> {
        let garbled = |_| Failure::passing(ModelError::Broken("an event in it is no JSON".to_owned()));
        let value: Value = serde_json::from_slice(json).map_err(garbled)?;
        if value.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.error_object(&value));
        }
        let chunk: Chunk = serde_json::from_value(value)
            .map_err(|_| broken("an event in it is no chunk of a chat completion"))?;
        let text = self.assembly.take(chunk).map_err(|flaw| broken(flaw.to_string()))?;
        if !text.is_empty() {
            self.ready.push_back(Delta::Text(text));
        }
        Ok(())
    }

    fn error_event(&self, data: &str) -> Failure {
        let value = serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()));
        self.error_object(&value)
    }

    fn error_object(&self, error: &Value) -> Failure {
        if self.has_begun {
            return broken(format!("the server says: {}", words(error, &self.scrubber)));
        }
        judge_object(error, &self.scrubber)
    }

    fn close(&mut self, done: bool) -> Result<(), Failure> {
        let deltas = self.assembly.close(done).map_err(judge_flaw)?;
        self.ready.extend(deltas);
        self.is_closed = true;
        Ok(())
    }
}

fn form(response: &Response) -> Result<Form, Failure> {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    match media_type.split(';').next().unwrap_or_default().trim() {
        "application/json" => Ok(Form::Whole(Vec::new())),
        "text/html" => Err(broken("it is a web page; look whether `endpoint` is the API's address")),
        _ => Ok(Form::Events(Decoder::default())),
    }
}

fn broken(what: impl Into<String>) -> Failure {
    Failure::lasting(ModelError::Broken(what.into()))
}

/// A stream that was cut may be whole the next time; what the model itself did wrong is its answer.
fn judge_flaw(flaw: Flaw) -> Failure {
    let error = ModelError::Broken(flaw.to_string());
    match flaw {
        Flaw::Truncated | Flaw::Empty => Failure::passing(error),
        _ => Failure::lasting(error).that_tells(Health::Well),
    }
}
