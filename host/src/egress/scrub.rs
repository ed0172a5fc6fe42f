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
const CUT_FORM_BYTES_MIN: usize = 2 * CUT_BYTES_MIN;

/// A value that may not come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hidden<'a> {
    value: &'a str,
    /// What of it is secret: all, or its end.
    secret: &'a str,
}

/// The forms in which the values of one request may come back.
#[derive(Default)]
pub(super) struct Scrubber {
    forms: Vec<Form>,
}

struct Form {
    bytes: Vec<u8>,
    /// It begins with what is no secret: that stays where it stands alone.
    begins_public: bool,
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scrubber({})", self.forms.len())
    }
}

impl<'a> From<&'a str> for Hidden<'a> {
    fn from(value: &'a str) -> Self {
        Self { value, secret: value }
    }
}

impl<'a> Hidden<'a> {
    /// What stands behind the mark is secret, if so much stands there that it is known again when it was cut.
    pub(super) fn behind(mark: &str, value: &'a str) -> Self {
        match value.split_once(mark) {
            Some((_, secret)) if secret.len() >= CUT_FORM_BYTES_MIN => Self { value, secret },
            _ => value.into(),
        }
    }

    fn forms(self) -> Vec<Form> {
        let begins_public = self.secret.len() < self.value.len();
        let form = |bytes| Form { bytes, begins_public };
        let mut all: Vec<Form> = forms(self.value).into_iter().map(form).collect();
        if begins_public {
            all.extend(forms(self.secret).into_iter().map(|bytes| Form { bytes, begins_public: false }));
        }
        all
    }
}

impl Scrubber {
    pub(super) fn new<'a>(values: impl IntoIterator<Item = Hidden<'a>>) -> Self {
        let mut forms: Vec<Form> = values.into_iter().flat_map(Hidden::forms).collect();
        forms.retain(|form| form.bytes.len() >= FORM_BYTES_MIN);
        // The longest first, so that no form is cut up by one that is part of it. Of two that are the same the one that
        // is wholly secret stays.
        forms.sort_by(|one, other| {
            let by_length = other.bytes.len().cmp(&one.bytes.len());
            by_length
                .then_with(|| one.bytes.cmp(&other.bytes))
                .then_with(|| one.begins_public.cmp(&other.begins_public))
        });
        forms.dedup_by(|one, other| one.bytes == other.bytes);
        Self { forms }
    }

    pub(super) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let whole = self.forms.iter().fold(bytes.to_vec(), |bytes, form| replaced(bytes, &form.bytes));
        let long = || self.forms.iter().filter(|form| form.bytes.len() >= CUT_FORM_BYTES_MIN);
        let beginnings: Vec<&[u8]> =
            long().filter(|form| !form.begins_public).map(|form| form.bytes.as_slice()).collect();
        if beginnings.is_empty() {
            return whole;
        }
        let reversed: Vec<Vec<u8>> = long().map(|form| form.bytes.iter().rev().copied().collect()).collect();
        let ends: Vec<&[u8]> = reversed.iter().map(Vec::as_slice).collect();
        let mut rest = without_beginnings(&whole, &beginnings);
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
        let scrubber = Scrubber::new([SECRET.into()]);
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
        let scrubber = Scrubber::new([secret.into()]);
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

    /// Between what is no secret and the rest stands a colon.
    const BOT: &str = "1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5P";

    #[test]
    fn what_stands_before_the_mark_stays_where_it_stands_alone() {
        let scrubber = Scrubber::new([Hidden::behind(":", BOT)]);
        for plain in ["{\"id\":1234567890,\"is_bot\":true}", "1234567890:", &hex::encode("1234567890")] {
            assert_eq!(scrubber.text(plain), plain);
        }
        for hidden in [BOT, "AAHdqTcvCH1vGWJxfSeofSAs0K5P", &hex::encode(BOT)] {
            assert_eq!(scrubber.text(&format!("<{hidden}>")), "<***>");
        }
        assert_eq!(
            scrubber.text(&BOT.replace(':', "%3A")),
            "1234567890%3A***",
            "in a form that is not known"
        );
    }

    #[test]
    fn what_stands_behind_the_mark_is_taken_out_however_it_is_cut() {
        let scrubber = Scrubber::new([Hidden::behind(":", BOT)]);
        let at = BOT.find(':').expect("a mark") + 1;
        let shows = |cut: &str| {
            let shown = scrubber.text(cut);
            let mut parts = (at..=BOT.len() - CUT_BYTES_MIN).map(|from| &BOT[from..from + CUT_BYTES_MIN]);
            parts.any(|part| shown.contains(part) || shown.contains(&hex::encode(part)))
        };
        for cut in 0..=BOT.len() {
            for text in [&BOT[..cut], &BOT[cut..]] {
                assert!(!shows(text) && !shows(&hex::encode(text)), "{text}: {}", scrubber.text(text));
            }
        }
        let encoded = STANDARD.encode(BOT);
        assert_eq!(scrubber.text(&encoded[..44]), format!("{}***", &encoded[..15]));
    }

    #[test]
    fn a_value_whose_mark_hides_too_little_is_wholly_secret() {
        for value in ["1234567890-AAHdqTcvCH1v", "1234567890abcdef:AAHdqTcvCH1vGWJ", "1234567890abcdef:"] {
            let scrubber = Scrubber::new([Hidden::behind(":", value)]);
            assert_eq!(scrubber.text("\"1234567890\""), "\"***\"", "{value}");
        }
        let both = Scrubber::new([Hidden::behind(":", BOT), BOT.into()]);
        assert_eq!(both.text("\"1234567890\""), "\"***\"", "another secret is the same");
    }

    #[test]
    fn what_holds_nothing_stays_as_it_is() {
        let scrubber = Scrubber::new([SECRET, "ab"].map(Hidden::from));
        assert_eq!(scrubber.bytes(b"ab \xff s3cr"), b"ab \xff s3cr");
    }
}
