//! Rows of a vector file: a request, the secrets and the time it is judged by, and the verdict.
//!
//! An input that bears a secret's name is that secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use parlor::clock::FixedClock;
use parlor::message::HttpRequest;
use parlor::plugin::manifest::Manifest;
use parlor::plugin::secrets::Secrets;
use parlor::plugin::services::{NoHttp, NoMemory, Services};
use secrecy::SecretString;
use serde_json::Value;

/// What a longer message is made of.
const WORDS: &str = "and so on 等等 ";

#[derive(Debug, Clone)]
pub struct Row {
    pub id: String,
    pub is_accepted: bool,
    inputs: Value,
}

/// The rows of one algorithm; among them has to be one that is accepted and one that is refused.
pub fn rows(text: &str, algorithm: &str) -> Result<Vec<Row>> {
    let file: Value = serde_json::from_str(text).context("it is not JSON")?;
    let rows = file["vectors"].as_array().context("it has no list `vectors`")?;
    let rows = rows.iter().filter(|row| row["algo"] == algorithm).map(row).collect::<Result<Vec<_>>>()?;
    ensure!(rows.iter().any(|row| row.is_accepted), "no row of `{algorithm}` is accepted");
    ensure!(rows.iter().any(|row| !row.is_accepted), "no row of `{algorithm}` is refused");
    Ok(rows)
}

fn row(row: &Value) -> Result<Row> {
    let id = row["id"].as_str().context("a row has no `id`")?.to_owned();
    let verdict = row["expected"]["accept"].as_bool();
    let is_accepted = verdict.with_context(|| format!("row `{id}` has no `expected.accept`"))?;
    Ok(Row { id, is_accepted, inputs: row["inputs"].clone() })
}

/// The row whose request is timed.
pub fn accepted(rows: &[Row]) -> Result<&Row> {
    rows.iter().find(|row| row.is_accepted).context("no row is accepted")
}

impl Row {
    /// The same with more to say at this place of its body, until that has so many bytes. What signs it must not cover
    /// it: `check` finds out.
    pub fn lengthened(&self, place: &str, bytes: usize) -> Result<Row> {
        let mut row = Row { id: format!("{}, longer", self.id), ..self.clone() };
        let body = self.inputs["body"].as_str().context("a row that is lengthened has a body")?;
        let mut json: Value = serde_json::from_str(body).context("its body is not JSON")?;
        let text = json.pointer_mut(place).with_context(|| format!("its body has no `{place}`"))?;
        let more = bytes.saturating_sub(body.len()) / WORDS.len() + 1;
        *text = format!("{}{}", text.as_str().unwrap_or_default(), WORDS.repeat(more)).into();
        row.inputs["body"] = json.to_string().into();
        Ok(row)
    }

    pub fn request(&self) -> Result<HttpRequest> {
        let body =
            self.inputs["body"].as_str().with_context(|| format!("row `{}` has no `body`", self.id))?;
        let headers = self.inputs["headers"].as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Ok(HttpRequest {
            method: "POST".to_owned(),
            url: "https://bench.invalid/webhook/bench".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            headers: headers.collect(),
            body: body.to_owned().into(),
        })
    }

    pub fn services(&self, manifest: &Manifest) -> Result<Services> {
        let now = self.inputs["now_ms"].as_u64();
        let now = now.with_context(|| format!("row `{}` has no `now_ms`", self.id))?;
        let settings = manifest.with_defaults(&BTreeMap::new());
        let settings = settings.iter().map(|(name, value)| (name.clone(), value.to_string()));
        Ok(Services {
            channel: "bench".into(),
            plugin: manifest.name.as_str().into(),
            settings: Arc::new(settings.collect()),
            secrets: Arc::new(Secrets::new(manifest, &self.secrets(manifest))),
            http: Arc::new(NoHttp),
            memory: Arc::new(NoMemory),
            clock: Arc::new(FixedClock(now)),
        })
    }

    fn secrets(&self, manifest: &Manifest) -> BTreeMap<String, SecretString> {
        let given = |name: &String| Some((name.clone(), SecretString::from(self.inputs[name].as_str()?)));
        manifest.secrets.iter().filter_map(|secret| given(&secret.name)).collect()
    }
}
