//! Signed plugins: whom a host lets in, and that no byte of a signed or compiled file changes unnoticed.

#[path = "signatures/minisign.rs"]
mod minisign_tool;
#[path = "signatures/tampering.rs"]
mod tampering;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use minisign::KeyPair;
use parlor::plugin::package::{Package, PackageError};
use parlor::plugin::sections;
use parlor::plugin::signature::{self, Provenance, SECTION, SignatureError, Trust};

/// A plugin that nobody signed.
fn unsigned() -> Vec<u8> {
    std::fs::read(guest("hush")).unwrap()
}

fn guest(name: &str) -> PathBuf {
    let folder = std::env::var("PARLOR_TEST_GUESTS")
        .expect("`PARLOR_TEST_GUESTS` names no folder of built test guests: run `cargo xtask test`");
    Path::new(&folder).join(format!("{name}.wasm"))
}

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn sign(body: &[u8], pair: &KeyPair) -> minisign::SignatureBox {
    minisign::sign(Some(&pair.pk), &pair.sk, body, Some("hush 0.1.0"), None).unwrap()
}

fn signed(pair: &KeyPair) -> Vec<u8> {
    let body = unsigned();
    signature::attach(&body, &sign(&body, pair)).unwrap()
}

fn trusting(pair: &KeyPair) -> Trust {
    Trust::new(vec![pair.pk.clone()], false)
}

fn read(bytes: &[u8], trust: &Trust) -> Result<Package, PackageError> {
    Package::check(PathBuf::from("hush.wasm"), bytes.to_vec(), trust)
}

/// Why a file is not let in by its signature.
fn refusal(bytes: &[u8], trust: &Trust) -> SignatureError {
    match read(bytes, trust).map(drop) {
        Err(PackageError::Signature(error)) => error,
        other => panic!("not refused by its signature: {other:?}"),
    }
}

fn parlor(args: &[&str]) -> Output {
    let mut parlor = Command::new(env!("CARGO_BIN_EXE_parlor"));
    parlor.args(["--config", "/nowhere/parlor.yaml", "plugin"]).args(args);
    parlor.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_file_that_a_trusted_key_signed_is_let_in_and_tells_by_whom() {
    let pair = pair();
    let package = read(&signed(&pair), &trusting(&pair)).unwrap();
    let signer = package.provenance.signer().expect("a signer");
    assert_eq!(signer.comment, "hush 0.1.0");
    assert_eq!(signer.key_id, signature::key_id(pair.pk.keynum()));
    // Of several keys any.
    let keys = vec![self::pair().pk, pair.pk.clone()];
    assert!(read(&signed(&pair), &Trust::new(keys, false)).is_ok());
    // Another key of the same number does not keep the right one from being found.
    let mut twin = self::pair().pk.to_bytes();
    twin[2..10].copy_from_slice(pair.pk.keynum());
    let twin = minisign::PublicKey::from_bytes(&twin).unwrap();
    assert!(read(&signed(&pair), &Trust::new(vec![twin.clone(), pair.pk.clone()], false)).is_ok());
    assert!(matches!(refusal(&signed(&pair), &Trust::new(vec![twin], false)), SignatureError::Wrong { .. }));
}

#[test]
fn strangers_are_refused_and_told_what_to_do() {
    let (author, other) = (pair(), pair());
    let unsigned = unsigned();
    assert_eq!(refusal(&unsigned, &trusting(&author)), SignatureError::Unsigned);
    let untrusted = refusal(&signed(&other), &trusting(&author));
    assert_eq!(untrusted, SignatureError::Untrusted { key_id: signature::key_id(other.pk.keynum()) });
    for (error, advice) in [
        (SignatureError::Unsigned, "parlor plugin sign"),
        (untrusted, "add the author's public key"),
        (SignatureError::Wrong { key_id: String::new() }, "take it from its author again"),
    ] {
        assert!(error.to_string().contains(advice), "{error}");
    }
    // While one develops both are let in, and neither passes for signed.
    let lenient = Trust::new(vec![author.pk.clone()], true);
    assert_eq!(read(&unsigned, &lenient).unwrap().provenance, Provenance::Unsigned);
    let claimed = read(&signed(&other), &lenient).unwrap().provenance;
    assert!(matches!(&claimed, Provenance::Claimed(signer) if signer.comment == "hush 0.1.0"));
    assert!(claimed.signer().is_none());
}

#[test]
fn a_wrong_signature_of_a_trusted_key_is_refused_even_where_unsigned_files_are_not() {
    let pair = pair();
    let mut other = unsigned();
    other.extend(sections::custom("note", b"one more section"));
    let wrong = signature::attach(&other, &sign(&unsigned(), &pair)).unwrap();
    for trust in [trusting(&pair), Trust::new(vec![pair.pk.clone()], true)] {
        assert!(matches!(refusal(&wrong, &trust), SignatureError::Wrong { .. }));
    }
}

#[test]
fn what_stands_behind_a_signature_is_refused() {
    let pair = pair();
    let mut behind = signed(&pair);
    behind.extend(sections::custom("note", b"put in later"));
    assert_eq!(refusal(&behind, &trusting(&pair)), SignatureError::NotLast);
    for rest in [&b"\0"[..], b"x", b"\0\x20note", b"\xff\xff\xff\xff\xff"] {
        let bytes = [&signed(&pair)[..], rest].concat();
        assert!(matches!(refusal(&bytes, &trusting(&pair)), SignatureError::Broken(_)), "{rest:?}");
    }
}

#[test]
fn two_signatures_are_refused_whoever_made_them() {
    let pair = pair();
    let once = signed(&pair);
    // The second is over the first as well, so that each by itself would hold.
    let second = sign(&once, &pair).to_string();
    let twice = [&once[..], &sections::custom(SECTION, second.as_bytes())].concat();
    assert_eq!(refusal(&twice, &trusting(&pair)), SignatureError::Several(2));
    assert!(signature::attach(&once, &sign(&once, &pair)).is_err());
}

#[test]
fn a_signature_in_another_form_is_refused() {
    let pair = pair();
    let body = unsigned();
    let text = sign(&body, &pair).to_string();
    let lines: Vec<&str> = text.lines().collect();
    let with = |line: usize, text: &str| {
        let mut lines = lines.clone();
        lines[line] = text;
        lines.join("\n") + "\n"
    };
    let forms = [
        // As minisign's own first line, which nobody signed, so that it could say anything.
        text.clone(),
        text.replace('\n', "\r\n"),
        text.trim_end().to_owned(),
        format!("{text}\n"),
        with(2, &format!("{} ", lines[2])),
        // The crate would read past the end of a shorter one, and over the end of a longer.
        with(3, "AAAA"),
        with(3, "QUFB".repeat(40).as_str()),
        with(3, ""),
        with(2, "trusted comment: \x1b[2J"),
        with(1, "RWQ="),
        String::new(),
        "a".repeat(5000),
    ];
    for form in &forms {
        let bytes = [&body[..], &sections::custom(SECTION, form.as_bytes())].concat();
        let error = refusal(&bytes, &trusting(&pair));
        assert!(matches!(error, SignatureError::Malformed(_)), "{form:?}: {error}");
    }
    let latin = [&body[..], &sections::custom(SECTION, b"\xff\xfe")].concat();
    assert!(matches!(refusal(&latin, &trusting(&pair)), SignatureError::Malformed(_)));
    // A length that is written longer than it needs to be says the same, and is another file all the same.
    let whole = signed(&pair);
    let tail = &whole[body.len()..];
    assert!(tail[1] & 0x80 != 0 && tail[2] & 0x80 == 0, "a length of two bytes");
    let longer = [&body[..], &[0, tail[1], tail[2] | 0x80, 0], &tail[3..]].concat();
    assert!(matches!(refusal(&longer, &trusting(&pair)), SignatureError::Malformed(_)));
}

#[test]
fn a_signature_of_the_old_kind_is_refused() {
    let pair = pair();
    let body = unsigned();
    let text = sign(&body, &pair).to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // `ED`, over a digest, becomes `Ed`, over the bytes.
    lines[1].replace_range(..3, "RWR");
    let bytes = [&body[..], &sections::custom(SECTION, lines.join("\n").as_bytes())].concat();
    let error = refusal(&bytes, &trusting(&pair));
    assert!(matches!(error, SignatureError::Legacy), "{error}");
}

#[test]
fn the_comment_cannot_be_exchanged() {
    let pair = pair();
    let whole = signed(&pair);
    let text = String::from_utf8_lossy(&whole).into_owned();
    assert!(text.contains("trusted comment: hush 0.1.0"));
    let at = whole.windows(10).position(|bytes| bytes == b"hush 0.1.0").unwrap();
    let last = whole.len() - whole.iter().rev().position(|byte| *byte == b':').unwrap();
    assert!(at > unsigned().len() && last > unsigned().len());
    let mut other = whole;
    other[at..at + 10].copy_from_slice(b"hush 9.9.9");
    assert!(matches!(refusal(&other, &trusting(&pair)), SignatureError::Wrong { .. }));
}
