//! From a callback to a message.
//!
//! The fields are those of DingTalk's "receive messages" page and of what was seen on the wire;
//! unknown ones are ignored, and all but `msgId` may be missing.

use parlor_sdk::{
    Attachment, Fault, HttpRequest, HttpResponse, MediaKind, Message, Reception, Scope, log, settings,
};
use serde::{Deserialize, Serialize};

use crate::{
    File,
    deliver::{Address, is_session_webhook},
    verify,
};

/// What stands in for a message that DingTalk does not hand to robots.
const UNREADABLE: &str = "[a message of a kind that robots cannot read]";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Callback {
    msg_id: String,
    msgtype: String,
    conversation_id: Option<String>,
    conversation_type: Option<String>,
    conversation_title: Option<String>,
    robot_code: String,
    chatbot_user_id: Option<String>,
    sender_id: Option<String>,
    sender_staff_id: Option<String>,
    sender_nick: Option<String>,
    at_users: Option<Vec<AtUser>>,
    is_in_at_list: Option<bool>,
    is_at_all: Option<bool>,
    session_webhook: Option<String>,
    session_webhook_expired_time: Option<u64>,
    create_at: Option<u64>,
    text: Option<Text>,
}

/// What a message carries beside its text; read apart from the callback, so that a shape nobody has
/// seen yet costs the content and not the message.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Carried {
    content: Option<Content>,
}

/// What a text quotes; read apart for the same reason.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Quoting {
    text: Option<QuotingText>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct QuotingText {
    is_reply_msg: bool,
    replied_msg: Option<Replied>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AtUser {
    dingtalk_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Text {
    content: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Replied {
    msg_type: Option<String>,
    content: Option<RepliedContent>,
}

/// The content of a quoted message comes as an object, or as its JSON text.
#[derive(Deserialize)]
#[serde(untagged)]
enum RepliedContent {
    Object(Box<Content>),
    Text(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    download_code: Option<String>,
    file_name: Option<String>,
    /// What DingTalk heard in a voice message.
    recognition: Option<String>,
    rich_text: Option<Vec<Run>>,
    /// Only in a quoted text.
    text: Option<String>,
    /// Only in a quoted text.
    content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Run {
    text: Option<String>,
    download_code: Option<String>,
}

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
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        #[serde(rename = "msg_signature")]
        signature: String,
        encrypt: String,
        time_stamp: String,
        nonce: String,
    }
    let unsealed = verify::event(request, signature)?;
    let sealed = verify::sealed_success(&unsealed.owner)?;
    let answer = Answer {
        signature: sealed.signature,
        encrypt: sealed.ciphertext,
        time_stamp: sealed.timestamp,
        nonce: sealed.nonce,
    };
    Ok(Reception::Answer(HttpResponse::json(200, &answer)))
}

fn accept_message(request: &HttpRequest) -> Result<Reception, Fault> {
    verify::headers(request)?;
    let body = verify::robot_body(request)?;
    let mut callback: Callback = serde_json::from_slice(&body)
        .map_err(|_| Fault::invalid("the body is not the JSON of a robot's callback"))?;
    if callback.msg_id.is_empty() {
        return Err(Fault::invalid("the callback has no `msgId`"));
    }
    let mut message = callback.message()?;
    callback.fill(&body, &mut message);
    Ok(Reception::accept(message))
}

impl Callback {
    /// All but what was said.
    fn message(&mut self) -> Result<Message, Fault> {
        if let Some(robot_code) = settings::get("robot_code")? {
            self.robot_code = robot_code;
        }
        let sender = self.sender_staff_id.as_ref().or(self.sender_id.as_ref());
        let sender = sender.map_or("unknown", String::as_str).to_owned();
        let mut message = Message::new(&self.msg_id, self.conversation(), sender, "");
        message.sender.name = self.sender_nick.clone();
        message.scope = self.scope();
        message.addressed = self.is_addressed();
        message.sent_at = self.create_at;
        message.address = self.address().encode();
        message.extra = self.extra();
        Ok(message)
    }

    /// Without an id, strangers must not share a history: each message stands alone then.
    fn conversation(&self) -> &str {
        self.conversation_id.as_deref().or(self.sender_id.as_deref()).unwrap_or(&self.msg_id)
    }

    fn scope(&self) -> Scope {
        if self.conversation_type.as_deref() == Some("2") { Scope::Group } else { Scope::Direct }
    }

    /// A word to everyone is not one to the bot, unless it is named too. A group's callback without
    /// any list came because the bot was named.
    fn is_addressed(&self) -> bool {
        let is_bot = |user: &AtUser| user.dingtalk_id.is_some() && user.dingtalk_id == self.chatbot_user_id;
        let at_users = self.at_users.as_deref().unwrap_or_default();
        if self.scope() == Scope::Direct || at_users.iter().any(is_bot) {
            return true;
        }
        self.is_at_all != Some(true) && self.is_in_at_list.unwrap_or(at_users.is_empty())
    }

    fn address(&self) -> Address {
        let webhook = self.session_webhook.clone().filter(|url| {
            let is_ours = is_session_webhook(url);
            if !is_ours {
                log::security("a callback names a session webhook that is not DingTalk's", &[]);
            }
            is_ours
        });
        Address {
            webhook,
            webhook_until_ms: self.session_webhook_expired_time,
            conversation: self.conversation_id.clone(),
            group: self.scope() == Scope::Group,
            staff: self.sender_staff_id.clone(),
            robot_code: self.robot_code.clone(),
        }
    }

    fn extra(&self) -> Vec<(String, String)> {
        let title = self.conversation_title.clone().map(|title| ("conversation_title".to_owned(), title));
        title.into_iter().chain([("msgtype".to_owned(), self.msgtype.clone())]).collect()
    }

    /// What was said, quoted and attached.
    fn fill(&self, body: &[u8], message: &mut Message) {
        if self.msgtype == "text" {
            let text = self.text.as_ref().map_or("", |text| text.content.trim());
            message.text = text.to_owned();
        } else {
            let carried: Carried = serde_json::from_slice(body).unwrap_or_default();
            let read = carried
                .content
                .map_or_else(Read::unreadable, |content| content.read(&self.msgtype, &self.robot_code));
            (message.text, message.attachments) = (read.text, read.attachments);
        }
        let quoting: Quoting = serde_json::from_slice(body).unwrap_or_default();
        let text = quoting.text.filter(|text| text.is_reply_msg || text.replied_msg.is_some());
        if let Some(text) = text {
            let quoted =
                text.replied_msg.map_or_else(Read::unreadable, |replied| replied.read(&self.robot_code));
            message.quoted = Some(quoted.text);
            message.attachments.extend(quoted.attachments);
        }
    }
}

/// What a message says and carries.
#[derive(Default)]
struct Read {
    text: String,
    attachments: Vec<Attachment>,
}

impl Read {
    fn unreadable() -> Self {
        Self { text: UNREADABLE.to_owned(), attachments: Vec::new() }
    }
}

impl Content {
    fn read(self, kind: &str, robot_code: &str) -> Read {
        let kind = match kind {
            "richText" => return self.read_runs(robot_code),
            "picture" => MediaKind::Image,
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            "file" => MediaKind::File,
            _ => return Read::unreadable(),
        };
        let mut attachments: Vec<_> =
            self.download_code.map(|code| attachment(kind, robot_code, code)).into_iter().collect();
        if let (Some(attachment), Some(name)) = (attachments.first_mut(), self.file_name) {
            attachment.name = Some(name);
        }
        Read { text: self.recognition.unwrap_or_default().trim().to_owned(), attachments }
    }

    fn read_runs(self, robot_code: &str) -> Read {
        let mut read = Read::default();
        for run in self.rich_text.unwrap_or_default() {
            read.text.push_str(&run.text.unwrap_or_default());
            if let Some(code) = run.download_code {
                read.text.push('\n');
                read.attachments.push(attachment(MediaKind::Image, robot_code, code));
            }
        }
        read.text = read.text.trim().to_owned();
        read
    }
}

fn attachment(kind: MediaKind, robot_code: &str, download_code: String) -> Attachment {
    let file = File { robot_code: robot_code.to_owned(), download_code };
    Attachment::new(kind, serde_json::to_string(&file).expect("two texts always serialise"))
}

impl Replied {
    fn read(self, robot_code: &str) -> Read {
        let kind = self.msg_type.unwrap_or_default();
        let content = match self.content {
            Some(RepliedContent::Object(content)) => Some(*content),
            Some(RepliedContent::Text(text)) => match serde_json::from_str(&text) {
                Ok(content) => Some(content),
                Err(_) => Some(Content { text: Some(text), ..Content::default() }),
            },
            None => None,
        };
        let Some(mut content) = content else {
            let is_card = kind == "interactiveCard";
            return Read {
                text: if is_card { "[a card of the bot]" } else { UNREADABLE }.into(),
                ..Read::default()
            };
        };
        if let Some(text) = content.text.take().or(content.content.take()) {
            return Read { text: text.trim().to_owned(), ..Read::default() };
        }
        let name = content.file_name.clone();
        let mut read = content.read(&kind, robot_code);
        if read.text.is_empty() {
            read.text = name.map_or_else(|| format!("[{kind}]"), |name| format!("[{kind} {name}]"));
        }
        read
    }
}
