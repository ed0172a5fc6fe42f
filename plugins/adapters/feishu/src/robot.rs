//! The custom group robot: messages to one group by its own address, which needs no app.
//!
//! It takes no key that would drop a repeat, so what may have got through is told as uncertain.

use parlor_sdk::{
    Delivered, Fault, HttpResponse, Outbound, Reply, clock,
    encoding::base64,
    json::{Value, object},
    secrets::{self, Digest, KeyForm, Part, SecretError},
};

use crate::{
    api,
    card::{self, ROBOT_BYTES_MAX},
    checkpoint::Checkpoint,
};

const HOOK: &str = "/open-apis/bot/v2/hook/${secret:robot_token}";
const SECRET: &str = "robot_secret";
/// All robots of a group share its rate; whole and half hours are crowded.
const THROTTLED_MS: u64 = 5_000;

/// Sends the next part.
pub fn finish(checkpoint: &[u8], reply: &Reply) -> Result<Delivered, Fault> {
    let mut checkpoint = Checkpoint::decode(checkpoint)?;
    let parts = card::split(reply, ROBOT_BYTES_MAX);
    let Some(part) = parts.get(checkpoint.sent) else { return Ok(Delivered::Done(checkpoint.ids)) };
    let message = message(part, checkpoint.as_text)?;
    let request = Outbound::post(format!("{}{HOOK}", api::domain()?.origin)).json(&message);
    let response = request.limit_key("robot").send()?;
    match judge(&response) {
        Ok(()) => checkpoint.part_is_sent(None),
        Err(Refusal::Form) if !checkpoint.as_text => checkpoint.as_text = true,
        Err(Refusal::Form) => return Err(Fault::invalid("the group robot refuses the message's form")),
        Err(Refusal::Fault(fault)) => return Err(fault),
    }
    Ok(if checkpoint.sent == parts.len() {
        Delivered::Done(checkpoint.ids)
    } else {
        Delivered::More(checkpoint.encode())
    })
}

fn message(part: &str, as_text: bool) -> Result<Value, Fault> {
    let mut fields = match as_text {
        true => vec![("msg_type", "text".into()), ("content", object([("text", part.into())]))],
        false => vec![("msg_type", "interactive".into()), ("card", card::whole(part))],
    };
    let timestamp = (clock::now_ms() / 1000).to_string();
    match sign(&timestamp) {
        Ok(sign) => fields.extend([("timestamp", timestamp.into()), ("sign", sign.into())]),
        // A robot may be guarded by keywords or addresses instead.
        Err(SecretError::NotSet) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(object(fields))
}

/// The HMAC of nothing, under seconds, a line feed and the secret.
fn sign(timestamp: &str) -> Result<String, SecretError> {
    let key = [Part::from(format!("{timestamp}\n")), Part::Secret(KeyForm::Raw)];
    secrets::hmac(SECRET, Digest::Sha256, &key, &[]).map(|sign| base64(&sign))
}

enum Refusal {
    /// This form of the message; another one may do.
    Form,
    Fault(Fault),
}

/// It answers 200 to everything and tells the truth in `code`, or in `StatusCode` as it did first.
fn judge(response: &HttpResponse) -> Result<(), Refusal> {
    let body = response.parse().unwrap_or(Value::Null);
    let code = match body.get("code").or(body.get("StatusCode")) {
        Some(Value::Number(code)) => *code as i64,
        _ => return Err(Refusal::Fault(by_status(response))),
    };
    let fault = match code {
        0 => return Ok(()),
        9_499 | 11_246 | 230_001 | 230_099 => return Err(Refusal::Form),
        11_232 | 11_233 | 99_991_400 => Fault::throttled(
            format!("the group robot sends too fast ({code})"),
            response.retry_after_ms().unwrap_or(THROTTLED_MS),
        ),
        19_001 => Fault::unauthorized("no such group robot (19001): check `robot_token` and `domain`"),
        19_021 => Fault::unauthorized(
            "the group robot's signature is refused (19021): check `robot_secret` and the clock",
        ),
        19_022 => Fault::unauthorized(
            "the group robot takes nothing from this address (19022): add it in the robot's settings",
        ),
        19_024 => {
            Fault::unauthorized("the group robot wants a keyword that is not there (19024): sign instead")
        }
        _ => Fault::other(format!("the group robot answered code {code}")),
    };
    Err(Refusal::Fault(fault))
}

/// A gateway's 5xx may come after the message went through; 503 says that it did not.
fn by_status(response: &HttpResponse) -> Fault {
    let status = response.status;
    let reason = format!("the group robot answered with status {status} and no code");
    match status {
        429 => Fault::throttled(reason, response.retry_after_ms().unwrap_or(THROTTLED_MS)),
        401 | 403 => Fault::unauthorized(reason),
        503 => Fault::unavailable(reason),
        400..=499 => Fault::invalid(reason),
        _ => Fault::uncertain(reason),
    }
}
