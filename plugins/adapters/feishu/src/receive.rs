//! From an event to a message.
//!
//! The fields are those of the event `im.message.receive_v1`; unknown ones are ignored, and all but `message_id`
//! may be missing. Events that no one waits for are acknowledged, or the platform would send them four times.

use parlor_sdk::{
    Acceptance, Fault, HttpRequest, HttpResponse, Message, Reception, Scope,
    encoding::whole_number,
    json::{Value, object},
    log, settings,
};

use crate::{
    address::Address,
    content::{self, EVERYBODY, Mention},
    verify::{self, Verified},
};

/// Takes one request in.
pub fn receive(request: &HttpRequest) -> Result<Reception, Fault> {
    match verify::request(request)? {
        Verified::Challenge(challenge) => {
            let answer = object([("challenge", challenge.into())]);
            Ok(Reception::Answer(HttpResponse::json(200, &answer)))
        }
        Verified::CardAction => Ok(acknowledged()),
        Verified::Event(event) => take(&event),
    }
}

fn take(event: &Value) -> Result<Reception, Fault> {
    let kind = event.get("header").and_then(|header| header.text("event_type"));
    let Some(body) = event.get("event") else { return Ok(acknowledged()) };
    match kind {
        Some("im.message.receive_v1") => accept(event, body),
        Some("im.message.recalled_v1") => Ok(withdraw(body)),
        _ => Ok(acknowledged()),
    }
}

fn empty() -> HttpResponse {
    HttpResponse::json(200, &object([]))
}

fn acknowledged() -> Reception {
    Reception::Answer(empty())
}

/// The person took a message back: its turn ends.
fn withdraw(body: &Value) -> Reception {
    let withdrawn = body.text("message_id").map(str::to_owned).into_iter().collect();
    Reception::Accept(Acceptance { response: empty(), withdrawn, ..Acceptance::default() })
}

fn accept(event: &Value, body: &Value) -> Result<Reception, Fault> {
    let message = body.get("message").unwrap_or(&Value::Null);
    let sender = body.get("sender").unwrap_or(&Value::Null);
    // Two bots that answer each other would never end.
    if matches!(sender.text("sender_type"), Some("app" | "bot" | "system")) {
        return Ok(acknowledged());
    }
    let Some(id) = message.text("message_id").filter(|id| !id.is_empty()) else {
        log::warn("an event brings a message without `message_id`; it is left alone", &[]);
        return Ok(acknowledged());
    };
    let incoming =
        Incoming { id, message, sender, tenant: event.get("header").and_then(|h| h.text("tenant_key")) };
    let messages = vec![incoming.message()?];
    Ok(Reception::Accept(Acceptance { response: empty(), messages, withdrawn: Vec::new() }))
}

/// A message that came with a verified event.
struct Incoming<'a> {
    id: &'a str,
    message: &'a Value,
    sender: &'a Value,
    tenant: Option<&'a str>,
}

impl Incoming<'_> {
    fn message(&self) -> Result<Message, Fault> {
        let mentions = self.mentions()?;
        let kind = self.text("message_type").unwrap_or_default();
        let said = content::read(kind, self.text("content").unwrap_or_default(), self.id, &mentions);
        let mut message = Message::new(self.id, self.conversation(), self.sender_id(), said.text);
        message.attachments = said.attachments;
        message.scope = self.scope();
        message.addressed = self.is_addressed(&mentions)?;
        message.sent_at_ms = self.text("create_time").and_then(whole_number);
        message.address = self.address().encode();
        message.sender.extra = self.sender_extra();
        message.extra = vec![("message_type".to_owned(), kind.to_owned())];
        Ok(message)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.message.text(name).filter(|text| !text.is_empty())
    }

    /// The chat; a thread in it is a conversation of its own. Without an id, strangers must not share a history:
    /// each message stands alone then.
    fn conversation(&self) -> String {
        let chat = self.text("chat_id").unwrap_or(self.id);
        match self.text("thread_id") {
            Some(thread) => format!("{chat}/{thread}"),
            None => chat.to_owned(),
        }
    }

    fn sender_id(&self) -> String {
        let ids = self.sender.get("sender_id").unwrap_or(&Value::Null);
        let id = ["open_id", "union_id", "user_id"]
            .iter()
            .find_map(|name| ids.text(name).filter(|id| !id.is_empty()));
        id.unwrap_or("unknown").to_owned()
    }

    fn sender_extra(&self) -> Vec<(String, String)> {
        let ids = self.sender.get("sender_id").unwrap_or(&Value::Null);
        let tenant = self.sender.text("tenant_key").or(self.tenant);
        let fields =
            [("union_id", ids.text("union_id")), ("user_id", ids.text("user_id")), ("tenant_key", tenant)];
        let set = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
        set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn scope(&self) -> Scope {
        if self.text("chat_type") == Some("p2p") { Scope::Direct } else { Scope::Group }
    }

    /// Who is named, with this bot among them.
    fn mentions(&self) -> Result<Vec<Mention>, Fault> {
        let list = self.message.get("mentions").map(Value::items).unwrap_or_default();
        let mut mentions: Vec<Mention> = list.iter().filter_map(Mention::read).collect();
        let own = settings::get::<String>("bot_open_id")?;
        if let Some(own) = find_own(&mentions, own.as_deref()) {
            mentions[own].is_own = true;
        }
        Ok(mentions)
    }

    /// A word to everybody is not one to the bot, unless the operator says so.
    fn is_addressed(&self, mentions: &[Mention]) -> Result<bool, Fault> {
        if self.scope() == Scope::Direct || mentions.iter().any(|mention| mention.is_own) {
            return Ok(true);
        }
        // Everybody need not stand among the mentions: the words tell.
        let content = self.text("content").unwrap_or_default();
        let to_all = mentions.iter().any(|mention| mention.key == EVERYBODY) || content.contains(EVERYBODY);
        Ok(to_all && settings::get_or("answer_at_all", false)?)
    }

    fn address(&self) -> Address {
        Address {
            message: self.id.to_owned(),
            chat: self.text("chat_id").unwrap_or_default().to_owned(),
            parent: self.text("parent_id").map(str::to_owned),
            in_thread: self.text("thread_id").is_some(),
        }
    }
}

/// Which mention is this bot: by its id if the operator gave one, else the first bot, else the first at all
/// where the platform does not tell bots from people. It hands groups' messages to bots that are named in them,
/// so somebody of those is this one.
fn find_own(mentions: &[Mention], open_id: Option<&str>) -> Option<usize> {
    if open_id.is_some() {
        return mentions.iter().position(|mention| mention.open_id.as_deref() == open_id);
    }
    let tells = mentions.iter().any(|mention| mention.kind.is_some());
    let could_be = |mention: &Mention| match &mention.kind {
        Some(kind) => matches!(kind.as_str(), "bot" | "app"),
        None => !tells && mention.key != EVERYBODY,
    };
    mentions.iter().position(could_be)
}
