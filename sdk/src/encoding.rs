//! base64, hex and percent text, as signatures and URLs carry them.
//!
//! For public bytes only: secrets never come this far. Nothing here is constant-time.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding.
///
/// ```
/// assert_eq!(parlor_sdk::encoding::base64(b"hello"), "aGVsbG8=");
/// ```
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place)) & 63;
            text.push(if place > chunk.len() { '=' } else { BASE64[sextet as usize] as char });
        }
    }
    text
}

/// Standard base64, padded, with no trailing bits set; none for anything else.
///
/// ```
/// use parlor_sdk::encoding::base64_decode;
/// assert_eq!(base64_decode("aGVsbG8=").as_deref(), Some(&b"hello"[..]));
/// assert_eq!(base64_decode("aGVsbG8"), None);
/// assert_eq!(base64_decode("aGVsbG9="), None);
/// assert_eq!(base64_decode("aGVs%3D"), None);
/// ```
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in &text[..text.len() - padding] {
        word = word << 6 | sextet(*byte)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
        }
    }
    (word & ((1 << bits) - 1) == 0).then_some(bytes)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Hex in lower case.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble is a hex digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Hex in lower case only: one value has one text.
///
/// ```
/// use parlor_sdk::encoding::hex_decode;
/// assert_eq!(hex_decode("00ff"), Some(vec![0, 255]));
/// assert_eq!(hex_decode("00FF"), None);
/// ```
pub fn hex_decode(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pair = |pair: &[u8]| Some(nibble(pair[0])? << 4 | nibble(*pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

/// Everything but `A-Z a-z 0-9 - . _ ~` percent-encoded, for one query value.
///
/// ```
/// assert_eq!(parlor_sdk::encoding::percent("a+b/="), "a%2Bb%2F%3D");
/// ```
pub fn percent(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte as char),
            _ => {
                escaped.push('%');
                escaped.push_str(&hex(&[byte]).to_ascii_uppercase());
            }
        }
    }
    escaped
}

/// Percent text decoded; none if an escape is broken or the bytes are not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let pair = [rest.next()?, rest.next()?].map(|digit| digit.to_ascii_lowercase());
            hex_decode(std::str::from_utf8(&pair).ok()?)?[0]
        } else {
            byte
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

/// A whole number in decimal digits and nothing else: no sign, no space.
///
/// ```
/// assert_eq!(parlor_sdk::encoding::whole_number("1700000000"), Some(1_700_000_000));
/// assert_eq!(parlor_sdk::encoding::whole_number("+1"), None);
/// ```
pub fn whole_number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
