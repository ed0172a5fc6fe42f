//! What has to hold when a run is over.

use std::collections::BTreeMap;

use parlor::message::Reply;
use parlor::store::{EndedAs, Outcome, Store as _};

use super::ledger::{Key, Ledger, Told};
use super::people::numbers;
use super::platforms::{BOARD, HOOK, LARK, Sight};
use super::world::World;

/// Platforms that show a repeat of the same key once.
const KEYED: [&str; 3] = [LARK, BOARD, HOOK];

/// All that went against the promises of the host.
pub async fn wrongs(world: &World) -> Vec<String> {
    let sights = world.platforms.sights();
    let mut by_message: BTreeMap<Key, Vec<Sight>> = BTreeMap::new();
    for sight in sights {
        by_message.entry(sight.to.clone()).or_default().push(sight);
    }
    let told: Vec<(Key, Told)> = {
        let ledger = world.ledger();
        ledger.told.iter().map(|(key, told)| (key.clone(), told.clone())).collect()
    };
    let mut wrongs = world.ledger().wrongs.clone();
    wrongs.extend(strangers(&world.ledger(), &by_message));
    wrongs.extend(order(&told));
    for (key, told) in &told {
        let sights = by_message.get(key).map(Vec::as_slice).unwrap_or_default();
        let outcome = world.store.outcome(&key.0, &key.1).await.expect("the store itself is sound");
        let ended = world.store.ended(&key.0, &key.1).await.expect("the store itself is sound");
        wrongs.extend(of_message(world, key, told, sights, outcome, ended));
    }
    wrongs
}

/// What people see that answers no message.
fn strangers(ledger: &Ledger, seen: &BTreeMap<Key, Vec<Sight>>) -> Vec<String> {
    let unknown = seen.iter().filter(|(key, _)| !ledger.told.contains_key(*key));
    unknown.map(|(key, sights)| format!("{key:?} answers nothing that was said: {sights:?}")).collect()
}

/// In each conversation the first sight of the answers is in the order in which the messages were stored.
fn order(told: &[(Key, Told)]) -> Vec<String> {
    let mut conversations: BTreeMap<(&str, &str), Vec<&Told>> = BTreeMap::new();
    for (key, told) in told.iter().filter(|(_, told)| told.accepted.is_some() && told.seen.is_some()) {
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

fn of_message(
    world: &World,
    key: &Key,
    told: &Told,
    sights: &[Sight],
    outcome: Option<Outcome>,
    ended: Option<EndedAs>,
) -> Vec<String> {
    let name = format!("q{}", told.number);
    world.count(&kind(ended, outcome.as_ref()));
    (0..told.doubles.min(sights.len())).for_each(|_| world.count("double excused"));
    let mut wrongs = Vec::new();
    for sight in sights {
        if sight.conversation != told.conversation {
            wrongs.push(format!("{name} of {} is answered in {}", told.conversation, sight.conversation));
        }
        if numbers(&sight.text).any(|number| number != told.number) {
            wrongs.push(format!("{name} is answered by what is another's: {:?}", sight.text));
        }
        if sight.is_open {
            wrongs.push(format!("the card that answers {name} is left open: {:?}", sight.text));
        }
    }
    if !told.is_acknowledged {
        wrongs.push(format!("{name} was never acknowledged"));
    }
    match (ended, outcome) {
        (None, _) => wrongs.push(format!("{name} was acknowledged and never came to an end")),
        (Some(EndedAs::Dead), _) if world.weather.is_calm_at_platforms() => {
            wrongs.push(format!("{name} is dead though no platform failed: {:?}", told.ending));
        }
        (Some(EndedAs::Withdrawn), _) if !told.is_taken_back => {
            wrongs.push(format!("{name} ended as if it had been taken back"));
        }
        (Some(EndedAs::Delivered), Some(Outcome::Answered(reply))) => {
            wrongs.extend(delivered(told, sights, &reply));
            if reply.text.starts_with("Sorry") && world.weather.is_calm_at_models() {
                wrongs.push(format!("{name} got an apology though nothing failed"));
            }
        }
        _ => {}
    }
    // A card that was opened beside it shows as much as there was, or that it was stopped.
    let is_answer = |sight: &&Sight| numbers(&sight.text).next().is_some();
    if told.is_withdrawn_unseen
        && let Some(sight) = sights.iter().find(is_answer)
    {
        wrongs.push(format!("{name} was taken back and answered all the same: {:?}", sight.text));
    }
    wrongs.extend(doubled(key, told, sights));
    wrongs
}

fn kind(ended: Option<EndedAs>, outcome: Option<&Outcome>) -> String {
    let answer = match outcome {
        Some(Outcome::Answered(reply)) if reply.text.is_empty() => ", silent",
        Some(Outcome::Answered(reply)) if reply.text.starts_with("Sorry") => ", an apology",
        Some(Outcome::Answered(_)) => ", answered",
        _ => "",
    };
    let ended = ended.map_or_else(|| "unfinished".to_owned(), |ended| format!("{ended:?}").to_lowercase());
    format!("message {ended}{answer}")
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

/// What a person sees is what was stored as the answer.
fn delivered(told: &Told, sights: &[Sight], reply: &Reply) -> Vec<String> {
    let mut parts: Vec<&str> = Vec::new();
    for sight in sights {
        if !parts.contains(&sight.text.as_str()) {
            parts.push(&sight.text);
        }
    }
    let (seen, stored) = (without_spaces(&parts.concat()), without_spaces(&reply.text));
    if seen == stored {
        return Vec::new();
    }
    let (seen, stored): (String, String) =
        (seen.chars().take(80).collect(), stored.chars().take(80).collect());
    vec![format!("q{}: people see {seen:?}, and {stored:?} is stored", told.number)]
}

/// Nothing is seen twice but where a platform has no key, and a start died or heard nothing between doing and noting.
fn doubled(key: &Key, told: &Told, sights: &[Sight]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for sight in sights {
        *counts.entry(sight.text.as_str()).or_default() += 1;
    }
    let doubles: usize = counts.values().map(|count| count - 1).sum();
    let allowed = if KEYED.contains(&key.0.as_str()) { 0 } else { told.doubles };
    if doubles <= allowed {
        return Vec::new();
    }
    vec![format!("q{} is answered {} times over, {allowed} are excused: {sights:?}", told.number, doubles)]
}
