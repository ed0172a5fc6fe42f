//! Secrets by name: every published sample gives its verdict, and no operation tells the secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parlor::plugin::manifest::Manifest;
use parlor::plugin::secrets::{
    DigestAlgorithm, KeyForm, Padding, Part, SecretError, Secrets, ed25519_verify_with,
};
use secrecy::SecretString;
use serde_json::Value;

const ALL: &str = r#"["equals", "hmac", "digest", "aes", "ed25519", "envelope"]"#;
const ENVELOPE_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFA";

/// Secrets with these names, uses (as TOML) and values.
fn secrets(given: &[(&str, &str, &str)]) -> Secrets {
    let asked = given.iter().map(|(name, uses, _)| {
        format!("[[secrets]]\nname = \"{name}\"\nwhy = \"a test\"\nuses = {uses}\nprefix = \"whsec_\"\n")
    });
    let manifest =
        Manifest::parse(&format!("{HEAD}{}", asked.collect::<String>())).expect("a sound manifest");
    let values = given.iter().map(|(name, _, value)| ((*name).to_owned(), SecretString::from(*value)));
    Secrets::new(&manifest, &values.collect::<BTreeMap<_, _>>())
}

const HEAD: &str = r#"
name = "sample"
version = "0.1.0"
kind = "adapter"
contract = "0.1"
license = "Apache-2.0"
description = "a sample"
"#;

fn one(uses: &str, value: &str) -> Secrets {
    secrets(&[("s", uses, value)])
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("{} has no {field}", row["id"]))
}

fn bytes(row: &Value) -> Vec<u8> {
    match row["hex"].as_str() {
        Some(hex) => hex::decode(hex).expect("hex"),
        None => STANDARD.decode(text(row, "base64")).expect("base64"),
    }
}

fn parts(row: &Value, field: &str) -> Vec<Part> {
    let part = |part: &Value| match part.as_str().expect("a part") {
        "$secret" => Part::Secret(KeyForm::Raw),
        "$body" => Part::Body,
        text => Part::Bytes(text.as_bytes().to_vec()),
    };
    row[field].as_array().expect("parts").iter().map(part).collect()
}

fn body(row: &Value) -> &[u8] {
    row["body"].as_str().unwrap_or_default().as_bytes()
}

fn message(row: &Value) -> Vec<u8> {
    let piece = |part: Part| match part {
        Part::Bytes(bytes) => bytes,
        _ => body(row).to_vec(),
    };
    parts(row, "message").into_iter().flat_map(piece).collect()
}

/// Whether the operation of the row says yes; what it opens must be the row's plaintext.
fn verdict(row: &Value) -> bool {
    match text(row, "operation") {
        "hmac" => {
            let (key, message) = (parts(row, "key"), parts(row, "message"));
            one(ALL, text(row, "secret"))
                .hmac_verify("s", DigestAlgorithm::Sha256, &key, &message, &bytes(row), body(row))
                .expect("a verdict")
        }
        "digest" => digest(row),
        "equals" => {
            one(ALL, text(row, "secret")).equals("s", text(row, "presented").as_bytes()).expect("a verdict")
        }
        "ed25519" => {
            let secrets = one(ALL, text(row, "secret"));
            secrets.ed25519_verify("s", &message(row), &bytes(row)).expect("a verdict")
        }
        "ed25519-with" => {
            let key = hex::decode(text(row, "public_key")).expect("hex");
            ed25519_verify_with(&key, &message(row), &bytes(row))
        }
        "aes" => aes(row),
        "unseal" => unseal(row),
        other => panic!("no operation `{other}`"),
    }
}

fn digest(row: &Value) -> bool {
    let algorithm = match text(row, "algorithm") {
        "sha1" => DigestAlgorithm::Sha1,
        _ => DigestAlgorithm::Sha256,
    };
    let sorted = row["sorted"].as_bool().expect("sorted");
    let secrets = one(r#"["digest"]"#, text(row, "secret"));
    let parts = parts(row, "parts");
    secrets.digest_verify("s", algorithm, &parts, sorted, &bytes(row), body(row)).expect("a verdict")
}

fn aes(row: &Value) -> bool {
    let form = if row["form"] == "sha256" { KeyForm::Sha256 } else { KeyForm::Base64(String::new()) };
    let padding = if row["padding"] == 16 { Padding::Pkcs7To16 } else { Padding::Pkcs7To32 };
    match one(ALL, text(row, "secret")).aes_cbc_decrypt("s", &form, padding, &bytes(row)) {
        Ok(plain) => {
            let hex = row["plaintext_hex"].as_str().map(|hex| hex::decode(hex).expect("hex"));
            let wanted = hex.unwrap_or_else(|| text(row, "plaintext").as_bytes().to_vec());
            assert_eq!(plain, wanted, "{}", row["id"]);
            true
        }
        Err(error) => {
            assert_eq!(error, SecretError::Rejected);
            false
        }
    }
}

fn unseal(row: &Value) -> bool {
    let secrets = secrets(&[("token", ALL, text(row, "token")), ("key", ALL, text(row, "key"))]);
    let field = |name| text(row, name);
    let opened = secrets.unseal(
        "token",
        "key",
        field("timestamp"),
        field("nonce"),
        field("ciphertext"),
        field("signature"),
    );
    match opened {
        Ok(opened) if opened.owner == field("owner") => {
            assert_eq!(String::from_utf8(opened.message).expect("text"), field("plaintext"), "{}", row["id"]);
            true
        }
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error, SecretError::Rejected);
            false
        }
    }
}

#[test]
fn every_published_sample_gives_its_verdict() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("fixtures/crypto.json")).expect("JSON");
    assert!(rows.len() > 70, "the samples are there");
    for row in &rows {
        assert_eq!(verdict(row), row["accept"].as_bool().expect("accept"), "{}", row["id"]);
    }
}

#[test]
fn a_seed_is_the_secret_repeated() {
    let secrets = one(ALL, "DG5g3B4j9X2KOErG");
    let signature = secrets.ed25519_sign("s", b"hello").expect("a signature");
    let public =
        hex::decode("8b28ded5630f9051c205dd04c6ec56ad0b08b8812b2fe30ee9aece0ab41926f3").expect("hex");
    assert!(ed25519_verify_with(&public, b"hello", &signature));
    assert!(!ed25519_verify_with(&public, b"hullo", &signature));
    assert!(!ed25519_verify_with(b"short", b"hello", &signature));
}

#[test]
fn a_secret_serves_its_declared_uses_only() {
    let key = [Part::Secret(KeyForm::Raw)];
    for wanted in ["equals", "hmac", "digest", "aes", "ed25519", "envelope"] {
        let others: Vec<&str> = ["equals", "hmac", "digest", "aes", "ed25519", "envelope"]
            .into_iter()
            .filter(|u| *u != wanted)
            .collect();
        let uses = format!("{others:?}");
        let secrets = secrets(&[("s", &uses, ENVELOPE_KEY), ("key", ALL, ENVELOPE_KEY)]);
        let refused = match wanted {
            "equals" => secrets.equals("s", b"x").err(),
            "hmac" => secrets.hmac("s", DigestAlgorithm::Sha1, &key, &[], b"").err(),
            "digest" => secrets.digest_verify("s", DigestAlgorithm::Sha1, &key, true, b"", b"").err(),
            "aes" => secrets.aes_cbc_decrypt("s", &KeyForm::Sha256, Padding::Pkcs7To16, &[0; 32]).err(),
            "ed25519" => secrets.ed25519_sign("s", b"").err(),
            _ => secrets.seal("s", "key", "n", b"m", "o", 0).err(),
        };
        assert_eq!(refused, Some(SecretError::NotGranted), "{wanted}");
    }
}

#[test]
fn unknown_unset_and_empty_secrets_are_told_apart() {
    let manifest =
        format!("{HEAD}[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"equals\"]\nrequired = false\n");
    let manifest = Manifest::parse(&manifest).expect("a sound manifest");
    let unset = Secrets::new(&manifest, &BTreeMap::new());
    assert_eq!(unset.equals("s", b""), Err(SecretError::NotSet));
    assert_eq!(unset.equals("t", b""), Err(SecretError::NotGranted));
    let empty = BTreeMap::from([("s".to_owned(), SecretString::from(""))]);
    assert_eq!(Secrets::new(&manifest, &empty).equals("s", b""), Err(SecretError::NotSet));
}

#[test]
fn macs_of_all_algorithms_are_the_published_ones() {
    // RFC 2202 case 2, RFC 4231 case 2: key `Jefe`.
    let known = [
        (DigestAlgorithm::Md5, "750c783e6ab0b503eaa86e310a5db738"),
        (DigestAlgorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (DigestAlgorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ];
    let message = [Part::Bytes(b"what do ya want ".to_vec()), Part::Body];
    for (algorithm, wanted) in known {
        let tag =
            one(ALL, "Jefe").hmac("s", algorithm, &[Part::Secret(KeyForm::Raw)], &message, b"for nothing?");
        assert_eq!(hex::encode(tag.expect("a tag")), wanted);
    }
    // A key longer than the block; by another implementation.
    let long = one(ALL, &"a".repeat(80));
    let tag = long.hmac("s", DigestAlgorithm::Md5, &[Part::Secret(KeyForm::Raw)], &[Part::Body], b"x");
    assert_eq!(hex::encode(tag.expect("a tag")), "39a77c73505afda7704d442de085866e");
}

#[test]
fn a_mac_without_the_secret_in_it_is_refused() {
    let plain = [Part::Bytes(b"k".to_vec())];
    let refused = one(ALL, "secret").hmac("s", DigestAlgorithm::Sha256, &plain, &[Part::Body], b"");
    assert_eq!(refused, Err(SecretError::Malformed));
    let refused = one(ALL, "secret").digest_verify("s", DigestAlgorithm::Sha256, &plain, false, b"", b"");
    assert_eq!(refused, Err(SecretError::Malformed));
}

#[test]
fn a_cut_tag_is_no_tag() {
    let secrets = one(ALL, "secret");
    let key = [Part::Secret(KeyForm::Raw)];
    let tag = secrets.hmac("s", DigestAlgorithm::Sha256, &key, &[Part::Body], b"m").expect("a tag");
    let verify = |presented: &[u8]| {
        secrets.hmac_verify("s", DigestAlgorithm::Sha256, &key, &[Part::Body], presented, b"m")
    };
    assert_eq!(verify(&tag), Ok(true));
    assert_eq!(verify(&tag[..16]), Ok(false));
    assert_eq!(verify(b""), Ok(false));
}

#[test]
fn keys_in_base64_come_with_prefix_without_padding_and_with_bits_left_over() {
    let tag = |value: &str, prefix: &str| {
        let key = [Part::Secret(KeyForm::Base64(prefix.to_owned()))];
        one(ALL, value).hmac("s", DigestAlgorithm::Sha256, &key, &[Part::Body], b"m")
    };
    let wanted = tag("c2VjcmV0LWtleQ==", "").expect("a tag");
    for value in ["c2VjcmV0LWtleQ", "c2VjcmV0LWtleR==", "whsec_c2VjcmV0LWtleQ=="] {
        assert_eq!(tag(value, "whsec_").as_ref(), Ok(&wanted), "{value}");
    }
    assert_eq!(tag("no base64!", ""), Err(SecretError::Malformed));
}

#[test]
fn the_prefix_of_a_key_cannot_be_guessed_letter_by_letter() {
    let key = [Part::Secret(KeyForm::Base64("c2".to_owned()))];
    let asked = one(ALL, "c2VjcmV0LWtleQ==").hmac("s", DigestAlgorithm::Sha256, &key, &[], b"");
    assert_eq!(asked, Err(SecretError::NotGranted));
}

#[test]
fn padding_that_is_wrong_in_any_way_is_refused_in_one_way() {
    use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _, block_padding::NoPadding};
    let key = [7_u8; 32];
    let encrypt = |plain: &[u8]| {
        let encryptor = cbc::Encryptor::<aes::Aes256>::new(&key.into(), &[0; 16].into());
        [vec![0; 16], encryptor.encrypt_padded_vec::<NoPadding>(plain)].concat()
    };
    let secrets = one(ALL, &STANDARD.encode(key));
    let decrypt = |plain: &[u8], padding| {
        secrets.aes_cbc_decrypt("s", &KeyForm::Base64(String::new()), padding, &encrypt(plain))
    };
    let filled = |pad: u8, length: usize| {
        let mut plain = vec![b'x'; length];
        plain[length - usize::from(pad).min(length)..].fill(pad);
        plain
    };
    assert_eq!(decrypt(&filled(16, 16), Padding::Pkcs7To16), Ok(vec![]));
    assert_eq!(decrypt(&filled(31, 48), Padding::Pkcs7To32), Ok(vec![b'x'; 17]));
    let mut torn = filled(9, 32);
    torn[25] = 8;
    for (plain, padding) in [
        (filled(17, 32), Padding::Pkcs7To16),
        (filled(33, 64), Padding::Pkcs7To32),
        (filled(32, 16), Padding::Pkcs7To32),
        (vec![0; 32], Padding::Pkcs7To32),
        (torn, Padding::Pkcs7To16),
    ] {
        assert_eq!(decrypt(&plain, padding), Err(SecretError::Rejected));
    }
    for cut in [0, 15, 16, 31] {
        let short = &encrypt(&filled(16, 16))[..cut];
        let refused =
            secrets.aes_cbc_decrypt("s", &KeyForm::Base64(String::new()), Padding::Pkcs7To16, short);
        assert_eq!(refused, Err(SecretError::Rejected));
    }
}

/// Opens an envelope as the platform does, with arithmetic of its own.
fn open_as_platform(ciphertext: &str) -> Vec<u8> {
    use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::NoPadding};
    let key: [u8; 32] =
        STANDARD.decode(format!("{ENVELOPE_KEY}=")).expect("base64").try_into().expect("32 bytes");
    let vector: [u8; 16] = key[..16].try_into().expect("16 bytes");
    let decryptor = cbc::Decryptor::<aes::Aes256>::new(&key.into(), &vector.into());
    decryptor
        .decrypt_padded_vec::<NoPadding>(&STANDARD.decode(ciphertext).expect("base64"))
        .expect("whole blocks")
}

#[test]
fn what_is_sealed_is_what_the_platform_opens() {
    let secrets = secrets(&[("token", ALL, "tok"), ("key", ALL, ENVELOPE_KEY)]);
    let sealed = secrets
        .seal("token", "key", "nonce1", "héllo".as_bytes(), "owner", 1_700_000_000_123)
        .expect("sealed");
    assert_eq!((sealed.timestamp.as_str(), sealed.nonce.as_str()), ("1700000000", "nonce1"));
    let mut parts = ["tok", "1700000000", "nonce1", &sealed.ciphertext];
    parts.sort_unstable();
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, parts.concat().as_bytes());
    assert_eq!(sealed.signature, hex::encode(digest));
    let plain = open_as_platform(&sealed.ciphertext);
    assert_eq!(plain.len() % 32, 0);
    assert_eq!(&plain[16..20], 6_u32.to_be_bytes());
    assert_eq!(&plain[20..31], "héllo".bytes().chain(*b"owner").collect::<Vec<u8>>());
    assert_eq!(plain[31..], [1]);
    let again = secrets.seal("token", "key", "nonce1", b"h", "owner", 0).expect("sealed");
    assert_ne!(open_as_platform(&again.ciphertext)[..16], plain[..16], "each has random bytes of its own");
}

/// The order of the sorted parts would tell the token, if what we sign could be verified under other bounds.
#[test]
fn our_own_signatures_are_no_oracle_for_the_token() {
    let secrets = secrets(&[("token", ALL, "tok"), ("key", ALL, ENVELOPE_KEY)]);
    let sealed = secrets.seal("token", "key", "123zzz", b"m", "o", 1_700_000_000_000).expect("sealed");
    for (timestamp, nonce) in [("1700000000", "123zzz"), ("1700000000123", "zzz")] {
        let opened = secrets.unseal("token", "key", timestamp, nonce, &sealed.ciphertext, &sealed.signature);
        assert_eq!(opened, Err(SecretError::Rejected), "{timestamp}");
    }
    assert_eq!(secrets.unseal_unsigned("key", &sealed.ciphertext), Err(SecretError::Rejected));
    let part = |text: &str| Part::Bytes(text.as_bytes().to_vec());
    let parts = [Part::Secret(KeyForm::Raw), part("1700000000"), part("123zzz"), part(&sealed.ciphertext)];
    let digest = hex::decode(&sealed.signature).expect("hex");
    let asked = secrets.digest_verify("token", DigestAlgorithm::Sha1, &parts, true, &digest, b"");
    assert_eq!(asked, Err(SecretError::Rejected));
    let long = secrets.seal("token", "key", &"n".repeat(49), b"m", "o", 0);
    assert_eq!(long, Err(SecretError::Rejected), "a nonce that could swallow blocks");
}

#[test]
fn debug_text_holds_names_only() {
    let shown = format!("{:?}", one(ALL, "hunter2"));
    assert!(shown.contains('s') && !shown.contains("hunter2"), "{shown}");
}
