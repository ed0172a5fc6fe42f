//! Any server that speaks OpenAI's `POST /chat/completions`, over HTTP.
//!
//! `request` writes a prompt, `answer` reads the stream (`sse` its events, `assembly` their meaning),
//! `refusal` judges errors, `scrubber` cleans their words, `retry` says whether and when to try again. One
//! deadline covers all of it, and one breaker stands before all requests: what a try tells of the server is in `retry`.
//! This module does not know which model serves which channel, nor fallbacks.

mod answer;
mod assembly;
mod date;
mod refusal;
mod request;
mod retry;
mod scrubber;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::breaker::{Breaker, Permission, Standing};
use super::{Abilities, Answer, Delta, Model, ModelError};
use crate::config;
use crate::message::Prompt;
use answer::Reading;
use refusal::BUSY_FOR;
use request::Settings;
use retry::{Failure, Health};
use scrubber::Scrubber;

/// A TCP and TLS handshake. A reachable server needs a second at worst; SYNs are repeated after 1, 3 and 7.
const CONNECT: Duration = Duration::from_secs(10);
/// Until the first delta: a server that queues, loads the model or reads a long prompt needs tens of
/// seconds. Past a minute the person has left, and a fallback is due while there is time.
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// A try that timed out sooner tells nothing of the server: its caller was in a hurry.
const FAIR_WAIT: Duration = Duration::from_secs(10);
/// Requests at a time if the configuration names no number: what one process may hold open without being
/// taken for an attack. Remote servers queue by themselves.
const CONCURRENT_DEFAULT: usize = 64;
/// Idle connections are closed before the usual 60 s of load balancers, so that none is used that is dead.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// A connection whose peer vanished is noticed although nothing is sent on it.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The `openai` backend.
pub struct OpenAi {
    client: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    scrubber: Scrubber,
    settings: Settings,
    timeout: Duration,
    permits: Arc<Semaphore>,
    breaker: Arc<Breaker>,
}

/// One request, however often it is tried.
struct Question {
    body: Bytes,
    scrubber: Scrubber,
    deadline: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("`endpoint` must begin with `http://` or `https://`")]
    Endpoint,
    #[error("`api_key` holds a character that no HTTP header can; look for a line break at its end")]
    Key,
    #[error("the HTTP client cannot be set up; an `https` endpoint needs the system's CA certificates")]
    Client(#[source] reqwest::Error),
}

impl OpenAi {
    /// `remote` is the backend's own part of `model`, and `name` its name in the configuration.
    pub fn new(name: &str, remote: &config::OpenAi, model: &config::Model) -> Result<Self, SetupError> {
        Ok(Self {
            client: client(&remote.endpoint).map_err(SetupError::Client)?,
            url: completions_url(&remote.endpoint)?,
            authorization: remote.api_key.as_ref().map(authorization).transpose()?,
            scrubber: Scrubber::new(remote.api_key.clone()),
            settings: Settings {
                model: remote.model.clone(),
                max_tokens: model.max_tokens,
                temperature: model.temperature,
            },
            timeout: model.timeout,
            permits: Arc::new(Semaphore::new(model.concurrent.unwrap_or(CONCURRENT_DEFAULT))),
            breaker: Breaker::new(name),
        })
    }

    /// One try, whose outcome the breaker learns.
    async fn attempt(
        &self,
        question: &Question,
        mut permission: Permission,
    ) -> Result<(Option<Delta>, Reading, Permission), Failure> {
        let began = Instant::now();
        match self.begin(question).await {
            Ok((first, reading)) => {
                permission.begun();
                Ok((first, reading, permission))
            }
            Err(failure) => {
                let failure = self.in_fairness(failure, began.elapsed());
                failure.tell(permission);
                Err(failure)
            }
        }
    }

    fn in_fairness(&self, failure: Failure, waited: Duration) -> Failure {
        if failure.error == ModelError::TimedOut && waited < FAIR_WAIT.min(self.timeout) {
            return failure.that_tells(Health::Unknown);
        }
        failure
    }

    /// Until the first delta is there, so that everything before it can be tried again.
    async fn begin(&self, question: &Question) -> Result<(Option<Delta>, Reading), Failure> {
        let Question { scrubber, deadline, .. } = question;
        let response = self.send(question).await?;
        if !response.status().is_success() {
            return Err(refusal::read(response, *deadline, scrubber).await);
        }
        let mut reading = Reading::new(response, *deadline, scrubber.clone())?;
        let first = reading.next().await?;
        Ok((first, reading))
    }

    async fn send(&self, question: &Question) -> Result<Response, Failure> {
        let Question { body, scrubber, deadline } = question;
        let mut request = self.client.post(self.url.clone()).body(body.clone());
        request = request.header(CONTENT_TYPE, "application/json");
        request = request.header(ACCEPT, "text/event-stream, application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        match timeout_at((*deadline).min(Instant::now() + FIRST_BYTE), request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Failure::passing(ModelError::Unavailable(scrubber.clean(&reason(error))))),
            // the server may be at work on it: a second request would make it slower
            Err(_) => Err(Failure::lasting(ModelError::TimedOut)),
        }
    }

    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, ModelError> {
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| ModelError::Busy { retry_after: BUSY_FOR })?;
        Ok(permit.expect("the semaphore is never closed"))
    }
}

#[async_trait]
impl Model for OpenAi {
    async fn ask(&self, prompt: &Prompt, deadline: Instant) -> Result<Answer, ModelError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let body = Bytes::from(request::body(prompt, &self.settings)?.to_string());
        let question = Question { body, scrubber: self.scrubber.over(prompt), deadline };
        let resting = |retry_after| ModelError::Resting { retry_after };
        self.breaker.check().map_err(resting)?;
        let permit = self.permit(deadline).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            let permission = self.breaker.admit().map_err(resting)?;
            let failure = match self.attempt(&question, permission).await {
                Ok((first, reading, permission)) => return Ok(reading.into_answer(first, permit, permission)),
                Err(failure) if self.breaker.check().is_err() => return Err(failure.error),
                Err(failure) => failure,
            };
            let outcome = failure.error.outcome();
            let wait = retry::pause(failure, tries, deadline)?;
            let wait_ms = wait.as_millis();
            tracing::warn!(model = self.settings.model, outcome, tries, wait_ms, "asking the model again");
            sleep(wait).await;
        }
    }

    fn standing(&self) -> Option<Standing> {
        Some(self.breaker.standing())
    }

    fn abilities(&self) -> Abilities {
        Abilities { tools: true, formats: true, max_tokens: self.settings.max_tokens }
    }
}

/// Neither the key nor an address with a password in it.
impl std::fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAi").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// No proxy out of the environment, no redirect that would carry the key elsewhere.
fn client(endpoint: &Url) -> reqwest::Result<reqwest::Client> {
    // an error says that one is there already, which is as good
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("parlor/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_keepalive(TCP_KEEPALIVE);
    match endpoint.scheme() {
        // plain HTTP does not read the system's certificates, which a bare machine may not have
        "http" => builder.tls_certs_only([]).build(),
        _ => builder.https_only(true).build(),
    }
}

fn completions_url(endpoint: &Url) -> Result<Url, SetupError> {
    let mut url = endpoint.clone();
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SetupError::Endpoint);
    }
    let mut path = url.path_segments_mut().map_err(|()| SetupError::Endpoint)?;
    path.pop_if_empty().extend(["chat", "completions"]);
    drop(path);
    Ok(url)
}

fn authorization(key: &SecretString) -> Result<HeaderValue, SetupError> {
    let value = format!("Bearer {}", key.expose_secret());
    let mut value = HeaderValue::try_from(value).map_err(|_| SetupError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The innermost cause: the outer ones say "error sending request" and name the URL.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
