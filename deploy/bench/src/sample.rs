//! One row of a vector file that is accepted: the request that is sent, and the secret and time by which it is judged.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The name of the secret among a row's inputs, and in the manifest.
pub const SECRET: &str = "app_secret";
/// The message's id in the body. What signs the request does not cover it.
const ID: &str = "msgId";

#[derive(Debug, Clone)]
pub struct Sample {
    pub secret: String,
    pub now_ms: u64,
    headers: String,
    body: Value,
}

impl Sample {
    pub fn read(vectors: &Path, algorithm: &str) -> Result<Sample> {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(vectors)?)?;
        let mut rows = file["vectors"].as_array().context("it has no list `vectors`")?.iter();
        let accepted = rows.find(|row| row["algo"] == algorithm && row["expected"]["accept"] == true);
        let inputs = &accepted.with_context(|| format!("no row of `{algorithm}` is accepted"))?["inputs"];
        let text = |name: &str| inputs[name].as_str().with_context(|| format!("the row has no `{name}`"));
        let headers = inputs["headers"].as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| Some(format!("{name}: {}\r\n", value.as_str()?)));
        Ok(Sample {
            secret: text(SECRET)?.to_owned(),
            now_ms: inputs["now_ms"].as_u64().context("the row has no `now_ms`")?,
            headers: headers.collect(),
            body: serde_json::from_str(text("body")?).context("its body is not JSON")?,
        })
    }

    /// The bytes of a request: a message of its own for each number.
    pub fn request(&self, path: &str, number: u64) -> String {
        let mut body = self.body.clone();
        body[ID] = format!("message {number}").into();
        let (body, headers) = (body.to_string(), &self.headers);
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-length: {length}\r\n\r\n{body}")
    }
}
