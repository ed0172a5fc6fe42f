//! How far a delivery got, between two calls: all that a later call, release or node knows of it.

use parlor_sdk::{
    Fault, clock,
    json::{FromJson, Value, object},
};

use crate::address;

/// The platform stops a card's growth ten minutes after it was let grow. The host calls every four.
const GROWTH_MS: u64 = 5 * 60_000;

/// How the first part is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// A card that grows.
    #[default]
    Card,
    /// A card that is sent once and replaced as a whole.
    Replaced,
    /// As any further part.
    Plain,
}

/// The growth of the card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    #[default]
    Open,
    /// The platform closed it: it is opened once more, or the card is written as a whole.
    Lapsed,
    /// It was opened once more.
    Reopened,
    /// It closed again, or would not open: nothing more is shown before the end.
    Over,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    pub way: Way,
    /// The card's id, once there is one.
    pub card: Option<String>,
    /// The message that shows the card.
    pub message: Option<String>,
    pub stream: Stream,
    /// When it was last let grow; 0 if that is not known.
    pub opened_ms: u64,
    /// The number of the last operation on the card that was accepted.
    pub sequence: u32,
    /// How often a number turned out to be used.
    pub stumbles: u32,
    /// A mark of what the card shows; empty if that is not known.
    pub shown: String,
    /// When the card was last replaced.
    pub replaced_ms: u64,
    /// Parts that are sent and need nothing more.
    pub sent: usize,
    /// The part in hand goes as plain text, since its card was refused.
    pub as_text: bool,
    /// The message takes no reply any more, and the card may be seen all the same.
    pub is_unanswerable: bool,
    /// The token was renewed, and the next request shows whether that helped.
    pub token_renewed: bool,
    /// The messages' ids.
    pub ids: Vec<String>,
}

const WAYS: [(&str, Way); 3] = [("card", Way::Card), ("replaced", Way::Replaced), ("plain", Way::Plain)];
const STREAMS: [(&str, Stream); 4] = [
    ("open", Stream::Open),
    ("lapsed", Stream::Lapsed),
    ("reopened", Stream::Reopened),
    ("over", Stream::Over),
];

impl Checkpoint {
    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            ("way", word(&WAYS, self.way).into()),
            ("card", self.card.clone().into()),
            ("message", self.message.clone().into()),
            ("stream", word(&STREAMS, self.stream).into()),
            ("opened_ms", (self.opened_ms as f64).into()),
            ("sequence", self.sequence.into()),
            ("stumbles", self.stumbles.into()),
            ("shown", self.shown.as_str().into()),
            ("replaced_ms", (self.replaced_ms as f64).into()),
            ("sent", (self.sent as f64).into()),
            ("as_text", self.as_text.into()),
            ("is_unanswerable", self.is_unanswerable.into()),
            ("token_renewed", self.token_renewed.into()),
            ("ids", self.ids.clone().into()),
        ];
        object(fields).canonical().into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let Some(fields) = address::decode(bytes)? else { return Ok(Self::default()) };
        let text = |name: &str| fields.text(name).map(str::to_owned);
        let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or_default();
        let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
        Ok(Self {
            way: named(&WAYS, fields.text("way")),
            card: text("card"),
            message: text("message"),
            stream: named(&STREAMS, fields.text("stream")),
            opened_ms: number("opened_ms"),
            sequence: fields.get("sequence").and_then(u32::from_json).unwrap_or_default(),
            stumbles: fields.get("stumbles").and_then(u32::from_json).unwrap_or_default(),
            shown: text("shown").unwrap_or_default(),
            replaced_ms: number("replaced_ms"),
            sent: number("sent") as usize,
            as_text: flag("as_text"),
            is_unanswerable: flag("is_unanswerable"),
            token_renewed: flag("token_renewed"),
            ids: fields.get("ids").and_then(Vec::from_json).unwrap_or_default(),
        })
    }

    /// Whether the platform may soon stop the card's growth.
    pub fn grows_long(&self) -> bool {
        clock::now_ms().saturating_sub(self.opened_ms) >= GROWTH_MS
    }

    /// The part in hand is out; its message's id if the platform gave one.
    pub fn part_is_sent(&mut self, id: Option<String>) {
        self.sent += 1;
        self.as_text = false;
        self.ids.extend(id.filter(|id| !id.is_empty()));
    }
}

fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

fn named<T: Copy + Default>(words: &[(&str, T)], word: Option<&str>) -> T {
    words.iter().find(|(known, _)| Some(*known) == word).map(|(_, value)| *value).unwrap_or_default()
}

/// A mark of a text, to tell it from another one: FNV-1a, which no one has a reason to forge here.
pub fn mark(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
