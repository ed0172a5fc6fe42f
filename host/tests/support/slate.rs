//! A platform whose messages can be edited, for the guest `slate`: it opens cards, lets them grow and closes them.
//!
//! It holds the host to what the real ones hold it to: sequences increase, a closed card stays as it is, changes of
//! one card come one after another and not sooner than the manifest says. What breaks a rule is noted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::warm;
use super::{Settings, client};

const ORIGIN: &str = "https://slate.example.com";
/// `update-interval` in the guest's manifest.
const INTERVAL: Duration = Duration::from_millis(100);
const GLANCE: Duration = Duration::from_millis(5);

/// A message that grows, as a person sees it.
#[derive(Debug, Clone)]
pub struct Card {
    pub conversation: String,
    /// The message that it answers.
    pub to: String,
    /// Every text that it had, in order.
    pub texts: Vec<String>,
    pub is_closed: bool,
    sequence: u64,
    changed: Instant,
    /// How often it was touched to keep it alive.
    pub touches: usize,
}

impl Card {
    /// What stands in it now.
    pub fn text(&self) -> &str {
        self.texts.last().expect("a card is opened with a text")
    }
}

/// A message that does not grow.
#[derive(Debug, Clone)]
pub struct Plain {
    pub conversation: String,
    /// The message that it answers.
    pub to: String,
    pub text: String,
}

#[derive(Debug, Default)]
struct World {
    cards: Vec<Card>,
    /// Cards and plain messages by the key that they were sent with.
    cards_by_key: BTreeMap<String, usize>,
    messages: BTreeMap<String, Plain>,
    /// Whether a key that came before sends nothing again.
    knows_keys: bool,
    /// The status for changes that are not the last one.
    updates_refused: Option<u16>,
    /// The status for the next changes that are.
    last_refused: VecDeque<u16>,
    /// Changes that were refused.
    refusals: usize,
    /// Last changes do not come in.
    holds_last: bool,
    /// Last changes that came so far, also those that are held.
    last_changes: usize,
    is_mute: bool,
    /// By card: a request whose response is not out yet.
    busy: BTreeMap<usize, usize>,
    /// An open card that nobody touches for so long takes no change any more.
    life: Option<Duration>,
    /// What no platform would have stood for.
    wrongs: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Slate {
    world: Arc<Mutex<World>>,
    origin: String,
}

impl Slate {
    pub async fn start() -> Slate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let slate = Slate::without_socket(origin);
        let router = Router::new().fallback(answer).with_state(slate.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        slate
    }

    /// For who brings requests by himself, to `respond`.
    pub fn without_socket(origin: String) -> Slate {
        let world = World { knows_keys: true, ..World::default() };
        Slate { world: Arc::new(Mutex::new(world)), origin }
    }

    pub async fn respond(&self, method: Method, uri: Uri, body: Bytes) -> Response {
        answer(State(self.clone()), method, uri, body).await
    }

    /// Adds the channel `board` of this platform to a host's configuration.
    pub fn join(&self, settings: Settings) -> Settings {
        settings
            .set("plugins.folder", warm::guests().to_str().expect("a folder's name is UTF-8"))
            .set("channels.board", json!({ "adapter": "slate" }))
            .insert("endpoints", ORIGIN, self.origin.as_str())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Sends what a person writes; whether it was acknowledged.
    pub async fn say(url: &str, id: &str, conversation: &str, text: &str) -> bool {
        post(url, &json!({ "id": id, "conversation": conversation, "text": text })).await
    }

    /// The same from one of several in a group.
    pub async fn say_as(url: &str, person: &str, conversation: &str, text: &str) -> bool {
        post(url, &json!({ "id": text, "conversation": conversation, "text": text, "person": person })).await
    }

    /// Tells that the person took a message back.
    pub async fn take_back(url: &str, id: &str) -> bool {
        post(url, &json!({ "withdrawn": id })).await
    }

    /// Forgets keys: what is sent twice is shown twice.
    pub fn forget_keys(&self) {
        self.world().knows_keys = false;
    }

    /// Refuses changes of cards that are not the last one, and to open any, with this status.
    pub fn refuse_updates(&self, status: Option<u16>) {
        self.world().updates_refused = status;
    }

    /// Refuses the next last change with this status.
    pub fn refuse_last(&self, status: u16) {
        self.world().last_refused.push_back(status);
    }

    /// Lets no last change in for a while: what it asks for is not done before.
    pub fn hold_last(&self, does_hold: bool) {
        self.world().holds_last = does_hold;
    }

    /// Last changes that came so far, also those that are held.
    pub fn last_changes(&self) -> usize {
        self.world().last_changes
    }

    /// From now on an open card that nobody touches for so long takes no change any more.
    pub fn limit_life(&self, life: Duration) {
        self.world().life = Some(life);
    }

    /// How many changes were refused.
    pub fn refusals(&self) -> usize {
        self.world().refusals
    }

    /// Holds responses back, though what they answer is done.
    pub fn mute(&self, is_mute: bool) {
        self.world().is_mute = is_mute;
    }

    pub fn cards(&self, conversation: &str) -> Vec<Card> {
        self.world().cards.iter().filter(|card| card.conversation == conversation).cloned().collect()
    }

    /// Plain messages in a conversation.
    pub fn messages(&self, conversation: &str) -> Vec<String> {
        let world = self.world();
        let messages = world.messages.values().filter(|plain| plain.conversation == conversation);
        messages.map(|plain| plain.text.clone()).collect()
    }

    /// Every card and every plain message.
    pub fn everything_seen(&self) -> (Vec<Card>, Vec<Plain>) {
        let world = self.world();
        (world.cards.clone(), world.messages.values().cloned().collect())
    }

    /// Broken rules: a sound host has none.
    pub fn wrongs(&self) -> Vec<String> {
        self.world().wrongs.clone()
    }

    fn refusal(&self, is_last: bool) -> Option<u16> {
        let mut world = self.world();
        let status = if is_last { world.last_refused.pop_front() } else { world.updates_refused };
        world.refusals += usize::from(status.is_some());
        status
    }
}

async fn post(url: &str, body: &Value) -> bool {
    let request = client().post(url).header("content-type", "application/json").body(body.to_string());
    request.send().await.is_ok_and(|response| response.status().is_success())
}

impl World {
    fn open(&mut self, body: &Value) -> Value {
        let (key, conversation, to) = (text(body, "key"), text(body, "conversation"), text(body, "to"));
        let text = text(body, "text");
        let known = self.cards_by_key.get(&key).copied().filter(|_| self.knows_keys);
        let place = known.unwrap_or_else(|| {
            let (texts, changed) = (vec![text], Instant::now());
            let (is_closed, sequence, touches) = (false, 0, 0);
            self.cards.push(Card { conversation, to, texts, is_closed, sequence, changed, touches });
            self.cards.len() - 1
        });
        self.cards_by_key.insert(key, place);
        json!({ "card": place.to_string() })
    }

    /// A key that made a card makes no message beside it.
    fn send(&mut self, body: &Value) -> Value {
        let mut key = text(body, "key");
        if let Some(place) = self.cards_by_key.get(&key).filter(|_| self.knows_keys) {
            return json!({ "card": place.to_string() });
        }
        if !self.knows_keys {
            key = format!("{key} {}", self.messages.len());
        }
        let (conversation, to) = (text(body, "conversation"), text(body, "to"));
        self.messages.entry(key).or_insert_with(|| Plain { conversation, to, text: text(body, "text") });
        json!({})
    }

    fn touch(&mut self, place: usize) -> StatusCode {
        let card = &mut self.cards[place];
        card.touches += 1;
        card.changed = Instant::now();
        StatusCode::OK
    }

    /// One change of a card, its closing included.
    fn change(&mut self, place: usize, body: &Value, closes: bool) -> StatusCode {
        let is_last = closes || body["whole"] == true;
        let life = self.life.unwrap_or(Duration::MAX);
        let is_busy = self.busy.get(&place).is_some_and(|requests| *requests > 1);
        let card = &mut self.cards[place];
        let sequence: u64 = text(body, "sequence").parse().unwrap();
        let since = card.changed.elapsed();
        let rules = [
            (is_busy, "two changes of one card at a time"),
            (card.is_closed && !closes, "a change of a closed card"),
            (sequence <= card.sequence, "a sequence that does not increase"),
            (!closes && since < INTERVAL, "a change before its time"),
            (!card.is_closed && since >= life, "a change of a card that is dead"),
        ];
        let broken: Vec<_> = rules.iter().filter(|(is_broken, _)| *is_broken).collect();
        if !broken.is_empty() {
            self.wrongs.extend(broken.iter().map(|(_, rule)| format!("{rule} (last: {is_last}, {since:?})")));
            return StatusCode::CONFLICT;
        }
        card.sequence = sequence;
        card.changed = Instant::now();
        if closes {
            card.is_closed = true;
        } else {
            card.texts.push(text(body, "text"));
        }
        StatusCode::OK
    }
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("the guest sends `{name}`")).to_owned()
}

/// A request under way; a card must never see two.
struct Busy(Slate, usize);

impl Busy {
    fn new(slate: &Slate, place: usize) -> Busy {
        *slate.world().busy.entry(place).or_default() += 1;
        Busy(slate.clone(), place)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.world().busy.get_mut(&self.1).unwrap() -= 1;
    }
}

async fn answer(State(slate): State<Slate>, method: Method, uri: Uri, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("the guest sends JSON");
    let steps: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let card = steps.get(1).map(|id| id.parse::<usize>().expect("the guest names cards by their id"));
    let _busy = card.map(|place| Busy::new(&slate, place));
    let is_last = steps[0] == "messages" || steps.last() == Some(&"close") || body["whole"] == true;
    slate.world().last_changes += usize::from(is_last);
    while is_last && slate.world().holds_last {
        tokio::time::sleep(GLANCE).await;
    }
    if let Some(status) = slate.refusal(is_last) {
        let status = StatusCode::from_u16(status).unwrap();
        return (status, [("retry-after", "1")], "").into_response();
    }
    let (status, answer) = match (method.as_str(), &steps[..], card) {
        ("POST", ["cards"], _) => (StatusCode::OK, slate.world().open(&body)),
        ("POST", ["messages"], _) => (StatusCode::OK, slate.world().send(&body)),
        ("PUT", ["cards", _], Some(place)) => (slate.world().change(place, &body, false), json!({})),
        ("POST", ["cards", _, "touch"], Some(place)) => (slate.world().touch(place), json!({})),
        ("POST", ["cards", _, "close"], Some(place)) => (slate.world().change(place, &body, true), json!({})),
        _ => (StatusCode::NOT_FOUND, json!({})),
    };
    while slate.world().is_mute {
        tokio::time::sleep(GLANCE).await;
    }
    (status, answer.to_string()).into_response()
}
