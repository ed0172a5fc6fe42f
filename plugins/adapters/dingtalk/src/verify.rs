//! Who may: a robot's callback is signed in its headers, an event's in its query.
//!
//! A robot's signature covers the time alone, not the body: whoever sees one callback can sign any
//! body for an hour. Hence the adapter trusts no address in a body (see `deliver`), and opens an
//! encrypted body where the operator set a key for it.

use parlor_sdk::{
    Fault, HttpRequest, clock,
    encoding::{base64_decode, whole_number},
    json::Value,
    secrets::{self, Digest, KeyForm, Part, SecretError, Unsealed},
    settings,
};
const APP_SECRET: &str = "app_secret";
const EVENT_TOKEN: &str = "event_token";
const EVENT_KEY: &str = "event_aes_key";
const ROBOT_KEY: &str = "robot_aes_key";
/// DingTalk's own window, both ways and inclusive.
const WINDOW_MS: u64 = 3_600_000;

/// The headers hold: HMAC-SHA256 of `timestamp` + line feed + the secret, keyed by the secret.
pub fn headers(request: &HttpRequest) -> Result<(), Fault> {
    let timestamp = request.header("timestamp").ok_or_else(not_signed)?;
    let sign = request.header("sign").ok_or_else(not_signed)?;
    let sent_at = whole_number(timestamp).ok_or_else(not_signed)?;
    let presented = base64_decode(sign).ok_or_else(not_signed)?;
    let signed = [format!("{timestamp}\n").into(), Part::Secret(KeyForm::Raw)];
    let key = [Part::Secret(KeyForm::Raw)];
    if !secrets::hmac_verify(APP_SECRET, Digest::Sha256, &key, &signed, &presented)? {
        return Err(not_signed());
    }
    if clock::now_ms().abs_diff(sent_at) > WINDOW_MS {
        return Err(Fault::unauthorized("the signed timestamp is more than an hour from now"));
    }
    Ok(())
}

/// The body of a robot's callback in the clear. Once a key is set, a plain body is refused:
/// DingTalk never sends one then.
pub fn robot_body(request: &HttpRequest) -> Result<Value, Fault> {
    let body = request.json()?;
    let Some(ciphertext) = body.text("encrypt") else {
        return match secrets::unseal_unsigned(ROBOT_KEY, "") {
            Err(SecretError::NotSet) => Ok(body),
            _ => Err(Fault::unauthorized("the body is not encrypted, though `robot_aes_key` is set")),
        };
    };
    match secrets::unseal_unsigned(ROBOT_KEY, ciphertext) {
        Ok(unsealed) => Value::read_bytes(&unsealed.message)
            .map_err(|_| Fault::invalid("what the callback encrypts is not JSON")),
        Err(SecretError::NotSet) => Err(Fault::unauthorized("the body is encrypted: set `robot_aes_key`")),
        Err(error) => Err(error.into()),
    }
}

/// An event as it was before DingTalk sealed it, if it was sealed for this app.
pub fn event(request: &HttpRequest, signature: &str) -> Result<Unsealed, Fault> {
    let field = |name| request.query_value(name).ok_or_else(not_signed);
    let (timestamp, nonce) = (field("timestamp")?, field("nonce")?);
    let body = request.json()?;
    let ciphertext = body.text("encrypt").ok_or_else(not_signed)?;
    let unsealed = secrets::unseal(EVENT_TOKEN, EVENT_KEY, &timestamp, &nonce, ciphertext, signature)?;
    if !is_owner(&unsealed.owner)? {
        return Err(Fault::unauthorized("the event is for another app: see `app_key` and `corp_id`"));
    }
    Ok(unsealed)
}

fn is_owner(owner: &str) -> Result<bool, Fault> {
    for setting in ["app_key", "corp_id"] {
        if settings::get::<String>(setting)?.as_deref() == Some(owner) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The word that DingTalk waits for, sealed for it.
pub fn sealed_success(owner: &str) -> Result<secrets::Sealed, Fault> {
    let nonce = clock::now_ms().to_string();
    Ok(secrets::seal(EVENT_TOKEN, EVENT_KEY, &nonce, b"success", owner)?)
}

/// One answer for every failure, so that it tells nothing.
fn not_signed() -> Fault {
    Fault::unauthorized("the callback is not signed by this app's DingTalk")
}
