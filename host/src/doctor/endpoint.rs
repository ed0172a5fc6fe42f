//! A model at an endpoint: is it reached, does it take the key, does it know the model, is there quota left.
//!
//! First the list of models, which costs nothing; if that does not settle it, a question with an answer of one token.

use http::header::AUTHORIZATION;
use reqwest::RequestBuilder;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;

use super::client::{Answer, Client};
use super::{Finding, quota};
use crate::config::OpenAi;

const CHECK: &str = "model";
/// Of what a server says in its refusal.
const WORDS_CHARS_MAX: usize = 200;
/// Of the models that it has.
const NAMES_SHOWN_MAX: usize = 8;

struct Endpoint<'a> {
    name: &'a str,
    remote: &'a OpenAi,
    client: &'a Client,
}

pub async fn findings(name: &str, remote: &OpenAi, client: &Client) -> Vec<Finding> {
    let endpoint = Endpoint { name, remote, client };
    let listed = match endpoint.send(client.get(endpoint.url(&["models"]))).await {
        Ok(answer) => answer,
        Err(why) => return vec![endpoint.unreached(&why)],
    };
    let names = names(&listed);
    let mut findings = quota::findings(name, &listed.headers);
    if listed.status == 200 && names.contains(&remote.model) {
        findings.insert(0, endpoint.ok());
        return findings;
    }
    if let Some(refused) = endpoint.judge(&listed) {
        findings.insert(0, refused);
        return findings;
    }
    match endpoint.question().await {
        Ok(asked) => {
            findings.extend(quota::findings(name, &asked.headers));
            findings.insert(0, endpoint.answered(&asked, &names));
        }
        Err(why) => findings.insert(0, endpoint.unreached(&why)),
    }
    findings
}

impl Endpoint<'_> {
    fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.remote.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, String> {
        let request = match &self.remote.api_key {
            Some(key) => request.header(AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
            None => request,
        };
        self.client.ask(request).await
    }

    async fn question(&self) -> Result<Answer, String> {
        let url = self.url(&["chat", "completions"]);
        let question = json!({
            "model": self.remote.model, "max_tokens": 1, "messages": [{ "role": "user", "content": "ping" }],
        });
        self.send(self.client.post(url).json(&question)).await
    }

    fn host(&self) -> &str {
        self.remote.endpoint.host_str().unwrap_or_default()
    }

    fn ok(&self) -> Finding {
        Finding::ok(CHECK, self.name, format!("`{}` answers and knows `{}`", self.host(), self.remote.model))
    }

    fn fail(&self, what: String, remedy: impl Into<String>) -> Finding {
        Finding::fail(CHECK, self.name, what, remedy)
    }

    fn unreached(&self, why: &str) -> Finding {
        let what = format!("`{}` cannot be reached: {why}", self.host());
        let remedy =
            format!("check `models.{}.endpoint`, the network, and that the endpoint runs", self.name);
        self.fail(what, remedy)
    }

    /// A status that means the same whatever was asked.
    fn judge(&self, answer: &Answer) -> Option<Finding> {
        let (host, words) = (self.host(), self.words(answer));
        let key = format!("models.{}.api_key", self.name);
        match answer.status {
            401 | 403 if self.remote.api_key.is_none() => {
                Some(self.fail(format!("`{host}` wants a key ({words})"), format!("set `{key}`")))
            }
            401 | 403 => {
                let remedy = format!(
                    "check what `{key}` holds: it must be a key of this endpoint that is still valid"
                );
                Some(self.fail(format!("`{host}` refuses the key ({words})"), remedy))
            }
            402 => Some(
                self.fail(format!("the account at `{host}` is empty ({words})"), "top it up at the provider"),
            ),
            429 => {
                let what = format!("the quota at `{host}` is used up ({words})");
                Some(Finding::fail(
                    "quota",
                    self.name,
                    what,
                    "wait, raise the quota at the provider, or name another model",
                ))
            }
            500.. => Some(self.fail(
                format!("`{host}` fails ({words})"),
                "see the provider's status page, or the endpoint's own log",
            )),
            _ => None,
        }
    }

    fn answered(&self, answer: &Answer, names: &[String]) -> Finding {
        if answer.status == 200 {
            return self.ok();
        }
        if let Some(refused) = self.judge(answer) {
            return refused;
        }
        let words = self.words(answer);
        if !names.is_empty() || words.contains(&self.remote.model) {
            return self.unknown_model(names, &words);
        }
        if matches!(answer.status, 404 | 405) {
            let what = format!("there is no such API at `{}` ({words})", self.remote.endpoint.path());
            let remedy = format!("check the path of `models.{}.endpoint`; most end in `/v1`", self.name);
            return self.fail(what, remedy);
        }
        self.fail(
            format!("`{}` refuses a question ({words})", self.host()),
            "see what the provider says of it",
        )
    }

    fn unknown_model(&self, names: &[String], words: &str) -> Finding {
        let what = format!("`{}` has no model `{}` ({words})", self.host(), self.remote.model);
        let shown: Vec<String> = names.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
        let remedy = match shown.is_empty() {
            true => format!("set `models.{}.model` to a name that the provider lists", self.name),
            false => format!("set `models.{}.model` to one of {}", self.name, shown.join(", ")),
        };
        self.fail(what, remedy)
    }

    /// Status and words of a refusal, without the key, which some servers repeat.
    fn words(&self, answer: &Answer) -> String {
        let json = answer.json().unwrap_or_default();
        let inner = if json["error"].is_object() { &json["error"] } else { &json };
        let said = [&inner["message"], &json["error"], &inner["detail"]].into_iter().find_map(Value::as_str);
        let mut said: String =
            said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect();
        if let Some(key) = &self.remote.api_key {
            said = said.replace(key.expose_secret(), "***");
        }
        let status = answer.status;
        if said.is_empty() { format!("status {status}") } else { format!("status {status}: {said}") }
    }
}

/// `{"data": [{"id": "…"}]}`
fn names(answer: &Answer) -> Vec<String> {
    let list = answer.json().unwrap_or_default();
    let ids = list["data"].as_array().into_iter().flatten().filter_map(|model| model["id"].as_str());
    ids.map(str::to_owned).collect()
}
