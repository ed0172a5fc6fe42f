//! Who may: the body is signed and sealed with the app's encrypt key, or it holds the verification token.
//!
//! With an encrypt key the signature is checked before anything is opened, and a body in the clear is refused:
//! the platform never sends one then. Every failure is the same to the outside; the reason is the operator's.

use parlor_sdk::{
    Fault, HttpRequest,
    encoding::{base64_decode, hex_decode},
    json::Value,
    secrets::{self, Digest, KeyForm, Padding, Part, SecretError},
    settings,
};

const ENCRYPT_KEY: &str = "encrypt_key";
const VERIFICATION_TOKEN: &str = "verification_token";
const URL_VERIFICATION: &str = "url_verification";
/// SHA-1 as hex text: the old card callback signs with it, and nothing else does.
const CARD_SIGNATURE_BYTES: usize = 40;

/// What a request turned out to be, once it was sure who sent it.
pub enum Verified {
    /// The platform tries the address: it wants this text back.
    Challenge(String),
    /// An event in the clear; null if what was sealed is no JSON.
    Event(Value),
    /// A press on a card of the old kind.
    CardAction,
}

/// Checks one request.
pub fn request(request: &HttpRequest) -> Result<Verified, Fault> {
    let signature = request.header("x-lark-signature").filter(|signature| !signature.is_empty());
    if let Some(signature) = signature.filter(|signature| signature.len() == CARD_SIGNATURE_BYTES) {
        return card_action(request, signature);
    }
    match opened(b"") {
        Err(SecretError::NotSet) => plain(request),
        _ => sealed(request, signature),
    }
}

/// Signed by SHA-1 over time, nonce, verification token and body. The time may be a date in words: it is never
/// read. Nothing comes of such a request, so it takes no event in by a weaker signature; the first try of the
/// address may be signed so too.
fn card_action(request: &HttpRequest, signature: &str) -> Result<Verified, Fault> {
    if !is_signed(request, VERIFICATION_TOKEN, Digest::Sha1, signature)? {
        return Err(Fault::unauthorized("the card callback is not signed with `verification_token`"));
    }
    match request.json() {
        Ok(body) if is_challenge(&body) => challenge(&body),
        _ => Ok(Verified::CardAction),
    }
}

/// SHA-256 over time, nonce, key and the body as it came, in lower case hex: the platform's libraries take no
/// other.
fn is_signed(request: &HttpRequest, secret: &str, digest: Digest, signature: &str) -> Result<bool, Fault> {
    let timestamp = request.header("x-lark-request-timestamp");
    let nonce = request.header("x-lark-request-nonce");
    let (Some(timestamp), Some(nonce), Some(presented)) = (timestamp, nonce, hex_decode(signature)) else {
        return Ok(false);
    };
    let parts = [timestamp.into(), nonce.into(), Part::Secret(KeyForm::Raw), Part::Body];
    match secrets::digest_verify(secret, digest, &parts, false, &presented) {
        Err(SecretError::NotSet) => Ok(false),
        outcome => Ok(outcome?),
    }
}

fn opened(ciphertext: &[u8]) -> Result<Vec<u8>, SecretError> {
    secrets::aes_cbc_decrypt(ENCRYPT_KEY, &KeyForm::Sha256, Padding::Pkcs7To16, ciphertext)
}

/// With an encrypt key. Only the first try of an address comes unsigned.
fn sealed(request: &HttpRequest, signature: Option<&str>) -> Result<Verified, Fault> {
    let body = json(request)?;
    let is_signed = match signature {
        Some(signature) => is_signed(request, ENCRYPT_KEY, Digest::Sha256, signature)?,
        None => false,
    };
    if signature.is_some() && !is_signed {
        return Err(Fault::unauthorized("the signature is wrong: compare `encrypt_key` with the console"));
    }
    let Some(ciphertext) = body.text("encrypt") else { return in_the_clear(body, is_signed) };
    let bytes = base64_decode(ciphertext).ok_or_else(not_sealed)?;
    let plain = opened(&bytes).map_err(|_| not_sealed())?;
    let event = Value::read_bytes(&plain).ok();
    match (event, is_signed) {
        (Some(event), true) => signed(event),
        (None, true) => Ok(Verified::Event(Value::Null)),
        (Some(event), false) if is_challenge(&event) => challenge(&event),
        _ => Err(Fault::unauthorized("the event is not signed")),
    }
}

/// The platform never sends a plain body once there is a key; the operator's own gateway may, if he says so.
fn in_the_clear(body: Value, is_signed: bool) -> Result<Verified, Fault> {
    if is_signed && settings::get_or("accept_plain", false)? {
        return signed(body);
    }
    Err(Fault::unauthorized("the body is plain, though `encrypt_key` is set"))
}

/// A signed event whose token is another one is meant for another app.
fn signed(event: Value) -> Result<Verified, Fault> {
    if is_challenge(&event) {
        return challenge(&event);
    }
    match token(&event).map(|token| secrets::equals(VERIFICATION_TOKEN, token.as_bytes())) {
        Some(Ok(false)) => Err(wrong_token()),
        Some(Err(error)) if error != SecretError::NotSet => Err(error.into()),
        _ => Ok(Verified::Event(event)),
    }
}

/// Without an encrypt key the token is all that speaks for an event.
fn plain(request: &HttpRequest) -> Result<Verified, Fault> {
    let event = json(request)?;
    if event.get("encrypt").is_some() {
        return Err(Fault::unauthorized("the body is encrypted: set `encrypt_key`"));
    }
    if is_challenge(&event) {
        return challenge(&event);
    }
    check_token(token(&event))?;
    Ok(Verified::Event(event))
}

fn is_challenge(event: &Value) -> bool {
    event.text("type") == Some(URL_VERIFICATION)
}

fn challenge(event: &Value) -> Result<Verified, Fault> {
    check_token(event.text("token"))?;
    let challenge = event.text("challenge");
    let challenge = challenge.ok_or_else(|| Fault::unauthorized("there is no `challenge` in it"))?;
    Ok(Verified::Challenge(challenge.to_owned()))
}

/// In an event's head since version 2.0, at its top before.
fn token(event: &Value) -> Option<&str> {
    match event.text("schema") {
        Some(schema) if !schema.is_empty() => event.get("header")?.text("token"),
        _ => event.text("token"),
    }
}

fn check_token(token: Option<&str>) -> Result<(), Fault> {
    let presented = token.unwrap_or_default();
    match secrets::equals(VERIFICATION_TOKEN, presented.as_bytes()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(wrong_token()),
        Err(SecretError::NotSet) => {
            Err(Fault::unauthorized("nothing could tell who sent it: set `verification_token`"))
        }
        Err(error) => Err(error.into()),
    }
}

fn json(request: &HttpRequest) -> Result<Value, Fault> {
    request.json().map_err(|_| Fault::unauthorized("the body is not JSON"))
}

fn not_sealed() -> Fault {
    Fault::unauthorized("the body does not open: compare `encrypt_key` with the console")
}

fn wrong_token() -> Fault {
    Fault::unauthorized("the token is wrong: compare `verification_token` with the console")
}
