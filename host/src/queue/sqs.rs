//! Amazon SQS, FIFO: the group keeps a conversation's order, the deduplication id drops a repeat for five minutes.
//!
//! The JSON protocol of its API, one action, signed by SigV4 with what Lambda puts into the environment:
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>. What lies in a
//! message it does not know. Records come back as an event, see `function::batch`.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};
use url::Url;

use super::{Parcel, Queue, QueueError, Wrapper};

/// What one request may hold, all its messages together (bytes), and how many.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_MAX: usize = 10;
/// Shorter than any platform's patience with a webhook (3 s), so that there is an answer in time.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum SqsError {
    #[error("the environment has no variable `{0}`; a function finds it there, elsewhere set it")]
    Missing(&'static str),
    #[error("no HTTP client can be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// One FIFO queue.
#[derive(Debug)]
pub struct Sqs {
    url: Url,
    region: String,
    /// Variables are read once: Lambda gives a new environment to a new process.
    credentials: Credentials,
    http: reqwest::Client,
    wrapper: Wrapper,
}

impl Sqs {
    /// With region and credentials from the environment (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, …).
    pub fn from_environment(url: Url, wrapper: Wrapper) -> Result<Self, SqsError> {
        let need = |name| std::env::var(name).map_err(|_| SqsError::Missing(name));
        let token = std::env::var("AWS_SESSION_TOKEN").ok();
        let (id, secret) = (need("AWS_ACCESS_KEY_ID")?, need("AWS_SECRET_ACCESS_KEY")?);
        Ok(Self {
            url,
            region: need("AWS_REGION")?,
            credentials: Credentials::new(id, secret, token, None, "environment"),
            http: reqwest::Client::builder().timeout(TIMEOUT).build()?,
            wrapper,
        })
    }

    async fn send(&self, entries: &[Value]) -> Result<(), QueueError> {
        let body = json!({ "QueueUrl": self.url.as_str(), "Entries": entries }).to_string();
        let response = self.http.execute(self.request(body)?).await;
        let response = response.map_err(|error| QueueError::Unreachable(error.without_url().to_string()))?;
        let status = response.status();
        let answer: Value = response.json().await.unwrap_or_default();
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &answer));
        }
        match answer["Failed"].as_array().and_then(|failed| failed.first()) {
            None => Ok(()),
            Some(failed) => Err(refusal(status.as_u16(), failed)),
        }
    }

    fn request(&self, body: String) -> Result<reqwest::Request, QueueError> {
        let mut endpoint = self.url.clone();
        endpoint.set_path("/");
        let request = http::Request::post(endpoint.as_str())
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "AmazonSQS.SendMessageBatch")
            .body(body)
            .map_err(|error| QueueError::Refused(error.to_string()))?;
        let request = self.signed(request).map_err(QueueError::Refused)?;
        request.try_into().map_err(|error: reqwest::Error| QueueError::Refused(error.to_string()))
    }

    fn signed(&self, mut request: http::Request<String>) -> Result<http::Request<String>, String> {
        let told = |error: &dyn std::error::Error| format!("the request cannot be signed: {error}");
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sqs")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| told(&error))?;
        let host =
            request.uri().authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let headers =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("")));
        let signable = SignableRequest::new(
            "POST",
            request.uri().to_string(),
            headers.chain([("host", host.as_str())]),
            SignableBody::Bytes(request.body().as_bytes()),
        );
        let signable = signable.map_err(|error| told(&error))?;
        let (instructions, _) = sign(signable, &params.into()).map_err(|error| told(&error))?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    fn entry(&self, number: usize, parcel: &Parcel) -> Result<Value, QueueError> {
        let body = self.wrapper.wrap(parcel)?;
        if body.len() > BATCH_BYTES_MAX {
            return Err(QueueError::TooLarge { bytes: body.len(), limit: BATCH_BYTES_MAX });
        }
        Ok(json!({
            "Id": number.to_string(),
            "MessageBody": body,
            "MessageGroupId": parcel.group(),
            "MessageDeduplicationId": parcel.id(),
        }))
    }
}

#[async_trait]
impl Queue for Sqs {
    async fn put(&self, parcels: &[Parcel]) -> Result<(), QueueError> {
        let entries = parcels.iter().enumerate().map(|(number, parcel)| self.entry(number, parcel));
        for batch in batches(entries.collect::<Result<Vec<_>, _>>()?) {
            self.send(&batch).await?;
        }
        Ok(())
    }
}

/// In order, each within what one request may hold.
fn batches(entries: Vec<Value>) -> Vec<Vec<Value>> {
    let mut batches: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry["MessageBody"].as_str().map_or(0, str::len);
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_MAX && bytes + size <= BATCH_BYTES_MAX => batch.push(entry),
            _ => {
                bytes = 0;
                batches.push(vec![entry]);
            }
        }
        bytes += size;
    }
    batches
}

/// Its words for an operator, if it has any; they hold no message.
fn refusal(status: u16, answer: &Value) -> QueueError {
    let word = |names: [&str; 2]| names.into_iter().find_map(|name| answer[name].as_str());
    let words = [word(["__type", "Code"]), word(["message", "Message"])].into_iter().flatten();
    let words = std::iter::once(status.to_string()).chain(words.map(str::to_owned));
    QueueError::Refused(format!("status {}", words.collect::<Vec<_>>().join(", ")))
}
