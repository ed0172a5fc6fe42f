//! Who may: three ways to sign a request, each verified before its content counts.
//!
//! The header that is there chooses the way, unless the setting `scheme` does; none is ever tried
//! after another failed. Hex is lower-case and base64 is padded, as the official verifiers have it.

use parlor_sdk::{
    Fault, HttpRequest, clock,
    encoding::{base64_decode, hex_decode, whole_number},
    json::Value,
    secrets::{self, Digest, KeyForm, Part, SecretError},
    settings,
};

/// What incoming requests are signed with.
pub const SECRET: &str = "secret";
/// How far a signed timestamp may be from now, either way; Standard Webhooks has the same.
const WINDOW_MS: u64 = 300_000;
/// More signatures in one header are not looked at: a key rotation shows two.
const SIGNATURES_MAX: usize = 8;
/// From here on a timestamp counts milliseconds: as seconds it would lie in the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;
/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `signature` inside the JSON object.
    Envelope,
    /// `X-Hub-Signature-256` over the raw body.
    Hub,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature` over the raw body.
    Standard,
}

impl Scheme {
    /// The one that the setting demands, else the one whose header is there.
    pub fn of(request: &HttpRequest) -> Result<Self, Fault> {
        let scheme: String = settings::get_or("scheme", "auto".to_owned())?;
        Ok(match scheme.as_str() {
            "envelope" => Self::Envelope,
            "hub" => Self::Hub,
            "standard" => Self::Standard,
            _ if request.header("webhook-signature").is_some() => Self::Standard,
            _ if request.header("x-hub-signature-256").is_some() => Self::Hub,
            _ => Self::Envelope,
        })
    }
}

/// The envelope: HMAC-SHA256 in hex over the canonical form of all but `signature`.
pub fn envelope(envelope: &Value) -> Result<(), Fault> {
    let signature = envelope.text("signature");
    let presented = signature.and_then(hex_decode).ok_or_else(not_signed)?;
    let signed = envelope.canonical_without("signature");
    require(verify(&KeyForm::Raw, vec![signed.into()], &presented)?)
}

/// The time inside an envelope, which must be now, in milliseconds.
pub fn envelope_time(envelope: &Value) -> Result<u64, Fault> {
    let timestamp = envelope.get("header").and_then(|header| header.get("timestamp"));
    let sent_at = timestamp.and_then(Value::as_u64).ok_or_else(|| {
        Fault::invalid("`header.timestamp` is not a whole number of seconds or milliseconds")
    })?;
    let sent_at = if sent_at < MILLISECONDS_FROM { sent_at * 1000 } else { sent_at };
    require_now(sent_at)?;
    Ok(sent_at)
}

/// `sha256=` and HMAC-SHA256 in hex over the raw body; its hex, which is unique to the body.
pub fn hub(request: &HttpRequest) -> Result<&str, Fault> {
    let header = request.header("x-hub-signature-256").ok_or_else(not_signed)?;
    let hex = header.strip_prefix("sha256=").ok_or_else(not_signed)?;
    let presented = hex_decode(hex).ok_or_else(not_signed)?;
    require(verify(&KeyForm::Raw, vec![Part::Body], &presented)?)?;
    Ok(hex)
}

/// Standard Webhooks: any `v1,` signature over id, timestamp and raw body; the id.
pub fn standard(request: &HttpRequest) -> Result<&str, Fault> {
    let id = request.header("webhook-id").filter(|id| !id.is_empty()).ok_or_else(not_signed)?;
    let timestamp = request.header("webhook-timestamp").ok_or_else(not_signed)?;
    let signatures = request.header("webhook-signature").ok_or_else(not_signed)?;
    let seconds = whole_number(timestamp).ok_or_else(not_signed)?;
    require_now(seconds.saturating_mul(1000))?;
    let presented = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let message = format!("{id}.{timestamp}.");
    for signature in presented.filter_map(base64_decode).take(SIGNATURES_MAX) {
        if standard_signature_holds(&message, &signature)? {
            return Ok(id);
        }
    }
    Err(not_signed())
}

fn standard_signature_holds(message: &str, signature: &[u8]) -> Result<bool, Fault> {
    let signed = || vec![Part::from(message), Part::Body];
    either_form(|form| verify(form, signed(), signature)).map_err(Fault::from)
}

/// The specification's secret is base64 after `whsec_`; another one counts as it stands.
pub fn either_form<T>(act: impl Fn(&KeyForm) -> Result<T, SecretError>) -> Result<T, SecretError> {
    match act(&KeyForm::Base64("whsec_".to_owned())) {
        Err(SecretError::Malformed) => act(&KeyForm::Raw),
        decided => decided,
    }
}

fn verify(form: &KeyForm, signed: Vec<Part>, presented: &[u8]) -> Result<bool, SecretError> {
    secrets::hmac_verify(SECRET, Digest::Sha256, &[Part::Secret(form.clone())], &signed, presented)
}

fn require(verified: bool) -> Result<(), Fault> {
    if verified { Ok(()) } else { Err(not_signed()) }
}

fn require_now(sent_at_ms: u64) -> Result<(), Fault> {
    if clock::now_ms().abs_diff(sent_at_ms) <= WINDOW_MS {
        return Ok(());
    }
    Err(Fault::unauthorized("the signed timestamp is more than 300 seconds from now"))
}

/// One answer for every failure, so that it tells nothing.
fn not_signed() -> Fault {
    Fault::unauthorized("the request is not signed as this channel expects")
}
