//! Sending a reply: a card that grows in place, further cards for what does not fit, plain text where a card is
//! refused.
//!
//! ```text
//! update:  create the card → show it in a reply → write the words so far, again and again
//! finish:  … → write the last words → close → send the parts that are left → done
//! ```
//! One request a call does something; `checkpoint` holds what a later one must know. Where the app may not use
//! cards that grow, a card is sent and replaced as a whole; where the card is lost at the end, the words go as a
//! new message.
//!
//! A card is made by one update and shown by the next, so that its id is written down before anybody can see it:
//! whatever is not heard of later, the card can be closed. A second reply with the same key changes nothing.

use parlor_sdk::{
    Delivered, Fault, FaultKind, Outbound, Reply, clock,
    encoding::percent,
    json::{Value, object},
    log, settings, store,
};
use std::time::Duration;

use crate::{
    address::Address,
    api::{self, Answer, Refusal},
    card::{self, CARD_BYTES_MAX, ELEMENT, WAITING},
    checkpoint::{Checkpoint, Stream, Way, mark},
    robot,
};

/// A message that is replaced more often jerks, and the platform slows it down.
const REPLACE_PAUSE_MS: u64 = 1_500;
/// Failures at one card before its words go as a new message; the host pauses after each, so that they take minutes.
const STUMBLES_MAX: u32 = 6;
/// So long nobody asks again: an operator may have granted it.
const DENIED_FOR: Duration = Duration::from_secs(600);
/// For so long the platform drops another reply of the same key.
const KEY_LIFE: Duration = Duration::from_secs(3_600);
/// A message's key may have 50 bytes; ours adds a few.
const KEY_BYTES_MAX: usize = 40;
/// Why a reply may have reached nobody.
const UNANSWERABLE: &str =
    "the message was taken back, or its chat is no more, before a reply to it was heard of";
/// Requests of one update: each but the last was refused.
const UPDATE_REQUESTS_MAX: usize = 3;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Make a card that grows; nobody sees it yet.
    Create,
    /// Reply with that card.
    Show,
    /// Put words into it.
    Write,
    /// Let it grow on: the platform stops that after ten minutes.
    Reopen,
    /// Put a whole new card in its place.
    Rewrite,
    /// It has its last words.
    Close,
    /// Reply with a card that will be replaced.
    Place,
    /// Replace it.
    Replace,
    /// Reply with the next part.
    Send,
}

/// A reply under way.
struct Delivery<'a> {
    address: &'a Address,
    key: &'a str,
    checkpoint: Checkpoint,
}

/// Shows the words so far, if that takes a request now.
pub fn update(address: &[u8], key: &str, checkpoint: Vec<u8>, text: &str) -> Result<Vec<u8>, Fault> {
    let Some(address) = conversation(address)? else { return Ok(checkpoint) };
    if is_plain()? {
        return Ok(checkpoint);
    }
    let mut delivery = Delivery::new(&address, key, &checkpoint)?;
    let words =
        card::split_text(text, CARD_BYTES_MAX).into_iter().next().unwrap_or_else(|| WAITING.to_owned());
    for _ in 0..UPDATE_REQUESTS_MAX {
        let Some(step) = delivery.next_update(&words) else { break };
        if delivery.take(step, &words)? {
            break;
        }
    }
    Ok(delivery.checkpoint.encode())
}

/// Takes the next step towards the whole reply.
pub fn finish(address: &[u8], key: &str, checkpoint: &[u8], reply: &Reply) -> Result<Delivered, Fault> {
    let Some(address) = conversation(address)? else { return robot::finish(checkpoint, reply) };
    let mut delivery = Delivery::new(&address, key, checkpoint)?;
    let parts = delivery.parts(reply);
    let words = |delivery: &Delivery<'_>| parts.get(delivery.checkpoint.sent);
    if let Some(words) = words(&delivery) {
        let step = delivery.next_finish(words);
        delivery.take_last(step, words)?;
    }
    match words(&delivery) {
        Some(_) => Ok(Delivered::More(delivery.checkpoint.encode())),
        None if delivery.checkpoint.is_unanswerable => Err(Fault::gone(UNANSWERABLE)),
        None => Ok(Delivered::Done(delivery.checkpoint.ids)),
    }
}

/// Where the reply goes; none for the group robot, which takes it if there is no address or the operator wants
/// all replies there.
fn conversation(address: &[u8]) -> Result<Option<Address>, Fault> {
    let destination: String = settings::get_or("destination", "conversation".to_owned())?;
    Ok(Address::decode(address)?.filter(|_| destination != "group-robot"))
}

fn is_plain() -> Result<bool, Fault> {
    Ok(settings::get_or("reply", "card".to_owned())? == "text")
}

impl<'a> Delivery<'a> {
    fn new(address: &'a Address, key: &'a str, checkpoint: &[u8]) -> Result<Self, Fault> {
        Ok(Self { address, key, checkpoint: Checkpoint::decode(checkpoint)? })
    }

    fn key(&self) -> &str {
        self.key.get(..KEY_BYTES_MAX).unwrap_or(self.key)
    }

    /// A card that stands already gets words, even if there are none.
    fn parts(&self, reply: &Reply) -> Vec<String> {
        let parts = card::split(reply, CARD_BYTES_MAX);
        let stands = self.checkpoint.card.is_some() || self.checkpoint.message.is_some();
        if parts.is_empty() && stands { vec![WAITING.to_owned()] } else { parts }
    }

    fn next_update(&mut self, words: &str) -> Option<Step> {
        let checkpoint = &mut self.checkpoint;
        if checkpoint.way == Way::Card && checkpoint.card.is_none() && is_denied() {
            checkpoint.way = Way::Replaced;
        }
        let is_shown = checkpoint.shown == mark(words);
        match checkpoint.way {
            Way::Card if checkpoint.card.is_none() => Some(Step::Create),
            Way::Card if checkpoint.message.is_none() => Some(Step::Show),
            Way::Card => match checkpoint.stream {
                Stream::Lapsed => Some(Step::Reopen),
                Stream::Over => None,
                _ if checkpoint.grows_long() => Some(Step::Reopen),
                Stream::Open | Stream::Reopened => (!is_shown).then_some(Step::Write),
            },
            Way::Replaced if checkpoint.message.is_none() => Some(Step::Place),
            Way::Replaced => {
                let is_soon = clock::now_ms() < checkpoint.replaced_ms.saturating_add(REPLACE_PAUSE_MS);
                (!is_shown && !is_soon).then_some(Step::Replace)
            }
            Way::Plain => None,
        }
    }

    fn next_finish(&self, words: &str) -> Step {
        let checkpoint = &self.checkpoint;
        let is_shown = checkpoint.shown == mark(words);
        match (checkpoint.way, &checkpoint.card, &checkpoint.message) {
            _ if checkpoint.sent > 0 => Step::Send,
            (Way::Plain, ..) | (Way::Card, None, _) => Step::Send,
            (Way::Card, Some(_), None) if !checkpoint.is_unanswerable => Step::Show,
            (Way::Card, ..) if is_shown => Step::Close,
            (Way::Card, ..) => match checkpoint.stream {
                Stream::Open | Stream::Reopened => Step::Write,
                Stream::Lapsed | Stream::Over => Step::Rewrite,
            },
            (Way::Replaced, _, None) => Step::Place,
            (Way::Replaced, ..) => Step::Replace,
        }
    }

    /// Takes a step towards the end. A card that fails again and again is left: if it has all its words the platform
    /// itself closes it, else they go as a new message.
    fn take_last(&mut self, step: Step, words: &str) -> Result<(), Fault> {
        match self.take(step, words) {
            // Who took the message back may see the card all the same: the reply that showed it was not heard of.
            Err(fault) if fault.kind == FaultKind::Gone && step == Step::Show => {
                self.checkpoint.is_unanswerable = true;
            }
            Err(fault) if fault.kind == FaultKind::Unavailable && step.is_at_card() => {
                if !self.has_failed_often() {
                    return Err(fault);
                }
                match step {
                    Step::Close => self.checkpoint.part_is_sent(self.checkpoint.message.clone()),
                    _ => self.checkpoint.way = Way::Plain,
                }
            }
            Ok(true) if step == Step::Replace => {
                let message = self.checkpoint.message.clone();
                self.checkpoint.part_is_sent(message);
            }
            outcome => drop(outcome?),
        }
        Ok(())
    }

    /// Whether the platform did it; if not, there is another way to go on.
    fn take(&mut self, step: Step, words: &str) -> Result<bool, Fault> {
        match api::send(self.request(step, words)?)? {
            Answer::Done(data) => {
                self.checkpoint.token_renewed = false;
                self.note(step, words, &data);
                Ok(true)
            }
            Answer::Refused(refusal) => self.bear(step, &refusal).map(|()| false),
        }
    }

    fn request(&self, step: Step, words: &str) -> Result<Outbound, Fault> {
        match step {
            Step::Create => {
                let fields = [("type", "card_json".into()), card_json("data", &card::growing(words))];
                at_card(step, "POST", "", object(fields))
            }
            Step::Show => {
                let card = object([("card_id", self.card().into())]);
                let content = object([("type", "card".into()), ("data", card)]);
                self.reply("interactive", &content, "e")
            }
            Step::Write => {
                let path = format!("/elements/{ELEMENT}/content");
                self.operate(step, "PUT", &path, ("content", words.into()), words)
            }
            Step::Reopen | Step::Close => {
                let settings = card::settings(step == Step::Reopen, words);
                self.operate(step, "PATCH", "/settings", ("settings", settings.into()), words)
            }
            Step::Rewrite => {
                let whole = object([("type", "card_json".into()), card_json("data", &card::whole(words))]);
                self.operate(step, "PUT", "", ("card", whole), words)
            }
            Step::Place => self.reply("interactive", &card::whole(words), "p"),
            Step::Replace => {
                let message = percent(self.checkpoint.message.as_deref().unwrap_or_default());
                let request = api::request("PATCH", &format!("/open-apis/im/v1/messages/{message}"))?;
                let body = object([card_json("content", &card::whole(words))]);
                Ok(request.json(&body).limit_key(self.limit_key()))
            }
            Step::Send => self.send_part(words),
        }
    }

    fn card(&self) -> &str {
        self.checkpoint.card.as_deref().unwrap_or_default()
    }

    /// An operation on the card, with the next number. Its key is new for new words, so that no repeat is taken
    /// for another.
    fn operate(
        &self,
        step: Step,
        method: &str,
        path: &str,
        what: (&'static str, Value),
        words: &str,
    ) -> Result<Outbound, Fault> {
        let sequence = self.checkpoint.sequence.saturating_add(1);
        let uuid = format!("{sequence}-{}", mark(&format!("{step:?} {words}")));
        let fields = object([what, ("sequence", sequence.into()), ("uuid", uuid.into())]);
        at_card(step, method, &format!("/{}{path}", percent(self.card())), fields)
    }

    fn send_part(&self, words: &str) -> Result<Outbound, Fault> {
        let part = self.checkpoint.sent;
        if self.checkpoint.as_text || is_plain()? {
            return self.reply("text", &object([("text", words.into())]), &format!("{part}t"));
        }
        self.reply("interactive", &card::whole(words), &format!("{part}c"))
    }

    /// A reply to the message. For an hour the platform drops another one of the same key.
    fn reply(&self, kind: &str, content: &Value, of: &str) -> Result<Outbound, Fault> {
        let path = format!("/open-apis/im/v1/messages/{}/reply", percent(&self.address.message));
        let mut fields = vec![
            ("msg_type", kind.into()),
            card_json("content", content),
            ("uuid", format!("{}-{of}", self.key()).into()),
        ];
        if self.address.in_thread {
            fields.push(("reply_in_thread", true.into()));
        }
        Ok(api::request("POST", &path)?.json(&object(fields)).limit_key(self.limit_key()))
    }

    /// A chat's rate is shared by all that is sent there.
    fn limit_key(&self) -> &str {
        if self.address.chat.is_empty() { &self.address.message } else { &self.address.chat }
    }

    /// The platform did it.
    fn note(&mut self, step: Step, words: &str, data: &Value) {
        let text = |name: &str| data.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let checkpoint = &mut self.checkpoint;
        if matches!(step, Step::Write | Step::Reopen | Step::Rewrite | Step::Close) {
            checkpoint.sequence += 1;
            checkpoint.stumbles = 0;
        }
        match step {
            Step::Create => match text("card_id") {
                Some(card) => {
                    (checkpoint.card, checkpoint.shown) = (Some(card), mark(words));
                    checkpoint.opened_ms = clock::now_ms();
                }
                None => checkpoint.way = Way::Replaced,
            },
            Step::Show => checkpoint.message = Some(text("message_id").unwrap_or_default()),
            Step::Write => checkpoint.shown = mark(words),
            Step::Reopen => {
                checkpoint.opened_ms = clock::now_ms();
                if checkpoint.stream == Stream::Lapsed {
                    checkpoint.stream = Stream::Reopened;
                }
            }
            Step::Rewrite | Step::Close => {
                let message = checkpoint.message.clone();
                checkpoint.part_is_sent(message);
            }
            // What it shows is not known: a repeat is dropped, and then it shows what the first one said.
            Step::Place => match text("message_id") {
                Some(message) => {
                    checkpoint.message = Some(message);
                    checkpoint.replaced_ms = clock::now_ms();
                }
                None => checkpoint.way = Way::Plain,
            },
            Step::Replace => {
                checkpoint.shown = mark(words);
                checkpoint.replaced_ms = clock::now_ms();
            }
            Step::Send => checkpoint.part_is_sent(text("message_id")),
        }
    }

    /// The platform did not do it: another way next time, or a fault if there is none.
    fn bear(&mut self, step: Step, refusal: &Refusal) -> Result<(), Fault> {
        if refusal.is_stale_token() && !self.checkpoint.token_renewed {
            api::expire_token()?;
            self.checkpoint.token_renewed = true;
            return Ok(());
        }
        if step.is_at_card() && refusal.is_old_sequence() {
            self.checkpoint.sequence += 1;
            self.stumble();
            return Ok(());
        }
        let is_closed = refusal.is_closed_stream();
        let is_card_denied = step.is_at_card() && refusal.lacks_scope();
        if refusal.is_final() && !is_card_denied {
            return Err(refusal.fault());
        }
        if !is_closed {
            log::warn(
                "the open platform refuses a form of the reply; another one is tried",
                &[("step", &format!("{step:?}")), ("reason", &refusal.fault().reason)],
            );
        }
        let checkpoint = &mut self.checkpoint;
        match step {
            Step::Create => {
                checkpoint.way = Way::Replaced;
                if is_card_denied {
                    remember_denial();
                }
            }
            Step::Write if is_closed && checkpoint.stream == Stream::Open => {
                checkpoint.stream = Stream::Lapsed
            }
            // It grows still, and closes in its time.
            Step::Reopen if checkpoint.stream != Stream::Lapsed => checkpoint.opened_ms = clock::now_ms(),
            Step::Write | Step::Reopen => checkpoint.stream = Stream::Over,
            // All its words are there.
            Step::Close => {
                let message = checkpoint.message.clone();
                checkpoint.part_is_sent(message);
            }
            Step::Show | Step::Rewrite | Step::Place | Step::Replace => checkpoint.way = Way::Plain,
            Step::Send if !checkpoint.as_text && !is_plain()? => checkpoint.as_text = true,
            Step::Send => return Err(refusal.fault()),
        }
        Ok(())
    }

    /// Counts a failure at the card. A fault leaves no checkpoint, so the plugin's store counts them.
    fn has_failed_often(&self) -> bool {
        let failures = store::increment(&format!("failures-{}", self.key()), 1, Some(KEY_LIFE));
        failures.is_ok_and(|failures| failures >= i64::from(STUMBLES_MAX))
    }

    fn stumble(&mut self) {
        self.checkpoint.stumbles += 1;
        if self.checkpoint.stumbles >= STUMBLES_MAX {
            self.checkpoint.way = Way::Plain;
        }
    }
}

impl Step {
    /// It is about the card itself, not about a message.
    fn is_at_card(self) -> bool {
        matches!(self, Step::Create | Step::Write | Step::Reopen | Step::Rewrite | Step::Close)
    }
}

fn card_json(name: &'static str, card: &Value) -> (&'static str, Value) {
    (name, card.canonical().into())
}

/// Each operation has a rate of its own.
fn at_card(step: Step, method: &str, path: &str, body: Value) -> Result<Outbound, Fault> {
    let request = api::request(method, &format!("/open-apis/cardkit/v1/cards{path}"))?;
    Ok(request.json(&body).limit_key(format!("{step:?}")))
}

/// The store may be down: then the platform is asked, and says it again.
fn is_denied() -> bool {
    store::get(&denied_name()).ok().flatten().is_some()
}

fn remember_denial() {
    let remembered = store::set(&denied_name(), b"1", Some(DENIED_FOR));
    if remembered.is_err() {
        log::debug("it could not be remembered that the app may not use cards that grow", &[]);
    }
}

/// Remembered in the plugin's store, for each app: it may not use cards that grow.
fn denied_name() -> String {
    let app = settings::get::<String>("app_id").ok().flatten().unwrap_or_default();
    format!("denied-{app}")
}
