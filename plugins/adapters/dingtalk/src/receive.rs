//! From a callback to a message.
//!
//! The fields are those of DingTalk's "receive messages" page and of what was seen on the wire;
//! unknown ones are ignored, and all but `msgId` may be missing or of a shape nobody has seen yet.

use parlor_sdk::{
    Attachment, Fault, HttpRequest, HttpResponse, MediaKind, Message, Reception, Scope,
    json::{Value, object},
    log, settings,
};

use crate::{
    deliver::{Address, is_session_webhook},
    verify,
};

/// What stands in for a message that DingTalk does not hand to robots.
const UNREADABLE: &str = "[a message of a kind that robots cannot read]";

/// Takes one callback in: an event if its query signs it, else a robot's message.
pub fn receive(request: &HttpRequest) -> Result<Reception, Fault> {
    let signature = request.query_value("msg_signature").or_else(|| request.query_value("signature"));
    match signature {
        Some(signature) => answer_event(request, &signature),
        None => accept_message(request),
    }
}

/// Every event, `check_url` among them, is answered by the sealed word and otherwise ignored.
fn answer_event(request: &HttpRequest, signature: &str) -> Result<Reception, Fault> {
    let unsealed = verify::event(request, signature)?;
    let sealed = verify::sealed_success(&unsealed.owner)?;
    let answer = object([
        ("msg_signature", sealed.signature.into()),
        ("encrypt", sealed.ciphertext.into()),
        ("timeStamp", sealed.timestamp.into()),
        ("nonce", sealed.nonce.into()),
    ]);
    Ok(Reception::Answer(HttpResponse::json(200, &answer)))
}

fn accept_message(request: &HttpRequest) -> Result<Reception, Fault> {
    verify::headers(request)?;
    Ok(Reception::accept(message(&verify::robot_body(request)?)?))
}

/// A verified callback's message; the body is the same by webhook and by stream.
pub fn message(body: &Value) -> Result<Message, Fault> {
    let id = body.text("msgId").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Fault::invalid("the callback has no `msgId`"))?;
    let robot_code: Option<String> = settings::get("robot_code")?;
    let robot_code = robot_code.as_deref().or(body.text("robotCode")).unwrap_or_default();
    Ok(Callback { id, robot_code, body }.message())
}

/// A verified callback of a robot.
struct Callback<'a> {
    id: &'a str,
    robot_code: &'a str,
    body: &'a Value,
}

impl Callback<'_> {
    fn message(&self) -> Message {
        let sender = self.body.text("senderStaffId").or(self.body.text("senderId")).unwrap_or("unknown");
        let said = self.said();
        let quoted = self.quoted();
        let mut message = Message::new(self.id, self.conversation(), sender, said.text);
        message.sender.name = self.body.text("senderNick").map(str::to_owned);
        message.scope = self.scope();
        message.addressed = self.is_addressed();
        message.sent_at_ms = self.body.get("createAt").and_then(Value::as_u64);
        message.address = self.address().encode();
        message.extra = self.extra();
        message.attachments = said.attachments;
        if let Some(quoted) = quoted {
            message.quoted = Some(quoted.text);
            message.attachments.extend(quoted.attachments);
        }
        message
    }

    /// Without an id, strangers must not share a history: each message stands alone then.
    fn conversation(&self) -> &str {
        self.body.text("conversationId").or(self.body.text("senderId")).unwrap_or(self.id)
    }

    fn scope(&self) -> Scope {
        if self.body.text("conversationType") == Some("2") { Scope::Group } else { Scope::Direct }
    }

    /// A word to everyone is not one to the bot, unless it is named too. A group's callback without
    /// any list came because the bot was named.
    fn is_addressed(&self) -> bool {
        let at_users = self.body.get("atUsers").map(Value::items).unwrap_or_default();
        let bot = self.body.text("chatbotUserId");
        let names_bot = bot.is_some() && at_users.iter().any(|user| user.text("dingtalkId") == bot);
        if self.scope() == Scope::Direct || names_bot {
            return true;
        }
        let flag = |name: &str| self.body.get(name).and_then(Value::as_bool);
        flag("isAtAll") != Some(true) && flag("isInAtList").unwrap_or(at_users.is_empty())
    }

    fn address(&self) -> Address {
        let webhook = self.body.text("sessionWebhook");
        if webhook.is_some_and(|url| !is_session_webhook(url)) {
            log::security("a callback names a session webhook that is not DingTalk's", &[]);
        }
        Address {
            webhook: webhook.filter(|url| is_session_webhook(url)).map(str::to_owned),
            webhook_until_ms: self.body.get("sessionWebhookExpiredTime").and_then(Value::as_u64),
            conversation: self.body.text("conversationId").map(str::to_owned),
            group: self.scope() == Scope::Group,
            staff: self.body.text("senderStaffId").map(str::to_owned),
            robot_code: self.robot_code.to_owned(),
        }
    }

    fn extra(&self) -> Vec<(String, String)> {
        let fields = [("conversation_title", "conversationTitle"), ("msgtype", "msgtype")];
        let present = fields.iter().filter_map(|(name, field)| Some((*name, self.body.text(field)?)));
        present.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn said(&self) -> Content {
        match (self.body.text("msgtype"), self.body.get("text"), self.body.get("content")) {
            (Some("text"), Some(text), _) => Content::words(text.text("content").unwrap_or_default()),
            (Some(kind), _, Some(content)) => Content::read(kind, content, self.robot_code),
            _ => Content::words(UNREADABLE),
        }
    }

    /// What the message quotes. Its content comes as an object, as that object's JSON text, or as
    /// plain words.
    fn quoted(&self) -> Option<Content> {
        let replied = self.body.get("text")?.get("repliedMsg").filter(|replied| **replied != Value::Null)?;
        let kind = replied.text("msgType").unwrap_or_default();
        let Some(content) = replied.get("content") else {
            return Some(Content::words(if kind == "interactiveCard" {
                "[a card of the bot]"
            } else {
                UNREADABLE
            }));
        };
        let inner = content.as_str().and_then(|text| Value::read(text).ok());
        let content = inner.as_ref().unwrap_or(content);
        let words = content.as_str().or(content.text("text")).or(content.text("content"));
        Some(match words {
            Some(words) => Content::words(words),
            None => Content::read(kind, content, self.robot_code).named(kind, content),
        })
    }
}

/// What a message says and carries.
#[derive(Default)]
struct Content {
    text: String,
    attachments: Vec<Attachment>,
}

impl Content {
    fn words(text: &str) -> Self {
        Self { text: text.trim().to_owned(), attachments: Vec::new() }
    }

    fn read(kind: &str, content: &Value, robot_code: &str) -> Self {
        let media = match kind {
            "richText" => return Self::read_runs(content, robot_code),
            "picture" => MediaKind::Image,
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            "file" => MediaKind::File,
            _ => return Self::words(UNREADABLE),
        };
        let Some(code) = content.text("downloadCode") else { return Self::words(UNREADABLE) };
        let mut attachment = attachment(media, robot_code, code);
        attachment.name = content.text("fileName").map(str::to_owned);
        // `recognition` is what DingTalk heard in a voice message.
        let heard = content.text("recognition").unwrap_or_default();
        Self { attachments: vec![attachment], ..Self::words(heard) }
    }

    fn read_runs(content: &Value, robot_code: &str) -> Self {
        let (mut text, mut attachments) = (String::new(), Vec::new());
        for run in content.get("richText").map(Value::items).unwrap_or_default() {
            text.push_str(run.text("text").unwrap_or_default());
            if let Some(code) = run.text("downloadCode") {
                text.push('\n');
                attachments.push(attachment(MediaKind::Image, robot_code, code));
            }
        }
        Self { attachments, ..Self::words(&text) }
    }

    /// A quote without words is told by its kind and name.
    fn named(self, kind: &str, content: &Value) -> Self {
        if !self.text.is_empty() {
            return self;
        }
        let name = content.text("fileName").map(|name| format!(" {name}")).unwrap_or_default();
        Self { text: format!("[{kind}{name}]"), ..self }
    }
}

/// Its reference is what the download asks for.
fn attachment(kind: MediaKind, robot_code: &str, download_code: &str) -> Attachment {
    let reference = object([("robotCode", robot_code.into()), ("downloadCode", download_code.into())]);
    Attachment::new(kind, reference.canonical())
}
