//! Takes out of a response what was put into its request, so that a service that echoes tells no secret.
//!
//! A second line only: the first is that a secret goes to granted hosts alone. It knows bytes, no HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::escape;

const STARS: &[u8] = b"***";
/// Shorter than this is no secret, and its letters stand in every text.
const FORM_BYTES_MIN: usize = 4;
/// So much of a form's beginning or end is taken out too, where it has twice as much: a service may cut what it says
/// back, and who pads what he sends chooses where. What is left of it is too short to be of use.
const CUT_BYTES_MIN: usize = 8;

/// The forms in which the values of one request may come back.
#[derive(Default)]
pub(super) struct Scrubber {
    forms: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scrubber({})", self.forms.len())
    }
}

impl Scrubber {
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<Vec<u8>> = values.into_iter().flat_map(forms).collect();
        forms.retain(|form| form.len() >= FORM_BYTES_MIN);
        // The longest first, so that no form is cut up by one that is part of it.
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Self { forms }
    }

    pub(super) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let whole = self.forms.iter().fold(bytes.to_vec(), |bytes, form| replaced(bytes, form));
        let long: Vec<&[u8]> =
            self.forms.iter().map(Vec::as_slice).filter(|form| form.len() >= 2 * CUT_BYTES_MIN).collect();
        if long.is_empty() {
            return whole;
        }
        let reversed: Vec<Vec<u8>> = long.iter().map(|form| form.iter().rev().copied().collect()).collect();
        let ends: Vec<&[u8]> = reversed.iter().map(Vec::as_slice).collect();
        let mut rest = without_beginnings(&whole, &long);
        rest.reverse();
        let mut rest = without_beginnings(&rest, &ends);
        rest.reverse();
        rest
    }
}

/// Takes out what a form begins with, as much of it as there is.
fn without_beginnings(bytes: &[u8], forms: &[&[u8]]) -> Vec<u8> {
    let mut begins = [false; 256];
    forms.iter().for_each(|form| begins[usize::from(form[0])] = true);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let in_common = |form: &&[u8]| form.iter().zip(rest).take_while(|(one, other)| one == other).count();
        let longest = if begins[usize::from(*first)] { forms.iter().map(in_common).max() } else { None };
        match longest.filter(|length| *length >= CUT_BYTES_MIN) {
            Some(length) => {
                out.extend_from_slice(STARS);
                rest = &rest[length..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn replaced(bytes: Vec<u8>, form: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some(at) = find(rest, form) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(STARS);
        rest = &rest[at + form.len()..];
    }
    if out.is_empty() && rest.len() == bytes.len() {
        return bytes;
    }
    out.extend_from_slice(rest);
    out
}

fn find(text: &[u8], form: &[u8]) -> Option<usize> {
    let (first, _) = form.split_first()?;
    let mut from = 0;
    while let Some(step) = text.get(from..)?.iter().position(|byte| byte == first) {
        from += step;
        if text[from..].starts_with(form) {
            return Some(from);
        }
        from += 1;
    }
    None
}

fn forms(value: &str) -> Vec<Vec<u8>> {
    let percent = escape::percent(value);
    let form = percent.replace("%20", "+");
    let json = escape::json(value);
    let ascii = json_ascii(&json);
    let html = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let mut texts = vec![
        value.to_owned(),
        percent.clone(),
        lower_percent(&percent),
        lower_percent(&form),
        form,
        json.replace('/', "\\/"),
        json,
        html,
        ascii.replace('/', "\\/"),
        ascii,
        hex::encode(value),
        hex::encode_upper(value),
    ];
    texts.extend(base64_forms(value));
    texts.into_iter().map(String::into_bytes).collect()
}

fn lower_percent(percent: &str) -> String {
    let mut out = String::with_capacity(percent.len());
    let mut left = 0_u8;
    for c in percent.chars() {
        out.push(if left > 0 { c.to_ascii_lowercase() } else { c });
        left = if c == '%' { 2 } else { left.saturating_sub(1) };
    }
    out
}

/// As an encoder writes it that keeps to ASCII.
fn json_ascii(json: &str) -> String {
    let mut units = [0; 2];
    let escape = |c: char| match c {
        c if c.is_ascii() => c.to_string(),
        c => c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    json.chars().map(escape).collect()
}

/// Base64 of the value wherever it may stand in what is encoded: the letters that depend on it alone.
fn base64_forms(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    for before in 0..3_usize {
        let padded = [vec![0; before], value.as_bytes().to_vec()].concat();
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            all.extend(text.get(first..last).map(str::to_owned));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    const SECRET: &str = "s3cr/t+\"ä k\\y";

    #[test]
    fn every_form_is_taken_out() {
        let scrubber = Scrubber::new([SECRET]);
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        for shown in [
            SECRET.to_owned(),
            form.to_lowercase(),
            form,
            serde_json::to_string(SECRET).expect("JSON"),
            "s3cr\\/t+\\\"\\u00e4 k\\\\y".to_owned(),
            hex::encode(SECRET),
        ] {
            let told = scrubber.text(&format!("<{shown}>"));
            assert!(told.contains("***") && !told.contains("3cr"), "{shown}: {told}");
        }
        for before in ["", "a", "ab", "abc:"] {
            let shown = STANDARD.encode(format!("{before}{SECRET}:after"));
            assert!(scrubber.text(&shown).contains("***"), "{before}");
        }
    }

    /// Whoever pads what he sends would else read one letter more with each request.
    #[test]
    fn what_a_service_cuts_is_taken_out_from_both_ends() {
        let secret = "Kz7/q2mPxW9+tL4rVb8n";
        let scrubber = Scrubber::new([secret]);
        for at in CUT_BYTES_MIN..=secret.len() {
            assert_eq!(scrubber.text(&format!("xx{}", &secret[..at])), "xx***", "the first {at}");
            let end = &secret[secret.len() - at..];
            assert_eq!(scrubber.text(&format!("{end}yy")), "***yy", "the last {at}");
        }
        let encoded = escape::percent(secret);
        assert_eq!(scrubber.text(&encoded[..encoded.len() - 3]), "***", "in another form");
        assert_eq!(
            scrubber.text("Kz7/q2m tL4rVb8"),
            "Kz7/q2m tL4rVb8",
            "too little to be told from other texts"
        );
    }

    #[test]
    fn what_holds_nothing_stays_as_it_is() {
        let scrubber = Scrubber::new([SECRET, "ab"]);
        assert_eq!(scrubber.bytes(b"ab \xff s3cr"), b"ab \xff s3cr");
    }
}
