//! What a character counts as: the same word in another guise folds to the same letters.
//!
//! Compatibility decomposition and full case folding, one character at a time: full-width, circled and
//! mathematical letters become plain ones, `ß` is `ss`, `ﬁ` is `fi`. What cannot be seen is dropped, and so
//! are accents and other marks on letters of a foreign script. It knows no list; `stream` puts it to use.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Stands for a character of the mask, which is never part of a word: a noncharacter, which no fold gives.
pub const BARRIER: char = '\u{ffff}';

/// What may stand between the characters of a word if one of its neighbours is Chinese.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skip {
    /// Nothing.
    None,
    /// Space within a line.
    #[default]
    Space,
    /// Space, line breaks and punctuation.
    Punctuation,
}

impl Skip {
    /// Whether a folded character may be passed over.
    pub fn skips(self, letter: char) -> bool {
        match self {
            Self::None => false,
            Self::Space => is_space(letter) && !is_line_break(letter),
            Self::Punctuation => is_space(letter) || is_punctuation(letter),
        }
    }
}

/// The letters of one character, none if it does not count. `before` is the letter right before it: a mark
/// counts only on a letter of its own script.
pub fn fold(character: char, before: Option<char>, mut keep: impl FnMut(char)) {
    if is_plain_han(character) || matches!(character, ' '..='~') {
        return keep(character.to_ascii_lowercase());
    }
    let mut before = before;
    decompose_compatible(character, |part| {
        if is_invisible(part) || is_stray_mark(part, before) {
            return;
        }
        for letter in part.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
            before = Some(letter);
            keep(letter);
        }
    });
}

/// Whether a character by itself has letters.
pub fn counts(character: char) -> bool {
    let mut counts = false;
    fold(character, None, |_| counts = true);
    counts
}

/// Whether a match may not end between these two: inside a word of a script that has spaces between words,
/// if `whole_words`, or inside what people see as one character.
pub fn are_joined(first: char, second: char, whole_words: bool) -> bool {
    (whole_words && is_spaced_letter(first) && is_spaced_letter(second))
        || (is_extension(second) && block(first) == block(second))
}

/// The blocks of Chinese characters as they are left by the fold.
pub const HAN: [(char, char); 5] = [
    ('\u{2e80}', '\u{2fdf}'),
    ('\u{3005}', '\u{3007}'),
    ('\u{3400}', '\u{4dbf}'),
    ('\u{4e00}', '\u{9fff}'),
    ('\u{20000}', '\u{3ffff}'),
];

/// Whether a folded character is Chinese.
pub fn is_han(letter: char) -> bool {
    HAN.iter().any(|(first, last)| (*first..=*last).contains(&letter))
}

/// Whether a folded character is white space, or looks like it.
pub fn is_space(letter: char) -> bool {
    letter.is_whitespace() || letter == '\u{2800}'
}

/// Most of Chinese text: it folds to itself.
fn is_plain_han(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

fn is_line_break(letter: char) -> bool {
    matches!(letter, '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Punctuation and signs of text. Pictures are none: they may be words.
fn is_punctuation(letter: char) -> bool {
    let is_in_reach = matches!(
        letter,
        '\u{21}'..='\u{2bf}' | '\u{2010}'..='\u{20cf}' | '\u{2500}'..='\u{25ff}' | '\u{3001}'..='\u{3030}'
            | '\u{303d}' | '\u{30fb}' | '\u{fe10}'..='\u{fe6f}'
    );
    is_in_reach && !letter.is_alphanumeric() && !is_han(letter)
}

/// Default ignorable code points, other format characters, controls that are no space, and [`BARRIER`].
fn is_invisible(part: char) -> bool {
    match part {
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => !part.is_whitespace(),
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' => true,
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' => true,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// A mark that only decorates: an accent, a vowel sign that may be left out, or one on a foreign letter.
fn is_stray_mark(part: char, before: Option<char>) -> bool {
    part > '\u{2ff}'
        && is_combining_mark(part)
        && (is_decoration(part) || before.is_none_or(|before| block(before) != block(part)))
}

/// Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic, marks of symbols.
fn is_decoration(mark: char) -> bool {
    matches!(
        mark,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}' | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
    )
}

/// A letter or digit of a script that writes spaces between words.
fn is_spaced_letter(letter: char) -> bool {
    letter < '\u{590}' && letter.is_alphanumeric()
}

/// A mark that the fold kept, or the vowel or end of a Korean syllable.
fn is_extension(letter: char) -> bool {
    matches!(letter, '\u{1161}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7ff}')
        || letter > '\u{2ff}' && is_combining_mark(letter)
}

/// Scripts whose marks are kept lie within 256 code points.
fn block(letter: char) -> u32 {
    u32::from(letter) >> 8
}
