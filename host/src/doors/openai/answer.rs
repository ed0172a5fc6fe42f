//! An answer on its way out: whole, or chunk by chunk as server-sent events.
//!
//! A stream begins with the role and ends with how the answer ended, what it took if that was asked for, and
//! `[DONE]`. What fails before the first word is a status; what fails later is an event with an error, which the
//! official clients raise as an exception.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::HeaderName;
use serde_json::{Value, json};

use super::complaint::Complaint;
use super::{Completion, Step};
use crate::message::{FinishReason, ToolCall};
use crate::telemetry::metrics::Open;

/// Pause between comments on a silent stream; proxies cut one after 30 to 60 seconds.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long a stream waits for its first step, so that what fails at once has a status. A model that thinks for
/// longer keeps the line open by comments.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// Tells buffering proxies to pass each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What all chunks of one answer say.
#[derive(Debug)]
pub struct Form {
    pub id: String,
    pub created: u64,
    pub model: String,
    pub include_usage: bool,
}

type Steps = BoxStream<'static, Step>;

/// Waits for the end.
pub async fn whole(mut steps: Steps, form: &Form) -> Result<Response, Complaint> {
    loop {
        match steps.next().await {
            Some(Step::Text(_)) => {}
            Some(Step::Done(completion)) => return Ok(Json(form.whole(&completion)).into_response()),
            Some(Step::Failed(trouble)) => return Err(trouble.into()),
            None => return Err(Complaint::broken()),
        }
    }
}

/// Passes each step on; a client that leaves drops the answer with the body.
pub async fn stream(mut steps: Steps, form: Form, open: Open) -> Result<Response, Complaint> {
    let mut first = VecDeque::new();
    match tokio::time::timeout(HEAD_WITHIN, steps.next()).await {
        Ok(Some(Step::Failed(trouble))) => return Err(trouble.into()),
        Ok(None) => return Err(Complaint::broken()),
        Ok(Some(step)) => first.push_back(step),
        Err(_) => {}
    }
    let mut chunks = Chunks { form, sent: String::new(), ready: VecDeque::new(), is_over: false };
    chunks.begin();
    let steps = stream::iter(first).chain(steps).boxed();
    let events = stream::unfold((chunks, steps, open), |(mut chunks, mut steps, open)| async {
        let event = chunks.next(&mut steps).await?;
        Some((Ok::<_, Infallible>(sse::Event::default().data(event)), (chunks, steps, open)))
    });
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(PING_EVERY).text("ping"));
    Ok(([(X_ACCEL_BUFFERING, "no")], events).into_response())
}

/// A stream under way.
struct Chunks {
    form: Form,
    /// The text so far.
    sent: String,
    ready: VecDeque<String>,
    is_over: bool,
}

impl Chunks {
    fn begin(&mut self) {
        self.push_delta(&json!({ "role": "assistant", "content": "", "refusal": null }));
    }

    async fn next(&mut self, steps: &mut Steps) -> Option<String> {
        while self.ready.is_empty() && !self.is_over {
            let step = steps.next().await;
            self.take(step);
        }
        self.ready.pop_front()
    }

    fn take(&mut self, step: Option<Step>) {
        match step {
            Some(Step::Text(text)) => self.push_text(&text),
            Some(Step::Done(completion)) => self.end(&completion),
            Some(Step::Failed(trouble)) => self.fail(&trouble.into()),
            None => self.fail(&Complaint::broken()),
        }
    }

    fn push_delta(&mut self, delta: &Value) {
        self.ready.push_back(self.form.chunk(delta, None).to_string());
    }

    fn push_text(&mut self, text: &str) {
        self.sent.push_str(text);
        self.push_delta(&json!({ "content": text }));
    }

    fn end(&mut self, completion: &Completion) {
        let rest = rest(&self.sent, &completion.text);
        if !rest.is_empty() {
            self.push_text(&rest);
        }
        if !completion.tool_calls.is_empty() {
            let calls = completion.tool_calls.iter().enumerate();
            let calls: Vec<Value> = calls.map(|(index, call)| indexed(index, call)).collect();
            self.push_delta(&json!({ "tool_calls": calls }));
        }
        let end = self.form.chunk(&json!({}), Some(finish_word(completion.finish_reason)));
        self.ready.push_back(end.to_string());
        if self.form.include_usage {
            self.ready.push_back(self.form.usage_chunk(completion).to_string());
        }
        self.ready.push_back("[DONE]".to_owned());
        self.is_over = true;
    }

    fn fail(&mut self, complaint: &Complaint) {
        self.ready.push_back(complaint.body().to_string());
        self.is_over = true;
    }
}

impl Form {
    fn whole(&self, completion: &Completion) -> Value {
        let is_silent = completion.text.is_empty() && !completion.tool_calls.is_empty();
        let content = (!is_silent).then_some(&completion.text);
        let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
        if !completion.tool_calls.is_empty() {
            message["tool_calls"] = completion.tool_calls.iter().map(called).collect();
        }
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{
                "index": 0, "message": message, "logprobs": null,
                "finish_reason": finish_word(completion.finish_reason),
            }],
            "usage": usage(completion),
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        self.of_choices(&[choice])
    }

    fn of_choices(&self, choices: &[Value]) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn usage_chunk(&self, completion: &Completion) -> Value {
        let mut chunk = self.of_choices(&[]);
        chunk["usage"] = usage(completion);
        chunk
    }
}

/// What of the reply no delta has said: a pipeline may say it without a model, or say something else in the end.
fn rest(sent: &str, reply: &str) -> String {
    match reply.strip_prefix(sent) {
        Some(rest) => rest.to_owned(),
        None if sent.contains(reply.trim()) => String::new(),
        None => format!("\n\n{reply}"),
    }
}

fn usage(completion: &Completion) -> Value {
    let (prompt, completed) = (completion.prompt_tokens, completion.completion_tokens);
    json!({
        "prompt_tokens": prompt, "completion_tokens": completed,
        "total_tokens": u64::from(prompt) + u64::from(completed),
    })
}

fn called(call: &ToolCall) -> Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
}

fn indexed(index: usize, call: &ToolCall) -> Value {
    let mut called = called(call);
    called["index"] = json!(index);
    called
}

/// The API has no word for an end that nobody explained: the answer is as whole as it gets.
fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Cancelled | FinishReason::Other => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Filtered => "content_filter",
    }
}
