//! The gateway of a platform that pushes over sockets: registration, tickets, frames and their acknowledgements, and
//! the ways in which the real one lets go of a socket.
//!
//! It holds clients to what the real one holds them to: JSON only for who asks for it, a ticket for 90 seconds and one
//! use, messages to any of an app's sockets at random, what is not acknowledged once more under a new header, no word
//! for a topic that nobody subscribed to. Names and codes are facts about a vendor and stand in
//! `fixtures/platform/robot.json`; messages are those of [`Platform`], which also takes the replies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response as Handshake};

use super::platform::{APP_KEY, APP_SECRET};
use super::{Callback, Platform, Settings, eventually};

const TICKET_LIFE: Duration = Duration::from_secs(90);
const GLANCE: Duration = Duration::from_millis(5);

/// What came of the pushes of one message.
#[derive(Debug, Clone, Default)]
pub struct Pushed {
    /// By the header's id of each push: the code of its acknowledgement, if there was one.
    pub codes: BTreeMap<String, Option<u64>>,
    /// It was taken, or refused in words.
    pub is_settled: bool,
}

struct Ticket {
    until: Instant,
    subscriptions: Vec<(String, String)>,
}

struct Line {
    frames: mpsc::UnboundedSender<Value>,
    subscriptions: Vec<(String, String)>,
    /// It was told that it will be closed.
    is_leaving: bool,
}

#[derive(Default)]
struct World {
    tickets: BTreeMap<String, Ticket>,
    lines: BTreeMap<u64, Line>,
    pushed: BTreeMap<String, Pushed>,
    /// What is waited for, by the header's id: the message's own.
    waiting: BTreeMap<String, String>,
    counter: u64,
    registrations: usize,
    /// Sockets that were open at the same time, at most.
    lines_max: usize,
    echoes: usize,
    /// Broken rules: a sound client has none.
    wrongs: Vec<String>,
    refuses: Option<StatusCode>,
}

struct Shared {
    platform: Platform,
    world: Mutex<World>,
    /// How soon what is not acknowledged comes again; the real one takes up to a minute.
    again_after: Duration,
    /// From the word to the end of a socket; the real one's are ten seconds.
    farewell: Duration,
    /// What a registration is told, where no stand-in leads here.
    endpoint: Mutex<Option<String>>,
    http: String,
    sockets: String,
}

#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

impl Gateway {
    pub async fn start(platform: &Platform) -> Gateway {
        Gateway::with(platform, Duration::from_millis(400), Duration::from_millis(500)).await
    }

    /// With another pause before a repeat, and another time from the word to the end of a socket.
    pub async fn with(platform: &Platform, again_after: Duration, farewell: Duration) -> Gateway {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Gateway(Arc::new(Shared {
            platform: platform.clone(),
            world: Mutex::default(),
            again_after,
            farewell,
            endpoint: Mutex::default(),
            http: http.local_addr().unwrap().to_string(),
            sockets: sockets.local_addr().unwrap().to_string(),
        }));
        let router = Router::new().fallback(answer).with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(http, router).await });
        tokio::spawn(accept(gateway.clone(), sockets));
        gateway
    }

    /// Adds the channel `team`, whose messages come over a socket.
    pub fn join(&self, settings: Settings) -> Settings {
        let facts = &self.0.platform;
        let own = json!({ "mode": facts.fact("stream_mode"), "app_key": APP_KEY });
        facts
            .join_as(settings, "team", own)
            .insert("endpoints", facts.fact("api_origin"), format!("http://{}", self.0.http))
            .insert("endpoints", facts.fact("socket_origin"), format!("http://{}", self.0.sockets))
    }

    /// For clients that know no stand-ins: the address of the API, and sockets told by their own.
    pub fn in_the_open(&self) -> String {
        *self.0.endpoint.lock().unwrap() = Some(format!("ws://{}/connect", self.0.sockets));
        format!("http://{}", self.0.http)
    }

    /// Sends a message to one of the sockets at random, and again until it is acknowledged.
    pub fn push(&self, callback: &Callback) {
        let (id, data) = (callback.id.clone(), callback.body.to_string());
        self.world().pushed.entry(id.clone()).or_default();
        let gateway = self.clone();
        tokio::spawn(async move {
            while !gateway.pushed(&id).is_settled {
                gateway.push_once(&id, &data);
                sleep(gateway.0.again_after).await;
            }
        });
    }

    fn push_once(&self, id: &str, data: &str) {
        let topic = ("CALLBACK".to_owned(), self.0.platform.fact("message_topic").to_owned());
        let header = self.next("header");
        let mut world = self.world();
        let lines: Vec<u64> = world
            .lines
            .iter()
            .filter(|(_, line)| line.subscriptions.contains(&topic))
            .map(|(number, _)| *number)
            .collect();
        // Any of them, the leaving ones too: who was told to go is heard out.
        let Some(number) = lines.get(usize::from(uuid::Uuid::new_v4().as_bytes()[0]) % lines.len().max(1))
        else {
            return;
        };
        let frame = frame("CALLBACK", &topic.1, &header, data);
        if world.lines[number].frames.send(frame).is_ok() {
            world.waiting.insert(header.clone(), id.to_owned());
            world.pushed.get_mut(id).unwrap().codes.insert(header, None);
        }
    }

    /// Sends a frame of the system's own to every socket.
    pub fn tell(&self, topic: &str, data: &Value) {
        for line in self.world().lines.values() {
            line.frames.send(frame("SYSTEM", topic, "system", &data.to_string())).ok();
        }
    }

    /// Tells every open socket that it will be closed, and closes it when its time is over.
    pub fn let_go(&self) {
        let data = json!({ "reason": "connection is expired" }).to_string();
        let told: Vec<u64> = {
            let mut world = self.world();
            let lines = world.lines.iter_mut().filter(|(_, line)| !line.is_leaving);
            lines
                .map(|(number, line)| {
                    line.is_leaving = true;
                    line.frames.send(frame("SYSTEM", "disconnect", "farewell", &data)).ok();
                    *number
                })
                .collect()
        };
        let gateway = self.clone();
        tokio::spawn(async move {
            sleep(gateway.0.farewell).await;
            told.iter().for_each(|number| drop(gateway.world().lines.remove(number)));
        });
    }

    /// Breaks every socket without a word.
    pub fn cut(&self) {
        self.world().lines.clear();
    }

    /// Answers registrations with this status from now on.
    pub fn refuse(&self, status: Option<StatusCode>) {
        self.world().refuses = status;
    }

    pub fn pushed(&self, id: &str) -> Pushed {
        self.world().pushed.get(id).cloned().unwrap_or_default()
    }

    /// Waits until a message was taken; tells how often it was pushed.
    pub async fn taken(&self, id: &str) -> usize {
        let what = format!("`{id}` is acknowledged");
        eventually(&what, || Some(self.pushed(id)).filter(|pushed| pushed.is_settled)).await.codes.len()
    }

    pub async fn has_lines(&self, count: usize) {
        eventually(&format!("{count} sockets"), || (self.world().lines.len() == count).then_some(())).await;
    }

    pub fn lines_max(&self) -> usize {
        self.world().lines_max
    }

    pub fn registrations(&self) -> usize {
        self.world().registrations
    }

    /// Pings of its own that came back.
    pub fn echoes(&self) -> usize {
        self.world().echoes
    }

    pub fn wrongs(&self) -> Vec<String> {
        self.world().wrongs.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    fn next(&self, what: &str) -> String {
        let mut world = self.world();
        world.counter += 1;
        format!("{what}-{}", world.counter)
    }

    fn wrong(&self, what: String) {
        self.world().wrongs.push(what);
    }

    /// What a registration gets.
    fn register(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        self.world().registrations += 1;
        if let Some(status) = self.world().refuses {
            return status.into_response();
        }
        let accepts = headers.get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if !accepts.contains("application/json") {
            let xml = "<OpenConnectionResponse><ticket>?</ticket></OpenConnectionResponse>";
            return ([("content-type", "application/xml")], xml).into_response();
        }
        let wish: Value = serde_json::from_slice(body).unwrap_or_default();
        if wish["clientId"] != APP_KEY || wish["clientSecret"] != APP_SECRET {
            return self.0.platform.refused("bad_credentials");
        }
        let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        let subscriptions: Vec<(String, String)> = wish["subscriptions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| Some((text(one, "type")?, text(one, "topic")?)))
            .collect();
        if subscriptions.is_empty() || !wish["ua"].is_string() {
            self.wrong(format!("a registration without subscriptions or `ua`: {wish}"));
            return self.0.platform.refused("bad_parameter");
        }
        // The letters that a query has to escape.
        let ticket = format!("{}+/=", self.next("secret-canary-ticket"));
        let until = Instant::now() + TICKET_LIFE;
        self.world().tickets.insert(ticket.clone(), Ticket { until, subscriptions });
        let endpoint = self.0.endpoint.lock().unwrap().clone();
        let endpoint = endpoint.unwrap_or_else(|| self.0.platform.fact("socket_endpoint").to_owned());
        json!({ "endpoint": endpoint, "ticket": ticket }).to_string().into_response()
    }

    /// A ticket opens one socket.
    fn admit(&self, uri: &Uri) -> Option<Vec<(String, String)>> {
        let query = uri.query().unwrap_or_default();
        let decoded = url::form_urlencoded::parse(query.as_bytes());
        let decoded =
            decoded.into_iter().find(|(name, _)| name == "ticket").map(|(_, value)| value.into_owned());
        // One of the official clients does not escape it, and is let in all the same.
        let plain = query.strip_prefix("ticket=").map(str::to_owned);
        let mut world = self.world();
        let ticket = [decoded, plain].into_iter().flatten().find_map(|ticket| world.tickets.remove(&ticket));
        if uri.path() != "/connect" {
            world.wrongs.push(format!("a handshake at `{}`", uri.path()));
            return None;
        }
        ticket.filter(|ticket| Instant::now() < ticket.until).map(|ticket| ticket.subscriptions)
    }

    fn open(&self, subscriptions: Vec<(String, String)>) -> (u64, mpsc::UnboundedReceiver<Value>) {
        let (frames, told) = mpsc::unbounded_channel();
        let mut world = self.world();
        world.counter += 1;
        let number = world.counter;
        world.lines.insert(number, Line { frames, subscriptions, is_leaving: false });
        world.lines_max = world.lines_max.max(world.lines.len());
        (number, told)
    }

    /// An acknowledgement. A refusal in words settles it too; a failure does not.
    fn heard(&self, text: &str) {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            return self.wrong(format!("not JSON: {text}"));
        };
        let (code, header) = (frame["code"].as_u64(), frame["headers"]["messageId"].as_str());
        let (Some(code), Some(header)) = (code, header) else {
            return self.wrong(format!("no acknowledgement: {frame}"));
        };
        if !frame["data"].is_string() || frame["headers"]["contentType"] != "application/json" {
            self.wrong(format!("an acknowledgement in another form: {frame}"));
        }
        let mut world = self.world();
        if let Some(id) = world.waiting.remove(header) {
            let pushed = world.pushed.get_mut(&id).unwrap();
            pushed.codes.insert(header.to_owned(), Some(code));
            pushed.is_settled |= code != 500;
        } else if header == "system" {
            world.echoes += 1;
        }
    }
}

fn frame(kind: &str, topic: &str, id: &str, data: &str) -> Value {
    json!({
        "specVersion": "1.0", "type": kind,
        "headers": {
            "appId": "app", "connectionId": "connection", "contentType": "application/json",
            "messageId": id, "time": super::now_ms().to_string(), "topic": topic,
        },
        "data": data,
    })
}

async fn answer(State(gateway): State<Gateway>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if uri.path() == gateway.0.platform.fact("register_path") {
        return gateway.register(&headers, &body);
    }
    gateway.0.platform.respond(uri, headers, body).await
}

async fn accept(gateway: Gateway, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(attend(gateway.clone(), stream));
    }
}

async fn attend(gateway: Gateway, stream: TcpStream) {
    let mut subscriptions = None;
    #[allow(clippy::result_large_err, reason = "the library wants it so")]
    let admit = |request: &Request, response: Handshake| -> Result<Handshake, ErrorResponse> {
        subscriptions = gateway.admit(request.uri());
        let refused = || http::Response::builder().status(401).body(Some("ticket".to_owned())).unwrap();
        subscriptions.is_some().then_some(response).ok_or_else(refused)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, admit).await else { return };
    let Some(subscriptions) = subscriptions else { return };
    let (number, mut told) = gateway.open(subscriptions);
    loop {
        tokio::select! {
            frame = told.recv() => match frame {
                Some(frame) => if socket.send(Message::text(frame.to_string())).await.is_err() { break },
                None => break,
            },
            read = socket.next() => match read {
                Some(Ok(Message::Text(text))) => gateway.heard(text.as_str()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    gateway.world().lines.remove(&number);
    timeout(GLANCE * 20, socket.close(None)).await.ok();
}
