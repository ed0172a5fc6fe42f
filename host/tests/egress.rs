//! The way out of a plugin, against a real listener: what is allowed goes, what is not never connects.

#[path = "egress/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parlor::clock::Clock;
use parlor::egress::{Egress, Resolver};
use parlor::message::HttpResponse;
use parlor::plugin::manifest::Manifest;
use parlor::plugin::secrets::Secrets;
use parlor::plugin::services::{FailureKind, Http, HttpFailure, Outbound};
use parlor::store::Store;
use parlor::store::ephemeral::EphemeralStore;
use parlor::store::vault::Vault;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

const MANIFEST: &str = r#"
name = "sample"
version = "0.1.0"
kind = "adapter"
contract = "0.1"
license = "Apache-2.0"
description = "a sample"

[settings.properties]
callback_url = { type = "string" }
robot = { type = "string" }

[[secrets]]
name = "key"
why = "a test"
uses = ["egress"]

[[secrets]]
name = "other"
why = "a test"
uses = ["egress"]
required = false

[[egress]]
host = "api.example.com"
methods = ["GET", "POST"]
path = "/v1/"
places = [
    "secret:key@header:authorization",
    "secret:key@query:key",
    "secret:key@path",
    "secret:key@json:/auth/key",
    "setting:robot@json:/robot",
    "token:access@header:x-token",
]

[[egress]]
host = "slow.example.com"
methods = ["GET"]
rate = "2/1m"

[[egress]]
host = "${setting:callback_url}"
methods = ["POST"]

[[tokens]]
name = "access"
method = "POST"
url = "https://auth.example.com/mint?robot=${setting:robot}"
headers = { content-type = "application/json" }
body = '{"secret":"${secret:key}"}'
value = "/token"
lifetime = "/expires"
refresh-margin = "5m"
"#;

/// Holds whatever must be escaped somewhere.
const SECRET: &str = "s3cr/t+\"k&y";
const BODY_CHUNK: usize = 64 << 10;

type Body = BoxBody<Bytes, Infallible>;

/// What a request looked like at the other side.
#[derive(Debug, Clone)]
struct Seen {
    uri: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// A platform on a real socket. `answer` says what comes back.
struct Platform {
    origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Answer = Arc<dyn Fn(&Seen) -> http::Response<Body> + Send + Sync>;

impl Platform {
    async fn start(answer: impl Fn(&Seen) -> http::Response<Body> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let (seen, answer): (Arc<Mutex<Vec<Seen>>>, Answer) = (Arc::default(), Arc::new(answer));
        tokio::spawn(serve(listener, seen.clone(), answer));
        Self { origin, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("unpoisoned").clone()
    }

    fn last(&self) -> Seen {
        self.seen().pop().expect("a request came")
    }
}

async fn serve(listener: tokio::net::TcpListener, seen: Arc<Mutex<Vec<Seen>>>, answer: Answer) {
    while let Ok((stream, _)) = listener.accept().await {
        let (seen, answer) = (seen.clone(), answer.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (seen, answer) = (seen.clone(), answer.clone());
                async move {
                    let request = read(request).await;
                    seen.lock().expect("unpoisoned").push(request.clone());
                    Ok::<_, Infallible>(answer(&request))
                }
            });
            let _closed = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn read(request: http::Request<Incoming>) -> Seen {
    let (head, body) = request.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Seen { uri: head.uri.to_string(), headers, body: String::from_utf8_lossy(&body).into_owned() }
}

fn answer(status: u16, body: impl Into<Bytes>) -> http::Response<Body> {
    http::Response::builder().status(status).body(Full::new(body.into()).boxed()).expect("a response")
}

fn ok(_: &Seen) -> http::Response<Body> {
    answer(200, "{}")
}

/// Every name leads to these addresses.
#[derive(Debug)]
struct Everywhere(Vec<IpAddr>);

#[async_trait]
impl Resolver for Everywhere {
    async fn resolve(&self, _host: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

fn settings(callback: &str) -> BTreeMap<String, Value> {
    BTreeMap::from([("callback_url".to_owned(), json!(callback)), ("robot".to_owned(), json!("r\"1&"))])
}

fn gate_of(egress: &Egress, manifest: &str, callback: &str) -> Arc<dyn Http> {
    let manifest = Manifest::parse(manifest).expect("a sound manifest");
    let values = BTreeMap::from([("key".to_owned(), SecretString::from(SECRET))]);
    egress.gate(&manifest, &settings(callback), Arc::new(Secrets::new(&manifest, &values)))
}

/// Every platform is this one.
fn stand_ins(platform: &Platform) -> BTreeMap<String, Url> {
    let stand_in = |host: &str| (format!("https://{host}.example.com"), url(&platform.origin));
    BTreeMap::from(["api", "slow", "auth"].map(stand_in))
}

fn gate(platform: &Platform) -> Arc<dyn Http> {
    let egress = Egress::new(stand_ins(platform)).expect("a client");
    gate_of(&egress, MANIFEST, "https://nowhere.example.com/")
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

fn get(url: &str) -> Outbound {
    Outbound { method: "GET".to_owned(), url: url.to_owned(), ..Outbound::default() }
}

fn with_header(url: &str, name: &str, value: &str) -> Outbound {
    Outbound { headers: vec![(name.to_owned(), value.to_owned())], ..get(url) }
}

fn post(url: &str, body: &Value) -> Outbound {
    Outbound { method: "POST".to_owned(), body: Bytes::from(body.to_string()), ..get(url) }
}

fn refusal(outcome: Result<HttpResponse, HttpFailure>) -> HttpFailure {
    outcome.expect_err("it is refused")
}

#[tokio::test]
async fn placeholders_are_filled_at_their_places_escaped_for_each() {
    let platform = Platform::start(ok).await;
    let gate = gate(&platform);
    gate.send(with_header("https://api.example.com/v1/a", "Authorization", "Bearer ${secret:key}"))
        .await
        .expect("sent");
    assert_eq!(platform.last().headers["authorization"], format!("Bearer {SECRET}"));
    gate.send(get("https://api.example.com/v1/bot${secret:key}/send?a=1&key=${secret:key}&b="))
        .await
        .expect("sent");
    assert_eq!(platform.last().uri, "/v1/bots3cr%2Ft%2B%22k%26y/send?a=1&key=s3cr%2Ft%2B%22k%26y&b=");
    let body =
        json!({ "n": 12345678901_u64, "auth": { "key": "${secret:key}" }, "robot": "${setting:robot}" });
    gate.send(post("https://api.example.com/v1/a", &body)).await.expect("sent");
    let sent = json!({ "n": 12345678901_u64, "auth": { "key": SECRET }, "robot": "r\"1&" });
    assert_eq!(platform.last().body, sent.to_string());
}

#[tokio::test]
async fn placeholders_that_people_write_are_plain_text() {
    let platform = Platform::start(ok).await;
    let gate = gate(&platform);
    let body =
        json!({ "auth": { "key": "x" }, "text": "${secret:key} ${token:access}", "key": "${secret:key}" });
    let request = Outbound {
        headers: vec![("x-text".to_owned(), "${secret:key}".to_owned())],
        ..post(
            "https://api.example.com/v1/%24%7Bsecret%3Akey%7D/$%7Bsecret:key%7D?text=${secret:key}&key=%24%7Bsecret:key%7D",
            &body,
        )
    };
    gate.send(request).await.expect("sent");
    let seen = platform.last();
    assert_eq!(seen.body, body.to_string());
    assert_eq!(seen.headers["x-text"], "${secret:key}");
    assert!(!format!("{seen:?}").contains("s3cr"), "{seen:?}");
    assert_eq!(platform.seen().len(), 1, "no token was minted for a text");
}

#[tokio::test]
async fn a_value_is_never_looked_at_again() {
    let platform = Platform::start(ok).await;
    let text = MANIFEST.replace("\"setting:robot@json:/robot\"", "\"setting:robot@header:authorization\"");
    let manifest = Manifest::parse(&text).expect("a sound manifest");
    let endpoints = BTreeMap::from([("https://api.example.com".to_owned(), url(&platform.origin))]);
    let settings = BTreeMap::from([("robot".to_owned(), json!("${secret:key}"))]);
    let values = BTreeMap::from([("key".to_owned(), SecretString::from(SECRET))]);
    let egress = Egress::new(endpoints).expect("a client");
    let gate = egress.gate(&manifest, &settings, Arc::new(Secrets::new(&manifest, &values)));
    gate.send(with_header("https://api.example.com/v1/a", "authorization", "${setting:robot}"))
        .await
        .expect("sent");
    assert_eq!(platform.last().headers["authorization"], "${secret:key}");
}

#[tokio::test]
async fn what_no_rule_names_never_connects() {
    let platform = Platform::start(ok).await;
    let gate = gate(&platform);
    for text in [
        "https://evil.example.com/v1/a",
        "https://api.example.com.evil.example/v1/a",
        "https://api.example.com./v1/a",
        "https://api.example.com:8443/v1/a",
        "http://api.example.com/v1/a",
        "https://api.example.com/v2/a",
        "https://api.example.com/v1",
        "https://api.example.com/v1/../v2/a",
        "https://api.example.com/v1/%2e%2e/v2",
        "https://api.example.com/v1/..%2Fv2",
        "https://api.example.com/v1/%61",
        "https://api.example.com/v1\\..\\v2",
        "https://api.example.com/v1/a#f",
        "https://user@api.example.com/v1/a",
        "https://u:p@api.example.com/v1/a",
        "https:///api.example.com/v1/a",
        "https:/api.example.com/v1/a",
        "file:///etc/passwd",
        "https://[::1]/v1/a",
        "not a url",
    ] {
        let failure = refusal(gate.send(get(text)).await);
        assert_eq!((failure.kind, failure.request_sent), (FailureKind::Denied, false), "{text}: {failure}");
    }
    let failure = refusal(
        gate.send(Outbound { method: "DELETE".to_owned(), ..get("https://api.example.com/v1/a") }).await,
    );
    assert!(failure.reason.contains("`sample`") && failure.reason.contains("`api.example.com`"), "{failure}");
    for (name, value) in
        [("Host", "evil"), ("content-length", "3"), ("Transfer-Encoding", "chunked"), ("x-a", "b\r\nc: d")]
    {
        let failure = refusal(gate.send(with_header("https://api.example.com/v1/a", name, value)).await);
        assert_eq!(failure.kind, FailureKind::Denied, "{name}");
    }
    assert!(platform.seen().is_empty());
}

#[tokio::test]
async fn private_addresses_are_refused_after_the_name_was_resolved() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let manifest =
        MANIFEST.replace("host = \"api.example.com\"", &format!("host = \"api.example.com:{port}\""));
    for address in
        ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "64:ff9b::7f00:1", "fd00::1"]
    {
        let resolver = Arc::new(Everywhere(vec![address.parse().expect("an address")]));
        let egress = Egress::with_resolver(BTreeMap::new(), resolver).expect("a client");
        let gate = gate_of(&egress, &manifest, "https://nowhere.example.com/");
        let failure = refusal(gate.send(get(&format!("https://api.example.com:{port}/v1/a"))).await);
        assert_eq!(
            (failure.kind, failure.request_sent),
            (FailureKind::Denied, false),
            "{address}: {failure}"
        );
        assert!(failure.reason.contains("no public address"), "{failure}");
    }
    let unknown = Egress::with_resolver(BTreeMap::new(), Arc::new(Everywhere(vec![]))).expect("a client");
    let gate = gate_of(&unknown, &manifest, "https://nowhere.example.com/");
    let failure = refusal(gate.send(get(&format!("https://api.example.com:{port}/v1/a"))).await);
    assert_eq!((failure.kind, failure.request_sent), (FailureKind::Unresolved, false));
    assert_eq!(listener.accept().expect_err("nobody came").kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let egress = Egress::new(BTreeMap::new()).expect("a client");
    for host in
        ["127.0.0.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "localhost"]
    {
        let callback = format!("http://{host}:{port}/hook");
        let failure = refusal(gate_of(&egress, MANIFEST, &callback).send(post(&callback, &json!({}))).await);
        assert_eq!((failure.kind, failure.request_sent), (FailureKind::Denied, false), "{host}: {failure}");
    }
    assert_eq!(listener.accept().expect_err("nobody came").kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_setting_grants_its_origin_and_path() {
    let platform = Platform::start(ok).await;
    let callback = "http://hook.example.com:8080/in?x=1";
    let endpoints = BTreeMap::from([(
        "http://hook.example.com:8080/".to_owned(),
        url(&format!("{}/base", platform.origin)),
    )]);
    let gate = gate_of(&Egress::new(endpoints).expect("a client"), MANIFEST, callback);
    gate.send(post(callback, &json!({}))).await.expect("sent");
    assert_eq!(platform.last().uri, "/base/in?x=1", "a stand-in's own path comes first");
    for text in [
        "http://hook.example.com:8080/inside",
        "http://hook.example.com/in",
        "https://hook.example.com:8080/in",
    ] {
        assert_eq!(refusal(gate.send(post(text, &json!({}))).await).kind, FailureKind::Denied, "{text}");
    }
}

#[tokio::test]
async fn what_was_put_in_is_scrubbed_from_the_answer() {
    let base64 = base64::engine::general_purpose::STANDARD.encode(format!("id:{SECRET}"));
    let echo = move |seen: &Seen| {
        let body =
            json!({ "you": seen.headers["authorization"], "uri": seen.uri, "basic": base64 }).to_string();
        let mut response = answer(401, body);
        response.headers_mut().insert("x-echo", seen.headers["authorization"].parse().expect("a value"));
        response
    };
    let platform = Platform::start(echo).await;
    let request =
        with_header("https://api.example.com/v1/?key=${secret:key}", "authorization", "${secret:key}");
    let response = gate(&platform).send(request).await.expect("an answer");
    let told = format!("{response:?}");
    assert!(response.status == 401 && told.contains("***") && !told.contains("s3cr"), "{told}");
    let header = response.headers.iter().find(|(name, _)| name == "x-echo").expect("the header");
    assert_eq!(header.1, "***");
    let body: Value = serde_json::from_slice(&response.body).expect("still JSON");
    assert_eq!((&body["you"], &body["uri"]), (&json!("***"), &json!("/v1/?key=***")));
}

/// An answer that named the bot was no JSON any more: the bot's id stands in its token too.
#[tokio::test]
async fn the_public_part_of_a_secret_stays_in_the_answer() {
    let echo = |seen: &Seen| {
        let bot = json!({ "id": 1_234_567_890_u64, "is_bot": true });
        answer(200, json!({ "from": bot, "uri": seen.uri, "cut": seen.uri[..30] }).to_string())
    };
    let platform = Platform::start(echo).await;
    let text = MANIFEST.replacen("uses = [\"egress\"]", "uses = [\"egress\"]\npublic-until = \":\"", 1);
    let manifest = Manifest::parse(&text).expect("a sound manifest");
    let endpoints = BTreeMap::from([("https://api.example.com".to_owned(), url(&platform.origin))]);
    let token = SecretString::from("1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5P");
    let secrets = Secrets::new(&manifest, &BTreeMap::from([("key".to_owned(), token)]));
    let egress = Egress::new(endpoints).expect("a client");
    let gate = egress.gate(&manifest, &settings("https://nowhere.example.com/"), Arc::new(secrets));
    let sent = gate.send(get("https://api.example.com/v1/bot${secret:key}/send")).await;
    let body: Value = serde_json::from_slice(&sent.expect("an answer").body).expect("still JSON");
    assert_eq!(platform.last().uri, "/v1/bot1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5P/send");
    assert_eq!(body["from"], json!({ "id": 1_234_567_890_u64, "is_bot": true }));
    assert_eq!(body["uri"], "/v1/bot***/send", "the whole of it does not come back");
    assert_eq!(body["cut"], "/v1/bot1234567890:***", "nor the beginning of the rest");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let redirect = |_: &Seen| {
        let mut response = answer(302, "");
        response.headers_mut().insert("location", "/elsewhere".parse().expect("a value"));
        response
    };
    let platform = Platform::start(redirect).await;
    let response = gate(&platform).send(get("https://api.example.com/v1/a")).await.expect("an answer");
    assert_eq!((response.status, platform.seen().len()), (302, 1));
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let chunks = Arc::new(AtomicUsize::new(0));
    let pulled = chunks.clone();
    let flood = move |_: &Seen| {
        let (pulled, chunk) = (pulled.clone(), Bytes::from(vec![b'x'; BODY_CHUNK]));
        let frames = stream::iter(0..(200 << 20) / BODY_CHUNK).map(move |_| {
            pulled.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(chunk.clone()))
        });
        http::Response::new(BodyExt::boxed(StreamBody::new(frames)))
    };
    let platform = Platform::start(flood).await;
    let failure = refusal(gate(&platform).send(get("https://api.example.com/v1/a")).await);
    assert_eq!((failure.kind, failure.request_sent), (FailureKind::TooLarge, true));
    assert!(chunks.load(Ordering::Relaxed) * BODY_CHUNK < 32 << 20, "{chunks:?} chunks were pulled");
}

#[tokio::test]
async fn an_answer_that_announces_too_much_is_not_read() {
    let announce = |_: &Seen| {
        let mut response = answer(200, vec![b'x'; (4 << 20) + 1]);
        response.headers_mut().insert("content-length", ((4 << 20) + 1).into());
        response
    };
    let platform = Platform::start(announce).await;
    let failure = refusal(gate(&platform).send(get("https://api.example.com/v1/a")).await);
    assert_eq!(failure.kind, FailureKind::TooLarge);
}

#[tokio::test]
async fn failures_tell_whether_anything_was_sent_and_never_the_url() {
    let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .expect("a port")
        .local_addr()
        .expect("an address");
    let deaf = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let deaf_address = deaf.local_addr().expect("an address");
    let rude = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let rude_address = rude.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = rude.accept().await {
            let mut first = [0; 1];
            let _read = stream.readable().await.map(|()| stream.try_read(&mut first));
        }
    });
    for (address, kind, sent) in [
        (closed, FailureKind::Refused, false),
        (deaf_address, FailureKind::TimedOut, true),
        (rude_address, FailureKind::Broken, true),
    ] {
        let endpoints =
            BTreeMap::from([("https://api.example.com".to_owned(), url(&format!("http://{address}")))]);
        let gate =
            gate_of(&Egress::new(endpoints).expect("a client"), MANIFEST, "https://nowhere.example.com/");
        let request = Outbound {
            timeout: Some(Duration::from_millis(200)),
            ..get("https://api.example.com/v1/?key=${secret:key}")
        };
        let failure = refusal(gate.send(request).await);
        assert_eq!((failure.kind, failure.request_sent), (kind, sent), "{failure}");
        assert!(!failure.reason.contains("s3cr") && !failure.reason.contains("/v1/"), "{failure}");
    }
}

/// Mints `t1`, `t2` and so on, for two hours each; everything else gets `{}`.
fn minting() -> impl Fn(&Seen) -> http::Response<Body> + Send + Sync {
    let minted = AtomicUsize::new(0);
    move |seen: &Seen| {
        if seen.uri.starts_with("/mint") {
            let number = minted.fetch_add(1, Ordering::Relaxed) + 1;
            return answer(200, json!({ "token": format!("token-{number}"), "expires": "7200" }).to_string());
        }
        answer(200, json!({ "you": seen.headers.get("x-token") }).to_string())
    }
}

fn with_token() -> Outbound {
    with_header("https://api.example.com/v1/a", "x-token", "${token:access}")
}

/// Lets this much time pass at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_minted_once_for_all_who_wait() {
    let platform = Platform::start(minting()).await;
    let gate = gate(&platform);
    let sends = (0..20).map(|_| gate.send(with_token()));
    for response in futures_util::future::join_all(sends).await {
        assert_eq!(response.expect("an answer").body, r#"{"you":"***"}"#);
    }
    let (mints, uses): (Vec<Seen>, Vec<Seen>) =
        platform.seen().into_iter().partition(|seen| seen.uri.starts_with("/mint"));
    assert_eq!((mints.len(), uses.len()), (1, 20));
    assert_eq!(mints[0].uri, "/mint?robot=r%221%26");
    assert_eq!(serde_json::from_str::<Value>(&mints[0].body).expect("JSON"), json!({ "secret": SECRET }));
    assert!(uses.iter().all(|seen| seen.headers["x-token"] == "token-1"));
}

#[tokio::test]
async fn a_plugin_cannot_mint_by_itself() {
    let platform = Platform::start(minting()).await;
    let endpoints = BTreeMap::from([("https://auth.example.com".to_owned(), url(&platform.origin))]);
    let text = MANIFEST.replace("host = \"slow.example.com\"", "host = \"auth.example.com\"");
    let gate = gate_of(&Egress::new(endpoints).expect("a client"), &text, "https://nowhere.example.com/");
    for path in ["mint", "mint?robot=x", "/mint/", "MINT"] {
        let failure = refusal(gate.send(get(&format!("https://auth.example.com/{path}"))).await);
        assert!(
            failure.kind == FailureKind::Denied && failure.reason.contains("by the host alone"),
            "{failure}"
        );
    }
    assert!(platform.seen().is_empty());
    gate.send(get("https://auth.example.com/minted")).await.expect("the rest of the host is open");
}

#[tokio::test]
async fn a_token_lives_until_shortly_before_its_end() {
    let platform = Platform::start(minting()).await;
    let gate = gate(&platform);
    gate.send(with_token()).await.expect("an answer");
    pass(Duration::from_secs(7200 - 300 - 5)).await;
    gate.send(with_token()).await.expect("an answer");
    assert_eq!(platform.last().headers["x-token"], "token-1");
    pass(Duration::from_secs(6)).await;
    gate.send(with_token()).await.expect("an answer");
    assert_eq!(platform.last().headers["x-token"], "token-2");
}

#[tokio::test]
async fn a_stale_token_is_dropped_but_not_the_one_minted_meanwhile() {
    let platform = Platform::start(minting()).await;
    let gate = gate(&platform);
    gate.expire_token("access");
    gate.send(with_token()).await.expect("an answer");
    pass(Duration::from_secs(60)).await;
    gate.expire_token("access");
    gate.send(with_token()).await.expect("an answer");
    assert_eq!(platform.last().headers["x-token"], "token-2");
    gate.expire_token("access");
    gate.send(with_token()).await.expect("an answer");
    assert_eq!(platform.last().headers["x-token"], "token-2", "a late word about the first");
}

#[tokio::test]
async fn a_call_expires_no_token_but_the_one_that_it_used() {
    let platform = Platform::start(minting()).await;
    let gate = gate(&platform);
    let (early, idle, late) = (gate.for_a_call(), gate.for_a_call(), gate.for_a_call());
    early.send(with_token()).await.expect("an answer");
    pass(Duration::from_secs(60)).await;
    idle.expire_token("access");
    late.send(with_token()).await.expect("an answer");
    assert_eq!(
        platform.last().headers["x-token"],
        "token-1",
        "a call that used none says nothing of another's"
    );
    late.expire_token("access");
    late.send(with_token()).await.expect("an answer");
    pass(Duration::from_secs(60)).await;
    early.expire_token("access");
    late.send(with_token()).await.expect("an answer");
    assert_eq!(platform.last().headers["x-token"], "token-2", "a late word about the first");
    late.expire_token("access");
    late.send(with_token()).await.expect("an answer");
    assert_eq!(platform.last().headers["x-token"], "token-3", "its own it does expire");
}

#[tokio::test]
async fn a_token_that_one_call_used_is_said_to_no_other() {
    let (mint, kept) = (minting(), Mutex::new(String::new()));
    let platform = Platform::start(move |seen: &Seen| {
        if seen.uri.starts_with("/mint") {
            return mint(seen);
        }
        let mut kept = kept.lock().expect("unpoisoned");
        if let Some(token) = seen.headers.get("x-token") {
            kept.clone_from(token);
        }
        answer(200, kept.clone())
    })
    .await;
    let gate = gate(&platform);
    gate.for_a_call().send(with_token()).await.expect("an answer");
    let told = gate.for_a_call().send(get("https://api.example.com/v1/a")).await.expect("an answer");
    assert_eq!(told.body, "***");
}

#[tokio::test]
async fn a_platform_that_does_not_mint_is_not_hammered() {
    let platform =
        Platform::start(|seen: &Seen| answer(200, format!("{{\"code\":1,\"you\":{}}}", seen.body))).await;
    let gate = gate(&platform);
    for _ in 0..5 {
        let failure = refusal(gate.send(with_token()).await);
        assert!(failure.reason.contains("`access`") && !failure.request_sent, "{failure}");
        assert!(failure.retry_after.is_some_and(|wait| wait <= Duration::from_secs(1)));
        assert!(!failure.reason.contains("s3cr"), "{failure}");
    }
    assert_eq!(platform.seen().len(), 1);
    pass(Duration::from_secs(1)).await;
    let failure = refusal(gate.send(with_token()).await);
    assert!(
        failure.retry_after.is_some_and(|wait| wait > Duration::from_secs(1)),
        "it waits longer each time"
    );
    assert_eq!(platform.seen().len(), 2);
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// One after another, each as soon as it is let through; when each went out.
async fn drive(gate: &dyn Http, key: &str, times: usize) -> Vec<Duration> {
    let (began, mut sent) = (tokio::time::Instant::now(), Vec::new());
    while sent.len() < times {
        let request = Outbound { limit_key: Some(key.to_owned()), ..get("https://slow.example.com/") };
        match gate.send(request).await {
            Ok(_) => sent.push(began.elapsed()),
            Err(failure) => {
                assert_eq!((failure.kind, failure.request_sent), (FailureKind::Throttled, false));
                pass(failure.retry_after.expect("a wait")).await;
            }
        }
    }
    sent
}

/// The most that any span of this length saw.
fn densest(sent: &[Duration], span: Duration) -> usize {
    let within = |from: &Duration| sent.iter().filter(|at| (*from..*from + span).contains(*at)).count();
    sent.iter().map(within).max().unwrap_or_default()
}

#[tokio::test]
async fn no_span_of_time_sees_more_than_the_rate() {
    let platform = Platform::start(ok).await;
    let stand_in = BTreeMap::from([("https://slow.example.com".to_owned(), url(&platform.origin))]);
    let egress = Egress::new(stand_in).expect("a client");
    for count in [1, 2, 5, 20] {
        let manifest = MANIFEST.replace("2/1m", &format!("{count}/10m"));
        let gate = gate_of(&egress, &manifest, "https://nowhere.example.com/");
        let sent = drive(&*gate, &format!("of {count}"), 3 * count + 2).await;
        assert_eq!(densest(&sent, TEN_MINUTES), count, "as many as the platform takes, and never one more");
        let spare = drive(&*gate.leaving_room(), &format!("spare of {count}"), 3 * count + 2).await;
        let least = (count - count.div_ceil(4)).max(1);
        assert_eq!(densest(&spare, TEN_MINUTES), least, "what may be left undone takes its share");
    }
}

#[tokio::test]
async fn a_key_has_a_rate_of_its_own_and_all_keys_have_one_together() {
    let platform = Platform::start(ok).await;
    let stand_in = BTreeMap::from([("https://slow.example.com".to_owned(), url(&platform.origin))]);
    let manifest = MANIFEST.replace("rate = \"2/1m\"", "rate = \"1/1m\"\nrates-in-all = [\"2/1m\"]");
    let gate = gate_of(&Egress::new(stand_in).expect("a client"), &manifest, "https://nowhere.example.com/");
    let request =
        |key: &str| Outbound { limit_key: Some(key.to_owned()), ..get("https://slow.example.com/") };
    gate.send(request("a")).await.expect("sent");
    assert_eq!(refusal(gate.send(request("a")).await).kind, FailureKind::Throttled);
    pass(Duration::from_secs(31)).await;
    gate.send(request("b")).await.expect("another key has a rate of its own");
    assert_eq!(refusal(gate.send(request("c")).await).kind, FailureKind::Throttled, "two of all keys");
    pass(Duration::from_secs(31)).await;
    gate.send(request("c")).await.expect("what was refused cost nothing");
}

/// Two nodes, or one that was started again.
#[tokio::test]
async fn a_rate_is_shared_by_all_who_share_a_store() {
    let platform = Platform::start(ok).await;
    // Of four a minute, three are for what may be left undone; it waits for none.
    let manifest = MANIFEST.replace("2/1m", "4/1m");
    let store: Arc<dyn Store> = Arc::new(EphemeralStore::default());
    let clock = Arc::new(SteppedClock::default());
    let gates: Vec<_> = (0..2)
        .map(|_| {
            let stand_in = BTreeMap::from([("https://slow.example.com".to_owned(), url(&platform.origin))]);
            let vault = Vault::derived(b"a secret that all nodes have", b"tokens");
            let egress =
                Egress::new(stand_in).expect("a client").sharing(store.clone(), clock.clone(), vault);
            gate_of(&egress, &manifest, "https://nowhere.example.com/").leaving_room()
        })
        .collect();
    let request = || Outbound { limit_key: Some("a".to_owned()), ..get("https://slow.example.com/") };
    let mut sent = 0;
    for second in 0..240 {
        for gate in &gates {
            match gate.send(request()).await {
                Ok(_) => sent += 1,
                Err(failure) => assert_eq!(failure.kind, FailureKind::Throttled),
            }
        }
        assert!(sent <= 3 * (second / 60 + 1), "{sent} in {second} s");
        clock.0.fetch_add(1000, Ordering::Relaxed);
    }
    assert!(sent >= 11, "{sent} of both together in four minutes");
}

#[derive(Debug, Default)]
struct SteppedClock(AtomicU64);

impl Clock for SteppedClock {
    fn now(&self) -> u64 {
        1_790_000_000_000 + self.0.load(Ordering::Relaxed)
    }
}

/// Time stands still for the one who waits, and goes on by itself.
#[tokio::test]
async fn what_must_go_out_waits_a_little_for_its_place() {
    let platform = Platform::start(ok).await;
    let stand_in = BTreeMap::from([("https://slow.example.com".to_owned(), url(&platform.origin))]);
    let manifest = MANIFEST.replace("2/1m", "2/1s");
    let gate = gate_of(&Egress::new(stand_in).expect("a client"), &manifest, "https://nowhere.example.com/");
    let request = || Outbound { limit_key: Some("a".to_owned()), ..get("https://slow.example.com/") };
    let began = tokio::time::Instant::now();
    for _ in 0..4 {
        gate.send(request()).await.expect("it waits for its place");
    }
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    let spare = gate.leaving_room();
    assert_eq!(
        refusal(spare.send(request()).await).kind,
        FailureKind::Throttled,
        "the rest waits for nothing"
    );
}

#[tokio::test]
async fn a_slow_down_is_an_answer() {
    let busy = |_: &Seen| {
        let mut response = answer(429, "busy");
        response.headers_mut().insert("retry-after", 7.into());
        response
    };
    let platform = Platform::start(busy).await;
    let response = gate(&platform).send(get("https://api.example.com/v1/a")).await.expect("an answer");
    assert_eq!(response.status, 429);
    assert!(response.headers.contains(&("retry-after".to_owned(), "7".to_owned())));
}

#[tokio::test]
async fn an_unset_secret_or_setting_is_told_by_name() {
    let platform = Platform::start(ok).await;
    let text = MANIFEST.replace("\"secret:key@path\"", "\"secret:other@header:x-other\"");
    let endpoints = BTreeMap::from([("https://api.example.com".to_owned(), url(&platform.origin))]);
    let gate = gate_of(&Egress::new(endpoints).expect("a client"), &text, "https://nowhere.example.com/");
    let failure =
        refusal(gate.send(with_header("https://api.example.com/v1/a", "x-other", "${secret:other}")).await);
    assert!(failure.reason.contains("`other`") && failure.reason.contains("not set"), "{failure}");
    assert!(platform.seen().is_empty());
}
