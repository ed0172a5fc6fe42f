//! The manifest's golden requests, run before a release serves: what its author says must come out, does.
//!
//! They run in a store that may reach nothing, with secrets, settings and a clock of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

use crate::clock::FixedClock;
use crate::message::{HttpRequest, Message};
use crate::plugin::manifest::{self, Manifest, SelfTest};
use crate::plugin::secrets::Secrets;
use crate::plugin::services::{NoHttp, NoMemory, Services};
use crate::plugin::{CallError, Reception, Release};

#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    #[error("its golden request `{name}` failed")]
    Call { name: String, source: CallError },
    #[error("its golden request `{name}` gave {got}, its manifest says {expected}")]
    Wrong { name: String, expected: String, got: String },
}

/// Runs every golden request of a release.
pub async fn run(release: &Release) -> Result<(), SelfTestError> {
    for test in &release.manifest.selftests {
        let services = services(&release.manifest, test);
        let outcome = release.receive(services, request(test)).await;
        let reception = outcome.map_err(|source| SelfTestError::Call { name: test.name.clone(), source })?;
        let (expected, got) = (expected(test), describe(&reception, test));
        if expected != got {
            return Err(SelfTestError::Wrong { name: test.name.clone(), expected, got });
        }
    }
    Ok(())
}

fn services(manifest: &Manifest, test: &SelfTest) -> Services {
    let secrets: BTreeMap<_, _> =
        test.secrets.iter().map(|(name, value)| (name.clone(), SecretString::from(value.as_str()))).collect();
    let settings = manifest.with_defaults(&test.settings);
    Services {
        channel: "(selftest)".into(),
        plugin: manifest.name.as_str().into(),
        settings: Arc::new(settings.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()),
        secrets: Arc::new(Secrets::new(manifest, &secrets)),
        http: Arc::new(NoHttp),
        memory: Arc::new(NoMemory),
        clock: Arc::new(FixedClock(test.clock_ms)),
    }
}

/// A golden request as an adapter gets it.
pub fn request(test: &SelfTest) -> HttpRequest {
    let golden = &test.request;
    HttpRequest {
        method: golden.method.clone(),
        url: format!("https://selftest.invalid{}", golden.path),
        path: golden.path.clone(),
        query: golden.query.clone(),
        headers: golden.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect(),
        body: golden.body.clone().into(),
    }
}

fn expected(test: &SelfTest) -> String {
    let word = match test.expect.reception {
        manifest::Reception::Answer => "answer",
        manifest::Reception::Accept => "accept",
        manifest::Reception::Inquire => "inquire",
        manifest::Reception::Refuse => "refuse",
    };
    sentence(word, test.expect.status, test.expect.messages.clone())
}

/// The reception in the same words, with no more detail than the manifest asks for.
fn describe(reception: &Reception, test: &SelfTest) -> String {
    let (word, status, messages) = match reception {
        Reception::Answer(response) => ("answer", Some(response.status), &[][..]),
        Reception::Accept(accepted) => ("accept", Some(accepted.response.status), &accepted.messages[..]),
        Reception::Inquire(inquiry) => ("inquire", None, &inquiry.messages[..]),
        Reception::Refuse(fault) => ("refuse", Some(fault.status()), &[][..]),
    };
    let asked = test.expect.messages.as_ref();
    let messages = asked.map(|asked| {
        messages.iter().enumerate().map(|(at, message)| narrow(message, asked.get(at))).collect()
    });
    sentence(word, status.filter(|_| test.expect.status.is_some()), messages)
}

/// The fields of a message that its manifest speaks of, in the manifest's order.
fn narrow(message: &Message, asked: Option<&Value>) -> Value {
    let (Ok(Value::Object(mut message)), Some(Value::Object(asked))) = (serde_json::to_value(message), asked)
    else {
        return Value::Null;
    };
    asked.keys().filter_map(|name| Some((name.clone(), message.remove(name)?))).collect()
}

fn sentence(word: &str, status: Option<u16>, messages: Option<Vec<Value>>) -> String {
    let status = status.map_or_else(String::new, |status| format!(", status {status}"));
    let messages =
        messages.map_or_else(String::new, |messages| format!(", messages {}", Value::Array(messages)));
    format!("`{word}`{status}{messages}")
}
