//! An adapter for a platform that lets a sent message grow: it opens a card, edits it, and closes it.
//!
//! The platform is made up, and strict as real ones are: sequences of a card increase, one that is not closed is
//! seen to be unfinished, and a key makes one message or one card. It verifies nobody, and no server should ever load it. `host/tests/growing.rs` drives
//! it, and `host/tests/support/slate.rs` is its platform.

use parlor_sdk::{
    Acceptance, Adapter, Delivered, Fault, HttpRequest, HttpResponse, Message, Outbound, Reception, Reply,
    clock,
    json::{FromJson, Value, object},
    register_adapter, settings,
};

const ORIGIN: &str = "https://slate.example.com";
/// Clocks of two nodes are no further apart.
const APART_MS: u64 = 60_000;
const CONFLICT: &str = "the platform answered 409";

#[derive(Default)]
struct Slate;

/// What a checkpoint tells.
struct Card {
    id: String,
    /// Of its last change.
    sequence: u64,
    /// It has its last text, and is not closed yet.
    is_whole: bool,
    /// Bytes of the text that it shows.
    shown: usize,
}

impl Card {
    fn decode(checkpoint: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(checkpoint);
        let mut words = text.split(' ');
        let (id, sequence) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let is_whole = words.next() == Some("whole");
        let shown = words.next().and_then(|shown| shown.parse().ok()).unwrap_or_default();
        Some(Self { id, sequence, is_whole, shown })
    }

    fn encode(&self) -> Vec<u8> {
        let state = if self.is_whole { "whole" } else { "open" };
        format!("{} {} {state} {}", self.id, self.sequence, self.shown).into_bytes()
    }

    /// A crash may have cost the checkpoint of the last change; the clock goes on meanwhile.
    fn next(self) -> Self {
        Self { sequence: clock::now_ms().max(self.sequence + 1), ..self }
    }

    fn change(&mut self, key: &str, text: &str) -> Result<(), Fault> {
        let (path, is_whole) = (format!("/cards/{}", self.id), self.is_whole);
        self.in_sequence(|sequence| {
            let body = [("sequence", sequence), ("text", text.into()), ("whole", is_whole.into())];
            send("PUT", &path, key, &object(body))
        })
    }

    fn close(&mut self, key: &str) -> Result<(), Fault> {
        let path = format!("/cards/{}/close", self.id);
        self.in_sequence(|sequence| send("POST", &path, key, &object([("sequence", sequence)])))
    }

    /// A change that nobody heard of may have come from a node whose clock is ahead: then this one's own is refused.
    fn in_sequence(&mut self, send: impl Fn(Value) -> Result<HttpResponse, Fault>) -> Result<(), Fault> {
        let refused = send(self.sequence.to_string().into());
        if !refused.as_ref().is_err_and(is_conflict) {
            return refused.map(drop);
        }
        self.sequence += APART_MS;
        send(self.sequence.to_string().into()).map(drop)
    }
}

impl Adapter for Slate {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        let body = request.json()?;
        if let Some(id) = body.text("withdrawn") {
            let withdrawn = vec![id.to_owned()];
            return Ok(Reception::Accept(Acceptance { withdrawn, ..Acceptance::default() }));
        }
        let field = |name: &str| body.text(name).ok_or_else(|| Fault::invalid(format!("send `{name}`")));
        let conversation = field("conversation")?;
        let (id, person) = (field("id")?, body.text("person").unwrap_or("person-canary"));
        let message = Message::new(id, conversation, person, field("text")?);
        let message = Message { address: format!("{conversation}\n{id}").into_bytes(), ..message };
        Ok(match body.get("wait_ms").and_then(u32::from_json) {
            Some(wait_ms) => Reception::inquire(message, wait_ms, Vec::new()),
            None => Reception::accept(message),
        })
    }

    fn update(&self, address: &[u8], key: &str, checkpoint: Vec<u8>, text: &str) -> Result<Vec<u8>, Fault> {
        let Some(card) = Card::decode(&checkpoint) else {
            return open(address, key, text);
        };
        if card.shown == text.len() {
            if settings::get_or("keeps_alive", false)? {
                send("POST", &format!("/cards/{}/touch", card.id), key, &object([]))?;
            }
            return Ok(checkpoint);
        }
        let mut card = Card { shown: text.len(), ..card.next() };
        card.change(key, text)?;
        Ok(card.encode())
    }

    fn finish(
        &self,
        address: &[u8],
        key: &str,
        checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Delivered, Fault> {
        let Some(card) = Card::decode(checkpoint) else {
            let response = send("POST", "/messages", key, &message(address, key, &reply.text))?;
            // An update whose response was lost, or its checkpoint: the card of this key stands there.
            return Ok(card_of(&response).map_or_else(Delivered::done, |card| Delivered::More(card.encode())));
        };
        let mut card = card.next();
        if card.is_whole {
            card.close(key)?;
            return Ok(Delivered::Done(vec![card.id]));
        }
        card.is_whole = true;
        card.change(key, &reply.text)?;
        Ok(Delivered::More(card.encode()))
    }
}

fn open(address: &[u8], key: &str, text: &str) -> Result<Vec<u8>, Fault> {
    if text.is_empty() && !settings::get_or("opens_without_text", true)? {
        return Ok(Vec::new());
    }
    let response = send("POST", "/cards", key, &message(address, key, text))?;
    let card = card_of(&response).ok_or_else(|| Fault::uncertain("the platform named no card"))?;
    Ok(card.encode())
}

/// The card that the platform names.
fn card_of(response: &HttpResponse) -> Option<Card> {
    let id = response.parse()?.text("card")?.to_owned();
    Some(Card { id, sequence: 0, is_whole: false, shown: 0 })
}

fn message(address: &[u8], key: &str, text: &str) -> Value {
    let address = String::from_utf8_lossy(address);
    let (conversation, id) = address.split_once('\n').unwrap_or_default();
    object([
        ("conversation", conversation.into()),
        ("to", id.into()),
        ("key", key.into()),
        ("text", text.into()),
    ])
}

fn is_conflict(fault: &Fault) -> bool {
    fault.reason == CONFLICT
}

fn send(method: &str, path: &str, limit_key: &str, body: &Value) -> Result<HttpResponse, Fault> {
    let response = Outbound::new(method, format!("{ORIGIN}{path}")).limit_key(limit_key).json(body).send()?;
    match response.status {
        200..=299 => Ok(response),
        401 => Err(Fault::unauthorized("the platform does not know this bot")),
        410 => Err(Fault::gone("the conversation is closed")),
        418 | 599 => panic!("this guest gives up"),
        429 => {
            Err(Fault::throttled("the platform says to slow down", response.retry_after_ms().unwrap_or(1000)))
        }
        502 => Err(Fault::uncertain("the platform's gateway broke")),
        503 => Err(Fault::unavailable("the platform is down")),
        status => Err(Fault::invalid(format!("the platform answered {status}"))),
    }
}

register_adapter!(Slate);
