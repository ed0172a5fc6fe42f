//! What came: one JSON object whose shape tells which of a platform's services sent it.

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::sqs::SqsEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::EventError;

/// An event that the host answers.
pub enum Event {
    /// A function URL or an HTTP API, payload format 2.0.
    Http(Box<ApiGatewayV2httpRequest>),
    /// Messages that a queue brings.
    Batch(SqsEvent),
}

/// As much as tells events apart.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "requestContext")]
    request_context: Option<RequestContext>,
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventSource")]
    event_source: Option<String>,
}

impl Event {
    /// An event of no kind that is known here is an error: a wrong answer would pass for a right one.
    pub fn read(json: &str) -> Result<Self, EventError> {
        let envelope: Envelope = parse(json)?;
        if envelope.request_context.is_some_and(|context| context.http.is_some()) {
            return parse(json).map(|request| Event::Http(Box::new(request)));
        }
        let is_queued = |record: &Record| record.event_source.as_deref() == Some("aws:sqs");
        if envelope.records.is_some_and(|records| !records.is_empty() && records.iter().all(is_queued)) {
            return parse(json).map(Event::Batch);
        }
        Err(EventError {
            kind: "UnknownEvent",
            message:
                "the event is none that parlor answers: send requests by a function URL or an HTTP API with \
                      payload format 2.0, queued messages by SQS"
                    .to_owned(),
        })
    }
}

/// What serde says of the place is told, never the content.
fn parse<T: DeserializeOwned>(json: &str) -> Result<T, EventError> {
    serde_json::from_str(json).map_err(|error| EventError {
        kind: "MalformedEvent",
        message: format!("the event cannot be read, line {} column {}", error.line(), error.column()),
    })
}
