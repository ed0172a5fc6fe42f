//! Feishu's open platform: it seals and signs events, and holds whoever answers to its published rules, as
//! strictly as the real one: tokens and their ends, rates, keys that drop repeats, cards that grow for ten
//! minutes. It keeps what a person would see.
//!
//! It has a clock of its own that a test moves ahead. A refusal is HTTP status 400 with the platform's code in the
//! body. The official client gets through it (`host/tests/feishu.rs`), so that it asks for nothing that the real
//! one does not. `event` makes what comes in, `message` and `card` hold the rules of each kind of request.

mod card;
mod event;
mod message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use parlor::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Settings;

pub use event::Event;

pub const APP_ID: &str = "cli_9f5343c580712544";
pub const APP_SECRET: &str = "secret-canary-app";
pub const ENCRYPT_KEY: &str = "secret-canary-encrypt-key";
pub const VERIFICATION_TOKEN: &str = "secret-canary-verification-token";
const ROBOT_TOKEN: &str = "secret-canary-robot-token";
const ROBOT_SECRET: &str = "secret-canary-robot";
/// The bot itself.
const BOT_OPEN_ID: &str = "ou_bot";

const TOKEN_LIFE_MS: u64 = 7_200_000;
/// A new token is given out only this long before the old one ends.
const TOKEN_RENEWAL_MS: u64 = 1_800_000;
const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60_000;
const CHAT_A_SECOND: usize = 5;
const API_A_SECOND: usize = 50;
const API_A_MINUTE: usize = 1_000;
const ROBOT_A_MINUTE: usize = 100;
const ROBOT_WINDOW_MS: u64 = 3_600_000;
const ROBOT_BODY_BYTES_MAX: usize = 20 << 10;
const KEY_BYTES_MAX: usize = 50;

/// The code of a refusal.
pub type Code = i64;
type Outcome = Result<Value, Code>;

/// One message as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub text: String,
    /// `text` or `interactive`.
    pub kind: String,
    /// The card says that it is still being written.
    pub grows: bool,
}

/// One request, as it came and as it was answered.
#[derive(Debug, Clone)]
pub struct Call {
    /// Such as `PUT /open-apis/cardkit/v1/cards/1/elements/answer/content`.
    pub line: String,
    pub body: Value,
    pub code: Code,
    /// By the platform's clock.
    pub at_ms: u64,
}

#[derive(Debug, Default)]
struct World {
    /// When each token ends.
    tokens: BTreeMap<String, u64>,
    mints: usize,
    /// Permissions that an administrator took away.
    denied: BTreeSet<&'static str>,
    messages: BTreeMap<String, message::Message>,
    /// Keys of replies: what they made, and when.
    keys: BTreeMap<String, (String, u64)>,
    cards: BTreeMap<String, card::Card>,
    rates: BTreeMap<String, VecDeque<u64>>,
    calls: Vec<Call>,
    refusals: VecDeque<Code>,
    /// What it does for a reply is not heard of.
    loses_answers: bool,
    robot: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    ahead_ms: AtomicU64,
    counter: AtomicU64,
    origin: String,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
pub struct OpenPlatform(Arc<Shared>);

impl OpenPlatform {
    pub async fn start() -> OpenPlatform {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let platform = OpenPlatform::without_socket(origin, Arc::new(SystemClock));
        let router = Router::new().fallback(answer).with_state(platform.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        platform
    }

    /// For who brings requests by himself, to `respond`.
    pub fn without_socket(origin: String, clock: Arc<dyn Clock>) -> OpenPlatform {
        let (world, ahead_ms, counter) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        OpenPlatform(Arc::new(Shared { world, ahead_ms, counter, origin, clock }))
    }

    pub async fn respond(&self, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
        answer(State(self.clone()), method, uri, headers, body).await
    }

    /// Where it listens, for a client of its own.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Adds the channel `lark` of this platform to a host's configuration.
    pub fn join(&self, settings: Settings, own: Value) -> Settings {
        let mut with_app = json!({ "app_id": APP_ID });
        with_app.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let secrets = json!({
            "app_secret": APP_SECRET, "encrypt_key": ENCRYPT_KEY, "verification_token": VERIFICATION_TOKEN,
            "robot_token": ROBOT_TOKEN, "robot_secret": ROBOT_SECRET,
        });
        let channel = json!({ "adapter": "feishu", "pipelines": ["assistant"], "settings": with_app, "secrets": secrets });
        settings
            .set("channels.lark", channel)
            .insert("endpoints", "https://open.feishu.cn", self.origin())
            .insert("endpoints", "https://open.larksuite.com", self.origin())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    fn now_ms(&self) -> u64 {
        self.0.clock.now() + self.0.ahead_ms.load(Ordering::Relaxed)
    }

    fn next(&self) -> u64 {
        self.0.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets time pass here alone.
    pub fn advance(&self, time: Duration) {
        self.0.ahead_ms.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Knows none of the tokens any more that it gave out.
    pub fn forget_tokens(&self) {
        self.world().tokens.clear();
    }

    pub fn mints(&self) -> usize {
        self.world().mints
    }

    /// Takes a permission away.
    pub fn deny(&self, scope: &'static str) {
        self.world().denied.insert(scope);
    }

    /// Answers the next request, other than for a token, with this code instead of doing it.
    pub fn refuse_with(&self, code: Code) {
        self.world().refusals.push_back(code);
    }

    /// From now on a gateway answers 502 to replies that are done.
    pub fn lose_answers_to_replies(&self) {
        self.world().loses_answers = true;
    }

    /// Every request so far, other than for tokens.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// Codes of refusals so far: a sound host gets none but those that a test provokes.
    pub fn codes(&self) -> Vec<Code> {
        self.calls().into_iter().map(|call| call.code).filter(|code| *code != 0).collect()
    }

    /// What a person sees of the bot in a chat, in order.
    pub fn seen(&self, chat: &str) -> Vec<Seen> {
        let (world, now) = (self.world(), self.now_ms());
        let mut own: Vec<_> =
            world.messages.values().filter(|message| message.is_own && message.chat == chat).collect();
        own.sort_by_key(|message| message.number);
        own.into_iter().map(|message| message.seen(&world.cards, now)).collect()
    }

    /// What all people see of the bot, in order: the message that it answers, the chat, and what stands there.
    pub fn everything_seen(&self) -> Vec<(String, String, Seen)> {
        let (world, now) = (self.world(), self.now_ms());
        let mut own: Vec<_> = world.messages.values().filter(|message| message.is_own).collect();
        own.sort_by_key(|message| message.number);
        let seen = |message: &&message::Message| message.seen(&world.cards, now);
        own.iter().map(|message| (message.to.clone(), message.chat.clone(), seen(message))).collect()
    }

    /// What the custom group robot said.
    pub fn seen_of_robot(&self) -> Vec<String> {
        self.world().robot.clone()
    }

    /// Counts a request against a rate, if there is room.
    fn count(&self, world: &mut World, name: String, most: usize, span_ms: u64) -> bool {
        let now = self.now_ms();
        let times = world.rates.entry(format!("{name}/{span_ms}")).or_default();
        while times.front().is_some_and(|time| now - time >= span_ms) {
            times.pop_front();
        }
        let fits = times.len() < most;
        if fits {
            times.push_back(now);
        }
        fits
    }

    fn mint(&self, body: &Value) -> Value {
        if (body["app_id"].as_str(), body["app_secret"].as_str()) != (Some(APP_ID), Some(APP_SECRET)) {
            return json!({ "code": 10_014, "msg": "app secret invalid" });
        }
        let (now, mut world) = (self.now_ms(), self.world());
        let old = world.tokens.iter().find(|(_, until)| **until > now + TOKEN_RENEWAL_MS);
        let (token, until) = old.map_or_else(
            || (format!("t-secret-canary-{}", self.next()), now + TOKEN_LIFE_MS),
            |(token, until)| (token.clone(), *until),
        );
        world.tokens.insert(token.clone(), until);
        world.mints += 1;
        json!({ "code": 0, "msg": "ok", "tenant_access_token": token, "expire": (until - now) / 1000 })
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Code> {
        let header = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).ok_or(99_991_661)?;
        let until = self.world().tokens.get(token).copied();
        until.filter(|until| self.now_ms() < *until).map(|_| ()).ok_or(99_991_663)
    }

    fn check_scope(&self, scope: &'static str) -> Result<(), Code> {
        if self.world().denied.contains(scope) { Err(99_991_672) } else { Ok(()) }
    }

    fn check_rate(&self, api: &str) -> Result<(), Code> {
        let mut world = self.world();
        let fits = self.count(&mut world, api.to_owned(), API_A_SECOND, SECOND_MS)
            && self.count(&mut world, api.to_owned(), API_A_MINUTE, MINUTE_MS);
        if fits { Ok(()) } else { Err(99_991_400) }
    }

    /// A request of the API, by its method and the parts of its path below `/open-apis`.
    fn honest(&self, method: &Method, path: &[&str], headers: &HeaderMap, body: &[u8]) -> Outcome {
        self.check_token(headers)?;
        if let Some(code) = self.world().refusals.pop_front() {
            return Err(code);
        }
        let api = path.iter().enumerate().filter(|(at, _)| *at != 3 && *at != 5).map(|(_, part)| *part);
        self.check_rate(&format!("{method} {}", api.collect::<Vec<_>>().join("/")))?;
        let fields: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        match (method.as_str(), path) {
            ("POST", ["im", "v1", "messages", id, "reply"]) => self.reply(id, &fields),
            ("PATCH", ["im", "v1", "messages", id]) => self.replace(id, &fields),
            ("GET", ["im", "v1", "messages", id]) => self.tell(id),
            ("POST", ["cardkit", "v1", "cards"]) => self.create_card(&fields),
            ("PUT", ["cardkit", "v1", "cards", id]) => self.rewrite_card(id, &fields),
            ("PATCH", ["cardkit", "v1", "cards", id, "settings"]) => self.set_card(id, &fields),
            ("PUT", ["cardkit", "v1", "cards", id, "elements", element, "content"]) => {
                self.write_card(id, element, &fields)
            }
            _ => Err(404),
        }
    }

    /// The custom group robot's own door: always status 200.
    fn robot(&self, token: &str, bytes: &[u8]) -> Value {
        let outcome = self.by_robot(token, bytes);
        let (code, msg) = outcome.map_or_else(|code| (code, "refused"), |()| (0, "success"));
        json!({ "code": code, "msg": msg, "data": {} })
    }

    fn by_robot(&self, token: &str, bytes: &[u8]) -> Result<(), Code> {
        let body: Value = serde_json::from_slice(bytes).map_err(|_| 9_499)?;
        if token != ROBOT_TOKEN {
            return Err(19_001);
        }
        let timestamp = body["timestamp"].as_str().unwrap_or_default();
        let seconds: u64 = timestamp.parse().map_err(|_| 19_021)?;
        let is_fresh = self.now_ms().abs_diff(seconds.saturating_mul(1000)) <= ROBOT_WINDOW_MS;
        if !is_fresh || body["sign"] != event::robot_sign(ROBOT_SECRET, timestamp).as_str() {
            return Err(19_021);
        }
        let text = match body["msg_type"].as_str() {
            Some("text") => body["content"]["text"].as_str().map(str::to_owned),
            Some("interactive") => card::check(&body["card"]).ok().map(|()| card::words(&body["card"])),
            _ => None,
        };
        let text = text.filter(|_| bytes.len() <= ROBOT_BODY_BYTES_MAX).ok_or(9_499)?;
        let mut world = self.world();
        let fits = self.count(&mut world, "robot".to_owned(), CHAT_A_SECOND, SECOND_MS)
            && self.count(&mut world, "robot".to_owned(), ROBOT_A_MINUTE, MINUTE_MS);
        if !fits {
            return Err(11_232);
        }
        world.robot.push(text);
        Ok(())
    }
}

/// What the platform says beside the code; for a missing permission, its name.
fn refusal(code: Code) -> Response {
    let msg = match code {
        99_991_672 => "Access denied. One of the following scopes is required: [cardkit:card:write].",
        99_991_663 => {
            "Invalid access token for authorization. Please make a test call to attach an access token."
        }
        230_020 => "This operation triggers the frequency limit.",
        300_317 => "ErrMsg: sequence number compare failed; ",
        200_850 => "ErrMsg: card streaming timeout; ",
        300_309 => "ErrMsg: streaming mode is closed; ",
        230_099 => "Failed to create card content, ext=ErrCode: 11310; ErrMsg: element exceeds the limit; ",
        _ => "refused",
    };
    let status = match code {
        404 => StatusCode::NOT_FOUND,
        99_991_400 => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = (status, json!({ "code": code, "msg": msg }).to_string()).into_response();
    if code == 99_991_400 {
        response.headers_mut().insert("x-ogw-ratelimit-reset", "1".parse().unwrap());
    }
    response
}

async fn answer(
    State(platform): State<OpenPlatform>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path: Vec<&str> = uri.path().trim_start_matches("/open-apis/").split('/').collect();
    let json_type = [("content-type", "application/json; charset=utf-8")];
    let fields: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if path == ["auth", "v3", "tenant_access_token", "internal"] {
        return (json_type, platform.mint(&fields).to_string()).into_response();
    }
    if let ["bot", "v2", "hook", token] = path[..] {
        return (json_type, platform.robot(token, &body).to_string()).into_response();
    }
    let outcome = platform.honest(&method, &path, &headers, &body);
    let code = outcome.as_ref().err().copied().unwrap_or_default();
    let (line, at_ms) = (format!("{method} {}", uri.path()), platform.now_ms());
    platform.world().calls.push(Call { line, body: fields, code, at_ms });
    match outcome {
        Ok(_) if platform.world().loses_answers && path.ends_with(&["reply"]) => {
            StatusCode::BAD_GATEWAY.into_response()
        }
        Ok(data) => {
            (json_type, json!({ "code": 0, "msg": "success", "data": data }).to_string()).into_response()
        }
        Err(code) => refusal(code),
    }
}
