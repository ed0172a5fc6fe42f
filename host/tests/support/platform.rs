//! A chat platform: it signs callbacks and sends again what was not acknowledged, checks whatever a robot sends
//! as strictly as the real one, and keeps what a person would see.
//!
//! Paths, codes and limits are facts about a vendor and stand in `fixtures/platform/robot.json`. It has a clock of
//! its own that a test moves ahead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use parlor::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Settings;
use super::requests::{Envelope, client, robot_sign, standard_sign, until_acknowledged};

pub const APP_KEY: &str = "ding-app-key";
pub const APP_SECRET: &str = "secret-canary-app";
const ROBOT_TOKEN: &str = "secret-canary-robot-token";
const ROBOT_SECRET: &str = "SECsecret-canary-robot";
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
const GLANCE: Duration = Duration::from_millis(5);
/// Between two messages, while more are to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// The generic webhook's own callback, served beside the platform's paths.
const PUSHED_PATH: &str = "/pushed";
const PUSHED_ORIGIN: &str = "https://push.example.com";
/// How a message reached the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Session,
    Direct,
    Group,
    Robot,
    Pushed,
}

/// One message as a person sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub conversation: String,
    pub text: String,
    pub way: Way,
    /// The message that it answers, where the way there tells.
    pub to: Option<String>,
}

#[derive(Debug)]
struct Session {
    conversation: String,
    message: String,
    until_ms: u64,
    sent_ms: VecDeque<u64>,
}

/// A response that is given instead of an honest one.
#[derive(Debug, Clone)]
struct Refusal {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

#[derive(Debug, Default)]
struct World {
    sessions: BTreeMap<String, Session>,
    tokens: BTreeMap<String, u64>,
    mints: usize,
    seen: Vec<Seen>,
    /// Keys of pushes that came before: a repeat is not shown.
    pushed_keys: BTreeSet<String>,
    refusals: VecDeque<Refusal>,
    /// Responses are held back, what they answer is done.
    is_mute: bool,
    /// What was asked for is done, and the response says that the gateway broke.
    is_garbled: bool,
    /// Codes that honest checks gave out.
    codes: Vec<Value>,
}

#[derive(Debug)]
struct Shared {
    facts: Value,
    world: Mutex<World>,
    ahead_ms: AtomicU64,
    counter: AtomicU64,
    origin: String,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
pub struct Platform(Arc<Shared>);

/// A callback, ready to be sent, and sent again.
#[derive(Debug, Clone)]
pub struct Callback {
    pub id: String,
    pub body: Value,
    pub timestamp: String,
    pub sign: String,
    pub request_id: Option<String>,
}

impl Callback {
    /// Sends it once; the status, or nothing if the host broke off.
    pub async fn post(&self, url: &str) -> Option<u16> {
        self.post_bytes(url, self.body.to_string().into_bytes()).await.map(|(status, _)| status)
    }

    /// The same signature over another body: it does not cover it.
    pub async fn post_bytes(&self, url: &str, body: Vec<u8>) -> Option<(u16, String)> {
        let mut request = client()
            .post(url)
            .header("content-type", "application/json; charset=utf-8")
            .header("timestamp", &self.timestamp)
            .header("sign", &self.sign);
        if let Some(id) = &self.request_id {
            request = request.header("x-request-id", id);
        }
        let response = request.body(body).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.text().await.ok()?))
    }

    /// Sends it until it is acknowledged, wherever the host is by then; tells how often it took.
    pub fn deliver(
        &self,
        whereabouts: impl Fn() -> Option<SocketAddr> + Send + 'static,
        path: &'static str,
    ) -> JoinHandle<u32> {
        let callback = self.clone();
        let attempt = move |address| {
            let callback = callback.clone();
            async move { callback.post(&format!("http://{address}{path}")).await }
        };
        until_acknowledged(whereabouts, attempt)
    }
}

impl Platform {
    pub async fn start() -> Platform {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let platform = Platform::without_socket(origin, Arc::new(SystemClock));
        let router = Router::new().fallback(answer).with_state(platform.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        platform
    }

    /// For who brings requests by himself, to `respond`.
    pub fn without_socket(origin: String, clock: Arc<dyn Clock>) -> Platform {
        let facts = include_str!("../fixtures/platform/robot.json");
        Platform(Arc::new(Shared {
            facts: serde_json::from_str(facts).unwrap(),
            world: Mutex::default(),
            ahead_ms: AtomicU64::new(0),
            counter: AtomicU64::new(0),
            origin,
            clock,
        }))
    }

    pub async fn respond(&self, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
        answer(State(self.clone()), uri, headers, body).await
    }

    /// Adds the channel `team` of this platform to a host's configuration.
    pub fn join(&self, settings: Settings) -> Settings {
        self.join_as(settings, "team", json!({ "app_key": APP_KEY }))
    }

    pub fn join_as(&self, settings: Settings, channel: &str, own: Value) -> Settings {
        let secrets =
            json!({ "app_secret": APP_SECRET, "robot_token": ROBOT_TOKEN, "robot_secret": ROBOT_SECRET });
        let channel_settings = json!({
            "adapter": self.fact("adapter"), "pipelines": ["assistant"], "settings": own, "secrets": secrets,
        });
        settings
            .set(&format!("channels.{channel}"), channel_settings)
            .insert("endpoints", self.fact("robot_origin"), self.0.origin.as_str())
            .insert("endpoints", self.fact("api_origin"), self.0.origin.as_str())
    }

    /// Adds the channel `hook` of the generic webhook, whose replies that no response took are pushed here.
    pub fn join_webhook(&self, settings: Settings, mut own: Value, is_pushed: bool) -> Settings {
        if is_pushed {
            own["callback_url"] = json!(format!("{PUSHED_ORIGIN}{PUSHED_PATH}"));
        }
        let channel = json!({
            "adapter": "webhook", "pipelines": ["assistant"], "settings": own,
            "secrets": { "secret": Envelope::SECRET },
        });
        settings.set("channels.hook", channel).insert("endpoints", PUSHED_ORIGIN, self.0.origin.as_str())
    }

    /// The plugin that speaks this platform.
    pub fn adapter(&self) -> &str {
        self.fact("adapter")
    }

    pub fn fact(&self, name: &str) -> &str {
        self.0.facts[name].as_str().unwrap_or_else(|| panic!("the fixture has the text `{name}`"))
    }

    fn number(&self, name: &str) -> u64 {
        self.0.facts[name].as_u64().unwrap_or_else(|| panic!("the fixture has the number `{name}`"))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    fn now_ms(&self) -> u64 {
        self.0.clock.now() + self.0.ahead_ms.load(Ordering::Relaxed)
    }

    /// Lets time pass here alone.
    pub fn advance(&self, time: Duration) {
        self.0.ahead_ms.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// A direct message of the person whose conversation this is.
    pub fn direct(&self, conversation: &str, text: &str) -> Callback {
        self.callback(conversation, text, "1")
    }

    /// A message in a group.
    pub fn group(&self, conversation: &str, text: &str) -> Callback {
        self.callback(conversation, text, "2")
    }

    fn callback(&self, conversation: &str, text: &str, kind: &str) -> Callback {
        let number = self.0.counter.fetch_add(1, Ordering::Relaxed);
        let (id, session) = (format!("msg{number}=="), format!("session-canary-{number}"));
        let (now, until_ms) = (self.now_ms(), self.now_ms() + self.number("session_ms"));
        let mut body = self.0.facts["callback"].clone();
        body["msgId"] = json!(id);
        body["createAt"] = json!(now);
        body["conversationId"] = json!(conversation);
        body["conversationType"] = json!(kind);
        body["senderId"] = json!(format!("$:person-canary:{conversation}"));
        body["senderStaffId"] = json!(staff(conversation));
        body["sessionWebhook"] =
            json!(format!("{}{}?session={session}", self.fact("robot_origin"), self.fact("session_path")));
        body["sessionWebhookExpiredTime"] = json!(until_ms);
        body["text"] = json!({ "content": format!(" {text}") });
        let sent_ms = VecDeque::new();
        self.world().sessions.insert(
            session,
            Session { conversation: conversation.to_owned(), message: id.clone(), until_ms, sent_ms },
        );
        self.signed(id, body, now)
    }

    /// Any body with the signature of a moment.
    pub fn signed(&self, id: String, body: Value, at_ms: u64) -> Callback {
        let timestamp = at_ms.to_string();
        let sign = robot_sign(APP_SECRET, &timestamp);
        Callback { id, body, timestamp, sign, request_id: None }
    }

    /// Ends all sessions on the platform's side, earlier than their callbacks said.
    pub fn end_sessions(&self) {
        self.world().sessions.clear();
    }

    /// Knows none of the tokens any more that it gave out.
    pub fn forget_tokens(&self) {
        self.world().tokens.clear();
    }

    /// Answers the next message with this instead.
    pub fn refuse_with(&self, status: u16, retry_after: Option<u64>, fact: Option<&str>) {
        let body = fact.map_or(Value::Null, |fact| self.0.facts[fact].clone());
        let headers = retry_after.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect();
        self.world().refusals.push_back(Refusal { status, headers, body });
    }

    /// Answers the next message with the error for a robot that sends too fast.
    pub fn throttle_next(&self) {
        self.refuse_with(200, None, Some("too_fast"));
    }

    /// Holds responses back, though what they answer is done.
    pub fn mute(&self, is_mute: bool) {
        self.world().is_mute = is_mute;
    }

    /// Does what it is asked for, and answers that its gateway broke.
    pub fn garble(&self, is_garbled: bool) {
        self.world().is_garbled = is_garbled;
    }

    /// Whether every response that was set is given out.
    pub fn has_refused(&self) -> bool {
        self.world().refusals.is_empty()
    }

    /// What a person sees in a conversation, in order.
    pub fn seen(&self, conversation: &str) -> Vec<String> {
        self.seen_by(conversation).into_iter().map(|seen| seen.text).collect()
    }

    pub fn seen_by(&self, conversation: &str) -> Vec<Seen> {
        self.world().seen.iter().filter(|seen| seen.conversation == conversation).cloned().collect()
    }

    /// What all people see, in order.
    pub fn everything_seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    pub fn seen_in_all(&self) -> usize {
        self.world().seen.len()
    }

    /// Waits until so much was seen in all, for as long as more comes.
    pub async fn until_seen(&self, wanted: usize) {
        let (mut heard, mut seen) = (Instant::now(), self.seen_in_all());
        while seen < wanted && heard.elapsed() < PATIENCE {
            tokio::time::sleep(GLANCE).await;
            let now = self.seen_in_all();
            if now > seen {
                (heard, seen) = (Instant::now(), now);
            }
        }
    }

    pub fn mints(&self) -> usize {
        self.world().mints
    }

    /// Errors that honest checks gave out: a sound host gets none but those that a test provokes.
    pub fn codes(&self) -> Vec<Value> {
        self.world().codes.clone()
    }

    pub fn refused(&self, fact: &str) -> Response {
        let body = self.0.facts[fact].clone();
        let status = if body.get("code").is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let code = body.get("code").or(body.get("errcode")).cloned().unwrap_or_default();
        self.world().codes.push(code);
        (status, body.to_string()).into_response()
    }

    fn show(&self, conversation: &str, text: &str, way: Way, to: Option<String>) {
        let seen = Seen { conversation: conversation.to_owned(), text: text.to_owned(), way, to };
        self.world().seen.push(seen);
    }

    fn honest(
        &self,
        path: &str,
        query: &BTreeMap<String, String>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Response {
        let outcome = if path == self.fact("session_path") {
            self.by_session(query, body)
        } else if path == self.fact("group_robot_path") {
            self.by_robot(query, body)
        } else if path == self.fact("mint_path") {
            self.mint(body)
        } else if path == self.fact("direct_path") {
            self.by_api(headers, body, Way::Direct)
        } else if path == self.fact("group_path") {
            self.by_api(headers, body, Way::Group)
        } else if path == PUSHED_PATH {
            return self.pushed(headers, body);
        } else {
            return StatusCode::NOT_FOUND.into_response();
        };
        outcome.map_or_else(|fact| self.refused(fact), |body| body.to_string().into_response())
    }

    fn by_session(&self, query: &BTreeMap<String, String>, body: &[u8]) -> Result<Value, &'static str> {
        let text = self.robot_text(body)?;
        let now = self.now_ms();
        let (conversation, message) = {
            let mut world = self.world();
            let session = query.get("session").and_then(|session| world.sessions.get_mut(session));
            let session = session.filter(|session| now < session.until_ms).ok_or("no_session")?;
            while session.sent_ms.front().is_some_and(|sent| now - sent >= MINUTE_MS) {
                session.sent_ms.pop_front();
            }
            if session.sent_ms.len() as u64 >= self.number("messages_a_minute") {
                return Err("too_fast");
            }
            session.sent_ms.push_back(now);
            (session.conversation.clone(), session.message.clone())
        };
        self.show(&conversation, &text, Way::Session, Some(message));
        Ok(self.0.facts["ok"].clone())
    }

    fn by_robot(&self, query: &BTreeMap<String, String>, body: &[u8]) -> Result<Value, &'static str> {
        let text = self.robot_text(body)?;
        let timestamp = query.get("timestamp").map(String::as_str).unwrap_or_default();
        let sent_ms: u64 = timestamp.parse().map_err(|_| "invalid_timestamp")?;
        if self.now_ms().abs_diff(sent_ms) > HOUR_MS {
            return Err("invalid_timestamp");
        }
        let is_signed = query.get("sign") == Some(&robot_sign(ROBOT_SECRET, timestamp));
        let is_known = query.get("access_token").is_some_and(|token| token == ROBOT_TOKEN);
        if !is_known {
            return Err("no_session");
        }
        if !is_signed {
            return Err("sign_not_match");
        }
        self.show("robot", &text, Way::Robot, None);
        Ok(self.0.facts["ok"].clone())
    }

    /// The text of a robot's message, if it has the right form and size.
    fn robot_text(&self, body: &[u8]) -> Result<String, &'static str> {
        if body.len() as u64 > self.number("body_bytes_max") {
            return Err("too_large");
        }
        let message: Value = serde_json::from_slice(body).map_err(|_| "malformed")?;
        let text = match message["msgtype"].as_str() {
            Some("text") => &message["text"]["content"],
            Some("markdown") if message["markdown"]["title"].is_string() => &message["markdown"]["text"],
            _ => return Err("malformed"),
        };
        text.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or("malformed")
    }

    fn mint(&self, body: &[u8]) -> Result<Value, &'static str> {
        let wish: Value = serde_json::from_slice(body).map_err(|_| "bad_credentials")?;
        if wish["appKey"] != APP_KEY || wish["appSecret"] != APP_SECRET {
            return Err("bad_credentials");
        }
        let seconds = self.number("token_seconds");
        let until_ms = self.now_ms() + seconds * 1000;
        let mut world = self.world();
        world.mints += 1;
        let token = format!("secret-canary-token-{}", world.mints);
        world.tokens.insert(token.clone(), until_ms);
        Ok(json!({ "accessToken": token, "expireIn": seconds }))
    }

    fn by_api(&self, headers: &HeaderMap, body: &[u8], way: Way) -> Result<Value, &'static str> {
        let token = headers.get(self.fact("token_header")).and_then(|token| token.to_str().ok());
        let until_ms = token.and_then(|token| self.world().tokens.get(token).copied());
        if until_ms.is_none_or(|until_ms| self.now_ms() >= until_ms) {
            return Err("bad_token");
        }
        let message: Value = serde_json::from_slice(body).map_err(|_| "bad_parameter")?;
        let parameter = message["msgParam"].as_str().ok_or("bad_parameter")?;
        if parameter.len() as u64 > self.number("message_param_bytes_max") {
            return Err("parameter_too_long");
        }
        let parameter: Value = serde_json::from_str(parameter).map_err(|_| "bad_parameter")?;
        let text = parameter["text"].as_str().or(parameter["content"].as_str()).ok_or("bad_parameter")?;
        let receiver = match way {
            Way::Group => message["openConversationId"].as_str(),
            _ => message["userIds"][0].as_str().and_then(|staff| staff.strip_prefix(&staff_prefix())),
        };
        let receiver = receiver.filter(|_| message["robotCode"].is_string()).ok_or("bad_parameter")?;
        self.show(receiver, text, way, None);
        Ok(json!({ "processQueryKey": format!("key-{}", self.0.counter.fetch_add(1, Ordering::Relaxed)) }))
    }

    /// A receiver of signed pushes that knows each by its key, as Standard Webhooks tells it to.
    fn pushed(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (key, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
        if text("webhook-signature") != standard_sign(Envelope::SECRET, key, timestamp, body) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let answer: Value = serde_json::from_slice(body).unwrap();
        if self.world().pushed_keys.insert(key.to_owned()) {
            let session = answer["session_id"].as_str().unwrap();
            let to = answer["message_id"].as_str().map(str::to_owned);
            self.show(session, answer["reply"].as_str().unwrap(), Way::Pushed, to);
        }
        StatusCode::NO_CONTENT.into_response()
    }
}

fn staff_prefix() -> String {
    "person-canary.".to_owned()
}

/// The staff id of the person whose conversation this is.
fn staff(conversation: &str) -> String {
    format!("{}{conversation}", staff_prefix())
}

async fn answer(State(platform): State<Platform>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if uri.path() != platform.fact("mint_path")
        && let Some(refusal) = platform.world().refusals.pop_front()
    {
        let status = StatusCode::from_u16(refusal.status).unwrap();
        let mut response = (status, refusal.body.to_string()).into_response();
        for (name, value) in refusal.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        return response;
    }
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let response = platform.honest(uri.path(), &query.into_owned().collect(), &headers, &body);
    while platform.world().is_mute {
        tokio::time::sleep(GLANCE).await;
    }
    if platform.world().is_garbled { StatusCode::BAD_GATEWAY.into_response() } else { response }
}
