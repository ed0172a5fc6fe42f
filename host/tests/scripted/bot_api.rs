//! Telegram's Bot API, as far as a chat goes: it holds the adapter to what the real one holds it to.
//!
//! Texts have at most 4,096 UTF-16 units without their tags, tags are balanced and known, an edit changes
//! something, a chat takes 20 messages and edits a minute. Who breaks a rule is refused in Telegram's words.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::support::{Settings, client};

pub const TOKEN: &str = "1102015430:secret-canary-token";
/// The bot's id, which its token begins with and which Telegram says in what it answers.
const BOT: u64 = 1_102_015_430;
pub const WORD: &str = "secret-canary-word";
const UNITS_MAX: usize = 4096;
const RATE: (usize, Duration) = (20, Duration::from_secs(60));
const TAGS: [&str; 7] = ["b", "i", "s", "code", "pre", "a", "u"];

/// A message as people see it, with every text that it had.
#[derive(Debug, Clone)]
pub struct Shown {
    pub chat: i64,
    pub texts: Vec<String>,
}

#[derive(Debug, Default)]
struct World {
    messages: Vec<Shown>,
    /// When each message and edit came.
    changes: Vec<(i64, Instant)>,
    typing: usize,
    /// The next requests get these instead: a status and a body.
    refusals: Vec<(u16, Value)>,
    takes_no_tags: bool,
}

#[derive(Debug, Clone)]
pub struct BotApi {
    world: Arc<Mutex<World>>,
    origin: String,
}

impl BotApi {
    pub async fn start() -> BotApi {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let api = BotApi { world: Arc::default(), origin };
        let router = Router::new().fallback(answer).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    pub fn join(&self, settings: Settings) -> Settings {
        let channel = json!({
            "adapter": "telegram", "pipelines": ["translator", "assistant"],
            "secrets": { "secret_token": WORD, "bot_token": TOKEN },
            "settings": { "translator.languages": ["中文"] },
        });
        let settings = settings.set("channels.people", channel);
        settings.insert("endpoints", "https://api.telegram.org", self.origin.as_str())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn messages(&self) -> Vec<Shown> {
        self.world().messages.clone()
    }

    pub fn typing(&self) -> usize {
        self.world().typing
    }

    pub fn refuse(&self, status: u16, body: Value) {
        self.world().refusals.push((status, body));
    }

    pub fn take_no_tags(&self) {
        self.world().takes_no_tags = true;
    }

    /// Sends what a person writes in a private chat; the status of the answer.
    pub async fn say(url: &str, update: u64, text: &str) -> u16 {
        let person = json!({ "id": 7, "is_bot": false, "first_name": "Ann-canary" });
        let message = json!({
            "message_id": update, "date": 1_700_000_000, "chat": { "id": 7, "type": "private" }, "from": person,
            "text": text,
        });
        let body = json!({ "update_id": update, "message": message }).to_string();
        let request = client().post(url).header("x-telegram-bot-api-secret-token", WORD);
        request.header("content-type", "application/json").body(body).send().await.unwrap().status().as_u16()
    }
}

async fn answer(State(api): State<BotApi>, uri: Uri, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let outcome = match uri.path().strip_prefix(&format!("/bot{TOKEN}/")) {
        Some(method) => api.world().take(method, &request),
        None => Err(refusal(404, "Not Found")),
    };
    let (status, body) = match outcome {
        Ok(result) => (200, json!({ "ok": true, "result": result })),
        Err(refused) => refused,
    };
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

fn refusal(status: u16, description: &str) -> (u16, Value) {
    (status, json!({ "ok": false, "error_code": status, "description": description }))
}

impl World {
    fn take(&mut self, method: &str, request: &Value) -> Result<Value, (u16, Value)> {
        if method == "sendChatAction" {
            self.typing += 1;
            return Ok(json!(true));
        }
        if !self.refusals.is_empty() {
            return Err(self.refusals.remove(0));
        }
        let chat = request["chat_id"].as_i64().ok_or_else(|| refusal(400, "Bad Request: chat not found"))?;
        self.count(chat)?;
        let text = self.text(request)?;
        match method {
            "sendMessage" => self.messages.push(Shown { chat, texts: vec![text] }),
            "editMessageText" => self.edit(request, text)?,
            _ => return Err(refusal(404, "Not Found: method not found")),
        }
        let bot = json!({ "id": BOT, "is_bot": true, "first_name": "Parlor" });
        let (number, chat) = (self.messages.len(), json!({ "id": chat }));
        Ok(json!({ "message_id": number, "from": bot, "date": 1_700_000_000, "chat": chat }))
    }

    fn count(&mut self, chat: i64) -> Result<(), (u16, Value)> {
        let (most, span) = RATE;
        let late = self.changes.iter().filter(|(of, at)| *of == chat && at.elapsed() < span).count();
        if late >= most {
            let told = json!({ "ok": false, "error_code": 429, "parameters": { "retry_after": 60 } });
            return Err((429, told));
        }
        self.changes.push((chat, Instant::now()));
        Ok(())
    }

    fn edit(&mut self, request: &Value, text: String) -> Result<(), (u16, Value)> {
        let at = request["message_id"].as_u64().and_then(|id| usize::try_from(id).ok()?.checked_sub(1));
        let message = at.and_then(|at| self.messages.get_mut(at));
        let message = message.ok_or_else(|| refusal(400, "Bad Request: message to edit not found"))?;
        if message.texts.last() == Some(&text) {
            return Err(refusal(400, "Bad Request: message is not modified: same content"));
        }
        message.texts.push(text);
        Ok(())
    }

    /// The text as people read it.
    fn text(&self, request: &Value) -> Result<String, (u16, Value)> {
        let text = request["text"].as_str().unwrap_or_default();
        let shown = match request["parse_mode"].as_str() {
            None => text.to_owned(),
            Some("HTML") if !self.takes_no_tags => without_tags(text)
                .ok_or_else(|| refusal(400, "Bad Request: can't parse entities: bad tag"))?,
            Some(_) => return Err(refusal(400, "Bad Request: can't parse entities: unsupported")),
        };
        match shown.encode_utf16().count() {
            0 => Err(refusal(400, "Bad Request: message text is empty")),
            count if count > UNITS_MAX => Err(refusal(400, "Bad Request: message is too long")),
            _ => Ok(shown),
        }
    }
}

/// None if a tag is unknown, or closed where it is not open.
fn without_tags(html: &str) -> Option<String> {
    let (mut shown, mut open, mut rest) = (String::new(), Vec::new(), html);
    while let Some((before, behind)) = rest.split_once('<') {
        shown.push_str(before);
        let (tag, behind) = behind.split_once('>')?;
        match tag.strip_prefix('/') {
            Some(name) => (open.pop()? == name).then_some(())?,
            None => {
                let name = tag.split(' ').next()?;
                TAGS.contains(&name).then(|| open.push(name))?;
            }
        }
        rest = behind;
    }
    shown.push_str(rest);
    let is_whole = open.is_empty() && !shown.contains('>');
    is_whole.then(|| {
        ["&lt; <", "&gt; >", "&quot; \"", "&amp; &"].iter().fold(shown, |text, pair| {
            let (written, meant) = pair.split_once(' ').unwrap_or_default();
            text.replace(written, meant)
        })
    })
}
