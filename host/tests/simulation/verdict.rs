//! What has to hold when a run is over.

use std::collections::BTreeMap;

use parlor::message::Reply;
use parlor::store::{EndedAs, Outcome, Store as _};

use super::ledger::{Key, Ledger, Told};
use super::people::numbers;
use super::platforms::{BOARD, DESK, HOOK, LARK, Sight};
use super::weather::Meanwhile;
use super::world::World;

/// Platforms that show a repeat of the same key once.
const KEYED: [&str; 4] = [LARK, BOARD, HOOK, DESK];

/// One message, and what came of it.
struct Matter {
    key: Key,
    told: Told,
    /// What people see of it.
    sights: Vec<Sight>,
    outcome: Option<Outcome>,
    ended: Option<EndedAs>,
}

/// All that went against the promises of the host.
pub async fn wrongs(world: &World) -> Vec<String> {
    let mut by_message: BTreeMap<Key, Vec<Sight>> = BTreeMap::new();
    for sight in world.platforms.sights() {
        by_message.entry(sight.to.clone()).or_default().push(sight);
    }
    let told: Vec<(Key, Told)> = {
        let ledger = world.ledger();
        ledger.told.iter().map(|(key, told)| (key.clone(), told.clone())).collect()
    };
    let mut wrongs = world.ledger().wrongs.clone();
    wrongs.extend(strangers(&world.ledger(), &by_message));
    let mut matters = Vec::with_capacity(told.len());
    for (key, told) in told {
        let sights = by_message.remove(&key).unwrap_or_default();
        let outcome = world.store.outcome(&key.0, &key.1).await.expect("the store itself is sound");
        let ended = world.store.ended(&key.0, &key.1).await.expect("the store itself is sound");
        matters.push(Matter { key, told, sights, outcome, ended });
    }
    wrongs.extend(order(&matters));
    for matter in &matters {
        wrongs.extend(matter.wrongs(world, &matters));
    }
    wrongs
}

/// What people see that answers no message.
fn strangers(ledger: &Ledger, seen: &BTreeMap<Key, Vec<Sight>>) -> Vec<String> {
    let unknown = seen.iter().filter(|(key, _)| !ledger.told.contains_key(*key));
    unknown.map(|(key, sights)| format!("{key:?} answers nothing that was said: {sights:?}")).collect()
}

/// In each conversation the first sight of the answers is in the order in which the messages were stored.
fn order(matters: &[Matter]) -> Vec<String> {
    let mut conversations: BTreeMap<(&str, &str), Vec<&Told>> = BTreeMap::new();
    let seen = matters.iter().filter(|matter| matter.told.accepted.is_some() && matter.told.seen.is_some());
    for Matter { key, told, .. } in seen {
        conversations.entry((&key.0, &told.conversation)).or_default().push(told);
    }
    let mut wrongs = Vec::new();
    for (place, mut turns) in conversations {
        turns.sort_by_key(|told| told.accepted);
        let turned = turns.windows(2).filter(|pair| pair[0].seen > pair[1].seen);
        let told = |pair: &[&Told]| {
            format!("{place:?}: q{} was answered before q{}", pair[1].number, pair[0].number)
        };
        wrongs.extend(turned.map(told));
    }
    wrongs
}

impl Matter {
    fn name(&self) -> String {
        format!("q{}", self.told.number)
    }

    /// The stored answer, be it empty.
    fn reply(&self) -> Option<&Reply> {
        match &self.outcome {
            Some(Outcome::Answered(reply)) => Some(reply),
            _ => None,
        }
    }

    fn is_of_same_conversation(&self, other: &Matter) -> bool {
        (&self.key.0, &self.told.conversation) == (&other.key.0, &other.told.conversation)
    }

    fn wrongs(&self, world: &World, all: &[Matter]) -> Vec<String> {
        world.count(&self.kind());
        (0..self.told.doubles.min(self.sights.len())).for_each(|_| world.count("double excused"));
        let mut wrongs = self.wrong_sights(all);
        wrongs.extend(self.wrong_end(world));
        if self.ended == Some(EndedAs::Delivered)
            && let Some(reply) = self.reply()
        {
            wrongs.extend(self.delivered(world, reply, all));
        }
        wrongs.extend(self.doubled());
        wrongs
    }

    fn wrong_sights(&self, all: &[Matter]) -> Vec<String> {
        let (name, told) = (self.name(), &self.told);
        let mut wrongs = Vec::new();
        for sight in &self.sights {
            if sight.conversation != told.conversation {
                wrongs.push(format!("{name} of {} is answered in {}", told.conversation, sight.conversation));
            }
            let others = numbers(&sight.text).filter(|number| *number != told.number);
            for other in others.filter_map(|number| all.iter().find(|matter| matter.told.number == number)) {
                if !self.may_answer(other) {
                    wrongs.push(format!(
                        "{name} is answered by what is {}'s: {:?}",
                        other.name(),
                        sight.text
                    ));
                }
            }
            if sight.is_open {
                wrongs.push(format!("the card that answers {name} is left open: {:?}", sight.text));
            }
        }
        // A card that was opened beside it shows as much as there was, or that it was stopped.
        let is_answer = |sight: &&Sight| numbers(&sight.text).next().is_some();
        if told.is_withdrawn_unseen
            && told.is_withdrawn_unanswered
            && let Some(sight) = self.sights.iter().find(is_answer)
        {
            wrongs.push(format!("{name} was taken back and answered all the same: {:?}", sight.text));
        }
        wrongs
    }

    /// Whether an answer to this message may be one to another: to one that came behind it, and gets no answer of its
    /// own.
    fn may_answer(&self, other: &Matter) -> bool {
        self.is_of_same_conversation(other)
            && other.told.with == Some(self.told.number)
            && other.sights.is_empty()
    }

    fn wrong_end(&self, world: &World) -> Vec<String> {
        let (name, told) = (self.name(), &self.told);
        let mut wrongs = Vec::new();
        if !told.is_acknowledged {
            wrongs.push(format!("{name} was never acknowledged"));
        }
        match self.ended {
            None => wrongs.push(format!("{name} was acknowledged and never came to an end")),
            Some(EndedAs::Dead) if world.weather.is_calm_at_platforms() => {
                wrongs.push(format!("{name} is dead though no platform failed: {:?}", told.ending));
            }
            Some(EndedAs::Withdrawn) if !told.is_taken_back => {
                wrongs.push(format!("{name} ended as if it had been taken back"));
            }
            _ => {}
        }
        wrongs
    }

    fn kind(&self) -> String {
        let answer = match self.reply() {
            Some(reply) if reply.text.is_empty() => ", silent",
            Some(reply) if reply.text.starts_with("Sorry") => ", an apology",
            Some(_) => ", answered",
            None => "",
        };
        let ended = self.ended.map_or_else(|| "unfinished".to_owned(), |it| format!("{it:?}").to_lowercase());
        format!("message {ended}{answer}")
    }

    /// What a person sees is what was stored as the answer.
    fn delivered(&self, world: &World, reply: &Reply, all: &[Matter]) -> Vec<String> {
        let mut wrongs = Vec::new();
        let name = self.name();
        if reply.text.starts_with("Sorry") && world.weather.is_calm_at_models() {
            wrongs.push(format!("{name} got an apology though nothing failed"));
        }
        if reply.text.is_empty() && self.is_broken_off(world, all) {
            world.count("answer broken off");
            return wrongs;
        }
        if reply.text.is_empty() && !self.may_be_silent(world, all) {
            wrongs.push(format!("{name} was met with silence"));
        }
        if self.is_answered_with_another(reply, all) {
            world.count("answered together");
            return wrongs;
        }
        let texts = self.sights.iter().map(|sight| sight.text.as_str());
        let mut parts: Vec<&str> = Vec::new();
        for text in texts.chain(self.told.heard.iter().map(String::as_str)) {
            if !parts.contains(&text) {
                parts.push(text);
            }
        }
        let (seen, stored) = (without_spaces(&parts.concat()), without_spaces(&reply.text));
        if seen != stored {
            let (seen, stored): (String, String) =
                (seen.chars().take(80).collect(), stored.chars().take(80).collect());
            wrongs.push(format!("{name}: people see {seen:?}, and {stored:?} is stored"));
        }
        wrongs
    }

    /// Another message of the conversation came behind it, and stopped its answer: what is seen of it stays.
    fn is_broken_off(&self, world: &World, all: &[Matter]) -> bool {
        let follows =
            |other: &&Matter| self.is_of_same_conversation(other) && self.told.accepted < other.told.accepted;
        world.weather.meanwhile == Meanwhile::Interrupt && all.iter().any(|other| follows(&other))
    }

    /// A pipeline said nothing to it, or to what it was put together with.
    fn may_be_silent(&self, world: &World, all: &[Matter]) -> bool {
        let hushes = |matter: &Matter| matter.told.text.starts_with("hush");
        let is_together = world.weather.meanwhile == Meanwhile::Merge;
        hushes(self)
            || is_together && all.iter().any(|other| self.is_of_same_conversation(other) && hushes(other))
    }

    /// It was put together with the one before it, where the answer stands.
    fn is_answered_with_another(&self, reply: &Reply, all: &[Matter]) -> bool {
        let is_there = |other: &&Matter| {
            other.may_answer(self)
                && other.reply().is_some_and(|its| its.text == reply.text)
                && other.ended == Some(EndedAs::Delivered)
                && !other.sights.is_empty()
        };
        all.iter().any(|other| is_there(&other))
    }

    /// Nothing is seen twice but where a platform has no key, and a start died or heard nothing between doing and
    /// noting.
    fn doubled(&self) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for sight in &self.sights {
            *counts.entry(sight.text.as_str()).or_default() += 1;
        }
        let doubles: usize = counts.values().map(|count| count - 1).sum();
        let allowed = if KEYED.contains(&self.key.0.as_str()) { 0 } else { self.told.doubles };
        if doubles <= allowed {
            return Vec::new();
        }
        let (name, sights) = (self.name(), &self.sights);
        vec![format!("{name} is answered {doubles} times over, {allowed} are excused: {sights:?}")]
    }
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}
