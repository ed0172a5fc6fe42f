//! What a message holds: its words, and what comes with them.
//!
//! `content` is a JSON text of its own, of a shape for each kind. Kinds and shapes are those of the platform's
//! "receive message content" page, and of what its own library reads.

use parlor_sdk::{
    Attachment, Fault, MediaKind,
    adapter::Download,
    encoding::percent,
    json::{Value, object},
};

use crate::api;

/// What stands in for a message that cannot be read.
const UNREADABLE: &str = "[a message of a kind that bots cannot read]";
/// The stand-in for everybody in a group.
pub const EVERYBODY: &str = "@_all";
/// A card has no more nested parts that are worth reading.
const CARD_DEPTH_MAX: usize = 16;

/// Somebody who is named in a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mention {
    /// What stands for the name in the words, such as `@_user_1`.
    pub key: String,
    /// Who it is, to this app.
    pub open_id: Option<String>,
    /// What people call them.
    pub name: String,
    /// `user` or `bot`, where the platform tells.
    pub kind: Option<String>,
    /// It is this bot.
    pub is_own: bool,
}

impl Mention {
    /// From an event, where `id` is a table, or from a message that was asked for, where it is a text.
    pub fn read(mention: &Value) -> Option<Self> {
        let id = mention.get("id");
        let open_id = id.and_then(|id| id.text("open_id").or(id.as_str())).filter(|id| !id.is_empty());
        Some(Self {
            key: mention.text("key").filter(|key| !key.is_empty())?.to_owned(),
            open_id: open_id.map(str::to_owned),
            name: mention.text("name").unwrap_or_default().to_owned(),
            kind: mention.text("mentioned_type").map(str::to_owned),
            is_own: false,
        })
    }
}

/// Words and attachments.
#[derive(Debug, Default)]
pub struct Content {
    pub text: String,
    pub attachments: Vec<Attachment>,
}

/// A message whose content is read.
struct Reader<'a> {
    message: &'a str,
    mentions: &'a [Mention],
    attachments: Vec<Attachment>,
}

/// Reads the `content` of a message of this kind.
pub fn read(kind: &str, content: &str, message: &str, mentions: &[Mention]) -> Content {
    let Ok(content) = Value::read(content) else { return Content::words(UNREADABLE) };
    let mut reader = Reader { message, mentions, attachments: Vec::new() };
    let text = reader.read(kind, &content).unwrap_or_else(|| UNREADABLE.to_owned());
    Content { text: text.trim().to_owned(), attachments: reader.attachments }
}

impl Content {
    fn words(text: &str) -> Self {
        Self { text: text.to_owned(), attachments: Vec::new() }
    }
}

impl Reader<'_> {
    fn read(&mut self, kind: &str, content: &Value) -> Option<String> {
        let named = |what: &str, name: Option<&str>| match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("[{what}: {name}]"),
            None => format!("[{what}]"),
        };
        Some(match kind {
            "text" => self.words(content.text("text")?),
            "post" => self.post(content)?,
            "image" => self.attach(MediaKind::Image, content.text("image_key")?, None),
            "file" => self.attach(MediaKind::File, content.text("file_key")?, content.text("file_name")),
            "audio" => self.attach(MediaKind::Audio, content.text("file_key")?, None),
            "media" => self.attach(MediaKind::Video, content.text("file_key")?, content.text("file_name")),
            "interactive" => card_text(content)?,
            "sticker" => "[a sticker]".to_owned(),
            "location" => named("a place", content.text("name")),
            "share_chat" => "[a group that was shared]".to_owned(),
            "share_user" => "[a contact that was shared]".to_owned(),
            "merge_forward" => "[messages that were forwarded]".to_owned(),
            "folder" => named("a folder", content.text("file_name")),
            "vote" => named("a vote", content.text("topic")),
            "todo" => named("a task", content.get("summary").and_then(|summary| summary.text("title"))),
            "video_chat" => named("a meeting", content.text("topic")),
            "calendar" | "general_calendar" | "share_calendar_event" => {
                named("an appointment", content.text("summary"))
            }
            _ => return None,
        })
    }

    /// Takes the bytes along; there are no words to them.
    fn attach(&mut self, kind: MediaKind, key: &str, name: Option<&str>) -> String {
        let form = if kind == MediaKind::Image { "image" } else { "file" };
        let reference =
            object([("message", self.message.into()), ("key", key.into()), ("type", form.into())]);
        let mut attachment = Attachment::new(kind, reference.canonical());
        attachment.name = name.filter(|name| !name.is_empty()).map(str::to_owned);
        if !self.attachments.contains(&attachment) {
            self.attachments.push(attachment);
        }
        String::new()
    }

    /// Words with the stand-ins for people replaced by their names.
    fn words(&self, text: &str) -> String {
        let mut words = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("@_") {
            words.push_str(&rest[..at]);
            rest = &rest[at..];
            let end = 2 + rest[2..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len() - 2);
            let key = &rest[..end];
            match self.mentions.iter().find(|mention| mention.key == key) {
                Some(mention) if mention.is_own => {
                    rest = rest[end..].strip_prefix(' ').unwrap_or(&rest[end..])
                }
                mention => {
                    words.push_str(
                        &mention.map_or_else(|| named_or(key, ""), |mention| named_or(key, &mention.name)),
                    );
                    rest = &rest[end..];
                }
            }
        }
        words.push_str(rest);
        words
    }

    /// Rich text: `{title, content}`, or the same for each language, of which the first counts.
    fn post(&mut self, content: &Value) -> Option<String> {
        let document = match (content.get("content"), content) {
            (Some(_), document) => document,
            (None, Value::Object(languages)) => languages
                .iter()
                .map(|(_, document)| document)
                .find(|document| document.get("content").is_some())?,
            _ => return None,
        };
        let title = document.text("title").filter(|title| !title.is_empty());
        let mut paragraphs: Vec<String> = title.map(|title| format!("# {title}")).into_iter().collect();
        for paragraph in document.get("content").map(Value::items).unwrap_or_default() {
            let line: String = paragraph.items().iter().map(|element| self.element(element)).collect();
            paragraphs.push(line.trim().to_owned());
        }
        paragraphs.retain(|paragraph| !paragraph.is_empty());
        Some(paragraphs.join("\n\n"))
    }

    fn element(&mut self, element: &Value) -> String {
        let text = |name: &str| element.text(name).unwrap_or_default();
        match text("tag") {
            "text" => styled(&self.words(text("text")), element),
            "md" => self.words(text("text")),
            "a" => format!("[{}]({})", text("text"), text("href")),
            "at" => self.named(text("user_id"), text("user_name")),
            "emotion" => format!(":{}:", text("emoji_type")),
            "code_block" => format!("```{}\n{}\n```", text("language").to_lowercase(), text("text")),
            "hr" => "---".to_owned(),
            "img" => self.attach(MediaKind::Image, text("image_key"), None),
            "media" => self.attach(MediaKind::Video, text("file_key"), None),
            "audio" => self.attach(MediaKind::Audio, text("file_key"), None),
            "file" => self.attach(MediaKind::File, text("file_key"), element.text("file_name")),
            _ => String::new(),
        }
    }

    /// Rich text names people by the same keys, or by their ids.
    fn named(&self, who: &str, name: &str) -> String {
        let is_it = |mention: &&Mention| mention.key == who || mention.open_id.as_deref() == Some(who);
        match self.mentions.iter().find(is_it) {
            Some(mention) if mention.is_own => String::new(),
            Some(mention) if name.is_empty() => named_or(who, &mention.name),
            _ => named_or(who, name),
        }
    }
}

fn named_or(key: &str, name: &str) -> String {
    match (key, name) {
        (EVERYBODY | "all", "") => "@all".to_owned(),
        (key, "") => key.to_owned(),
        (_, name) => format!("@{name}"),
    }
}

fn styled(text: &str, element: &Value) -> String {
    let styles = element.get("style").map(Value::items).unwrap_or_default();
    let marks =
        [("bold", "**"), ("italic", "*"), ("code", "`"), ("lineThrough", "~~"), ("strikethrough", "~~")];
    let has = |style: &str| styles.iter().any(|found| found.as_str() == Some(style));
    let marks = marks.iter().filter(|(style, _)| has(style) && !text.trim().is_empty());
    marks.fold(text.to_owned(), |text, (_, mark)| format!("{mark}{text}{mark}"))
}

/// The words of a card, in the order in which they stand.
fn card_text(card: &Value) -> Option<String> {
    let mut words = Vec::new();
    gather(card, CARD_DEPTH_MAX, &mut words);
    words.dedup();
    if words.is_empty() { None } else { Some(words.join("\n")) }
}

fn gather(node: &Value, depth: usize, words: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let is_words = matches!(node.text("tag"), Some("markdown" | "plain_text" | "lark_md" | "text"));
    let found = node.text("content").or(node.text("text")).map(str::trim).filter(|text| !text.is_empty());
    if let (true, Some(found)) = (is_words, found) {
        return words.push(found.to_owned());
    }
    let below = |name| node.get(name).into_iter();
    // Heads before bodies, whatever their order in the text.
    let named = ["header", "title", "subtitle", "body", "text", "elements", "columns", "content"];
    node.items().iter().chain(named.into_iter().flat_map(below)).for_each(|node| gather(node, depth, words));
    if let Some(title) = node.text("title").filter(|title| !title.is_empty()) {
        words.insert(0, title.to_owned());
    }
}

/// The request for a file of a message.
pub fn locate(reference: &str) -> Result<Download, Fault> {
    let foreign = || Fault::invalid("this attachment is none of this platform's");
    let file = Value::read(reference).map_err(|_| foreign())?;
    let part = |name| file.text(name).filter(|part| !part.is_empty()).map(percent).ok_or_else(foreign);
    let (message, key, form) = (part("message")?, part("key")?, part("type")?);
    let path = format!("/open-apis/im/v1/messages/{message}/resources/{key}?type={form}");
    Ok(Download { request: api::request("GET", &path)?.limit_key(message), key: None })
}
