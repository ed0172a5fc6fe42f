//! Asks addresses as the host itself would: without a proxy, without following redirects. It notes what each
//! server's clock says on the way.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;
use reqwest::{RequestBuilder, Response};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole answer: a person waits in front of the terminal.
const TIMEOUT: Duration = Duration::from_secs(15);
/// An answer is read to here.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What one server's clock said, and what ours did.
#[derive(Debug, Clone)]
pub struct Told {
    pub host: String,
    pub theirs: SystemTime,
    pub ours: SystemTime,
}

/// An answer, read.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

pub struct Client {
    inner: reqwest::Client,
    dates: Mutex<Vec<Told>>,
}

impl Client {
    pub fn new() -> reqwest::Result<Client> {
        // A second call finds the first one's provider, which is the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let inner = reqwest::Client::builder()
            .user_agent(concat!("parlor/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Client { inner, dates: Mutex::default() })
    }

    pub fn get(&self, url: Url) -> RequestBuilder {
        self.inner.get(url)
    }

    pub fn head(&self, url: Url) -> RequestBuilder {
        self.inner.head(url)
    }

    pub fn post(&self, url: Url) -> RequestBuilder {
        self.inner.post(url)
    }

    /// Sends and reads; what went wrong comes back in words, without the address.
    pub async fn ask(&self, request: RequestBuilder) -> Result<Answer, String> {
        let mut response = request.send().await.map_err(words)?;
        self.note(&response);
        let mut body = Vec::new();
        while body.len() < BODY_BYTES_MAX {
            match response.chunk().await.map_err(words)? {
                Some(chunk) => body.extend_from_slice(&chunk),
                None => break,
            }
        }
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }

    fn note(&self, response: &Response) {
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) {
            let host = response.url().host_str().unwrap_or_default().to_owned();
            let told = Told { host, theirs, ours: SystemTime::now() };
            self.dates.lock().expect("whoever holds it does not panic").push(told);
        }
    }

    /// What all the clocks said so far.
    pub fn dates(&self) -> Vec<Told> {
        self.dates.lock().expect("whoever holds it does not panic").clone()
    }
}

impl Answer {
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let (is_dns, is_timeout) = (error.is_dns(), error.is_timeout());
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if is_dns {
        return "its name does not resolve".to_owned();
    }
    if is_timeout { "no answer in time".to_owned() } else { cause.to_string() }
}
