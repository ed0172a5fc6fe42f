//! The operator's settings: the list, what to do about it, and in which manner.

use parlor_sdk::{
    Fault,
    settings::{get, get_or},
};

use crate::fold::Skip;
use crate::stream::Manner;
use crate::words::{Rule, Words};

/// What happens to text that holds a word of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The words are masked.
    Mask,
    /// A sentence is the answer.
    Refuse,
    /// Nothing but a line in the log.
    Alert,
    /// It is not looked through.
    Off,
}

impl Action {
    fn read(name: &str, default: Self) -> Result<Self, Fault> {
        let actions =
            [("mask", Self::Mask), ("refuse", Self::Refuse), ("alert", Self::Alert), ("off", Self::Off)];
        one_of(name, &actions, default)
    }

    /// As it stands in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Refuse => "refuse",
            Self::Alert => "alert",
            Self::Off => "off",
        }
    }
}

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// On the way in.
    pub inbound: Action,
    /// On the way out.
    pub outbound: Action,
    /// How words are looked for.
    pub manner: Manner,
    /// The sentence of a refusal; one in the person's language if unset.
    pub refusal: Option<String>,
}

impl Settings {
    /// All but the list.
    ///
    /// # Errors
    /// A setting is not what the manifest says.
    pub fn read() -> Result<Self, Fault> {
        let skips = [("none", Skip::None), ("space", Skip::Space), ("punctuation", Skip::Punctuation)];
        let usual = Manner::default();
        let manner = Manner {
            mask: get_or("mask", usual.mask)?,
            skip: one_of("skip", &skips, usual.skip)?,
            whole_words: get_or("whole_words", usual.whole_words)?,
        };
        Ok(Self {
            inbound: Action::read("inbound", Action::Refuse)?,
            outbound: Action::read("outbound", Action::Mask)?,
            manner,
            refusal: get("refusal")?,
        })
    }
}

/// The list out of the settings `words` and `file`.
///
/// # Errors
/// A setting is not what the manifest says.
pub fn words(manner: &Manner) -> Result<Words, Fault> {
    let listed: Vec<String> = get_or("words", Vec::new())?;
    let file: String = get_or("file", String::new())?;
    let listed = (0..).map(Rule::Listed).zip(listed.iter().map(String::as_str));
    let lines = (1..).map(Rule::Line).zip(file.lines());
    Ok(Words::new(listed.chain(lines).map(|(rule, word)| (rule, manner.fold_word(word)))))
}

fn one_of<T: Copy>(name: &str, choices: &[(&str, T)], default: T) -> Result<T, Fault> {
    let Some(given) = get::<String>(name)? else { return Ok(default) };
    let choice = choices.iter().find(|(word, _)| *word == given).map(|(_, choice)| *choice);
    choice.ok_or_else(|| Fault::invalid(format!("setting `{name}` is none of those that the manifest names")))
}
