//! What the strict reader takes, and that the writer's text is canonical (RFC 8785).

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_sdk::json::{DEPTH_MAX, Error, VALUES_MAX, Value, object};
use proptest::prelude::*;

#[test]
fn numbers_are_written_as_ecmascript_writes_them() {
    // RFC 8785, appendix B, and the borders of each layout.
    let cases = [
        ("-0.0", "0"),
        ("5e-324", "5e-324"),
        ("-5e-324", "-5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("9007199254740992", "9007199254740992"),
        ("295147905179352830000", "295147905179352830000"),
        ("9.999999999999997e22", "9.999999999999997e+22"),
        ("1e23", "1e+23"),
        ("999999999999999700000", "999999999999999700000"),
        ("999999999999999900000", "999999999999999900000"),
        ("1e21", "1e+21"),
        ("9.999999999999997e-7", "9.999999999999997e-7"),
        ("0.000001", "0.000001"),
        ("333333333.3333332", "333333333.3333332"),
        ("333333333.33333325", "333333333.33333325"),
        ("-0.0000033333333333333333", "-0.0000033333333333333333"),
        ("1424953923781206.2", "1424953923781206.2"),
        ("100", "100"),
        ("1.5E+1", "15"),
    ];
    for (json, canonical) in cases {
        assert_eq!(Value::read(json).unwrap().canonical(), canonical, "{json}");
    }
}

#[test]
fn what_parsers_disagree_on_is_refused() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Value::read(&nested(DEPTH_MAX)).is_ok());
    let cases = [
        (nested(DEPTH_MAX + 1), Error::TooDeep),
        ("[".repeat(100_000), Error::TooDeep),
        (format!("[{}1]", "1,".repeat(VALUES_MAX)), Error::TooMany),
        ("{\"a\":1,\"b\":2,\"\\u0061\":3}".into(), Error::DuplicateName),
        ("\"\\ud83d\"".into(), Error::NotInterchangeable),
        ("\"\\ude00\\ud83d\"".into(), Error::NotInterchangeable),
        ("1e400".into(), Error::NotInterchangeable),
        ("01".into(), Error::Syntax),
        ("1.".into(), Error::Syntax),
        ("+1".into(), Error::Syntax),
        ("[1,]".into(), Error::Syntax),
        ("\"\t\"".into(), Error::Syntax),
        ("\"\\x\"".into(), Error::Syntax),
        ("{} x".into(), Error::Syntax),
        (String::new(), Error::Syntax),
    ];
    for (json, error) in cases {
        assert_eq!(Value::read(&json), Err(error), "{}", &json[..json.len().min(40)]);
    }
}

#[test]
fn objects_are_built_in_canonical_order() {
    let built = object([("\u{fb33}", 1_u32.into()), ("😀", "x".into()), ("a", Value::from(None::<bool>))]);
    assert_eq!(built.canonical(), "{\"a\":null,\"😀\":\"x\",\"\u{fb33}\":1}");
    assert_eq!(Value::read(&built.canonical()), Ok(built));
}

#[test]
fn only_exact_whole_numbers_are_whole() {
    let whole = |json: &str| Value::read(json).unwrap().as_u64();
    assert_eq!(whole("1.7e9"), Some(1_700_000_000));
    assert_eq!(whole("9007199254740991"), Some(9_007_199_254_740_991));
    for json in ["9007199254740992", "-1", "1.5", "\"1\"", "null"] {
        assert_eq!(whole(json), None, "{json}");
    }
}

/// Wherever it stands, and whatever stands beside it.
#[test]
fn what_has_to_be_escaped_is_found_at_each_place() {
    let characters = (0..=0xff).filter_map(char::from_u32).chain(['等', '\u{d7ff}', '\u{e000}', '\u{1f600}']);
    for character in characters {
        for place in 0..20 {
            for neighbour in ["!", "[", "\u{7f}", "é"] {
                let text = format!("{}{character}{}", neighbour.repeat(place), neighbour.repeat(9));
                let is_plain = Value::read(&format!("\"{text}\"")).is_ok();
                let has_to_be_escaped = character < ' ' || matches!(character, '"' | '\\');
                assert_eq!(is_plain, !has_to_be_escaped, "{text:?}");
                let value = Value::from(text.as_str());
                assert_eq!(Value::read(&value.canonical()), Ok(value), "{text:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn doubles_survive_the_canonical_form(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let written = Value::Number(number).canonical();
        prop_assert_eq!(Value::read(&written), Ok(Value::Number(number)));
    }

    #[test]
    fn texts_survive_the_canonical_form(text in any::<String>()) {
        let written = Value::from(text.as_str()).canonical();
        prop_assert_eq!(Value::read(&written), Ok(Value::String(text)));
    }
}
