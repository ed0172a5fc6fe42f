//! What a plugin may be given by mistake or by malice.

/// Bodies that are no request of any platform, each with its name.
pub fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    const MIB: usize = 1 << 20;
    vec![
        ("0 bytes", Vec::new()),
        ("4 KB of text", "spam ".repeat(820).into_bytes()),
        ("1 MB of text", "a".repeat(MIB).into_bytes()),
        ("1 MB of bytes that are no UTF-8", vec![0xff; MIB]),
        ("1 MB of zeros", vec![0; MIB]),
        ("a brace", b"{".to_vec()),
        ("JSON with something behind it", b"{}{}".to_vec()),
        ("JSON that is a list", b"[]".to_vec()),
        ("JSON that is null", b"null".to_vec()),
        ("JSON of another kind", b"{\"a\":{\"b\":[1,true,null,\"c\"]}}".to_vec()),
        (
            "JSON with numbers beyond all bounds",
            b"{\"update\":1e999,\"id\":-99999999999999999999999}".to_vec(),
        ),
        ("JSON with half a surrogate pair", br#"{"text":"\ud83d","a":"\u0000"}"#.to_vec()),
        ("JSON with a byte that is no UTF-8", b"{\"text\":\"\xc3\x28\"}".to_vec()),
        ("JSON that is 100,000 lists deep", "[".repeat(100_000).into_bytes()),
        ("JSON that is 100,000 objects deep", "{\"a\":".repeat(100_000).into_bytes()),
        ("JSON with 1 MB of short values", format!("[{}0]", "0,".repeat(MIB / 2 - 8)).into_bytes()),
        (
            "JSON with one long text",
            format!("{{\"unheard-of\":\"{}\"}}", "\\u4f60".repeat(MIB / 6 - 16)).into_bytes(),
        ),
        ("XML with an entity", b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".to_vec()),
        ("a form", b"payload=%7B%22a%22%3A1%7D&x=%ff%00".to_vec()),
    ]
}

/// Texts that people and models write.
pub fn texts() -> Vec<(&'static str, String)> {
    vec![
        ("an empty text", String::new()),
        ("blanks", " \n\t\u{3000}\n".to_owned()),
        ("Chinese", "你好，世界。今天天气怎么样？".to_owned()),
        ("emoji made of several", "👨‍👩‍👧‍👦👍🏽🇨🇳🏴󠁧󠁢󠁥󠁮󠁧󠁿 e\u{301} ☺️".to_owned()),
        ("right to left", "שלום עולם \u{202e}txt.exe\u{202c} مرحبا".to_owned()),
        ("control characters", "a\0b\u{1}c\u{7f}\u{85}\u{feff}\u{fffd}\r\n".to_owned()),
        ("the ends of Unicode", "\u{d7ff}\u{e000}\u{ffff}\u{10ffff}".to_owned()),
        ("quotes and braces", r#""'`\{}[]<>&;$(x) ]]> */ -- {{ n }} %s ${x}"#.to_owned()),
        ("markup that never ends", "```rust\n**a _b [c](http://d <e ~~f `g".to_owned()),
        ("one long run", "漢".repeat(20_000)),
        ("deep markup", format!("{}{}", "> ".repeat(2_000), "*".repeat(2_000))),
        ("many lines", "\n".repeat(5_000) + "end"),
    ]
}

/// Bytes that no plugin wrote as an address, a context or a checkpoint.
pub fn bytes() -> Vec<Vec<u8>> {
    vec![
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"{\"sent\":-1,\"ids\":7}".to_vec(),
        vec![0xff; 64],
        vec![0; 4096],
        "[".repeat(10_000).into_bytes(),
    ]
}
