//! Stream mode: DingTalk pushes over a socket that this side opens, so that no public address is needed.
//!
//! A registration by the app's credentials gives the socket's address and a ticket, which the host
//! keeps to itself. Each frame is a JSON text with `type`, `headers` and `data`, itself JSON in a text;
//! each is acknowledged under its own `messageId`, which is new at a repeat while the message's `msgId`
//! is not. TLS and the ticket say that it is DingTalk who speaks: frames are not signed.

use parlor_sdk::{
    Endpoint, Fault, Frame,
    connection::{Action, Outcome},
    json::{Value, object},
    log, settings,
};

use crate::{API, Outbound, deliver, receive};

const REGISTER_PATH: &str = "/v1.0/gateway/connections/open";
const MESSAGES: &str = "/v1.0/im/bot/messages/get";
/// As DingTalk's own clients have it: what is understood, what is not, and what nobody takes.
const TAKEN: u16 = 200;
const NOT_UNDERSTOOD: u16 = 400;
const NOT_TAKEN: u16 = 404;
/// A registration is refused like an OpenAPI call; here the cause is nearly always these two.
const CREDENTIALS: &str = "DingTalk does not know the app: compare `app_key` with its Client ID and `app_secret` with its Client Secret";

/// Registers, and tells where the socket is.
pub fn dial() -> Result<Endpoint, Fault> {
    let app_key: Option<String> = settings::get("app_key")?;
    let app_key =
        app_key.ok_or_else(|| Fault::invalid("stream mode needs `app_key`, the app's Client ID"))?;
    let subscription = object([("type", "CALLBACK".into()), ("topic", MESSAGES.into())]);
    let registration = object([
        ("clientId", app_key.as_str().into()),
        ("clientSecret", "${secret:app_secret}".into()),
        ("subscriptions", vec![subscription].into()),
        ("ua", concat!("parlor/", env!("CARGO_PKG_VERSION")).into()),
    ]);
    // Without `accept` it answers in XML.
    let request = Outbound::post(format!("{API}{REGISTER_PATH}")).header("accept", "application/json");
    let response = request.json(&registration).send()?;
    let answer = response.parse().filter(|_| response.is_success());
    match answer.as_ref().and_then(|answer| Some((answer.text("endpoint")?, answer.text("ticket")?))) {
        // What stands at `ticket` is the host's placeholder.
        Some((endpoint, ticket)) => Ok(Endpoint::new(format!("{endpoint}?ticket={ticket}"))),
        None if matches!(response.status, 400 | 401) => Err(Fault::unauthorized(CREDENTIALS)),
        None => Err(deliver::api_fault(&response)),
    }
}

/// Takes one frame in.
pub fn hear(frame: &Frame) -> Result<Outcome, Fault> {
    let Frame::Text(text) = frame else { return Err(Fault::invalid("a frame is no text")) };
    let frame = Value::read(text).map_err(|_| Fault::invalid("a frame is not JSON"))?;
    let headers = frame.get("headers").unwrap_or(&Value::Null);
    let topic = headers.text("topic").unwrap_or_default();
    let data = frame.text("data").unwrap_or_default();
    match (frame.text("type").unwrap_or_default(), topic) {
        ("SYSTEM", "ping") => Ok(answer(headers, TAKEN, data)),
        ("SYSTEM", "disconnect") => Ok(Outcome::only(Action::Replace(reason(data)))),
        // Nothing but news: connected, registered, kept alive.
        ("SYSTEM", _) => Ok(Outcome::default()),
        ("CALLBACK", MESSAGES) => Ok(take(headers, data)),
        ("EVENT", _) => Ok(answer(headers, TAKEN, r#"{"status":"SUCCESS","message":"ignored"}"#)),
        (kind, topic) => {
            log::warn(
                "DingTalk sent a frame of a kind that this adapter does not ask for",
                &[("type", kind), ("topic", topic)],
            );
            Ok(answer(headers, NOT_TAKEN, "{}"))
        }
    }
}

/// A repeat of what cannot be read would be no better: it is refused in words that DingTalk understands.
fn take(headers: &Value, data: &str) -> Outcome {
    let body = Value::read(data).map_err(|_| Fault::invalid("the callback is not JSON"));
    match body.and_then(|body| receive::message(&body)) {
        Ok(message) => Outcome::accept(message, acknowledgement(headers, TAKEN, r#"{"response":{}}"#)),
        Err(fault) => {
            log::warn("a callback cannot be read", &[("reason", &fault.reason)]);
            answer(headers, NOT_UNDERSTOOD, "{}")
        }
    }
}

fn answer(headers: &Value, code: u16, data: &str) -> Outcome {
    Outcome::only(Action::Send(acknowledgement(headers, code, data)))
}

fn acknowledgement(headers: &Value, code: u16, data: &str) -> Frame {
    let message_id = headers.text("messageId").unwrap_or_default();
    let headers = object([("messageId", message_id.into()), ("contentType", "application/json".into())]);
    let words = if code == TAKEN { "OK" } else { "not taken" };
    let frame = object([
        ("code", u32::from(code).into()),
        ("headers", headers),
        ("message", words.into()),
        ("data", data.into()),
    ]);
    Frame::Text(frame.canonical())
}

/// `{"reason":"connection is expired"}`, shortened to what a log may hold.
fn reason(data: &str) -> String {
    let told = Value::read(data).ok().and_then(|data| data.text("reason").map(str::to_owned));
    told.unwrap_or_else(|| "no reason told".to_owned())
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect()
}
