//! Handing the reply over: in the response that waits for it, or pushed to the callback URL.

use parlor_sdk::{
    Delivered, Fault, HttpResponse, Outbound, Presentation, Reply, Snapshot, clock,
    encoding::base64,
    http::Failure,
    json::{Value, object},
    secrets::{self, Digest, Part, SecretError},
    settings,
};

use crate::verify::{SECRET, either_form};

/// What pushed replies are signed with; [`SECRET`] if it is not set.
const CALLBACK_SECRET: &str = "callback_secret";
/// How long a caller without a callback URL has to ask again.
const AGAIN_WITHIN_MS: u32 = 600_000;

/// Whom a reply is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Address {
    /// The caller's id of the message.
    pub message_id: String,
    /// The caller's session.
    pub session_id: String,
}

impl Address {
    /// As the host keeps it.
    pub fn encode(&self) -> Vec<u8> {
        self.answer("", false).canonical().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let value = Value::read_bytes(bytes).ok()?;
        let field = |name: &str| value.text(name).map(str::to_owned);
        Some(Self { message_id: field("message_id")?, session_id: field("session_id")? })
    }

    /// What the caller gets.
    pub fn answer(&self, reply: &str, finished: bool) -> Value {
        object([
            ("message_id", self.message_id.as_str().into()),
            ("session_id", self.session_id.as_str().into()),
            ("reply", reply.into()),
            ("finished", finished.into()),
        ])
    }
}

/// What `present` needs to know: the address, and whether a callback takes over.
pub fn context(address: &Address) -> Result<Vec<u8>, Fault> {
    let has_callback = settings::get::<String>("callback_url")?.is_some();
    let mut context = vec![u8::from(has_callback)];
    context.extend(address.encode());
    Ok(context)
}

/// 200 with the whole reply, or 202 with what there is so far.
pub fn present(context: &[u8], snapshot: Option<Snapshot>) -> Presentation {
    let (flag, address) = context.split_first().unwrap_or((&0, &[]));
    let address = Address::decode(address).unwrap_or_default();
    // Without a snapshot there is nothing to wait for: the pipelines stayed silent, or it was long ago.
    let snapshot = snapshot.unwrap_or(Snapshot { finished: true, ..Snapshot::default() });
    if snapshot.finished {
        return Presentation::complete(HttpResponse::json(200, &address.answer(&snapshot.reply.text, true)));
    }
    let response = HttpResponse::json(202, &address.answer(&snapshot.reply.text, false));
    Presentation {
        response: Some(response),
        again_within_ms: (*flag == 0).then_some(AGAIN_WITHIN_MS),
        ..Presentation::default()
    }
}

/// POSTs the reply to the callback URL, signed as Standard Webhooks has it.
pub fn push(address: &[u8], key: &str, reply: &Reply) -> Result<Delivered, Fault> {
    let Some(url) = settings::get::<String>("callback_url")? else {
        return Err(Fault::gone("nobody asked again for the reply: set `callback_url` to have it pushed"));
    };
    let body = Address::decode(address).unwrap_or_default().answer(&reply.text, true).canonical();
    let timestamp = (clock::now_ms() / 1000).to_string();
    let signature = sign(&format!("{key}.{timestamp}.{body}"))?;
    let request = Outbound::post(url)
        .header("content-type", "application/json")
        .header("webhook-id", key)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", format!("v1,{}", base64(&signature)))
        .body(body);
    judge(&request.send().map_err(unsent)?)
}

/// A repeat is safe even if the request got through: the receiver drops it by `webhook-id`.
fn unsent(failure: Failure) -> Fault {
    Fault::from(Failure { request_sent: false, ..failure })
}

fn sign(message: &str) -> Result<Vec<u8>, SecretError> {
    let with = |secret: &str| {
        either_form(|form| {
            secrets::hmac(secret, Digest::Sha256, &[Part::Secret(form.clone())], &[message.into()])
        })
    };
    match with(CALLBACK_SECRET) {
        Err(SecretError::NotSet) => with(SECRET),
        signed => signed,
    }
}

/// A server's error is worth a retry for the same reason.
fn judge(response: &HttpResponse) -> Result<Delivered, Fault> {
    let status = response.status;
    let fault = match status {
        200..=299 => return Ok(Delivered::done()),
        429 => {
            Fault::throttled("the callback says to slow down", response.retry_after_ms().unwrap_or(30_000))
        }
        410 => Fault::gone("the callback is gone for good (410)"),
        401 | 403 => Fault::unauthorized(format!("the callback answered {status}: check its secret")),
        500..=599 | 408 => Fault::unavailable(format!("the callback answered {status}")),
        _ => Fault::invalid(format!("the callback answered {status}")),
    };
    Err(fault)
}
