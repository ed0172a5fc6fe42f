//! Requests as people and programs send them, and signatures as platforms make them.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{PATIENCE, now_ms};

/// How soon a sender sends again what was not acknowledged.
const AGAIN: Duration = Duration::from_millis(50);

/// A client that uses no connection twice, since hosts come and go.
pub fn client() -> reqwest::Client {
    builder().pool_max_idle_per_host(0).build().unwrap()
}

/// A client that keeps its connections, for who asks one host very often.
pub fn keeping() -> reqwest::Client {
    builder().build().unwrap()
}

fn builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE).no_proxy().tls_certs_only([])
}

/// Bytes to a host as they are; what came back, as text.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    reading.expect("the host answers and closes").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn hmac_sha256(key: &str, text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text).as_ref().to_vec()
}

/// As robots of the platform are signed, both ways: `timestamp`, a line feed and the secret, keyed by the secret.
pub fn robot_sign(secret: &str, timestamp: &str) -> String {
    STANDARD.encode(hmac_sha256(secret, format!("{timestamp}\n{secret}").as_bytes()))
}

/// As Standard Webhooks has it.
pub fn standard_sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    format!("v1,{}", STANDARD.encode(hmac_sha256(secret, &signed)))
}

/// A message to the generic webhook.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub id: String,
    pub session: String,
    pub query: String,
}

impl Envelope {
    pub const SECRET: &'static str = "secret-canary-webhook";

    pub fn new(id: &str, session: &str, query: &str) -> Self {
        Self { id: id.to_owned(), session: session.to_owned(), query: query.to_owned() }
    }

    fn body(&self) -> String {
        let payload = json!({ "query": self.query, "session_id": self.session, "user_id": "person-canary" });
        json!({ "header": { "message_id": self.id }, "payload": payload }).to_string()
    }

    /// Signs any body in its headers and posts it.
    pub async fn post_body(url: &str, id: &str, body: Vec<u8>) -> Result<(u16, Value), reqwest::Error> {
        let timestamp = (now_ms() / 1000).to_string();
        let request = client()
            .post(url)
            .header("webhook-id", id)
            .header("webhook-timestamp", &timestamp)
            .header("webhook-signature", standard_sign(Self::SECRET, id, &timestamp, &body))
            .header("content-type", "application/json");
        let response = request.body(body).send().await?;
        let status = response.status().as_u16();
        let answer = response.bytes().await?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or(Value::Null)))
    }

    /// Headers and body, signed at a moment.
    pub fn signed(&self, at_ms: u64) -> (Vec<(String, String)>, String) {
        let (body, timestamp) = (self.body(), (at_ms / 1000).to_string());
        let sign = standard_sign(Self::SECRET, &self.id, &timestamp, body.as_bytes());
        let headers = [
            ("webhook-id", self.id.clone()),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", sign),
            ("content-type", "application/json".to_owned()),
        ];
        (headers.map(|(name, value)| (name.to_owned(), value)).into(), body)
    }

    pub async fn post(&self, url: &str) -> Result<(u16, Value), reqwest::Error> {
        Self::post_body(url, &self.id, self.body().into_bytes()).await
    }

    /// Posts it until it is acknowledged, wherever the host is by then; tells how often it took.
    pub fn deliver(
        &self,
        whereabouts: impl Fn() -> Option<SocketAddr> + Send + 'static,
        path: &'static str,
    ) -> JoinHandle<u32> {
        let envelope = self.clone();
        let attempt = move |address| {
            let envelope = envelope.clone();
            async move { envelope.post(&format!("http://{address}{path}")).await.ok().map(|(status, _)| status) }
        };
        until_acknowledged(whereabouts, attempt)
    }
}

/// Attempts again and again until a 2xx comes back; tells how often it took.
pub fn until_acknowledged<A>(
    whereabouts: impl Fn() -> Option<SocketAddr> + Send + 'static,
    attempt: impl Fn(SocketAddr) -> A + Send + 'static,
) -> JoinHandle<u32>
where
    A: Future<Output = Option<u16>> + Send,
{
    tokio::spawn(async move {
        let mut attempts = 0;
        loop {
            if let Some(address) = whereabouts() {
                attempts += 1;
                if attempt(address).await.is_some_and(|status| (200..300).contains(&status)) {
                    return attempts;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    })
}
