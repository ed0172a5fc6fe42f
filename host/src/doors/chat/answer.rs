//! An answer on its way out: whole as JSON, or as server-sent events while it comes.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::HeaderName;
use serde::Serialize;
use serde_json::json;

use super::{Answering, Event, Refusal, Reply, Usage};
use crate::doors::problem::{Problem, whole_seconds};
use crate::telemetry::metrics::Open;

/// Pause between comments on a silent stream; proxies cut one after 30 to 60 seconds.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Tells buffering proxies to pass each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The closing facts of an answer, as JSON has them.
#[derive(Serialize)]
struct Closing<'a> {
    session_id: &'a str,
    message_id: &'a str,
    reply: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

impl Answering {
    /// The next step. A stream that ends without a last one has broken.
    async fn next(&mut self) -> Event {
        self.events.next().await.unwrap_or_else(|| Event::Failed {
            status: 500,
            code: "answer_broken",
            message: "the answer broke off; ask again".to_owned(),
            retry_after: None,
        })
    }

    fn closing<'a>(&'a self, reply: &'a Reply) -> Closing<'a> {
        Closing {
            session_id: &self.session_id,
            message_id: &self.message_id,
            reply: &reply.text,
            model: reply.model.as_deref(),
            usage: reply.usage,
        }
    }
}

/// Waits for the end.
pub async fn whole(mut answering: Answering) -> Result<Response, Problem> {
    loop {
        match answering.next().await {
            Event::Delta(_) => {}
            Event::Done(reply) => return Ok(Json(answering.closing(&reply)).into_response()),
            Event::Failed { status, code, message, retry_after } => {
                return Err(Refusal { status, code, message, retry_after }.into());
            }
        }
    }
}

/// Passes each step on; a client that leaves drops the answer with the body.
pub fn stream(answering: Answering, open: Open) -> Response {
    let steps = stream::unfold(Some((answering, open)), |under_way| async {
        let (mut answering, open) = under_way?;
        let event = answering.next().await;
        let written = Ok::<_, Infallible>(written(&answering, &event));
        let is_last = !matches!(event, Event::Delta(_));
        Some((written, (!is_last).then_some((answering, open))))
    });
    let events = Sse::new(steps).keep_alive(KeepAlive::new().interval(PING_EVERY).text("ping"));
    ([(X_ACCEL_BUFFERING, "no")], events).into_response()
}

fn written(answering: &Answering, event: &Event) -> sse::Event {
    let (name, data) = match event {
        Event::Delta(text) => ("delta", json!({ "text": text })),
        Event::Done(reply) => ("done", json!(answering.closing(reply))),
        Event::Failed { code, message, retry_after, .. } => {
            let mut data = json!({ "code": code, "message": message });
            if let Some(wait) = retry_after {
                data["retry_after"] = json!(whole_seconds(*wait));
            }
            ("error", data)
        }
    };
    sse::Event::default().event(name).data(data.to_string())
}
