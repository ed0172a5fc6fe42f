//! Who knocks at a host: signed requests of either platform, sent once or until they are acknowledged, over one
//! client that uses no connection twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::row::Row;
use crate::support::{
    Callback, Envelope, Event, Host, Model, OpenPlatform, PATIENCE, Platform, Settings, client, now_ms,
};

/// How soon a platform sends again what was not acknowledged; real ones take seconds.
const AGAIN: Duration = Duration::from_millis(50);
/// A look takes in all that people see.
const GLANCE: Duration = Duration::from_millis(20);

static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(client);

/// One signed request, ready to be sent, and sent again.
#[derive(Debug, Clone)]
pub struct Knock {
    pub path: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl From<Event> for Knock {
    fn from(event: Event) -> Knock {
        Knock { path: "/webhook/lark", headers: event.headers, body: event.body }
    }
}

impl From<Callback> for Knock {
    fn from(callback: Callback) -> Knock {
        let headers = [("timestamp", callback.timestamp), ("sign", callback.sign)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Knock { path: "/webhook/team", headers, body: callback.body.to_string() }
    }
}

impl Knock {
    pub fn with(mut self, name: &str, value: &str) -> Knock {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends it once; the status, with 200 for every acknowledgement, or why there is none.
    pub async fn post(&self, address: SocketAddr) -> Result<u16, reqwest::Error> {
        let mut request = CLIENT.post(format!("http://{address}{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response =
            request.header("content-type", "application/json").body(self.body.clone()).send().await?;
        let status = response.status();
        response.bytes().await?;
        Ok(if status.is_success() { 200 } else { status.as_u16() })
    }

    /// Sends it until it is acknowledged, wherever the host is by then; every status on the way.
    pub async fn deliver(&self, whereabouts: impl Fn() -> Option<SocketAddr>) -> Vec<u16> {
        let mut statuses = Vec::new();
        loop {
            if let Some(address) = whereabouts() {
                if let Ok(status) = self.post(address).await {
                    statuses.push(status);
                }
                if statuses.last() == Some(&200) {
                    return statuses;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// A platform, and what people see there.
#[derive(Debug, Clone)]
pub enum Chats {
    /// It knows a repeat by its key, and shows replies that grow.
    Keyed(OpenPlatform),
    /// It has no key.
    Keyless(Platform),
    /// A service that gets answers at an address of its own and knows a repeat by its key.
    Pushed(Platform),
}

impl Chats {
    pub fn join(&self, settings: Settings) -> Settings {
        match self {
            Chats::Keyed(platform) => platform.join(settings, json!({})),
            Chats::Keyless(platform) => platform.join(settings),
            Chats::Pushed(platform) => platform.join_webhook(settings, json!({ "answer": "callback" }), true),
        }
    }

    pub fn knock(&self, conversation: &str, text: &str) -> Knock {
        match self {
            Chats::Keyed(platform) => platform.direct(conversation, text).into(),
            Chats::Keyless(platform) => platform.direct(conversation, text).into(),
            Chats::Pushed(_) => {
                let (headers, body) = Envelope::new(text, conversation, text).signed(now_ms());
                Knock { path: "/webhook/hook", headers, body }
            }
        }
    }

    /// What stands in a conversation, in order; a card that still grows is not yet there.
    pub fn seen(&self, conversation: &str) -> Vec<String> {
        match self {
            Chats::Keyed(platform) => {
                let whole = platform.seen(conversation).into_iter().filter(|seen| !seen.grows);
                whole.map(|seen| seen.text).collect()
            }
            Chats::Keyless(platform) | Chats::Pushed(platform) => platform.seen(conversation),
        }
    }

    pub fn growing(&self, conversation: &str) -> usize {
        match self {
            Chats::Keyed(platform) => platform.seen(conversation).iter().filter(|seen| seen.grows).count(),
            Chats::Keyless(_) | Chats::Pushed(_) => 0,
        }
    }

    /// Over all conversations.
    pub fn all_growing(&self) -> usize {
        match self {
            Chats::Keyed(platform) => {
                platform.everything_seen().iter().filter(|(_, _, seen)| seen.grows).count()
            }
            Chats::Keyless(_) | Chats::Pushed(_) => 0,
        }
    }

    /// What stands in each conversation.
    fn all_seen(&self) -> BTreeMap<String, Vec<String>> {
        let all: Vec<(String, String)> = match self {
            Chats::Keyed(platform) => {
                let whole = platform.everything_seen().into_iter().filter(|(_, _, seen)| !seen.grows);
                whole.map(|(_, chat, seen)| (chat, seen.text)).collect()
            }
            Chats::Keyless(platform) | Chats::Pushed(platform) => {
                platform.everything_seen().into_iter().map(|seen| (seen.conversation, seen.text)).collect()
            }
        };
        let mut by_conversation = BTreeMap::<_, Vec<_>>::new();
        for (conversation, text) in all {
            by_conversation.entry(conversation).or_default().push(text);
        }
        by_conversation
    }

    /// Requests that the platform refused by its own rules.
    pub fn refusals(&self) -> usize {
        match self {
            Chats::Keyed(platform) => platform.codes().len(),
            Chats::Keyless(platform) | Chats::Pushed(platform) => platform.codes().len(),
        }
    }
}

/// A host with one platform and one model.
pub async fn scene(chats: &Chats) -> (Host, Model) {
    let model = Model::start().await;
    (Host::at_rest(&model.join(chats.join(Settings::new()))), model)
}

/// What people said and what they should see, in order.
#[derive(Debug, Clone)]
pub struct Talk {
    pub conversation: String,
    pub texts: Vec<String>,
}

impl Talk {
    pub fn new(conversation: String, messages: usize) -> Talk {
        let texts = (0..messages).map(|number| format!("canary {conversation} {number}.")).collect();
        Talk { conversation, texts }
    }

    /// Says one after the other, each as soon as the one before it is acknowledged; every status on the way.
    pub fn say(
        &self,
        chats: &Chats,
        whereabouts: impl Fn() -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> tokio::task::JoinHandle<Vec<u16>> {
        let (talk, chats) = (self.clone(), chats.clone());
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            for text in &talk.texts {
                statuses.extend(chats.knock(&talk.conversation, text).deliver(&whereabouts).await);
            }
            statuses
        })
    }

    pub fn answers(&self) -> impl Iterator<Item = String> {
        self.texts.iter().map(|text| Model::answer_to(text))
    }

    pub fn is_answered(&self, chats: &Chats) -> bool {
        self.is_answered_by(&chats.seen(&self.conversation)) && chats.growing(&self.conversation) == 0
    }

    fn is_answered_by(&self, seen: &[String]) -> bool {
        self.answers().all(|answer| seen.contains(&answer))
    }

    /// Of what stands in its conversation.
    pub fn judge(&self, mut seen: Vec<String>) -> Judged {
        let times: Vec<usize> =
            self.answers().map(|answer| seen.iter().filter(|seen| **seen == answer).count()).collect();
        let doubled = self
            .texts
            .iter()
            .zip(&times)
            .filter(|(_, times)| **times > 1)
            .map(|(text, times)| (text.clone(), times - 1));
        let lost = times.iter().filter(|times| **times == 0).count();
        let strange = seen.iter().filter(|seen| !self.answers().any(|answer| answer == **seen)).count();
        let doubled = doubled.collect();
        let mut once = BTreeSet::new();
        seen.retain(|seen| once.insert(seen.clone()));
        let wanted = self.answers().filter(|answer| seen.contains(answer)).collect::<Vec<_>>();
        let out_of_order = seen.iter().zip(&wanted).filter(|(seen, wanted)| seen != wanted).count();
        Judged { lost, doubled, out_of_order, strange }
    }
}

/// What a conversation shows that it should not.
#[derive(Debug)]
pub struct Judged {
    pub lost: usize,
    /// Texts whose answer stands there more than once, and how often too much.
    pub doubled: Vec<(String, usize)>,
    pub out_of_order: usize,
    /// What answers nothing that was said.
    pub strange: usize,
}

pub async fn eventually_slowly(what: &str, look: impl Fn() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// Waits until every message is answered, for as long as answers come, and counts what is not as it should be. Once for
/// each platform and each talk.
pub async fn all_answered(talks: &[Talk], chats: &Chats, row: &mut Row) {
    until_answered(talks, chats).await;
    row.platform_tells(chats.refusals(), chats.all_growing());
    let seen = chats.all_seen();
    for talk in talks {
        let judged = talk.judge(seen.get(&talk.conversation).cloned().unwrap_or_default());
        row.lost += judged.lost;
        row.out_of_order += judged.out_of_order;
        row.doubled += judged.doubled.iter().map(|(_, times)| times).sum::<usize>();
        row.holds(judged.strange == 0, format!("{} is told what nobody asked", talk.conversation));
    }
}

/// Only waits.
pub async fn until_answered(talks: &[Talk], chats: &Chats) {
    let unanswered = |seen: &BTreeMap<String, Vec<String>>| {
        let of = |talk: &Talk| seen.get(&talk.conversation).is_some_and(|seen| talk.is_answered_by(seen));
        talks.iter().filter(|talk| !of(talk)).count()
    };
    let (mut began, mut open) = (Instant::now(), unanswered(&chats.all_seen()));
    while open > 0 && began.elapsed() < PATIENCE {
        tokio::time::sleep(GLANCE * 5).await;
        let now = unanswered(&chats.all_seen());
        if now < open {
            (began, open) = (Instant::now(), now);
        }
    }
}
