//! The adapter for DingTalk: an enterprise robot's messages in, by HTTP callback or Stream mode; session
//! webhook, OpenAPI or a custom group robot out.
//!
//! `receive` takes callbacks in, `verify` says who may, `stream` does the same for the frames of a
//! socket, `deliver` sends replies. What DingTalk's documentation leaves open is decided in the
//! README. Knows nothing of models or other platforms.

use parlor_sdk::{
    Adapter, Connection, Delivered, Endpoint, Fault, Frame, HttpRequest, Reception, Reply,
    adapter::Download,
    connection::Outcome,
    http::{self, Outbound},
    json::Value,
    register_socket_adapter,
};

mod deliver;
mod receive;
mod stream;
mod verify;

const API: &str = "https://api.dingtalk.com";
/// The manifest's recipe mints it.
const TOKEN: &str = "access_token";

/// DingTalk, by HTTP callback or Stream mode.
#[derive(Default)]
pub struct DingTalk;

impl Adapter for DingTalk {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        receive::receive(request)
    }

    fn finish(
        &self,
        address: &[u8],
        _key: &str,
        checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Delivered, Fault> {
        deliver::finish(address, checkpoint, reply)
    }

    fn locate(&self, reference: &str) -> Result<Download, Fault> {
        let file =
            Value::read(reference).map_err(|_| Fault::invalid("this attachment is none of DingTalk's"))?;
        let response = call_api("/v1.0/robot/messageFiles/download").json(&file).send()?;
        let answer = response.parse().filter(|_| response.is_success());
        match answer.as_ref().and_then(|answer| answer.text("downloadUrl")) {
            Some(url) => Ok(Download { request: Outbound::get(url), key: None }),
            None => Err(deliver::api_fault(&response)),
        }
    }
}

impl Connection for DingTalk {
    fn dial(&self, _memory: &[u8]) -> Result<Endpoint, Fault> {
        stream::dial()
    }

    fn hear(&self, _memory: &[u8], frame: Frame) -> Result<Outcome, Fault> {
        stream::hear(&frame)
    }
}

register_socket_adapter!(DingTalk);

/// A POST to the OpenAPI, with the app's token.
fn call_api(path: &str) -> Outbound {
    Outbound::post(format!("{API}{path}"))
        .header("x-acs-dingtalk-access-token", format!("${{token:{TOKEN}}}"))
}

/// The OpenAPI refused the token: the next use mints a new one.
fn expire_token() {
    http::expire_token(TOKEN);
}
