//! Stand-ins for the origins that a plugin may send to: they write down each request and give one answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use serde::Serialize;
use tokio::net::TcpListener;

const BODY_BYTES_MAX: usize = 1 << 20;

/// One request as it reached the other side.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    method: String,
    /// As the plugin's own origin would have seen it.
    url: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: String,
}

pub struct Recorder {
    sent: Arc<Mutex<Vec<Sent>>>,
    endpoints: BTreeMap<String, url::Url>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Recorder {
    /// One listener for each origin; each answers 200 with `answer`.
    pub async fn start(origins: Vec<String>, answer: String) -> anyhow::Result<Recorder> {
        let mut recorder = Recorder { sent: Arc::default(), endpoints: BTreeMap::new(), tasks: Vec::new() };
        for origin in origins {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}", listener.local_addr()?).parse()?;
            let router = stand_in(origin.clone(), answer.clone(), recorder.sent.clone());
            recorder.tasks.push(tokio::spawn(async move { drop(axum::serve(listener, router).await) }));
            recorder.endpoints.insert(origin, url);
        }
        Ok(recorder)
    }

    /// For the host's configuration: which origin is where.
    pub fn endpoints(&self) -> BTreeMap<String, url::Url> {
        self.endpoints.clone()
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn stand_in(origin: String, answer: String, sent: Arc<Mutex<Vec<Sent>>>) -> Router {
    Router::new().fallback(move |request: Request| {
        let (origin, answer, sent) = (origin.clone(), answer.clone(), sent.clone());
        async move {
            if let Some(seen) = note(&origin, request).await {
                sent.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            }
            ([("content-type", "application/json")], answer)
        }
    })
}

async fn note(origin: &str, request: Request) -> Option<Sent> {
    let (parts, body): (_, Body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.ok()?;
    let query = parts.uri.query().unwrap_or_default();
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    Some(Sent {
        method: parts.method.to_string(),
        url: format!("{origin}{}", parts.uri),
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
