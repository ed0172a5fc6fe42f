//! The pipeline that keeps listed words out of prompts and answers, also while an answer streams by.
//!
//! `settings` says what is wanted and holds the list, `stream` masks pieces of a text, `scan` finds words among
//! folded letters, `words` is the automaton and `fold` the letters. Here is what a turn goes through.

use std::collections::BTreeSet;

use parlor_sdk::{
    Content, Fault, Flow, Pipeline, Reply, Step, Turn, Utterance, log, register_pipeline, text::has_han,
};

mod fold;
mod scan;
mod settings;
mod stream;
mod words;

pub use fold::{Skip, are_joined, fold, is_han};
pub use settings::{Action, Settings};
pub use stream::{Manner, Sifted, Stream};
pub use words::{LETTERS_MAX, Rule, State, Words};

/// Rules that one turn names in the log; a flood of them says nothing more.
const RULES_LOGGED_MAX: usize = 20;

/// One turn: its message on the way in, and the answer to it on the way out.
#[derive(Default)]
pub struct Wordguard {
    guard: Option<Guard>,
}

/// A list, and how far the turn is.
struct Guard {
    settings: Settings,
    words: Words,
    refusal: String,
    stream: Stream,
    logged: BTreeSet<(&'static str, Rule)>,
}

impl Pipeline for Wordguard {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        let settings = Settings::read()?;
        if settings.inbound == Action::Off && settings.outbound == Action::Off {
            return Ok(Step::Pass);
        }
        let words = settings::words(&settings.manner)?;
        if words.is_empty() {
            return Ok(Step::Pass);
        }
        Ok(self.guard.insert(Guard::new(settings, words, &turn)).receive(turn))
    }

    fn filter(&mut self, delta: String) -> Result<Flow, Fault> {
        Ok(match &mut self.guard {
            Some(guard) => guard.pass_on(delta),
            None => Flow::Show(delta),
        })
    }

    fn finish(&mut self, reply: Reply) -> Result<Step, Fault> {
        Ok(self.guard.as_mut().map_or(Step::Pass, |guard| guard.close(reply)))
    }
}

impl Guard {
    fn new(settings: Settings, words: Words, turn: &Turn) -> Self {
        let usual = if has_han(&turn.message.text) {
            "抱歉，这个话题我不能讨论。"
        } else {
            "Sorry, I cannot talk about that."
        };
        let refusal = settings.refusal.clone().unwrap_or_else(|| usual.to_owned());
        let stream = Stream::new(settings.manner.clone());
        Self { settings, words, refusal, stream, logged: BTreeSet::new() }
    }

    /// A message with what it quotes, brings along and follows.
    fn receive(&mut self, mut turn: Turn) -> Step {
        let action = self.settings.inbound;
        if action == Action::Off {
            return Step::Pass;
        }
        let said = self.look_through(said(&mut turn));
        self.log("in", action, &said);
        match action {
            Action::Refuse if !said.is_empty() => Step::Say(Reply::aside(&*self.refusal)),
            Action::Alert => Step::Pass,
            _ => {
                // What was said before was looked through then, and stands in the history as it was said.
                let earlier = self.look_through(earlier(&mut turn));
                if said.is_empty() && earlier.is_empty() { Step::Pass } else { Step::Next(Box::new(turn)) }
            }
        }
    }

    fn pass_on(&mut self, delta: String) -> Flow {
        let action = self.settings.outbound;
        if action == Action::Off {
            return Flow::Show(delta);
        }
        let sifted = self.stream.push(&mut self.words, &delta);
        self.log("out", action, &sifted.rules);
        match action {
            Action::Refuse if !sifted.rules.is_empty() => Flow::Stop(Reply::aside(&*self.refusal)),
            Action::Alert => Flow::Show(delta),
            _ => Flow::Show(sifted.text),
        }
    }

    fn close(&mut self, mut reply: Reply) -> Step {
        let action = self.settings.outbound;
        if action == Action::Off {
            return Step::Pass;
        }
        let rules = self.look_through(shown(&mut reply));
        self.log("out", action, &rules);
        match action {
            _ if rules.is_empty() => Step::Pass,
            Action::Refuse => Step::Say(Reply::aside(&*self.refusal)),
            Action::Mask => Step::Say(reply),
            Action::Alert | Action::Off => Step::Pass,
        }
    }

    /// Masks texts, and tells which words they held.
    fn look_through<'a>(&mut self, texts: impl IntoIterator<Item = &'a mut String>) -> Vec<Rule> {
        let mut rules = Vec::new();
        for text in texts {
            let sifted = self.settings.manner.mask(&mut self.words, text);
            if !sifted.rules.is_empty() {
                *text = sifted.text;
                rules.extend(sifted.rules);
            }
        }
        rules
    }

    fn log(&mut self, direction: &'static str, action: Action, rules: &[Rule]) {
        for rule in rules {
            if self.logged.len() < RULES_LOGGED_MAX && self.logged.insert((direction, *rule)) {
                let fields =
                    [("direction", direction), ("action", action.word()), ("rule", &rule.to_string())];
                log::security("a word of the list was found", &fields);
            }
        }
    }
}

/// What a person says with a message.
fn said(turn: &mut Turn) -> Vec<&mut String> {
    let message = &mut turn.message;
    let names = message.attachments.iter_mut().filter_map(|attachment| attachment.name.as_mut());
    [&mut message.text].into_iter().chain(message.quoted.as_mut()).chain(names).collect()
}

/// What was said before it, by the host's account or the caller's.
fn earlier(turn: &mut Turn) -> Vec<&mut String> {
    let utterances = turn.history.iter_mut().chain(&mut turn.message.context);
    utterances.flat_map(texts).collect()
}

fn texts(utterance: &mut Utterance) -> impl Iterator<Item = &mut String> {
    utterance.content.iter_mut().filter_map(|content| match content {
        Content::Text(text) => Some(text),
        Content::Attachment(attachment) => attachment.name.as_mut(),
    })
}

/// What a person sees of a reply.
fn shown(reply: &mut Reply) -> Vec<&mut String> {
    let names = reply.attachments.iter_mut().filter_map(|attachment| attachment.name.as_mut());
    let lines = reply.title.as_mut().into_iter().chain(&mut reply.suggestions);
    [&mut reply.text].into_iter().chain(lines).chain(names).collect()
}

register_pipeline!(Wordguard);
