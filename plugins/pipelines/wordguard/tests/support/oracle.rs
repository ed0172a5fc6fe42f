//! What a filter must do, told the plain way: the whole text at once, every word at every place.
//!
//! It shares the fold of a character with the plugin and nothing else: no automaton, no stream.

use parlor_wordguard::{Manner, are_joined, fold, is_han};

const BARRIER: char = '\u{ffff}';

/// A letter and the bytes of the character that it comes from, with what follows there and does not count.
#[derive(Clone, Copy, Debug)]
struct Cell {
    letter: char,
    start: usize,
    end: usize,
}

/// A text's characters, read one by one.
enum Item {
    Letters(Vec<char>),
    Passed(char),
    Dropped,
}

/// The bytes that matches cover, in order.
pub fn found(manner: &Manner, words: &[String], text: &str) -> Vec<(usize, usize)> {
    let words: Vec<Vec<char>> = words.iter().map(|word| manner.fold_word(word)).collect();
    let cells = cells(manner, text);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < cells.len() {
        let lengths = words.iter().filter(|word| is_match(manner, &cells, at, word)).map(Vec::len);
        let Some(length) = lengths.max() else {
            at += 1;
            continue;
        };
        let end = source_end(&cells, at + length);
        found.push((cells[source_start(&cells, at)].start, cells[end - 1].end));
        at = end;
    }
    found
}

fn is_match(manner: &Manner, cells: &[Cell], at: usize, word: &[char]) -> bool {
    let end = at + word.len();
    let is_equal = end <= cells.len()
        && !word.is_empty()
        && cells[at..end].iter().map(|c| c.letter).eq(word.iter().copied());
    let is_border = |at: usize| {
        at == 0
            || at == cells.len()
            || !are_joined(cells[at - 1].letter, cells[at].letter, manner.whole_words)
    };
    is_equal && [at, source_start(cells, at), end, source_end(cells, end)].into_iter().all(is_border)
}

fn source_start(cells: &[Cell], at: usize) -> usize {
    cells.iter().position(|cell| cell.start == cells[at].start).unwrap()
}

fn source_end(cells: &[Cell], end: usize) -> usize {
    cells.iter().rposition(|cell| cell.start == cells[end - 1].start).unwrap() + 1
}

fn cells(manner: &Manner, text: &str) -> Vec<Cell> {
    let items = items(manner, text);
    let mut cells: Vec<Cell> = Vec::new();
    let mut run: Vec<Cell> = Vec::new();
    let mut is_gap = false;
    for (item, start, end) in items {
        match item {
            Item::Letters(letters) => {
                let beside = cells.last().map(|cell| cell.letter).into_iter().chain([letters[0]]);
                if !beside.into_iter().any(is_han) {
                    cells.append(&mut run);
                }
                run.clear();
                is_gap = false;
                cells.extend(letters.into_iter().map(|letter| Cell { letter, start, end }));
            }
            Item::Passed(letter) => {
                is_gap = true;
                let letter = if letter.is_whitespace() || letter == '\u{2800}' { ' ' } else { letter };
                match run.last_mut() {
                    Some(last) if letter == ' ' && last.letter == ' ' => last.end = end,
                    _ => run.push(Cell { letter, start, end }),
                }
            }
            Item::Dropped if !is_gap => {
                let last = cells.last().map(|cell| cell.start);
                cells.iter_mut().filter(|cell| Some(cell.start) == last).for_each(|cell| cell.end = end);
            }
            Item::Dropped => {}
        }
    }
    cells
}

fn items(manner: &Manner, text: &str) -> Vec<(Item, usize, usize)> {
    let mut before = None;
    let mut items = Vec::new();
    for (start, character) in text.char_indices() {
        let mut letters = Vec::new();
        if manner.mask.contains(character) {
            letters.push(BARRIER);
        } else {
            fold(character, before, |letter| letters.push(letter));
        }
        let passed = letters.iter().copied().rfind(|letter| manner.skip.skips(*letter));
        letters.retain(|letter| !manner.skip.skips(*letter));
        let item = match (letters.last().copied(), passed) {
            (None, None) => Item::Dropped,
            (None, Some(passed)) => {
                before = None;
                Item::Passed(passed)
            }
            (last, _) => {
                before = last;
                Item::Letters(letters)
            }
        };
        items.push((item, start, start + character.len_utf8()));
    }
    items
}
