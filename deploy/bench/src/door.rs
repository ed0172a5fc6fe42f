//! The host's accept loop, its frame around each request, its reading of bodies and its inbox, with the adapter behind
//! them that the path names. What differs between two cases is the adapter alone.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::extract::{Path as InPath, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Router, middleware};
use http::StatusCode;
use parlor::adapter::Adapter;
use parlor::clock::{Clock as _, SystemClock};
use parlor::doors::{body, frame, problem::Problem, server};
use parlor::drain::Drain;
use parlor::ingress;
use parlor::message::{Favour, HttpRequest, Message};
use parlor::plugin::Reception;
use parlor::store::sqlite::SqliteStore;
use parlor::store::vault::Vault;
use parlor::store::{Incoming, Store as _};
use parlor::telemetry::Metrics;
use tokio::net::TcpListener;

use crate::sample::Sample;
use crate::{component, library};

pub const CHANNEL: &str = "bench";
const BODY: body::Bounds = body::Bounds { bytes_max: 1 << 20, timeout: Duration::from_secs(10) };
const BOUNDS: server::Bounds =
    server::Bounds { header_timeout: Duration::from_secs(10), connections_max: 1000 };

/// Which adapter, and whether what it accepts is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub is_component: bool,
    pub is_stored: bool,
}

impl Case {
    pub const ALL: [(&'static str, Case); 4] = [
        ("door-native", Case { is_component: false, is_stored: false }),
        ("door-wasm", Case { is_component: true, is_stored: false }),
        ("inbox-native", Case { is_component: false, is_stored: true }),
        ("inbox-wasm", Case { is_component: true, is_stored: true }),
    ];

    pub fn path(self) -> String {
        let found = Self::ALL.into_iter().find(|(_, case)| *case == self);
        format!("/webhook/{}", found.map_or("", |(word, _)| word))
    }
}

/// An open door.
pub struct Door {
    pub address: SocketAddr,
    /// Compiled code and inbox; they go with it.
    _folder: Folder,
}

struct Behind {
    component: Adapter,
    sample: Sample,
    inbox: SqliteStore,
}

impl Door {
    pub async fn open(parlor: &Path, plugin: &Path, sample: &Sample) -> Result<Door> {
        let folder = Folder::new()?;
        let component = component::load(parlor, plugin, sample, &folder.0.join("compiled")).await?;
        let inbox = SqliteStore::open(&folder.0, Vault::open(&folder.0)?)?;
        let behind = Arc::new(Behind { component, sample: sample.clone(), inbox });
        let router = Router::new().route("/webhook/{case}", post(take)).with_state(behind);
        let router = router.layer(middleware::from_fn(frame::frame));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(server::serve(listener, router, BOUNDS, Drain::new(), Arc::new(Metrics::new())));
        Ok(Door { address, _folder: folder })
    }
}

async fn take(
    State(behind): State<Arc<Behind>>,
    InPath(word): InPath<String>,
    request: Request,
) -> Result<Response, Problem> {
    let Some((_, case)) = Case::ALL.into_iter().find(|(known, _)| *known == word) else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let (parts, content) = request.into_parts();
    let content = body::read(content, &BODY).await?;
    let request = ingress::read(&parts, content, &case.path(), "http://bench.invalid")
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "not_utf8", error.to_string()))?;
    let Some(messages) = behind.receive(case, request).await else {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    };
    let is_kept = !case.is_stored || behind.keep(messages).await;
    let status = if is_kept { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(status.into_response())
}

impl Behind {
    async fn receive(&self, case: Case, request: HttpRequest) -> Option<Vec<Message>> {
        if !case.is_component {
            return library::receive(&self.sample, request);
        }
        match self.component.receive(request, Favour::Its).await {
            Ok((Reception::Accept(acceptance), _)) => Some(acceptance.messages),
            _ => None,
        }
    }

    /// Durable when it returns.
    async fn keep(&self, messages: Vec<Message>) -> bool {
        let incoming = messages.into_iter().map(|message| Incoming {
            message,
            request_id: String::new(),
            hold_delivery_until: None,
            settled: None,
            via: None,
            is_awaited: false,
            due_at: None,
        });
        self.inbox.accept(CHANNEL, SystemClock.now(), incoming.collect()).await.is_ok()
    }
}

/// A folder of this process alone, below the system's own for such.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> std::io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("parlor-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
