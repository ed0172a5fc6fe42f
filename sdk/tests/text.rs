//! What must hold for every text that is cut into parts.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_sdk::text::{split, split_by};
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

const FAMILY: &str = "👨‍👩‍👧‍👦";

#[test]
fn a_short_text_is_one_part() {
    assert_eq!(split("hello", 5), ["hello"]);
    assert!(split("", 5).is_empty());
}

#[test]
fn an_emoji_of_many_code_points_is_never_torn() {
    let text = FAMILY.repeat(10);
    for part in split(&text, 60) {
        assert!(part.len() <= 60);
        assert_eq!(part.replace(FAMILY, ""), "");
    }
}

#[test]
fn a_fence_is_closed_and_opened_again() {
    let code = "let x = 1;\n".repeat(20);
    let text = format!("Look:\n\n```rust\n{code}```\n\nDone.");
    let parts = split(&text, 120);
    assert!(parts.len() > 1);
    for part in &parts {
        assert!(part.len() <= 120, "{part}");
        assert_eq!(part.matches("```").count() % 2, 0, "{part}");
    }
    assert!(parts[1].starts_with("```rust\nlet"), "{}", parts[1]);
    assert_eq!(parts.concat().matches("let x = 1;").count(), 20);
    assert!(parts.last().unwrap().ends_with("Done."));
}

#[test]
fn no_part_is_an_empty_code_block() {
    for bytes_max in 100..200 {
        let text = format!("{}\n```rust\nlet x = 1;\n```\n{}", "word ".repeat(20), "word ".repeat(20));
        for part in split(&text, bytes_max) {
            assert!(!part.contains("```rust\n```"), "{bytes_max}: {part}");
        }
    }
}

#[test]
fn paragraphs_come_before_lines_before_words() {
    assert_eq!(split("aaaa bbbb\ncccc\n\ndddd eeee", 32), ["aaaa bbbb\ncccc\n\ndddd eeee"]);
    let text = format!("{}\n\n{}", "a".repeat(60), "b".repeat(60));
    assert_eq!(split(&text, 100), ["a".repeat(60), "b".repeat(60)]);
    let text = format!("{} {}", "a".repeat(60), "b".repeat(60));
    assert_eq!(split(&text, 100), ["a".repeat(60), "b".repeat(60)]);
}

#[test]
fn weight_is_what_the_caller_says() {
    let parts = split_by(&"\"".repeat(100), 40, |grapheme| grapheme.len() * 2);
    assert!(parts.iter().all(|part| part.len() <= 20));
    assert_eq!(parts.concat().len(), 100);
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n```rust\n".to_owned()),
        Just("\n```\n".to_owned()),
        Just("\n~~~~\n".to_owned()),
        Just("\n\n".to_owned()),
        Just(" ".to_owned()),
        Just(FAMILY.to_owned()),
        Just("e\u{301}".to_owned()),
        "[a-z你好]{1,40}",
    ];
    proptest::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

/// Words and emoji, without the blanks and fences that a cut may change.
fn substance(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("```") && !line.starts_with("~~~"))
        .collect::<String>()
        .replace(' ', "")
}

proptest! {
    #[test]
    fn parts_fit_and_lose_nothing(text in pieces(), bytes_max in 160_usize..400) {
        let parts = split(&text, bytes_max);
        for part in &parts {
            prop_assert!(part.len() <= bytes_max, "{} > {bytes_max}", part.len());
        }
        prop_assert_eq!(parts.iter().map(|part| substance(part)).collect::<String>(), substance(&text));
        let whole: Vec<&str> = text.graphemes(true).collect();
        for part in &parts {
            for grapheme in part.graphemes(true) {
                prop_assert!(grapheme.is_ascii() || whole.contains(&grapheme));
            }
        }
    }
}
