//! The adapter for DingTalk: an enterprise robot's HTTP callback in, session webhook, OpenAPI or a
//! custom group robot out.
//!
//! `receive` takes callbacks in, `verify` says who may, `deliver` sends replies. What DingTalk's
//! documentation leaves open is decided in the README. Knows nothing of models or other platforms.

use parlor_sdk::{
    Adapter, Delivered, Fault, HttpRequest, Reception, Reply,
    adapter::Download,
    http::{self, Outbound},
    json::Value,
    register_adapter,
};

mod deliver;
mod receive;
mod verify;

const API: &str = "https://api.dingtalk.com";
/// The manifest's recipe mints it.
const TOKEN: &str = "access_token";

/// DingTalk, by HTTP callback.
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

register_adapter!(DingTalk);

/// A POST to the OpenAPI, with the app's token.
fn call_api(path: &str) -> Outbound {
    Outbound::post(format!("{API}{path}"))
        .header("x-acs-dingtalk-access-token", format!("${{token:{TOKEN}}}"))
}

/// The OpenAPI refused the token: the next use mints a new one.
fn expire_token() {
    http::expire_token(TOKEN);
}
