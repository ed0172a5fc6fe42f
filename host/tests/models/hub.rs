//! A hub and the server that it sends people to: ranges, entity tags, checksums, lines that drop.
//!
//! Paths and headers are those of Hugging Face and ModelScope. The two servers are two origins, as in the world.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Request, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

pub const FILE: &str = "m-q8_0.gguf";
const PIECE_BYTES: usize = 16 << 10;

/// What one request said.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What happens to one download of the file.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// After so many bytes the line drops.
    Drops(usize),
    /// After so many bytes nothing comes any more.
    Stalls(usize),
    /// Another answer, once.
    Answers { status: u16, headers: Vec<(&'static str, String)>, body: &'static str },
    /// As if the file were so long.
    Claims(u64),
}

#[derive(Debug, Default)]
struct World {
    file: Vec<u8>,
    /// What the hub says of the file.
    sha256: Option<String>,
    mishaps: Vec<Mishap>,
    /// Whoever has no such token is turned away by the hub.
    token: Option<&'static str>,
    at_hub: Vec<Seen>,
    at_store: Vec<Seen>,
}

#[derive(Debug, Clone)]
pub struct Hub {
    world: Arc<Mutex<World>>,
    pub origin: String,
    store: String,
}

impl Hub {
    /// A hub that has this file and says what it must be.
    pub async fn with(file: Vec<u8>) -> Hub {
        let (front, back) = (listener().await, listener().await);
        let world = World { sha256: Some(sha256(&file)), file, ..World::default() };
        let hub = Hub { world: Arc::new(Mutex::new(world)), origin: origin(&front), store: origin(&back) };
        let router = Router::new().fallback(at_hub).with_state(hub.clone());
        tokio::spawn(async move { axum::serve(front, router).await });
        let router = Router::new().fallback(at_store).with_state(hub.clone());
        tokio::spawn(async move { axum::serve(back, router).await });
        hub
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The hub says this of the file, or nothing.
    pub fn says(&self, sha256: Option<String>) {
        self.world().sha256 = sha256;
    }

    pub fn wants_token(&self, token: &'static str) {
        self.world().token = Some(token);
    }

    pub fn replace(&self, file: Vec<u8>) {
        let mut world = self.world();
        world.sha256 = Some(sha256(&file));
        world.file = file;
    }

    /// The next downloads, in this order; those after them are sound.
    pub fn mishaps(&self, mishaps: &[Mishap]) {
        self.world().mishaps = mishaps.to_vec();
    }

    pub fn at_hub(&self) -> Vec<Seen> {
        self.world().at_hub.clone()
    }

    /// Requests for the bytes themselves.
    pub fn at_store(&self) -> Vec<Seen> {
        self.world().at_store.clone()
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn origin(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn seen(request: &Request<Body>) -> Seen {
    Seen { path: request.uri().path().to_owned(), headers: request.headers().clone() }
}

async fn at_hub(State(hub): State<Hub>, request: Request<Body>) -> Response {
    let seen = seen(&request);
    hub.world().at_hub.push(seen.clone());
    let mut response = Response::builder();
    let (sha256, bytes) = {
        let world = hub.world();
        (world.sha256.clone(), world.file.len())
    };
    if seen.path == "/api/v1/models/Org/Repo/repo/files" {
        let list = json!({ "Code": 200, "Data": { "Files": [
            { "Path": "README.md", "Sha256": "0".repeat(64), "Size": 1 },
            { "Path": FILE, "Sha256": sha256, "Size": bytes },
        ] } });
        return response.body(Body::from(list.to_string())).unwrap();
    }
    let token = hub.world().token;
    if token.is_some_and(|token| seen.header("authorization") != Some(&format!("Bearer {token}"))) {
        return response.status(401).header("x-error-code", "GatedRepo").body(Body::empty()).unwrap();
    }
    if !seen.path.ends_with(FILE) {
        return response.status(404).header("x-error-code", "EntryNotFound").body(Body::empty()).unwrap();
    }
    if let Some(sha256) = sha256.filter(|_| !seen.path.starts_with("/models/")) {
        response = response.header("x-linked-etag", format!("\"{sha256}\"")).header("x-linked-size", bytes);
    }
    response
        .status(302)
        .header("location", format!("{}/{FILE}?signature=1", hub.store))
        .body(Body::empty())
        .unwrap()
}

async fn at_store(State(hub): State<Hub>, request: Request<Body>) -> Response {
    let seen = seen(&request);
    let mut world = hub.world();
    world.at_store.push(seen.clone());
    let mishap = if world.mishaps.is_empty() { None } else { Some(world.mishaps.remove(0)) };
    let file = world.file.clone();
    drop(world);
    let etag = format!("\"{}\"", &sha256(&file)[..16]);
    if let Some(Mishap::Answers { status, headers, body }) = &mishap {
        let mut response = Response::builder().status(*status);
        for (name, value) in headers {
            response = response.header(*name, value);
        }
        return response.body(Body::from(*body)).unwrap();
    }
    let from = asked_from(&seen, &etag).unwrap_or(0);
    let mut response = Response::builder().header("etag", etag);
    if from > 0 {
        let range = format!("bytes {from}-{}/{}", file.len() - 1, file.len());
        response = response.status(StatusCode::PARTIAL_CONTENT).header("content-range", range);
    }
    let claimed = match mishap {
        Some(Mishap::Claims(bytes)) => bytes,
        _ => (file.len() - from) as u64,
    };
    response.header("content-length", claimed).body(body(file[from..].to_vec(), mishap)).unwrap()
}

/// A range counts while the file is still the one that the caller has a part of.
fn asked_from(seen: &Seen, etag: &str) -> Option<usize> {
    let is_same = seen.header("if-range").is_none_or(|known| known == etag);
    let range = seen.header("range").filter(|_| is_same)?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn body(bytes: Vec<u8>, mishap: Option<Mishap>) -> Body {
    let upto = match mishap {
        Some(Mishap::Drops(upto) | Mishap::Stalls(upto)) => upto.min(bytes.len()),
        _ => bytes.len(),
    };
    let pieces: Vec<Result<Bytes, io::Error>> =
        bytes[..upto].chunks(PIECE_BYTES).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let pieces = stream::iter(pieces);
    match mishap {
        None | Some(Mishap::Answers { .. }) => Body::from(bytes),
        // What was written is on its way before the line drops.
        Some(Mishap::Drops(_)) => {
            let end = stream::once(async {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                Err(io::Error::other("the line drops"))
            });
            Body::from_stream(pieces.chain(end))
        }
        Some(Mishap::Stalls(_) | Mishap::Claims(_)) => {
            let silence = stream::pending::<Result<Bytes, Infallible>>().map(|never| Ok(never.unwrap()));
            Body::from_stream(pieces.chain(silence))
        }
    }
}
