//! Takes out of a server's words what nobody may read: the key, and what people said.
//!
//! Servers repeat in their errors what they were sent, whole or in part. What an operator needs of their words
//! is the rest.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::message::{Prompt, Role};
use crate::model::wording::spoken;

/// Characters of a server's message that an operator gets to see.
const MESSAGE_CHARS_MAX: usize = 300;
/// A run that is this long and stands in what people said as well is theirs: three Chinese characters, or nine
/// letters.
const REPEATED_BYTES_MIN: usize = 9;
/// A message shorter than that is looked for as a whole, unless it is a single letter.
const WHOLE_BYTES_MIN: usize = 2;

#[derive(Debug, Clone, Default)]
pub struct Scrubber {
    key: Option<SecretString>,
    said: Arc<[String]>,
}

impl Scrubber {
    pub fn new(key: Option<SecretString>) -> Self {
        Self { key: key.filter(|key| !key.expose_secret().is_empty()), said: Arc::default() }
    }

    /// The same for one request. The system message is the operator's own.
    pub fn over(&self, prompt: &Prompt) -> Self {
        let talk = prompt.messages.iter().filter(|utterance| utterance.role != Role::System);
        Self { key: self.key.clone(), said: talk.map(spoken).collect() }
    }

    /// In one line, and short.
    pub fn clean(&self, words: &str) -> String {
        let words = match &self.key {
            Some(key) => words.replace(key.expose_secret(), "***"),
            None => words.to_owned(),
        };
        let printable = words.chars().map(|c| if c.is_control() { ' ' } else { c });
        let short: String = printable.take(MESSAGE_CHARS_MAX).collect();
        self.without_talk(short.trim())
    }

    fn without_talk(&self, words: &str) -> String {
        let mut hidden = vec![false; words.len()];
        for (start, end) in self.repeats(words) {
            hidden[start..end].fill(true);
        }
        let mut shown = String::new();
        for (at, character) in words.char_indices() {
            if !hidden[at] {
                shown.push(character);
            } else if at == 0 || !hidden[at - 1] {
                shown.push('…');
            }
        }
        shown
    }

    /// Where the words repeat what was said.
    fn repeats(&self, words: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (start, _) in words.char_indices() {
            let Some(end) = end_of_run(words, start) else { break };
            if self.said.iter().any(|said| said.contains(&words[start..end])) {
                found.push((start, end));
            }
        }
        for said in self.said.iter().map(|said| said.trim()) {
            if (WHOLE_BYTES_MIN..REPEATED_BYTES_MIN).contains(&said.len()) {
                found.extend(words.match_indices(said).map(|(start, _)| (start, start + said.len())));
            }
        }
        found
    }
}

/// The end of the shortest run that counts.
fn end_of_run(words: &str, start: usize) -> Option<usize> {
    (start + REPEATED_BYTES_MIN..=words.len()).find(|end| words.is_char_boundary(*end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Utterance;

    fn over(said: &[&str]) -> Scrubber {
        let messages = said.iter().map(|said| Utterance::text(Role::User, (*said).to_owned())).collect();
        Scrubber { key: None, said: Arc::default() }.over(&Prompt { messages, ..Prompt::default() })
    }

    #[test]
    fn what_people_said_is_taken_out_whole_or_in_part() {
        let clean = |said: &str, words: &str| over(&[said]).clean(words);
        assert_eq!(clean("my PIN is 1234", "cannot parse `my PIN is 1234`"), "cannot parse `…`");
        assert_eq!(clean("please, my PIN is 1234!", "near `PIN is 1234`: no"), "near `…`: no");
        assert_eq!(clean("我的密码是一二三四", "无法处理：密码是一二"), "无法处理：…");
        assert_eq!(clean("hi", "cannot process: hi"), "cannot process: …");
        assert_eq!(clean("what is the model", "model `x` not found"), "model `x` not found");
    }
}
