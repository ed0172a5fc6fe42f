//! A model behind an OpenAI-compatible endpoint: its answers tell which message they are for, so that one that
//! is doubled, lost or crossed is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{CANARY, Settings};

const KEY: &str = "secret-canary-model-key";
const GLANCE: Duration = Duration::from_millis(5);

/// What the model was told to do, and what it saw.
#[derive(Debug, Default)]
struct World {
    /// The messages of each request, in order of arrival.
    asked: Vec<Value>,
    /// Requests that hold one of these texts wait in the midst of their answer.
    held: BTreeSet<String>,
    /// Requests that hold one of these texts get this answer.
    scripted: BTreeMap<String, String>,
    /// Requests that hold one of these texts are refused with this status, as often.
    refused: BTreeMap<String, (u16, usize)>,
    /// Answers whose caller left before their end.
    left: usize,
}

#[derive(Debug, Clone)]
pub struct Model {
    world: Arc<Mutex<World>>,
    origin: String,
}

impl Model {
    pub async fn start() -> Model {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let model = Model { world: Arc::default(), origin };
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(model.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        model
    }

    /// Adds this model to a host's configuration, for all channels.
    pub fn join(&self, settings: Settings) -> Settings {
        self.join_as("fake", settings).set("default_model", "fake")
    }

    /// Adds it under a name, for who asks for it.
    pub fn join_as(&self, name: &str, settings: Settings) -> Settings {
        let model = json!({
            "backend": "openai", "endpoint": format!("{}/v1", self.origin), "model": "fake", "api_key": KEY,
        });
        settings.set(&format!("models.{name}"), model)
    }

    /// What this model says to a message.
    pub fn answer_to(text: &str) -> String {
        format!("answer to <{text}>")
    }

    /// Holds answers to messages with this text back after their first words.
    pub fn hold(&self, text: &str) {
        self.world().held.insert(text.to_owned());
    }

    pub fn release(&self, text: &str) {
        self.world().held.remove(text);
    }

    pub fn script(&self, text: &str, answer: &str) {
        self.world().scripted.insert(text.to_owned(), answer.to_owned());
    }

    /// Refuses requests with this text as often; its words repeat the message, as some servers do.
    pub fn refuse(&self, text: &str, status: u16, times: usize) {
        self.world().refused.insert(text.to_owned(), (status, times));
    }

    /// The messages of each request so far.
    pub fn asked(&self) -> Vec<Value> {
        self.world().asked.clone()
    }

    /// Requests whose last message holds this text.
    pub fn times_asked(&self, text: &str) -> usize {
        self.world().asked.iter().filter(|messages| last(messages).contains(text)).count()
    }

    /// Answers whose caller left before their end.
    pub fn left(&self) -> usize {
        self.world().left
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn refusal(&self, text: &str) -> Option<u16> {
        let mut world = self.world();
        let (_, (status, times)) =
            world.refused.iter_mut().find(|(word, (_, times))| text.contains(*word) && *times > 0)?;
        *times -= 1;
        Some(*status)
    }

    fn answer(&self, text: &str) -> String {
        let world = self.world();
        let scripted = world.scripted.iter().find(|(word, _)| text.contains(*word));
        scripted.map_or_else(|| Self::answer_to(text), |(_, answer)| answer.clone())
    }

    async fn wait(&self, text: &str) {
        while self.world().held.iter().any(|held| text.contains(held)) {
            tokio::time::sleep(GLANCE).await;
        }
    }
}

fn last(messages: &Value) -> &str {
    let messages = messages.as_array().unwrap();
    messages.last().and_then(|message| message["content"].as_str()).unwrap_or_default()
}

async fn complete(State(model): State<Model>, headers: HeaderMap, body: Bytes) -> Response {
    let is_known = headers.get(header::AUTHORIZATION).is_some_and(|key| *key == *format!("Bearer {KEY}"));
    if !is_known {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let request: Value = serde_json::from_slice(&body).expect("the host sends JSON");
    assert_eq!(request["stream"], true, "{CANARY}: the host asks for a stream");
    let messages = request["messages"].clone();
    let text = last(&messages).to_owned();
    model.world().asked.push(messages);
    if let Some(status) = model.refusal(&text) {
        let error = json!({ "error": { "message": format!("cannot process: {text}") } });
        return (StatusCode::from_u16(status).unwrap(), error.to_string()).into_response();
    }
    stream_answer(model, text)
}

/// Counts a caller who leaves before the end.
struct Listener {
    model: Model,
    has_all: bool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.has_all {
            self.model.world().left += 1;
        }
    }
}

fn stream_answer(model: Model, text: String) -> Response {
    let answer = model.answer(&text);
    let mut events: Vec<String> =
        answer.split_inclusive(' ').map(|word| event(&json!({ "delta": { "content": word } }))).collect();
    events.push(event(&json!({ "delta": {}, "finish_reason": "stop" })));
    events.push("data: [DONE]\n\n".to_owned());
    events.reverse();
    let listener = Listener { model, has_all: false };
    let steps = stream::unfold(
        (listener, events, text, false),
        |(mut listener, mut events, text, held)| async move {
            if held {
                listener.model.wait(&text).await;
            }
            let event = events.pop()?;
            listener.has_all = events.is_empty();
            Some((Ok::<_, Infallible>(event), (listener, events, text, true)))
        },
    );
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(steps)).into_response()
}

fn event(choice: &Value) -> String {
    let mut choice = choice.clone();
    choice["index"] = json!(0);
    let usage = json!({ "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 });
    format!(
        "data: {}\n\n",
        json!({ "id": "c", "object": "chat.completion.chunk", "choices": [choice], "usage": usage })
    )
}
