//! The stage that knows what was said, and who listens right now.
//!
//! `Listeners` joins a running turn to those who wait for it on an open line: the chat door, an inquiry of
//! a platform. A turn speaks into it whether anybody listens or not. It does not know how a turn is run.

mod news;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

pub use news::{News, news};

use crate::message::{FinishReason, Message, Reply, Role, ToolCall, Trouble, Utterance};

/// A message by its channel and id.
pub type Key = (Arc<str>, String);

/// What a listener hears.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// The text so far; it only grows until the end.
    pub text: String,
    pub end: Option<End>,
}

/// How a turn ended for those who listen.
#[derive(Debug, Clone)]
pub enum End {
    Said {
        reply: Reply,
        account: Account,
    },
    /// The pipeline chose to stay silent.
    Silent,
    /// It failed for good; the sentence is for the person who waits, the trouble for a program.
    Failed {
        sentence: String,
        trouble: Trouble,
    },
    Withdrawn,
}

/// What an answer took, over all questions of its turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The one that gave what was shown last; none if no model was asked.
    pub model: Option<String>,
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    /// How what was shown last came to its end.
    pub finish_reason: FinishReason,
    /// For the caller to do: where a pipeline asked, it has done them itself.
    pub tool_calls: Vec<ToolCall>,
}

/// Who listens to which message's turn.
#[derive(Debug, Default)]
pub struct Listeners {
    lines: Mutex<HashMap<Key, watch::Sender<Heard>>>,
}

impl Listeners {
    /// Listens to a message's turn; call it before the message is stored, so that nothing is missed.
    pub fn listen(&self, key: Key) -> watch::Receiver<Heard> {
        self.with_line(key, watch::Sender::subscribe)
    }

    /// The turn's end of the line, whether anybody listens yet or not: who comes later hears the rest.
    pub fn line(&self, key: Key) -> watch::Sender<Heard> {
        self.with_line(key, watch::Sender::clone)
    }

    fn with_line<T>(&self, key: Key, take: impl FnOnce(&watch::Sender<Heard>) -> T) -> T {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.receiver_count() > 0 || line.sender_count() > 1);
        take(lines.entry(key).or_insert_with(|| watch::channel(Heard::default()).0))
    }

    /// Tells those who listen that there will be no answer; the turn itself may not know it yet.
    pub fn withdrawn(&self, key: Key) {
        let line = self.line(key);
        line.send_if_modified(|heard| {
            let is_news = heard.end.is_none();
            heard.end.get_or_insert(End::Withdrawn);
            is_news
        });
    }

    /// Ends the lines that no turn speaks into: those who wait there are told that nobody comes.
    pub fn hang_up(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.sender_count() > 1);
    }
}

/// The contract's key for a reply that is no part of the conversation, so that it enters no history.
const ASIDE: &str = "aside";
/// The contract's key for a reply that answers nobody.
const UNASKED: &str = "unasked";
/// Marks a reply that says that there is no answer.
const APOLOGY: &str = "apology";
/// Marks a message of the host's own door whose turn runs to its end also when nobody listens.
const OUTLIVES_LINE: &str = "outlives-line";

/// The message of somebody whose line may drop, and who comes back for the answer.
pub fn outliving_line(mut message: Message) -> Message {
    message.extra.push((OUTLIVES_LINE.to_owned(), String::new()));
    message
}

/// Whether a message's turn goes on when nobody listens any more. Each turn of a platform's does.
pub fn outlives_line(message: &Message) -> bool {
    message.extra.iter().any(|(name, _)| name == OUTLIVES_LINE)
}

/// What is said of one's own accord.
pub fn unasked(text: &str) -> Reply {
    Reply { extra: vec![(UNASKED.to_owned(), String::new())], ..Reply::text(text) }
}

/// Whether a reply says that there is no answer.
pub fn is_apology(reply: &Reply) -> bool {
    reply.extra.iter().any(|(name, _)| name == APOLOGY)
}

/// What a delivered turn adds to the history.
pub fn exchange(message: &Message, reply: &Reply) -> Vec<Utterance> {
    if reply.extra.iter().any(|(name, _)| name == ASIDE) {
        return Vec::new();
    }
    vec![
        Utterance::text(Role::User, message.text.clone()),
        Utterance::text(Role::Assistant, reply.text.clone()),
    ]
}

/// One plain sentence for a person whose turn failed for good, in the language that they wrote in.
pub fn apology(message: &Message) -> Reply {
    let sentence = if message.text.chars().any(is_han) {
        "抱歉，我现在无法回答，请稍后再试。"
    } else {
        "Sorry, I cannot answer right now. Please try again later."
    };
    let marks = [ASIDE, APOLOGY].map(|mark| (mark.to_owned(), String::new()));
    Reply { extra: marks.into(), ..Reply::text(sentence) }
}

/// Closes a reply of which something was shown and no more comes: with what was shown, or a plain sentence.
pub fn cut_off(message: &Message, shown: &str) -> Reply {
    let sentence = match shown {
        "" if message.text.chars().any(is_han) => "回答已中止。",
        "" => "The answer was stopped.",
        shown => shown,
    };
    Reply { extra: vec![(ASIDE.to_owned(), String::new())], ..Reply::text(sentence) }
}

/// What a turn adds to the history whose answer was broken off by the next message: `reply` is what closed it.
pub fn broken_off(message: &Message, reply: &Reply) -> Vec<Utterance> {
    exchange(message, &Reply::text(reply.text.clone()))
}

/// One plain sentence for a person whose message came to its turn too late, in the language that they wrote in.
pub fn too_late(message: &Message) -> Reply {
    let sentence = if message.text.chars().any(is_han) {
        "这条消息我收到得太晚，没有及时回答；如果仍然需要，请再发一次。"
    } else {
        "I got to this message too late to answer it. Please send it again if it still matters."
    };
    let marks = [ASIDE, APOLOGY].map(|mark| (mark.to_owned(), String::new()));
    Reply { extra: marks.into(), ..Reply::text(sentence) }
}

/// Messages of one person, asked as one: who they are for and where the answer goes is the first one's.
pub fn in_one_breath(first: Message, others: Vec<Message>) -> Message {
    others.into_iter().fold(first, |mut all, next| {
        all.text = joined(all.text, next.text);
        all.quoted = match (all.quoted.take(), next.quoted) {
            (Some(quoted), Some(more)) => Some(joined(quoted, more)),
            (quoted, more) => quoted.or(more),
        };
        all.attachments.extend(next.attachments);
        all
    })
}

fn joined(mut text: String, more: String) -> String {
    if !text.is_empty() && !more.is_empty() {
        text.push('\n');
    }
    text + &more
}

/// One plain sentence for a person who has to wait, in the language that they wrote in.
pub fn patience(message: &Message, seconds: u64) -> Reply {
    let sentence = if message.text.chars().any(is_han) {
        format!("你发得太快了，请等 {seconds} 秒再问；在此之前的消息我不会回答。")
    } else {
        format!(
            "You are asking faster than I may answer. Please ask again in {seconds} s; I will not answer what comes before."
        )
    };
    Reply { extra: vec![(APOLOGY.to_owned(), String::new())], ..Reply::text(sentence) }
}

fn is_han(char: char) -> bool {
    matches!(char, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2fa1f}')
}
