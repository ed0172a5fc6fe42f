//! What was said in a conversation, exchange by exchange.

use std::collections::{BTreeMap, VecDeque};

use crate::message::Utterance;
use crate::store::sqlite::EXCHANGES_MAX;

/// The exchanges of each conversation, by its channel and name.
#[derive(Debug, Default)]
pub struct History(BTreeMap<(String, String), VecDeque<Vec<Utterance>>>);

impl History {
    pub fn append(&mut self, channel: &str, conversation: &str, said: &[Utterance]) {
        if said.is_empty() {
            return;
        }
        let exchanges = self.0.entry((channel.to_owned(), conversation.to_owned())).or_default();
        exchanges.push_back(said.to_vec());
        if exchanges.len() > EXCHANGES_MAX as usize {
            exchanges.pop_front();
        }
    }

    pub fn last(&self, channel: &str, conversation: &str, turns: u32) -> Vec<Utterance> {
        let Some(exchanges) = self.0.get(&(channel.to_owned(), conversation.to_owned())) else {
            return Vec::new();
        };
        let before = exchanges.len().saturating_sub(turns as usize);
        exchanges.iter().skip(before).flatten().cloned().collect()
    }

    pub fn forget(&mut self, channel: &str, conversation: &str) {
        self.0.remove(&(channel.to_owned(), conversation.to_owned()));
    }
}
