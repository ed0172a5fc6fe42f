//! The accept loop: TCP connections in, HTTP/1.1 and HTTP/2 requests to a router.
//!
//! Its own rather than axum's, which sets no timer: every wait here has a bound, so that slow, silent or too
//! many clients cost a bounded number of bounded connections. It does not know what the router answers.

mod activity;
pub mod descriptors;
mod patient;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::drain::Drain;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Open;
use activity::Activity;
use patient::Patient;

/// Header lines of one request; browsers and platforms send 10 to 30.
const HEADERS_MAX: usize = 64;
/// Bytes of one request's head, 431 past it; a token may take 8 KiB of them. Also the read buffer's size.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Requests at a time on one HTTP/2 connection, as browsers and proxies expect.
const STREAMS_MAX: u32 = 100;
/// A quiet HTTP/2 connection is asked this often whether it still lives, and has as long to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A connection without a request ends after this: longer than load balancers keep theirs (60 s), so that
/// they close first and no request meets a closing connection.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// A client that takes none of its response for this long has gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// After a failed accept, such as for want of file descriptors: a retry at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// Failed accepts are logged once in this time.
const COMPLAINT_EVERY: Duration = Duration::from_mins(1);
/// Refused connections that are told so at a time; more are closed without a word.
const FAREWELLS_MAX: usize = 64;
/// How long a refused client may take to ask and to read why.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Of that, how long it is waited for its question: a client that has not asked yet takes an answer for a broken
/// connection.
const QUESTION_MAX: Duration = Duration::from_millis(500);

/// A connection that was taken before the shutdown, and has not asked yet, is waited for: its question may be on its
/// way. One that opens connections ahead of need loses nothing by it.
const LATE_QUESTION_MAX: Duration = Duration::from_millis(500);

/// The answer to a connection too many.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 75\r\n\
retry-after: 1\r\nconnection: close\r\n\r\n\
{\"error\":{\"code\":\"overloaded\",\"message\":\"too many connections; try again\"}}";

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From a connection's start to the end of its first head; from the first byte of each later one to its end.
    pub header_timeout: Duration,
    pub connections_max: usize,
}

/// Where a request came from: an extension of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A connection's place among those that may be open: an extension of each request. Whoever takes the connection
/// over, as a WebSocket does, keeps it, and with it the place.
#[derive(Debug, Clone)]
pub struct Place {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    _open: Open,
}

/// Takes connections until the drain begins. Those that are open then finish the requests under way, as tasks
/// that the drain waits for; so do those that the system has taken for us by then.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    drain: Drain,
    metrics: Arc<Metrics>,
) {
    let bounds = Bounds { connections_max: descriptors::make_room(bounds.connections_max), ..bounds };
    let server = Arc::new(Server::new(router, bounds, drain, metrics));
    loop {
        let accepted = tokio::select! {
            () = server.drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => server.admit(stream, Peer(peer)),
            Err(error) => server.pause_after(&error).await,
        }
    }
    server.admit_waiting(listener);
}

struct Server {
    http: auto::Builder<TokioExecutor>,
    router: TowerToHyperService<Router>,
    header_timeout: Duration,
    places: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
    was_full: AtomicBool,
    complained: Mutex<Option<Instant>>,
    drain: Drain,
    metrics: Arc<Metrics>,
}

impl Server {
    fn new(router: Router, bounds: Bounds, drain: Drain, metrics: Arc<Metrics>) -> Self {
        Self {
            http: http(),
            router: TowerToHyperService::new(router),
            header_timeout: bounds.header_timeout,
            places: Arc::new(Semaphore::new(bounds.connections_max)),
            farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)),
            was_full: AtomicBool::new(false),
            complained: Mutex::default(),
            drain,
            metrics,
        }
    }

    async fn pause_after(&self, error: &io::Error) {
        // That one client's trouble, not ours.
        let is_clients = matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset);
        if is_clients || error.kind() == ErrorKind::Interrupted {
            return;
        }
        if self.may_complain() {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "cannot accept connections; those that come wait until it is possible");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    fn may_complain(&self) -> bool {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = complained.is_none_or(|last| last.elapsed() >= COMPLAINT_EVERY);
        if is_due {
            *complained = Some(Instant::now());
        }
        is_due
    }

    /// What waits to be accepted would be reset when the listener closes, in the midst of its request.
    fn admit_waiting(self: &Arc<Self>, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.admit(stream, Peer(peer));
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: Peer) {
        match self.places.clone().try_acquire_owned() {
            Ok(permit) => {
                self.was_full.store(false, Ordering::Relaxed);
                let held = Held { _permit: permit, _open: self.metrics.connection() };
                let place = Place { _held: Arc::new(held) };
                self.drain.spawn("http connection", self.clone().converse(stream, peer, place));
            }
            Err(_) => self.turn_away(stream),
        }
    }

    /// Serves one connection to its end, or until a WebSocket takes it over.
    async fn converse(self: Arc<Self>, stream: TcpStream, peer: Peer, place: Place) {
        let _ = stream.set_nodelay(true);
        let activity = Activity::begin();
        let io = TokioIo::new(Patient::new(stream, WRITE_STALL_MAX, activity.clone()));
        let service = service_fn(|request| self.answer(request, peer, &place, &activity));
        let mut connection = pin!(self.http.serve_connection_with_upgrades(io, service));
        let mut idle = pin!(activity.until_idle(self.header_timeout, IDLE_MAX));
        let mut is_leaving = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return log_end(ended.err()),
                () = &mut idle => return,
                () = self.may_leave(&activity), if !is_leaving => {
                    connection.as_mut().graceful_shutdown();
                    is_leaving = true;
                }
            }
        }
    }

    /// Returns once the process wants to end, and this connection has asked something or has had the time to.
    async fn may_leave(&self, activity: &Activity) {
        self.drain.cancelled().await;
        let _ = tokio::time::timeout(LATE_QUESTION_MAX, activity.asked()).await;
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: Peer,
        place: &Place,
        activity: &Activity,
    ) -> impl Future<Output = Result<http::Response<axum::body::Body>, std::convert::Infallible>> + use<>
    {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(place.clone());
        let busy = activity.enter(request.version());
        let answering = self.router.call(request);
        async move { Ok(busy.until_sent(answering.await?)) }
    }

    /// Says 503 to a connection too many, once it has asked, without letting what is unread cut the word short.
    fn turn_away(&self, stream: TcpStream) {
        self.metrics.connection_refused();
        if !self.was_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(event.action = "refuse", "too many connections: new ones get 503 until some end");
        }
        let Ok(place) = self.farewells.clone().try_acquire_owned() else { return };
        self.drain.spawn("refused connection", async move {
            let _place = place;
            let _ = tokio::time::timeout(FAREWELL_MAX, farewell(stream)).await;
        });
    }
}

async fn farewell(mut stream: TcpStream) -> io::Result<()> {
    let mut unread = [0; 1024];
    // Who asks nothing is told as well.
    let _ = tokio::time::timeout(QUESTION_MAX, stream.read(&mut unread)).await;
    stream.write_all(FULL).await?;
    stream.shutdown().await?;
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

fn log_end(error: Option<Box<dyn std::error::Error + Send + Sync>>) {
    if let Some(error) = error {
        tracing::debug!(error = error.as_ref() as &dyn std::error::Error, "connection ended");
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `activity` has a better one.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}
