//! For any text, any list and any cutting: what streams by, joined, is what the whole text becomes.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

#[path = "support/oracle.rs"]
mod oracle;

use parlor_wordguard::{Manner, Rule, Skip, Stream, Words, fold};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// Pieces that meet in each other's way: widths, cases, ligatures, marks, syllables, what cannot be seen.
const PIECES: &[&str] = &[
    "a",
    "b",
    "s",
    "ass",
    "A",
    "Ｂ",
    "ａ",
    "ß",
    "ẞ",
    "ss",
    "ﬁ",
    "f",
    "i",
    "İ",
    "ı",
    "ſ",
    "é",
    "e\u{301}",
    "𝒜",
    "ⓐ",
    "你",
    "好",
    "色",
    "情",
    "法",
    "你好",
    "色情",
    "K",
    "㎏",
    "㍿",
    "株",
    "会",
    "℀",
    "㏂",
    "⑴",
    "（",
    "ﷺ",
    "\u{200b}",
    "\u{200d}",
    "\u{ad}",
    "\u{fe0f}",
    "\u{301}",
    "\u{489}",
    "\u{e0061}",
    "กิ",
    "ก",
    "\u{e34}",
    "か",
    "が",
    "\u{3099}",
    "가",
    "각",
    "ᄀ",
    "ᅡ",
    "ᆨ",
    "ㄱ",
    "ㅏ",
    "д",
    "Й",
    "й",
    "σ",
    "ς",
    " ",
    "\u{a0}",
    "\u{3000}",
    "\n",
    "　",
    ".",
    "*",
    "-",
    "_",
    "、",
    "＊",
    "■",
    "[",
    "…",
    "👍🏽",
    "👨\u{200d}👩\u{200d}👧",
    "🖕",
    "1",
    "７",
    "\u{2800}",
    "\u{ffff}",
    "\0",
];

const MASKS: &[&str] = &["＊", "*", "■", "█", "●", "＊＊＊", "***", "[…]"];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![12 => select(PIECES).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn list() -> impl Strategy<Value = Vec<String>> {
    let word = prop::collection::vec(piece(), 1..5).prop_map(|pieces| pieces.concat());
    prop::collection::vec(word, 1..8)
}

fn manner() -> impl Strategy<Value = Manner> {
    let skip = select(&[Skip::None, Skip::Space, Skip::Punctuation][..]);
    (select(MASKS), skip, any::<bool>()).prop_map(|(mask, skip, whole_words)| Manner {
        mask: mask.to_owned(),
        skip,
        whole_words,
    })
}

/// A text in pieces, each of whole characters; some may be empty.
fn cut(text: &str, cuts: &[Index]) -> Vec<String> {
    let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut at: Vec<usize> = cuts.iter().map(|cut| borders[cut.index(borders.len())]).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| text[ends[0]..ends[1]].to_owned()).collect()
}

fn words(manner: &Manner, list: &[String]) -> Words {
    Words::new((0..).map(Rule::Listed).zip(list.iter().map(|word| manner.fold_word(word))))
}

fn stream(manner: &Manner, list: &[String], pieces: &[String]) -> (String, Vec<Rule>) {
    let mut words = words(manner, list);
    let mut stream = Stream::new(manner.clone());
    let (mut shown, mut rules) = (String::new(), Vec::new());
    for piece in pieces {
        let sifted = stream.push(&mut words, piece);
        shown.push_str(&sifted.text);
        rules.extend(sifted.rules);
    }
    let rest = stream.finish(&mut words);
    rules.extend(rest.rules);
    (shown + &rest.text, rules)
}

fn whole(manner: &Manner, list: &[String], text: &str) -> String {
    manner.mask(&mut words(manner, list), text).text
}

/// The text as the oracle masks it.
fn masked(manner: &Manner, list: &[String], text: &str) -> String {
    let (mut shown, mut from) = (String::new(), 0);
    for (start, end) in oracle::found(manner, list, text) {
        shown.push_str(&text[from..start]);
        let is_seen = |grapheme: &&str| grapheme.chars().any(|c| !folded(&c.to_string()).is_empty());
        let seen = text[start..end].graphemes(true).filter(is_seen).count();
        shown.push_str(&manner.mask.repeat(if manner.mask.chars().count() == 1 { seen } else { 1 }));
        from = end;
    }
    shown + &text[from..]
}

/// Another guise of a word: wide or upper-case letters, with something unseen behind each.
fn disguised(word: &str, choices: &[(u8, u8)]) -> String {
    let unseen = ["", "\u{200b}", "\u{200d}\u{2060}", "\u{fe0f}", "\u{ad}", "\u{301}", "\u{489}\u{34f}"];
    let guise = |(character, (guise, unseen_at)): (char, &(u8, u8))| {
        let wide = matches!(character, '!'..='~').then(|| u32::from(character) + 0xfee0);
        let other = match guise % 3 {
            0 => wide.and_then(char::from_u32).unwrap_or(character).to_string(),
            1 => character.to_uppercase().collect(),
            _ => character.to_string(),
        };
        other + unseen[*unseen_at as usize % unseen.len()]
    };
    word.chars().zip(choices.iter().cycle()).map(guise).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_gives_what_the_whole_text_gives(
        manner in manner(), list in list(), text in text(), cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let (joined, rules) = stream(&manner, &list, &cut(&text, &cuts));
        let sifted = manner.mask(&mut words(&manner, &list), &text);
        prop_assert_eq!(&joined, &sifted.text);
        prop_assert_eq!(rules, sifted.rules);
        let single: Vec<String> = text.chars().map(String::from).collect();
        prop_assert_eq!(stream(&manner, &list, &single).0, joined);
    }

    #[test]
    fn words_are_found_where_the_plain_way_finds_them(manner in manner(), list in list(), text in text()) {
        prop_assert_eq!(whole(&manner, &list, &text), masked(&manner, &list, &text));
    }

    #[test]
    fn no_word_survives_and_a_masked_text_stays_as_it_is(manner in manner(), list in list(), text in text()) {
        let once = whole(&manner, &list, &text);
        prop_assert_eq!(oracle::found(&manner, &list, &once), []);
        prop_assert_eq!(whole(&manner, &list, &once), once);
    }

    /// After each character, some text could follow that makes the first that is held part of a word.
    #[test]
    fn nothing_is_held_back_without_need(manner in manner(), list in list(), text in text()) {
        // What a mask consists of is in no word of a text, but may be in one of the list, in another guise.
        let list: Vec<String> = list.iter().map(|word| word.replace(|c| "＊*■█●[…]".contains(c), "")).collect();
        let mut words = words(&manner, &list);
        let mut stream = Stream::new(manner.clone());
        for (at, character) in text.char_indices() {
            stream.push(&mut words, &text[at..at + character.len_utf8()]);
            let so_far = &text[..at + character.len_utf8()];
            let held = so_far.len() - stream.held().len();
            if held == so_far.len() {
                continue;
            }
            let endings = list.iter().map(|word| manner.fold_word(word)).flat_map(|letters| {
                (0..=letters.len()).map(move |from| letters[from..].iter().collect::<String>())
            });
            let is_needed = |ending: String| {
                let found = oracle::found(&manner, &list, &format!("{so_far}{ending}"));
                found.iter().any(|(start, end)| (*start..*end).contains(&held))
            };
            prop_assert!(endings.into_iter().any(is_needed), "{:?} is held of {so_far:?}", stream.held());
        }
        stream.finish(&mut words);
        prop_assert_eq!(stream.held(), "");
    }

    #[test]
    fn a_word_is_found_in_any_guise(
        word in "[a-z]{2,6}|[你好色情法轮功]{2,4}|[а-я]{2,5}",
        choices in prop::collection::vec(any::<(u8, u8)>(), 8),
    ) {
        let manner = Manner::default();
        let text = format!("，{}。", disguised(&word, &choices));
        let shown = whole(&manner, std::slice::from_ref(&word), &text);
        prop_assert_eq!(shown, format!("，{}。", "＊".repeat(word.chars().count())));
    }
}

fn folded(text: &str) -> String {
    let mut letters = String::new();
    for character in text.chars() {
        fold(character, letters.chars().next_back(), |letter| letters.push(letter));
    }
    letters
}

#[test]
fn every_character_folds_to_what_stays_as_it_is_in_both_cases() {
    for character in '\0'..=char::MAX {
        let once = folded(&character.to_string());
        assert_eq!(folded(&once), once, "{character:?} U+{:04X}", u32::from(character));
        // An iota below a letter is a mark there and a letter of its own above it.
        if once.is_empty() || character.nfd().any(|part| part == '\u{345}') {
            continue;
        }
        for other in [character.to_uppercase().to_string(), character.to_lowercase().to_string()] {
            assert_eq!(folded(&other), once, "{character:?} U+{:04X} and {other:?}", u32::from(character));
        }
    }
}
