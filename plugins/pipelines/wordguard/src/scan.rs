//! Which words a stream of letters holds: leftmost first, then longest, each settled as soon as it can be.
//!
//! Letters come in sources: all that one character of the text folds to. A match covers whole sources, and
//! neither it nor what it covers may begin or end inside a word or a character that goes on. It knows offsets
//! into a text, not the text; `stream` does.

use std::collections::VecDeque;

use crate::fold::are_joined;
use crate::words::{Rule, State, Words};

/// A word, and the bytes of the text that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
    /// The entry that it is.
    pub rule: Rule,
}

/// What is known of the letters so far.
#[derive(Debug)]
pub struct Scanner {
    whole_words: bool,
    /// Letters that a match may yet cover; all that came before them are settled.
    cells: VecDeque<Cell>,
    /// The number of the first of `cells`, counted over the whole stream.
    first: usize,
    /// The letter before the first of `cells`.
    before: Option<char>,
    /// The number of the next cell that the automaton reads.
    scanned: usize,
    state: State,
    /// Whole words whose right neighbour is not known yet.
    open: Vec<Match>,
    /// The best match so far, which a longer or an earlier one may yet replace.
    best: Option<Match>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    letter: char,
    /// The bytes of its source.
    start: usize,
    end: usize,
}

/// A match by numbers of cells.
#[derive(Clone, Copy, Debug)]
struct Match {
    start: usize,
    end: usize,
    rule: Rule,
}

impl Scanner {
    /// Nothing read.
    pub fn new(whole_words: bool) -> Self {
        Self {
            whole_words,
            cells: VecDeque::new(),
            first: 0,
            before: None,
            scanned: 0,
            state: State::ROOT,
            open: Vec::new(),
            best: None,
        }
    }

    /// Reads the letters of one source, which are the bytes `start..end` of the text.
    pub fn read(
        &mut self,
        words: &mut Words,
        letters: &[char],
        start: usize,
        end: usize,
        found: &mut Vec<Found>,
    ) {
        self.cells.extend(letters.iter().map(|letter| Cell { letter: *letter, start, end }));
        self.scan(words, false, found);
        self.let_go(words);
    }

    /// What follows the last source up to `end` does not count, and goes with it.
    pub fn stretch(&mut self, end: usize) {
        let Some(last) = self.cells.back().map(|cell| cell.start) else { return };
        for cell in self.cells.iter_mut().rev().take_while(|cell| cell.start == last) {
            cell.end = end;
        }
    }

    /// The stream is over.
    pub fn finish(&mut self, words: &mut Words, found: &mut Vec<Found>) {
        self.scan(words, true, found);
        self.state = State::ROOT;
        self.let_go(words);
    }

    /// The first byte that could still be part of a match. `undecided` are letters that come next unless a
    /// Chinese character does.
    pub fn held(&self, words: &mut Words, undecided: &[char]) -> Option<usize> {
        let live = if undecided.is_empty() { self.live(words) } else { self.live_over(words, undecided) };
        let first = self.settling().chain(live).min()?;
        Some(self.cell(self.source_start(first)).start)
    }

    fn scan(&mut self, words: &mut Words, is_over: bool, found: &mut Vec<Found>) {
        loop {
            if self.scanned < self.end() {
                self.settle(Some(self.scanned));
                if !self.conclude(words, found) {
                    self.scan_source(words);
                    self.conclude(words, found);
                }
            } else if is_over {
                self.settle(None);
                let Some(best) = self.best.take() else { return };
                self.accept(best, found);
            } else {
                return;
            }
        }
    }

    fn scan_source(&mut self, words: &mut Words) {
        let end = self.source_end(self.scanned + 1);
        for at in self.scanned..end {
            self.state = words.step(self.state, self.cell(at).letter);
            self.scanned = at + 1;
            while self.state != State::ROOT && !self.may_begin(self.scanned - words.depth(self.state)) {
                self.state = words.failure(self.state);
            }
            self.note_words(words);
        }
        let mut open = std::mem::take(&mut self.open);
        open.retain(|candidate| candidate.end == end || self.is_border(candidate.end));
        self.open = open;
    }

    /// Every word that ends with the cell that was read last.
    fn note_words(&mut self, words: &mut Words) {
        let mut state = self.state;
        while state != State::ROOT {
            let start = self.scanned - words.depth(state);
            if let Some(rule) = words.word(state)
                && self.may_begin(start)
            {
                self.open.push(Match { start, end: self.scanned, rule });
            }
            state = words.shorter_word(state);
        }
    }

    /// Decides on the words that ended with the last source: `next` is the one behind it, if there is one.
    fn settle(&mut self, next: Option<usize>) {
        let is_border = next.is_none_or(|next| self.is_border(next));
        for candidate in std::mem::take(&mut self.open) {
            if is_border && self.best.is_none_or(|best| is_better(&candidate, &best)) {
                self.best = Some(candidate);
            }
        }
    }

    /// Accepts the best match once nothing that begins no later than it can become another.
    fn conclude(&mut self, words: &Words, found: &mut Vec<Found>) -> bool {
        let Some(best) = self.best else { return false };
        let is_settled = self.open.iter().all(|candidate| candidate.start > best.start)
            && self.live(words).is_none_or(|start| start > best.start);
        if is_settled {
            self.accept(best, found);
        }
        is_settled
    }

    /// Goes on behind what the match covers.
    fn accept(&mut self, accepted: Match, found: &mut Vec<Found>) {
        let end = self.source_end(accepted.end);
        let (first, last) = (self.cell(self.source_start(accepted.start)), self.cell(end - 1));
        found.push(Found { start: first.start, end: last.end, rule: accepted.rule });
        self.best = None;
        self.open.clear();
        self.state = State::ROOT;
        self.scanned = end;
        self.forget_until(end);
    }

    /// Forgets what no match can cover any more.
    fn let_go(&mut self, words: &Words) {
        let kept = self.settling().chain(self.live(words)).min();
        // The source that was read last stays: what does not count may stretch it, and its end is a neighbour.
        let last = self.end().checked_sub(1).filter(|last| *last >= self.first);
        let kept = kept.into_iter().chain(last).min();
        if let Some(kept) = kept {
            self.forget_until(self.source_start(kept));
        }
    }

    fn forget_until(&mut self, number: usize) {
        let settled = number - self.first;
        if let Some(last) = self.cells.drain(..settled).next_back() {
            self.before = Some(last.letter);
        }
        self.first = number;
    }

    /// Where the matches begin that are whole and not decided.
    fn settling(&self) -> impl Iterator<Item = usize> {
        self.open.iter().chain(&self.best).map(|candidate| candidate.start)
    }

    /// Where the longest beginning of a word begins.
    fn live(&self, words: &Words) -> Option<usize> {
        (self.state != State::ROOT).then(|| self.scanned - words.depth(self.state))
    }

    /// The same if `undecided` letters or a Chinese character come next.
    fn live_over(&self, words: &mut Words, undecided: &[char]) -> Option<usize> {
        let mut read = undecided.iter().fold(self.state, |state, letter| words.step(state, *letter));
        let mut over = None;
        while words.depth(read) > undecided.len() {
            let start = self.scanned + undecided.len() - words.depth(read);
            if self.may_begin(start) {
                over = Some(start);
                break;
            }
            read = words.failure(read);
        }
        let mut state = self.state;
        while state != State::ROOT {
            let start = self.scanned - words.depth(state);
            if words.goes_on_in_han(state) && self.may_begin(start) {
                return Some(over.map_or(start, |over| over.min(start)));
            }
            state = words.failure(state);
        }
        over
    }

    fn may_begin(&self, start: usize) -> bool {
        self.is_border(start) && self.is_border(self.source_start(start))
    }

    /// Whether a match may begin with this cell, and one may end before it.
    fn is_border(&self, number: usize) -> bool {
        let letter = self.cell(number).letter;
        self.letter_before(number).is_none_or(|before| !are_joined(before, letter, self.whole_words))
    }

    fn end(&self) -> usize {
        self.first + self.cells.len()
    }

    fn cell(&self, number: usize) -> &Cell {
        &self.cells[number - self.first]
    }

    fn letter_before(&self, number: usize) -> Option<char> {
        if number > self.first { Some(self.cell(number - 1).letter) } else { self.before }
    }

    /// The first cell of this one's source.
    fn source_start(&self, mut number: usize) -> usize {
        let start = self.cell(number).start;
        while number > self.first && self.cell(number - 1).start == start {
            number -= 1;
        }
        number
    }

    /// The number behind the last cell of the source that `end` is within or at the end of.
    fn source_end(&self, mut end: usize) -> usize {
        let start = self.cell(end - 1).start;
        while end < self.end() && self.cell(end).start == start {
            end += 1;
        }
        end
    }
}

fn is_better(one: &Match, other: &Match) -> bool {
    (one.start, other.end) < (other.start, one.end)
}
