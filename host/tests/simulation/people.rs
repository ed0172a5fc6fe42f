//! What people do: they write into conversations of several platforms, and take some of it back. Their platforms bring
//! it to the host again and again until it is acknowledged, and sometimes once more.

use std::sync::Arc;
use std::time::Duration;

use parlor::clock::Clock as _;
use parlor::store::{Outcome, Store as _};
use serde_json::{Value, json};

use super::ledger::Key;
use super::nodes::Nodes;
use super::platforms::{BOARD, DESK, HOOK, LARK, TEAM};
use super::world::World;
use crate::support::{Callback, Envelope, Event};

/// Before a platform brings again what was not acknowledged: the first of these, then the next; the last stays.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];
/// A platform waits for a response for so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// One request to the host's door.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub channel: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What a person says.
#[derive(Debug, Clone)]
pub struct Said {
    pub number: u64,
    pub channel: &'static str,
    pub conversation: String,
    pub text: String,
    pub after: Duration,
    /// When it is taken back, counted from then.
    pub taken_back: Option<Duration>,
}

/// The numbers of messages in a text: `q7` is a question, `a7` an answer to it.
pub fn numbers(text: &str) -> impl Iterator<Item = u64> + '_ {
    let words = text.split_whitespace();
    words.filter_map(|word| word.strip_prefix('q').or(word.strip_prefix('a'))?.parse().ok())
}

const CONVERSATIONS: [&str; 2] = ["ann", "bob"];
const MESSAGES_MAX: u64 = 6;

/// What all people of a run say.
pub fn script(world: &World) -> Vec<Said> {
    let chance = &world.chance;
    let channels = match chance.between(0, 6) {
        0 => vec![TEAM],
        1 => vec![LARK],
        2 => vec![BOARD],
        3 => vec![HOOK],
        4 => vec![DESK],
        5 => vec![TEAM, BOARD],
        _ => vec![TEAM, LARK, BOARD, HOOK, DESK],
    };
    let count = chance.between(1, MESSAGES_MAX);
    (1..=count).map(|number| said(world, number, &channels)).collect()
}

fn said(world: &World, number: u64, channels: &[&'static str]) -> Said {
    let (chance, weather) = (&world.chance, &world.weather);
    let channel = chance.pick(channels);
    let conversation = format!("{channel}-{}", chance.pick(&CONVERSATIONS));
    let word = match channel {
        BOARD if chance.strikes(weather.traps) => chance.pick(&["trap ", "hush ", "fail "]),
        TEAM | LARK if chance.strikes(weather.long) => "long ",
        _ => "",
    };
    let can_take_back = matches!(channel, LARK | BOARD) && chance.strikes(weather.withdrawn);
    Said {
        number,
        channel,
        conversation,
        text: format!("{word}q{number}"),
        after: Duration::from_millis(chance.between(0, 20_000)),
        taken_back: can_take_back.then(|| Duration::from_millis(chance.between(0, 8_000))),
    }
}

/// A platform's own form of what was said. What is signed is signed anew at each attempt, where the time is in it.
enum Form {
    Robot(Callback),
    Open(Event),
    Slate(serde_json::Value),
    Pushed { channel: &'static str, envelope: Envelope },
}

impl Form {
    fn of(world: &World, said: &Said) -> Form {
        let (conversation, text) = (&said.conversation, &said.text);
        match said.channel {
            TEAM => Form::Robot(world.platforms.robots.direct(conversation, text)),
            LARK => Form::Open(world.platforms.open.direct(conversation, text)),
            BOARD => {
                let id = format!("id-{}", said.number);
                Form::Slate(json!({ "id": id, "conversation": conversation, "text": text }))
            }
            channel => {
                let id = format!("{channel}-{}", said.number);
                Form::Pushed { channel, envelope: Envelope::new(&id, conversation, text) }
            }
        }
    }

    fn id(&self) -> String {
        match self {
            Form::Robot(callback) => callback.id.clone(),
            Form::Open(event) => event.message.clone(),
            Form::Slate(body) => body["id"].as_str().expect("it was made with one").to_owned(),
            Form::Pushed { envelope, .. } => envelope.id.clone(),
        }
    }

    fn webhook(&self, world: &World) -> Webhook {
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match self {
            Form::Robot(Callback { body, timestamp, sign, .. }) => Webhook {
                channel: TEAM,
                headers: vec![named("timestamp", timestamp), named("sign", sign)],
                body: body.to_string(),
            },
            Form::Open(event) => {
                Webhook { channel: LARK, headers: event.headers.clone(), body: event.body.clone() }
            }
            Form::Slate(body) => Webhook { channel: BOARD, headers: Vec::new(), body: body.to_string() },
            Form::Pushed { channel, envelope } => {
                let (headers, body) = envelope.signed(world.clock.now());
                Webhook { channel, headers, body }
            }
        }
    }
}

/// Says it, until the platform has nothing more to bring.
pub async fn say(world: Arc<World>, nodes: Arc<Nodes>, said: Said) {
    tokio::time::sleep(said.after).await;
    let form = Form::of(&world, &said);
    let key: Key = (said.channel.to_owned(), form.id());
    world.ledger().said(&key, &said);
    world.tell(format!("{} says {:?} in {}", said.channel, said.text, said.conversation));
    let taking_back = said.taken_back.map(|after| {
        let (world, nodes, said, key) = (world.clone(), nodes.clone(), said.clone(), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            take_back(&world, &nodes, &said, &key).await;
        })
    });
    let courier = Courier { world: &world, nodes: &nodes };
    let (webhook, about) = (|| form.webhook(&world), Some(&key));
    courier.bring(webhook, about, &format!("q{}", said.number)).await;
    while world.strikes("webhook repeated", world.weather.repeated) {
        world.pause(0, 20_000).await;
        let what = format!("q{} once more", said.number);
        courier.bring(webhook, about, &what).await;
    }
    if let Some(taking_back) = taking_back {
        taking_back.await.expect("nobody panics here");
    }
}

/// A 2xx means stored.
fn acknowledged(world: &World, key: &Key) {
    let is_stored = world.ledger().told.get(key).is_some_and(|told| told.accepted.is_some());
    let mut ledger = world.ledger();
    if !is_stored {
        let number = ledger.number(key);
        ledger.accuse(format!("q{number} was acknowledged before it was stored"));
    }
    if let Some(told) = ledger.told.get_mut(key) {
        told.is_acknowledged = true;
    }
}

async fn take_back(world: &Arc<World>, nodes: &Arc<Nodes>, said: &Said, key: &Key) {
    let (number, id) = (said.number, key.1.clone());
    let webhook = match said.channel {
        LARK => {
            let event = world.platforms.open.recall(&id);
            Webhook { channel: LARK, headers: event.headers, body: event.body }
        }
        _ => Webhook { channel: BOARD, headers: Vec::new(), body: json!({ "withdrawn": id }).to_string() },
    };
    if let Some(told) = world.ledger().told.get_mut(key) {
        told.is_taken_back = true;
    }
    world.tell(format!("q{number} is taken back"));
    let courier = Courier { world, nodes };
    courier.bring(|| webhook.clone(), None, &format!("the end of q{number}")).await;
    let outcome = world.store.outcome(&key.0, &key.1).await.expect("the store itself is sound");
    if outcome == Some(Outcome::Pending) {
        world.ledger().accuse(format!("q{number} goes on though its end was acknowledged"));
    }
}

/// What brings requests to the hosts.
#[derive(Clone, Copy)]
struct Courier<'a> {
    world: &'a Arc<World>,
    nodes: &'a Arc<Nodes>,
}

impl Courier<'_> {
    /// Brings a request to some host until one of them acknowledges it. `about`: the message that it is.
    async fn bring(&self, request: impl Fn() -> Webhook, about: Option<&Key>, what: &str) {
        for attempt in 0.. {
            if self.attempt(&request(), about, what).await {
                return;
            }
            tokio::time::sleep(*AGAIN.get(attempt).unwrap_or(&AGAIN[AGAIN.len() - 1])).await;
        }
    }

    async fn attempt(&self, webhook: &Webhook, about: Option<&Key>, what: &str) -> bool {
        let world = self.world;
        if world.strikes("webhook lost", world.weather.lost) {
            world.tell(format!("the webhook of {what} is lost"));
            return false;
        }
        let Some(node) = self.nodes.some(world) else { return false };
        let place = node.life.node;
        let response = tokio::time::timeout(PATIENCE, node.post(webhook)).await.ok().flatten();
        let status = response.as_ref().map(|(status, _)| *status);
        world.tell(format!("n{place} gets the webhook of {what}: {status:?}"));
        let Some((200..300, body)) = response else { return false };
        if let Some(key) = about {
            acknowledged(world, key);
        }
        let is_heard = !world.strikes("2xx unheard", world.weather.unheard);
        if let Some(key) = about.filter(|key| is_heard && key.0 == DESK) {
            heard(world, key, &body);
        }
        is_heard
    }
}

/// What stands in the response itself.
fn heard(world: &World, key: &Key, body: &[u8]) {
    let answer: Value = serde_json::from_slice(body).expect("the answer is JSON");
    let reply = answer["reply"].as_str().expect("there is a reply, be it empty").to_owned();
    let is_whole = answer["finished"] == true;
    world.count(if is_whole { "answer in the response" } else { "response before the answer" });
    if is_whole {
        world.ledger().heard(key, reply);
    }
}
