//! A model's endpoint that can be broken in every way that `doctor` knows: keys, names, quotas, clocks.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const KEY: &str = "secret-canary-key";

#[derive(Debug, Default)]
struct World {
    ahead_seconds: i64,
    key: Option<&'static str>,
    quota: Option<(u32, u32)>,
    refusal: Option<(u16, &'static str)>,
    lists_nothing: bool,
}

#[derive(Debug, Clone)]
pub struct Endpoint {
    world: Arc<Mutex<World>>,
    pub origin: String,
}

impl Endpoint {
    /// It has the models `big`, which it lists, and `hidden`, which it does not.
    pub async fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let endpoint = Endpoint { world: Arc::default(), origin };
        let router = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(complete))
            .with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        endpoint
    }

    pub fn model(&self, name: &str) -> Value {
        json!({ "backend": "openai", "endpoint": format!("{}/v1", self.origin), "model": name, "api_key": KEY })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn clock_ahead(&self, seconds: i64) {
        self.world().ahead_seconds = seconds;
    }

    pub fn wants_key(&self, key: &'static str) {
        self.world().key = Some(key);
    }

    pub fn quota(&self, remaining: u32, limit: u32) {
        self.world().quota = Some((remaining, limit));
    }

    pub fn refuses(&self, status: u16, words: &'static str) {
        self.world().refusal = Some((status, words));
    }

    pub fn lists_nothing(&self) {
        self.world().lists_nothing = true;
    }

    /// An answer with all that goes with every answer.
    fn answer(&self, headers: &HeaderMap, status: u16, body: &Value) -> Response {
        let world = self.world();
        let given =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (status, body) = match (world.key, world.refusal) {
            // Some servers repeat the key that they refuse.
            (Some(key), _) if given != format!("Bearer {key}") => {
                (401, json!({ "error": { "message": format!("wrong key: {given}") } }))
            }
            (_, Some((status, words))) => (status, json!({ "error": { "message": words } })),
            _ => (status, body.clone()),
        };
        let ahead = Duration::from_secs(world.ahead_seconds.unsigned_abs());
        let now = SystemTime::now();
        let now = if world.ahead_seconds < 0 { now - ahead } else { now + ahead };
        let mut response =
            Response::builder().status(status).header(header::DATE, httpdate::fmt_http_date(now));
        if let Some((remaining, limit)) = world.quota {
            response = response
                .header("x-ratelimit-remaining-requests", remaining)
                .header("x-ratelimit-limit-requests", limit)
                .header("x-ratelimit-reset-requests", "6m0s");
        }
        response.body(Body::from(body.to_string())).unwrap()
    }
}

async fn models(State(endpoint): State<Endpoint>, headers: HeaderMap) -> Response {
    if endpoint.world().lists_nothing {
        return endpoint.answer(&headers, 404, &json!({ "detail": "Not Found" }));
    }
    endpoint.answer(&headers, 200, &json!({ "object": "list", "data": [{ "id": "big", "object": "model" }] }))
}

async fn complete(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    if !["big", "hidden"].iter().any(|known| asked["model"] == *known) {
        let words = format!("The model `{}` does not exist", asked["model"].as_str().unwrap_or_default());
        return endpoint.answer(&headers, 404, &json!({ "error": { "message": words } }));
    }
    let message = json!({ "role": "assistant", "content": "pong" });
    endpoint.answer(&headers, 200, &json!({ "choices": [{ "message": message, "finish_reason": "length" }] }))
}
