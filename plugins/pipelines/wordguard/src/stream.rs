//! Text that streams by in pieces: what is masked, what may be shown, and what must wait.
//!
//! The same pieces in any cutting give the same text: a whole text is a stream of one piece. What could still
//! become a word is held back, and nothing else. It knows no settings and no turn.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::fold::{BARRIER, Skip, counts, fold, is_han, is_space};
use crate::scan::{Found, Scanner};
use crate::words::{Rule, Words};

/// How words are looked for, and what takes their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    /// One character takes the place of each that is found, several take that of all.
    pub mask: String,
    /// What may stand between the characters of Chinese words.
    pub skip: Skip,
    /// `ass` is not in `class`.
    pub whole_words: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { mask: "＊".to_owned(), skip: Skip::default(), whole_words: true }
    }
}

impl Manner {
    /// The letters of an entry of the list.
    pub fn fold_word(&self, word: &str) -> Vec<char> {
        let mut folder = Folder::new(self.skip);
        let mut letters = Vec::new();
        for character in word.chars() {
            if folder.read(character, 0, 0) {
                letters.extend(folder.decided.drain(..).map(|passed| passed.letter));
                letters.extend_from_slice(&folder.letters);
            }
        }
        let is_passed_over = |letter: &char| self.skip.skips(*letter);
        letters.truncate(letters.len() - letters.iter().rev().take_while(|l| is_passed_over(l)).count());
        letters.drain(..letters.iter().take_while(|l| is_passed_over(l)).count());
        letters
    }

    /// A text with its words masked, and which they are.
    pub fn mask(&self, words: &mut Words, text: &str) -> Sifted {
        let mut stream = Stream::new(self.clone());
        let mut sifted = stream.push(words, text);
        let rest = stream.finish(words);
        sifted.text.push_str(&rest.text);
        sifted.rules.extend(rest.rules);
        sifted
    }

    fn mask_of(&self, found: &str) -> String {
        let mut characters = self.mask.chars();
        let is_one = characters.next().is_some() && characters.next().is_none();
        let seen = found.graphemes(true).filter(|grapheme| grapheme.chars().any(counts));
        if is_one { self.mask.repeat(seen.count()) } else { self.mask.clone() }
    }
}

/// What may be shown, and the words that were found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// Text with its words masked.
    pub text: String,
    /// In the order of the text.
    pub rules: Vec<Rule>,
}

/// A text on its way.
#[derive(Debug)]
pub struct Stream {
    manner: Manner,
    folder: Folder,
    scanner: Scanner,
    /// What is held back.
    text: String,
    /// Bytes before it.
    offset: usize,
}

impl Stream {
    /// Nothing read.
    pub fn new(manner: Manner) -> Self {
        Self {
            folder: Folder::new(manner.skip),
            scanner: Scanner::new(manner.whole_words),
            manner,
            text: String::new(),
            offset: 0,
        }
    }

    /// Takes a piece, and gives all that can no longer become part of a word.
    pub fn push(&mut self, words: &mut Words, piece: &str) -> Sifted {
        let mut found = Vec::new();
        let before = self.offset + self.text.len();
        for (at, character) in piece.char_indices() {
            let start = before + at;
            self.read(words, character, start, start + character.len_utf8(), &mut found);
        }
        self.text.push_str(piece);
        let undecided: Vec<char> = self.folder.undecided.iter().map(|passed| passed.letter).collect();
        let held = self.scanner.held(words, &undecided);
        self.release(&found, held.unwrap_or(self.offset + self.text.len()))
    }

    /// The stream is over: gives the rest.
    pub fn finish(&mut self, words: &mut Words) -> Sifted {
        let mut found = Vec::new();
        self.scanner.finish(words, &mut found);
        self.folder = Folder::new(self.manner.skip);
        self.release(&found, self.offset + self.text.len())
    }

    /// What could still become part of a word.
    pub fn held(&self) -> &str {
        &self.text
    }

    fn read(&mut self, words: &mut Words, character: char, start: usize, end: usize, found: &mut Vec<Found>) {
        if self.manner.mask.contains(character) {
            self.folder.read_barrier();
        } else if !self.folder.read(character, start, end) {
            if self.folder.is_at_letter() {
                self.scanner.stretch(end);
            }
            return;
        }
        for passed in self.folder.decided.drain(..) {
            self.scanner.read(words, &[passed.letter], passed.start, passed.end, found);
        }
        self.scanner.read(words, &self.folder.letters, start, end, found);
    }

    fn release(&mut self, found: &[Found], until: usize) -> Sifted {
        let mut sifted = Sifted::default();
        let mut from = 0;
        for word in found {
            let (start, end) = (word.start - self.offset, word.end - self.offset);
            sifted.text.push_str(&self.text[from..start]);
            sifted.text.push_str(&self.manner.mask_of(&self.text[start..end]));
            sifted.rules.push(word.rule);
            from = end;
        }
        let until = until - self.offset;
        sifted.text.push_str(&self.text[from..until]);
        self.text.drain(..until);
        self.offset += until;
        sifted
    }
}

/// From characters to letters, as far as the characters around them have a say.
#[derive(Debug)]
struct Folder {
    skip: Skip,
    last: Last,
    /// What may be passed over if the next letter is Chinese, and counts otherwise.
    undecided: Vec<Passed>,
    /// What counts after all, before `letters`.
    decided: Vec<Passed>,
    /// Those of the character that was read last.
    letters: Vec<char>,
}

/// What came last.
#[derive(Clone, Copy, Debug)]
enum Last {
    Nothing,
    Letter(char),
    /// Something to pass over, after this letter.
    Gap(Option<char>),
}

/// A character between words, or within one.
#[derive(Clone, Copy, Debug)]
struct Passed {
    letter: char,
    start: usize,
    end: usize,
}

impl Folder {
    fn new(skip: Skip) -> Self {
        let (undecided, decided, letters) = (Vec::new(), Vec::new(), Vec::new());
        Self { skip, last: Last::Nothing, undecided, decided, letters }
    }

    /// Reads a character, the bytes `start..end`, and tells whether it has letters.
    fn read(&mut self, character: char, start: usize, end: usize) -> bool {
        let before = if let Last::Letter(letter) = self.last { Some(letter) } else { None };
        let (letters, mut passed) = (&mut self.letters, None);
        letters.clear();
        // Of `⑴` the digit counts: what may be passed over does not within one character.
        fold(character, before, |letter| {
            if self.skip.skips(letter) { passed = Some(letter) } else { letters.push(letter) }
        });
        match (letters.first(), passed) {
            (Some(first), _) => {
                let counts = !is_han(*first);
                self.decide(counts);
                true
            }
            (None, Some(passed)) => {
                self.pass_over(passed, start, end);
                false
            }
            (None, None) => false,
        }
    }

    fn read_barrier(&mut self) {
        self.letters.clear();
        self.letters.push(BARRIER);
        self.decide(true);
    }

    /// Letters come: what was passed over before them counts or not.
    fn decide(&mut self, counts: bool) {
        self.decided.clear();
        if counts {
            self.decided.append(&mut self.undecided);
        }
        self.undecided.clear();
        self.last = self.letters.last().map_or(Last::Nothing, |letter| Last::Letter(*letter));
    }

    fn pass_over(&mut self, letter: char, start: usize, end: usize) {
        let before = match self.last {
            Last::Nothing => None,
            Last::Letter(letter) => Some(letter),
            Last::Gap(before) => before,
        };
        self.last = Last::Gap(before);
        if before.is_some_and(is_han) {
            return;
        }
        let letter = if is_space(letter) { ' ' } else { letter };
        match self.undecided.last_mut() {
            Some(passed) if letter == ' ' && passed.letter == ' ' => passed.end = end,
            _ => self.undecided.push(Passed { letter, start, end }),
        }
    }

    /// Whether what comes next and does not count goes with the last letter.
    fn is_at_letter(&self) -> bool {
        matches!(self.last, Last::Letter(_))
    }
}
