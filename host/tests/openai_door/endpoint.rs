//! A model behind an OpenAI-compatible endpoint that does what a request says: it stops at its stops, keeps to its
//! length, counts its words as tokens. It notes what came, when, and who left before the end.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const GLANCE: Duration = Duration::from_millis(5);

/// What a request with a certain word in it gets.
#[derive(Debug, Clone)]
pub enum Script {
    Text(&'static str),
    /// A call of this tool, with arguments as JSON.
    Call(&'static str, &'static str),
    /// This refusal, once for each time it is scripted; then an answer.
    Refuse(u16, Option<u64>, Value),
    /// The first word, and then nothing.
    Hang,
    /// The first word, and then an error.
    Break,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub at: Instant,
    pub body: Value,
}

#[derive(Debug, Default)]
struct World {
    calls: Vec<Call>,
    scripts: BTreeMap<&'static str, VecDeque<Script>>,
    left: usize,
}

#[derive(Debug, Clone)]
pub struct Endpoint {
    world: Arc<Mutex<World>>,
    pub url: String,
}

impl Endpoint {
    pub async fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let endpoint = Endpoint { world: Arc::default(), url };
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        endpoint
    }

    /// For requests whose last message holds this word. A refusal counts once, all others stay.
    pub fn script(&self, word: &'static str, script: Script) {
        self.world().scripts.entry(word).or_default().push_back(script);
    }

    /// Requests with this word in their last message, in order.
    pub fn calls(&self, word: &str) -> Vec<Call> {
        self.world().calls.iter().filter(|call| last_text(&call.body).contains(word)).cloned().collect()
    }

    /// Answers whose caller left before their end.
    pub fn left(&self) -> usize {
        self.world().left
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn next(&self, text: &str) -> Option<Script> {
        let mut world = self.world();
        let (_, scripts) = world.scripts.iter_mut().find(|(word, _)| text.contains(**word))?;
        match scripts.front()? {
            Script::Refuse(..) => scripts.pop_front(),
            script => Some(script.clone()),
        }
    }
}

fn last_text(body: &Value) -> String {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    last.and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned()
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

async fn complete(State(endpoint): State<Endpoint>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("the host sends JSON");
    endpoint.world().calls.push(Call { at: Instant::now(), body: body.clone() });
    let text = last_text(&body);
    match endpoint.next(&text) {
        None => stream_text(endpoint, &body, &format!("answer to <{text}>")),
        Some(Script::Text(text)) => stream_text(endpoint, &body, text),
        Some(Script::Call(name, arguments)) => send_call(endpoint, name, arguments),
        Some(Script::Refuse(status, after, error)) => refuse(status, after, &error),
        Some(Script::Hang) => first_word(endpoint, None),
        Some(Script::Break) => first_word(endpoint, Some(json!({ "error": { "message": "out of memory" } }))),
    }
}

fn refuse(status: u16, after: Option<u64>, error: &Value) -> Response {
    let mut response = (StatusCode::from_u16(status).unwrap(), error.to_string()).into_response();
    if let Some(after) = after {
        response.headers_mut().insert(header::RETRY_AFTER, after.into());
    }
    response
}

fn stream_text(endpoint: Endpoint, body: &Value, text: &str) -> Response {
    let stops = body["stop"].as_array().cloned().unwrap_or_default();
    let first_stop = stops.iter().filter_map(|stop| text.find(stop.as_str().unwrap())).min();
    let text = &text[..first_stop.unwrap_or(text.len())];
    let all: Vec<&str> = text.split_inclusive(' ').collect();
    let shown = body["max_tokens"].as_u64().map_or(all.len(), |max| all.len().min(max as usize));
    let mut events: VecDeque<Value> =
        all[..shown].iter().map(|word| chunk(&json!({ "content": word }), None)).collect();
    events.push_back(chunk(&json!({}), Some(if shown < all.len() { "length" } else { "stop" })));
    let prompt: usize =
        body["messages"].as_array().unwrap().iter().map(|m| words(&m["content"].to_string())).sum();
    events.push_back(json!({
        "choices": [],
        "usage": { "prompt_tokens": prompt, "completion_tokens": shown, "total_tokens": prompt + shown },
    }));
    send(endpoint, events, true)
}

fn send_call(endpoint: Endpoint, name: &str, arguments: &str) -> Response {
    let call = json!({ "tool_calls": [{
        "index": 0, "id": "call_1", "type": "function", "function": { "name": name, "arguments": arguments },
    }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2 } });
    send(endpoint, [chunk(&call, None), chunk(&json!({}), Some("tool_calls")), usage].into(), true)
}

fn first_word(endpoint: Endpoint, then: Option<Value>) -> Response {
    let is_whole = then.is_some();
    let events = [chunk(&json!({ "content": "so far " }), None)].into_iter().chain(then).collect();
    send(endpoint, events, is_whole)
}

fn chunk(delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({
        "id": "c", "object": "chat.completion.chunk",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
    })
}

/// Counts a caller who leaves before the end.
struct Listener {
    endpoint: Endpoint,
    has_all: bool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.has_all {
            self.endpoint.world().left += 1;
        }
    }
}

fn send(endpoint: Endpoint, events: VecDeque<Value>, ends: bool) -> Response {
    let listener = Listener { endpoint, has_all: false };
    let events: VecDeque<String> = events.into_iter().map(|event| format!("data: {event}\n\n")).collect();
    let done = ends.then(|| "data: [DONE]\n\n".to_owned());
    let events = events.into_iter().chain(done).collect();
    let steps = stream::unfold((listener, events), move |(mut listener, mut events)| async move {
        let event: Option<String> = VecDeque::pop_front(&mut events);
        while event.is_none() && !ends {
            tokio::time::sleep(GLANCE).await;
        }
        listener.has_all = ends && events.is_empty();
        Some((Ok::<_, Infallible>(event?), (listener, events)))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(steps)).into_response()
}
