//! What a hub says of a file before it is fetched: its checksum and size, and whether one may have it at all.
//!
//! Hugging Face answers `HEAD` with `X-Linked-Etag` (the SHA-256 of a file in LFS or Xet) and `X-Linked-Size`, and
//! names a refusal in `X-Error-Code`, as its client `huggingface_hub` reads them. ModelScope lists files with
//! `Sha256` and `Size` at `/api/v1/models/…/repo/files`, as its client does. Without an answer there are no facts.

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, LOCATION};
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use super::source::{Hub, Source};
use super::{Clients, DownloadError, Progress, reason};

/// A hub that takes longer than this for a few lines is not waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Renamed repositories lead on to their new name.
const REDIRECTS_MAX: usize = 5;
/// Lists of the largest repositories take some hundred kilobytes.
const LIST_BYTES_MAX: usize = 8 << 20;

/// What is known of a file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Lower-case hex.
    pub sha256: Option<String>,
    pub bytes: Option<u64>,
}

/// Asks the hub, if the file comes from one.
pub async fn facts(
    clients: &Clients,
    source: &Source,
    progress: &dyn Progress,
) -> Result<Facts, DownloadError> {
    let asked = async {
        match &source.hub {
            None => Ok(Facts::default()),
            Some(Hub::HuggingFace) => of_hugging_face(clients, source).await,
            Some(Hub::ModelScope { files, path }) => of_model_scope(clients, files, path).await,
        }
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Ok(facts)) => Ok(facts),
        Ok(Err(Silence::Refused(error))) => Err(error),
        Ok(Err(Silence::Unheard(why))) => {
            progress.says(&format!("the hub does not say what the file must be ({why})"));
            Ok(Facts::default())
        }
        Err(_) => {
            progress.says("the hub does not say what the file must be (no answer in time)");
            Ok(Facts::default())
        }
    }
}

/// Why there are no facts.
enum Silence {
    /// There will be no file either.
    Refused(DownloadError),
    Unheard(String),
}

impl From<reqwest::Error> for Silence {
    fn from(error: reqwest::Error) -> Self {
        Silence::Unheard(reason(error))
    }
}

async fn of_hugging_face(clients: &Clients, source: &Source) -> Result<Facts, Silence> {
    let mut url = source.url.clone();
    for _ in 0..REDIRECTS_MAX {
        let mut request = clients.direct.head(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = &source.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await?;
        if let Some(next) = moved_within(&response, &url) {
            url = next;
            continue;
        }
        if response.status().is_client_error() {
            return Err(refusal(source, response.status(), response.headers()));
        }
        return Ok(linked(response.headers()));
    }
    Err(Silence::Unheard("it redirects in a circle".to_owned()))
}

/// Where a renamed repository is now; a redirect to another host is the file itself.
fn moved_within(response: &Response, url: &Url) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let next = url.join(location).ok().filter(|_| response.status().is_redirection())?;
    let says_it_all = response.headers().contains_key("x-linked-etag");
    (next.origin() == url.origin() && !says_it_all).then_some(next)
}

fn refusal(source: &Source, status: StatusCode, headers: &HeaderMap) -> Silence {
    match judged(source, status, headers) {
        Some(error) => Silence::Refused(error),
        None => Silence::Unheard(format!("status {}", status.as_u16())),
    }
}

/// A status that no later try will change, in words.
pub fn judged(source: &Source, status: StatusCode, headers: &HeaderMap) -> Option<DownloadError> {
    let host = source.url.host_str().unwrap_or_default().to_owned();
    let code = headers.get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    match status.as_u16() {
        401 | 403 => Some(DownloadError::Refused(closed(source, &host, status, code))),
        404 | 410 => {
            let path = source.url.path().to_owned();
            Some(DownloadError::NotFound { host, status: status.as_u16(), path })
        }
        _ => None,
    }
}

fn closed(source: &Source, host: &str, status: StatusCode, code: &str) -> String {
    let status = status.as_u16();
    let advice = match (&source.hub, &source.token) {
        (Some(Hub::HuggingFace), None) => {
            "the repository is gated, private or not there: accept its licence on its page, make a token that \
             may read, and set it as `HF_TOKEN`"
        }
        (Some(Hub::HuggingFace), Some(_)) => {
            "the token in `HF_TOKEN` may not read this repository: accept its licence on its page with the \
             account of the token, or make another token"
        }
        _ => "take an address that needs no login",
    };
    let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
    format!("{host} refuses it with status {status}{code}; {advice}")
}

fn linked(headers: &HeaderMap) -> Facts {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let sha256 = text("x-linked-etag").map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
    Facts { sha256: sha256.and_then(digest), bytes: text("x-linked-size").and_then(|size| size.parse().ok()) }
}

/// 64 hexadecimal digits in lower case; an etag may be something else.
fn digest(text: &str) -> Option<String> {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| text.to_ascii_lowercase())
}

async fn of_model_scope(clients: &Clients, files: &Url, path: &str) -> Result<Facts, Silence> {
    let mut response = clients.following.get(files.clone()).send().await?;
    if !response.status().is_success() {
        return Err(Silence::Unheard(format!("status {}", response.status().as_u16())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LIST_BYTES_MAX {
            return Err(Silence::Unheard("its list of files is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    let list: Value = serde_json::from_slice(&body)
        .map_err(|_| Silence::Unheard("its list of files is no JSON".to_owned()))?;
    let mut files = list["Data"]["Files"].as_array().into_iter().flatten();
    let Some(file) = files.find(|file| file["Path"] == path) else {
        return Err(Silence::Unheard("its list of files does not name this one".to_owned()));
    };
    Ok(Facts { sha256: file["Sha256"].as_str().and_then(digest), bytes: file["Size"].as_u64() })
}
