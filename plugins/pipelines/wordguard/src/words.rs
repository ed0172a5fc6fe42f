//! The list, and the Aho-Corasick automaton over it.
//!
//! A plugin runs in a fresh instance for each turn, so that an automaton built whole would cost more than the
//! text that it looks through. Here a state is a range of the sorted list, made when a text first reaches it,
//! and so is its failure link. Libraries build whole, tell no depth of a state, and find leftmost-longest in
//! whole texts alone: a stream needs both. It knows folded letters; which match counts is `scan`'s.

use std::collections::BTreeMap;
use std::fmt;

use crate::fold::HAN;

/// Letters of a word that count. A longer entry is found by its beginning, so that a stream is never held
/// back for longer.
pub const LETTERS_MAX: usize = 100;

/// Where an entry stands, for the operator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// In the setting `words`, from 0.
    Listed(u32),
    /// On this line of the file, from 1.
    Line(u32),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(at) => write!(f, "words[{at}]"),
            Self::Line(number) => write!(f, "file:{number}"),
        }
    }
}

/// A state of the automaton: a beginning of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State(u32);

impl State {
    /// Nothing read that a word begins with.
    pub const ROOT: State = State(0);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Folded words, and the states that texts have reached so far.
#[derive(Debug)]
pub struct Words {
    letters: Vec<char>,
    /// Sorted by their first letter; a range that a state was made for, by all letters.
    entries: Vec<Entry>,
    nodes: Vec<Node>,
    next: BTreeMap<(State, char), Option<State>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u32,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The entries that begin so.
    low: u32,
    high: u32,
    depth: u32,
    parent: State,
    letter: char,
    failure: Option<State>,
    /// The next shorter end that is a whole word; the root if there is none.
    shorter_word: Option<State>,
}

impl Words {
    /// A list of folded words; those without letters are left out.
    pub fn new(folded: impl IntoIterator<Item = (Rule, impl IntoIterator<Item = char>)>) -> Self {
        let (mut letters, mut entries) = (Vec::new(), Vec::new());
        for (rule, word) in folded {
            let start = letters.len();
            letters.extend(word.into_iter().take(LETTERS_MAX));
            let length = letters.len() - start;
            if length > 0 {
                entries.push(Entry { start: number(start), length: number(length), rule });
            }
        }
        entries.sort_unstable_by_key(|entry| letters[entry.start as usize]);
        let root = Node {
            low: 0,
            high: number(entries.len()),
            depth: 0,
            parent: State::ROOT,
            letter: '\0',
            failure: Some(State::ROOT),
            shorter_word: Some(State::ROOT),
        };
        Self { letters, entries, nodes: vec![root], next: BTreeMap::new() }
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many letters a state has read of the words that it begins.
    pub fn depth(&self, state: State) -> usize {
        self.nodes[state.index()].depth as usize
    }

    /// The word that is whole in a state.
    pub fn word(&self, state: State) -> Option<Rule> {
        let node = &self.nodes[state.index()];
        let first = self.entries.get(node.low as usize)?;
        (node.depth > 0 && first.length == node.depth).then_some(first.rule)
    }

    /// Reads a letter: the longest end of what was read that is the beginning of a word.
    pub fn step(&mut self, mut state: State, letter: char) -> State {
        loop {
            if let Some(next) = self.child(state, letter) {
                return next;
            }
            if state == State::ROOT {
                return State::ROOT;
            }
            state = self.failure(state);
        }
    }

    /// The next shorter end of what was read that is the beginning of a word.
    pub fn failure(&mut self, state: State) -> State {
        let Node { failure, parent, letter, .. } = self.nodes[state.index()];
        if let Some(known) = failure {
            return known;
        }
        let found = if parent == State::ROOT {
            State::ROOT
        } else {
            let shorter = self.failure(parent);
            self.step(shorter, letter)
        };
        self.nodes[state.index()].failure = Some(found);
        found
    }

    /// The next shorter end of what was read that is a whole word, or the root.
    pub fn shorter_word(&mut self, state: State) -> State {
        if let Some(known) = self.nodes[state.index()].shorter_word {
            return known;
        }
        let shorter = self.failure(state);
        let found = if self.word(shorter).is_some() { shorter } else { self.shorter_word(shorter) };
        self.nodes[state.index()].shorter_word = Some(found);
        found
    }

    /// The beginning that is one letter longer, if a word has it.
    pub fn child(&mut self, state: State, letter: char) -> Option<State> {
        if let Some(known) = self.next.get(&(state, letter)) {
            return *known;
        }
        let made = self.make_child(state, letter);
        self.next.insert((state, letter), made);
        made
    }

    /// Whether a Chinese character can be the next letter.
    pub fn goes_on_in_han(&self, state: State) -> bool {
        let node = &self.nodes[state.index()];
        HAN.iter().any(|(first, last)| {
            let at = self.seek(node, |next| next < Some(*first));
            at < node.high && self.letter(at, node.depth) <= Some(*last)
        })
    }

    fn make_child(&mut self, state: State, letter: char) -> Option<State> {
        let node = self.nodes[state.index()];
        let low = self.seek(&node, |next| next < Some(letter));
        let high = self.seek(&node, |next| next <= Some(letter));
        if low == high {
            return None;
        }
        if state == State::ROOT {
            self.sort(low, high);
        }
        let depth = node.depth + 1;
        self.nodes.push(Node { low, high, depth, parent: state, letter, failure: None, shorter_word: None });
        Some(State(number(self.nodes.len() - 1)))
    }

    fn sort(&mut self, low: u32, high: u32) {
        let letters = &self.letters;
        let word = |entry: &Entry| &letters[entry.start as usize..(entry.start + entry.length) as usize];
        let range = &mut self.entries[low as usize..high as usize];
        range.sort_unstable_by(|one, other| word(one).cmp(word(other)).then(one.rule.cmp(&other.rule)));
    }

    /// The first entry of a node whose next letter is not `before` what is looked for.
    fn seek(&self, node: &Node, before: impl Fn(Option<char>) -> bool) -> u32 {
        let range = &self.entries[node.low as usize..node.high as usize];
        node.low + number(range.partition_point(|entry| before(self.letter_of(entry, node.depth))))
    }

    fn letter(&self, at: u32, depth: u32) -> Option<char> {
        self.letter_of(&self.entries[at as usize], depth)
    }

    /// None, which sorts first, if the word ends before it.
    fn letter_of(&self, entry: &Entry, depth: u32) -> Option<char> {
        (depth < entry.length).then(|| self.letters[(entry.start + depth) as usize])
    }
}

fn number(size: usize) -> u32 {
    u32::try_from(size).expect("a list of a few megabytes has fewer letters")
}
