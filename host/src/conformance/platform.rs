//! The other side: what answers a plugin's requests, holds them to the platform's bounds and writes them down.
//!
//! Requests come through the real way out (`egress`), so that permissions and places hold. Tokens are minted
//! here after the manifest's own recipes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use url::Url;

use super::wording;
use crate::egress::{Network, Request};
use crate::message::HttpResponse;
use crate::plugin::manifest::{Answer, Manifest, TemplatePart, Token};
use crate::plugin::services::HttpFailure;

/// Without a word of the manifest's.
const ANSWER: &str = "{}";

/// A request as it reached the other side.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: String,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// It was longer than the platform takes.
    pub is_too_long: bool,
}

impl Sent {
    /// A request that may change something there.
    pub fn is_effect(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }

    pub fn said(&self) -> String {
        wording::texts(&self.body)
    }
}

/// How the other side takes what comes.
#[derive(Debug, Clone, Default)]
pub enum Mood {
    /// As the manifest's `[trial]` says.
    #[default]
    Kind,
    Answers(HttpResponse),
    Fails(HttpFailure),
}

/// The platform of one plugin.
#[derive(Debug)]
pub struct Platform {
    tokens: Vec<Token>,
    answers: Vec<Answer>,
    mood: Mood,
    sent: Mutex<Vec<Sent>>,
}

impl Platform {
    pub fn new(manifest: &Manifest, mood: Mood) -> Arc<Self> {
        let (tokens, answers) = (manifest.tokens.clone(), manifest.trial.answers.clone());
        Arc::new(Self { tokens, answers, mood, sent: Mutex::default() })
    }

    /// What came so far, oldest first; minted tokens aside.
    pub fn sent(&self) -> Vec<Sent> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn minted(&self, request: &Request) -> Option<HttpResponse> {
        let token = self.tokens.iter().find(|token| is_mint(token, &request.url))?;
        let mut body = Value::Null;
        put(&mut body, &token.value, Value::from(format!("minted-{}", token.name)));
        if let Some(lifetime) = &token.lifetime {
            put(&mut body, lifetime, Value::from(7200));
        }
        Some(json(body.to_string()))
    }

    fn answer(&self, request: &Request, rule: Option<&Answer>, number: usize) -> HttpResponse {
        let is_too_long = rule.is_some_and(|rule| rule.is_exceeded_by(&request.body));
        self.all().push(Sent {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            is_too_long,
        });
        if is_too_long {
            return HttpResponse { status: 413, ..HttpResponse::default() };
        }
        json(rule.map_or(ANSWER, |rule| rule.body.as_str()).replace("{{ n }}", &number.to_string()))
    }
}

#[async_trait]
impl Network for Platform {
    async fn exchange(&self, request: Request) -> Result<HttpResponse, HttpFailure> {
        if let Some(minted) = self.minted(&request) {
            return Ok(minted);
        }
        let rule = self.answers.iter().find(|rule| request.url.path().starts_with(&rule.path));
        let number = self.all().len() + 1;
        let kindly = self.answer(&request, rule, number);
        match &self.mood {
            Mood::Kind => Ok(kindly),
            Mood::Answers(response) => Ok(response.clone()),
            Mood::Fails(failure) => Err(failure.clone()),
        }
    }
}

fn is_mint(token: &Token, url: &Url) -> bool {
    let Some(TemplatePart::Text(text)) = token.url.0.first() else { return false };
    Url::parse(text).is_ok_and(|mint| mint.origin() == url.origin() && url.path().starts_with(mint.path()))
}

fn json(body: String) -> HttpResponse {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    HttpResponse { status: 200, headers, body: body.into() }
}

/// Puts a value where a JSON pointer points, making the objects on the way.
fn put(root: &mut Value, pointer: &str, value: Value) {
    let mut place = root;
    for name in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[name.replace("~1", "/").replace("~0", "~")];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_where_the_recipe_looks_for_it() {
        let mut body = Value::Null;
        put(&mut body, "/data/token", Value::from("t"));
        put(&mut body, "/data/expires~1in", Value::from(7200));
        assert_eq!(body, serde_json::json!({ "data": { "token": "t", "expires/in": 7200 } }));
    }
}
