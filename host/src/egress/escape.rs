//! Values made fit for the place where they are put.

use std::fmt::Write as _;

/// For a query value or a path segment: all but the unreserved letters of RFC 3986, and the colon, which both may
/// hold plainly and which stands in the middle of some platforms' tokens.
pub(super) fn percent(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                out.push(char::from(byte))
            }
            _ => write!(out, "%{byte:02X}").expect("a text takes all that is written to it"),
        }
    }
    out
}

/// For the inside of a JSON text.
pub(super) fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
