//! What was said in a conversation, exchange by exchange.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Millis;
use crate::message::Utterance;
use crate::store::oversight::{Thread, ThreadMark};
use crate::store::sqlite::EXCHANGES_MAX;

/// The exchanges of each conversation, by its channel and name.
#[derive(Debug, Default)]
pub struct History(BTreeMap<(String, String), Said>);

#[derive(Debug, Default)]
struct Said {
    exchanges: VecDeque<Vec<Utterance>>,
    last_at: Millis,
}

impl History {
    pub fn append(&mut self, channel: &str, conversation: &str, now: Millis, said: &[Utterance]) {
        if said.is_empty() {
            return;
        }
        let kept = self.0.entry((channel.to_owned(), conversation.to_owned())).or_default();
        kept.last_at = now;
        kept.exchanges.push_back(said.to_vec());
        if kept.exchanges.len() > EXCHANGES_MAX as usize {
            kept.exchanges.pop_front();
        }
    }

    pub fn last(&self, channel: &str, conversation: &str, turns: u32) -> Vec<Utterance> {
        let Some(kept) = self.0.get(&(channel.to_owned(), conversation.to_owned())) else {
            return Vec::new();
        };
        let before = kept.exchanges.len().saturating_sub(turns as usize);
        kept.exchanges.iter().skip(before).flatten().cloned().collect()
    }

    /// Tells whether there was one.
    pub fn forget(&mut self, channel: &str, conversation: &str) -> bool {
        self.0.remove(&(channel.to_owned(), conversation.to_owned())).is_some()
    }

    /// Conversations, the latest first; `unfinished` counts what each waits for.
    pub fn threads(
        &self,
        channel: Option<&str>,
        after: Option<&ThreadMark>,
        unfinished: impl Fn(&str, &str) -> u64,
    ) -> Vec<Thread> {
        let kept = self.0.iter().filter(|((its, _), _)| channel.is_none_or(|channel| channel == its));
        let mut threads: Vec<Thread> = kept
            .map(|((channel, conversation), said)| Thread {
                channel: channel.clone(),
                conversation: conversation.clone(),
                last_at: said.last_at,
                exchanges: said.exchanges.len() as u64,
                unfinished: unfinished(channel, conversation),
            })
            .collect();
        let place = |thread: &Thread| (thread.last_at, thread.channel.clone(), thread.conversation.clone());
        threads.sort_by_key(|thread| std::cmp::Reverse(place(thread)));
        let after = after.map(|mark| (mark.last_at, mark.channel.clone(), mark.conversation.clone()));
        threads.retain(|thread| after.as_ref().is_none_or(|after| place(thread) < *after));
        threads
    }
}
