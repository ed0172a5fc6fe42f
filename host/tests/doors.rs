//! The doors through real TCP connections: what they take, what they refuse and in which words.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use parlor::auth::{Issuer, Verifier};
use parlor::clock::SystemClock;
use parlor::doors::chat::{Answering, Event, Question, Refusal, Reply, Talk, Usage};
use parlor::doors::client::{Allowed, Origins};
use parlor::doors::health::{Check, Readiness};
use parlor::doors::page::Page;
use parlor::doors::socket::{self, Attend};
use parlor::doors::{Doors, body, router, server};
use parlor::drain::Drain;
use parlor::telemetry::Metrics;
use reqwest::{Client, Method, Response};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const SECRET: &str = "a secret of at least thirty-two bytes";
/// Far more than any step takes, and far less than a person waits for a hanging test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A turn that says what it was asked, and can be told to behave otherwise by the question.
#[derive(Default)]
struct Parrot {
    asked: std::sync::Mutex<Option<Question>>,
    dropped: Arc<Notify>,
    gate: Arc<Notify>,
}

struct Listened(Arc<Notify>);

impl Drop for Listened {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn failed(status: u16, code: &'static str) -> Event {
    let message = "the model did not answer".to_owned();
    Event::Failed { status, code, message, retry_after: Some(Duration::from_millis(1500)) }
}

impl Parrot {
    fn events(&self, query: &str) -> Vec<Event> {
        let usage = Some(Usage { prompt_tokens: 3, completion_tokens: 2 });
        let done = Event::Done(Reply { text: query.to_owned(), model: Some("local".to_owned()), usage });
        match query {
            "fail" => vec![Event::Delta("so far".to_owned()), failed(502, "model_unavailable")],
            "break" => vec![Event::Delta("so far".to_owned())],
            _ => query.split_inclusive(' ').map(|word| Event::Delta(word.to_owned())).chain([done]).collect(),
        }
    }
}

#[async_trait]
impl Talk for Parrot {
    async fn ask(&self, question: Question) -> Result<Answering, Refusal> {
        let query = question.query.clone();
        let session_id = question.session_id.clone().unwrap_or_else(|| "s-new".to_owned());
        *self.asked.lock().unwrap() = Some(question);
        if query == "leave" {
            let message = "the host is shutting down; ask again".to_owned();
            return Err(Refusal { status: 503, code: "draining", message, retry_after: None });
        }
        if query == "busy" {
            let retry_after = Some(Duration::from_secs(7));
            return Err(Refusal {
                status: 429,
                code: "busy",
                message: "too many questions".to_owned(),
                retry_after,
            });
        }
        assert!(query != "panic", "on purpose");
        let events = stream::iter(self.events(&query));
        let listened = Listened(self.dropped.clone());
        let events = events.map(move |event| (event, &listened).0).boxed();
        let events = match query.as_str() {
            "hang" => events.take(1).chain(stream::pending()).boxed(),
            "gate" => {
                let gate = self.gate.clone();
                stream::once(async move { gate.notified().await })
                    .map(|()| Event::Delta(String::new()))
                    .chain(events)
                    .boxed()
            }
            _ => events,
        };
        Ok(Answering { session_id, message_id: "m-1".to_owned(), events })
    }
}

#[derive(Default)]
struct Loaded {
    is_broken: AtomicBool,
    refreshed: AtomicUsize,
}

#[async_trait]
impl Readiness for Loaded {
    fn report(&self) -> Vec<Check> {
        let ok = !self.is_broken.load(Ordering::Relaxed);
        let detail = if ok { "writes" } else { "the disk is full" }.to_owned();
        vec![Check { name: "store".to_owned(), ok, detail }]
    }

    async fn refresh(&self) {
        self.refreshed.fetch_add(1, Ordering::Relaxed);
    }
}

struct House {
    address: SocketAddr,
    talk: Arc<Parrot>,
    loaded: Arc<Loaded>,
    metrics: Arc<Metrics>,
    drain: Drain,
    client: Client,
}

/// The other end of the chat socket, which `socket.rs` is about.
struct Nobody;

#[async_trait]
impl Attend for Nobody {
    async fn attach(&self, _: socket::Question) -> Result<socket::Attached, Refusal> {
        panic!("no test here opens a line");
    }

    async fn stop(&self, _: &str, _: &str) -> Result<Option<socket::Stopped>, Refusal> {
        panic!("no test here opens a line");
    }
}

/// What a test may want otherwise.
struct Wish {
    header_timeout: Duration,
    body_timeout: Duration,
    connections_max: usize,
    has_chat: bool,
    is_open: bool,
    origins: Origins,
    chat_allowed: Allowed,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            header_timeout: PATIENCE,
            body_timeout: PATIENCE,
            connections_max: 100,
            has_chat: true,
            is_open: true,
            origins: Origins::default(),
            chat_allowed: Allowed::default(),
        }
    }
}

fn issuer() -> Issuer {
    Issuer::new(&SecretString::from(SECRET), "parlor", "parlor", Arc::new(SystemClock))
}

fn token(scope: &str) -> String {
    issuer().issue(&[scope], Duration::from_secs(600), Some("li")).unwrap()
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(PATIENCE).no_proxy().build().unwrap()
}

impl House {
    async fn open() -> Self {
        Self::with(Wish::default()).await
    }

    async fn with(wish: Wish) -> Self {
        let (talk, loaded) = (Arc::new(Parrot::default()), Arc::new(Loaded::default()));
        let (metrics, drain) = (Arc::new(Metrics::new()), Drain::new());
        let names = ["parlor".to_owned()];
        let doors = Doors {
            verifier: Verifier::new(&SecretString::from(SECRET), &names, &names, Arc::new(SystemClock)),
            talk: wish.has_chat.then(|| talk.clone() as Arc<dyn Talk>),
            attend: wish.has_chat.then(|| Arc::new(Nobody) as Arc<dyn Attend>),
            page: if wish.is_open { Page::Open(issuer()) } else { Page::Asks },
            readiness: loaded.clone(),
            metrics: metrics.clone(),
            drain: drain.clone(),
            bounds: body::Bounds { bytes_max: 64 * 1024, timeout: wish.body_timeout },
            origins: wish.origins,
            chat_allowed: wish.chat_allowed,
        };
        let more = Router::new().route("/more", get(async || "more"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds =
            server::Bounds { header_timeout: wish.header_timeout, connections_max: wish.connections_max };
        drain.spawn(
            "accept",
            server::serve(listener, router(doors, more), bounds, drain.clone(), metrics.clone()),
        );
        Self { address, talk, loaded, metrics, drain, client: client() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn chat(&self, body: impl Into<reqwest::Body>) -> Response {
        let request = self.request(Method::POST, "/api/v1/chat").bearer_auth(token("chat:write"));
        request.body(body).send().await.unwrap()
    }

    /// Sends bytes as they are and reads until the other side closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_all(&mut stream).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    // A reset after the last byte is an end as well.
    let _ = reading.expect("the server closes");
    String::from_utf8(said).unwrap()
}

async fn problem(response: Response) -> (StatusCode, String, String) {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (status, text("code"), text("message"))
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let house = House::open().await;
    let response = house.chat(json!({ "query": "hello there", "session_id": "a:b-1" }).to_string()).await;
    assert_eq!(response.status(), 200);
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let expected = json!({
        "session_id": "a:b-1", "message_id": "m-1", "reply": "hello there", "model": "local",
        "usage": { "prompt_tokens": 3, "completion_tokens": 2 },
    });
    assert_eq!(response.json::<Value>().await.unwrap(), expected);
    let asked = house.talk.asked.lock().unwrap().clone().unwrap();
    let session_id = Some("a:b-1".to_owned());
    assert_eq!(
        asked,
        Question {
            query: "hello there".to_owned(),
            session_id,
            person: "li".to_owned(),
            key: asked.key.clone(),
            request_id,
            favour: parlor::message::Favour::Its,
        }
    );
    assert!(asked.key.is_some_and(|id| !id.is_empty()), "the token's id");
}

#[tokio::test]
async fn an_answer_comes_as_a_stream() {
    let house = House::open().await;
    let response = house.chat(r#"{"query":"two\nlines here","stream":true}"#).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let expected = "event: delta\ndata: {\"text\":\"two\\nlines \"}\n\n\
        event: delta\ndata: {\"text\":\"here\"}\n\n\
        event: done\ndata: {\"session_id\":\"s-new\",\"message_id\":\"m-1\",\"reply\":\"two\\nlines here\",\
        \"model\":\"local\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    assert_eq!(response.text().await.unwrap(), expected);
}

#[tokio::test]
async fn a_failure_has_the_same_words_whole_and_streamed() {
    let house = House::open().await;
    let response = house.chat(r#"{"query":"fail"}"#).await;
    assert_eq!(response.headers()["retry-after"], "2");
    let (status, code, message) = problem(response).await;
    assert_eq!((status.as_u16(), code.as_str()), (502, "model_unavailable"));
    let streamed = house.chat(r#"{"query":"fail","stream":true}"#).await.text().await.unwrap();
    let last = format!(
        "event: error\ndata: {{\"code\":\"{code}\",\"message\":\"{message}\",\"retry_after\":2}}\n\n"
    );
    assert!(streamed.ends_with(&last), "{streamed}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_silent() {
    let house = House::open().await;
    let (status, code, _) = problem(house.chat(r#"{"query":"break"}"#).await).await;
    assert_eq!((status.as_u16(), code.as_str()), (500, "answer_broken"));
    let streamed = house.chat(r#"{"query":"break","stream":true}"#).await.text().await.unwrap();
    assert!(streamed.contains("event: error\ndata: {\"code\":\"answer_broken\""), "{streamed}");
}

#[tokio::test]
async fn a_refused_question_tells_when_to_come_back() {
    let house = House::open().await;
    for body in [r#"{"query":"busy"}"#, r#"{"query":"busy","stream":true}"#] {
        let response = house.chat(body).await;
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(problem(response).await.0, StatusCode::TOO_MANY_REQUESTS);
    }
    let response = house.chat(r#"{"query":"leave"}"#).await;
    assert_eq!(response.headers()["retry-after"], "5", "also where nobody knows it better");
    assert_eq!(problem(response).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_answer() {
    let house = House::open().await;
    for stream in [true, false] {
        let mut leaving = house.connect().await;
        let body = json!({ "query": "hang", "stream": stream }).to_string();
        let head = format!(
            "POST /api/v1/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n",
            token("chat:write")
        );
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        leaving.write_all(request.as_bytes()).await.unwrap();
        if stream {
            let mut read = [0; 64];
            assert!(leaving.read(&mut read).await.unwrap() > 0);
        }
        drop(leaving);
        tokio::time::timeout(PATIENCE, house.talk.dropped.notified()).await.expect("the answer is dropped");
    }
}

#[tokio::test]
async fn a_question_is_read_strictly() {
    let house = House::open().await;
    let long_id = "x".repeat(129);
    for (body, said) in [
        (r#"{"query":"x","sesion_id":"y"}"#.to_owned(), "unknown field `sesion_id`"),
        (r#"{"query":"x","query":"y"}"#.to_owned(), "duplicate field `query`"),
        (r#"{"stream":true}"#.to_owned(), "missing field `query`"),
        (r#"{"query":" \n\t"}"#.to_owned(), "`query` is empty"),
        (r#"{"query":7}"#.to_owned(), "invalid type"),
        (r#"{"query":"x","stream":"yes"}"#.to_owned(), "invalid type"),
        (r#"{"query":"x","session_id":""}"#.to_owned(), "`session_id`"),
        (r#"{"query":"x","session_id":"a b"}"#.to_owned(), "`session_id`"),
        (r#"{"query":"x","session_id":"../../etc"}"#.to_owned(), "`session_id`"),
        (json!({ "query": "x", "session_id": long_id }).to_string(), "`session_id`"),
        ("".to_owned(), "EOF"),
        (r#"["x",null,false]"#.to_owned(), "is not a JSON object"),
        (format!("{{\"query\":{}", "[".repeat(50_000)), "invalid type"),
        (format!("{{\"more\":{}", "[".repeat(50_000)), "unknown field `more`"),
    ] {
        let (status, code, message) = problem(house.chat(body.clone()).await).await;
        assert_eq!((status.as_u16(), code.as_str()), (400, "invalid_request"), "{body:.60}");
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(problem(house.chat(&b"{\"query\":\"\xff\xfe\"}"[..]).await).await.0, 400);
    let long = json!({ "query": "x".repeat(32 * 1024 + 1) }).to_string();
    let (status, code, _) = problem(house.chat(long).await).await;
    assert_eq!((status.as_u16(), code.as_str()), (413, "query_too_long"));
    assert_eq!(house.chat(json!({ "query": "x".repeat(32 * 1024) }).to_string()).await.status(), 200);
    assert!(house.chat(r#"{"query":"x","session_id":null}"#).await.status().is_success());
}

#[tokio::test]
async fn a_door_opens_to_its_scope_alone() {
    let house = House::open().await;
    let post = || house.request(Method::POST, "/api/v1/chat").body(r#"{"query":"x"}"#);
    let response = post().send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"parlor\"");
    let nobody = problem(response).await;
    assert_eq!((nobody.0.as_u16(), nobody.1.as_str()), (401, "unauthorized"));
    for wrong in ["Bearer", "Bearer x.y.z", "Basic bGk6bGk=", &token("chat:write")] {
        assert_eq!(
            problem(post().header("authorization", wrong).send().await.unwrap()).await,
            nobody,
            "{wrong}"
        );
    }
    let twice = post().bearer_auth(token("chat:write")).header("authorization", "Bearer x");
    assert_eq!(twice.send().await.unwrap().status(), 401);
    let response = post().bearer_auth(token("metrics:read")).send().await.unwrap();
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(challenge, "Bearer realm=\"parlor\", error=\"insufficient_scope\", scope=\"chat:write\"");
    assert_eq!(problem(response).await.1, "missing_scope");
    let lower = post().header("authorization", format!("bearer {}", token("chat:write")));
    assert_eq!(lower.send().await.unwrap().status(), 200);
    assert!(house.talk.asked.lock().unwrap().is_some());
}

#[tokio::test]
async fn health_tells_what_is_amiss_and_ready_refuses() {
    let house = House::open().await;
    for method in [Method::GET, Method::POST] {
        let mut health: Value =
            house.request(method.clone(), "/health").send().await.unwrap().json().await.unwrap();
        let instance = health.as_object_mut().unwrap().remove("instance").unwrap();
        assert_eq!(instance.as_str().unwrap().len(), 36, "nobody guesses it");
        assert_eq!(health, json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }));
        let ready = house.request(method, "/ready").send().await.unwrap();
        assert_eq!(ready.status(), 200);
        let checks = json!([{ "name": "store", "ok": true, "detail": "writes" }]);
        assert_eq!(ready.json::<Value>().await.unwrap(), json!({ "status": "ready", "checks": checks }));
    }
    house.loaded.is_broken.store(true, Ordering::Relaxed);
    let health = house.get("/health").await;
    assert_eq!(health.status(), 200);
    let health: Value = health.json().await.unwrap();
    assert_eq!(
        (&health["status"], &health["checks"][0]["detail"]),
        (&json!("degraded"), &json!("the disk is full"))
    );
    let ready = house.get("/ready").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.headers().contains_key("retry-after"));
    assert_eq!(ready.json::<Value>().await.unwrap()["status"], "not_ready");
}

#[tokio::test]
async fn figures_are_for_who_may_read_them() {
    let house = House::open().await;
    assert_eq!(house.get("/metrics").await.status(), 401);
    let scrape = |scope| house.request(Method::GET, "/metrics").bearer_auth(token(scope)).send();
    assert_eq!(scrape("chat:write").await.unwrap().status(), 403);
    let response = scrape("metrics:read").await.unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    let figures = response.text().await.unwrap();
    assert!(figures.ends_with("# EOF\n") && figures.contains("parlor_connections 1"), "{figures}");
    assert_eq!(house.loaded.refreshed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_unknown_path_or_method_is_refused_in_the_same_shape() {
    let house = House::open().await;
    for path in ["/nowhere", "/api/v1/", "/health/", "/page/", "//"] {
        let (status, code, _) = problem(house.get(path).await).await;
        assert_eq!((status.as_u16(), code.as_str()), (404, "not_found"), "{path}");
    }
    for (method, path, allowed) in [
        (Method::GET, "/api/v1/chat", "POST"),
        (Method::POST, "/", "GET,HEAD"),
        (Method::DELETE, "/health", "GET,HEAD,POST"),
        (Method::PUT, "/more", "GET,HEAD"),
    ] {
        let response = house.request(method, path).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allowed, "{path}");
        assert_eq!(problem(response).await.1, "method_not_allowed");
    }
}

#[tokio::test]
async fn every_response_has_an_id_and_careful_headers() {
    let house = House::open().await;
    for path in ["/", "/health", "/nowhere", "/api/v1/chat", "/more", "/metrics"] {
        let response =
            house.request(Method::GET, path).header("x-request-id", "mine-1").send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("x-request-id"), "mine-1", "{path}");
        assert_eq!(
            (header("x-content-type-options"), header("referrer-policy")),
            ("nosniff", "no-referrer"),
            "{path}"
        );
    }
    let response =
        house.request(Method::GET, "/health").header("x-request-id", "not well formed").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"].len(), 36);
}

#[tokio::test]
async fn a_handler_that_panics_answers_all_the_same() {
    let house = House::open().await;
    let (status, code, message) = problem(house.chat(r#"{"query":"panic"}"#).await).await;
    assert_eq!((status.as_u16(), code.as_str()), (500, "internal"));
    assert!(!message.contains("on purpose"));
}

#[tokio::test]
async fn without_a_talk_there_is_no_chat_door() {
    let house = House::with(Wish { has_chat: false, ..Wish::default() }).await;
    for path in ["/", "/api/v1/chat", "/page/token", "/page/page.css"] {
        assert_eq!(house.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn the_page_is_strict_about_what_it_loads() {
    let house = House::open().await;
    let html = house.get("/").await.text().await.unwrap();
    let named = |start: &str, end: &str| {
        let names = html.split('"').filter(|name| name.starts_with(start) && name.ends_with(end));
        names.map(str::to_owned).next().unwrap_or_else(|| panic!("no `{start}…{end}` in {html}"))
    };
    for (path, media_type) in [
        ("/", "text/html"),
        (&named("/page/page.", ".js"), "text/javascript"),
        (&named("/page/page.", ".css"), "text/css"),
        (&named("/page/icon.", ".svg"), "image/svg+xml"),
    ] {
        let response = house.get(path).await;
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(media_type), "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let etag = response.headers()["etag"].clone();
        let again =
            house.request(Method::GET, path).header("if-none-match", etag.clone()).send().await.unwrap();
        assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &etag), "{path}");
        let other =
            house.request(Method::GET, path).header("if-none-match", "\"other\"").send().await.unwrap();
        assert_eq!(other.status(), 200);
    }
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick"), "inline");
    assert!(!html.contains("://"), "nothing from elsewhere");
}

#[tokio::test]
async fn the_pages_token_is_for_a_browser_at_this_machine() {
    let house = House::open().await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = house.request(Method::GET, "/page/token");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    };
    let own = ("sec-fetch-site", "same-origin");
    for host in ["localhost", "LOCALHOST:18789", "127.0.0.1:18789", "127.9.9.9", "[::1]:18789"] {
        assert_eq!(ask(&[own, ("host", host)]).await.status(), 200, "{host}");
    }
    let response = ask(&[("sec-fetch-site", "none")]).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    let given: Value = response.json().await.unwrap();
    assert_eq!(given["expires_in"], 3600);
    let chat = house.request(Method::POST, "/api/v1/chat").bearer_auth(given["token"].as_str().unwrap());
    assert_eq!(chat.body(r#"{"query":"x"}"#).send().await.unwrap().status(), 200);
    let scrape = house.request(Method::GET, "/metrics").bearer_auth(given["token"].as_str().unwrap());
    assert_eq!(scrape.send().await.unwrap().status(), 403);
    // DNS rebinding, other sites, no browser at all, proxies.
    for refused in [
        &[own, ("host", "evil.example")][..],
        &[own, ("host", "localhost.evil.example")],
        &[own, ("host", "127.0.0.1.evil.example:18789")],
        &[own, ("host", "192.168.1.5:18789")],
        &[own, ("host", "user@localhost")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[own, ("sec-fetch-site", "cross-site")],
        &[],
        &[own, ("x-forwarded-for", "203.0.113.9")],
        &[own, ("forwarded", "for=203.0.113.9")],
        &[own, ("via", "1.1 proxy")],
    ] {
        assert_eq!(ask(refused).await.status(), 403, "{refused:?}");
    }
    let old =
        format!("GET /page/token HTTP/1.0\r\nhost: {}\r\nsec-fetch-site: same-origin\r\n\r\n", house.address);
    assert!(house.say(old.as_bytes()).await.contains(" 403 "));
    let asking = House::with(Wish { is_open: false, ..Wish::default() }).await;
    assert_eq!(
        asking.request(Method::GET, "/page/token").header(own.0, own.1).send().await.unwrap().status(),
        404
    );
    assert_eq!(asking.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_body_too_long_is_refused_announced_or_not() {
    let house = House::open().await;
    let announced = format!(
        "POST /api/v1/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 99999999\r\n\r\n",
        token("chat:write")
    );
    let said = house.say(announced.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413 ") && said.contains("body_too_large"), "{said}");
    let pieces = stream::iter((0..65).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let (status, code, _) = problem(house.chat(reqwest::Body::wrap_stream(pieces)).await).await;
    assert_eq!((status.as_u16(), code.as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let house = House::with(Wish { body_timeout: Duration::from_millis(50), ..Wish::default() }).await;
    let head =
        format!("POST /api/v1/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", token("chat:write"));
    let said = house.say(format!("{head}content-length: 20\r\n\r\n{{\"query\"").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("body_timeout"), "{said}");
}

#[tokio::test]
async fn a_head_that_does_not_come_closes_the_connection() {
    let house = House::with(Wish { header_timeout: Duration::from_millis(50), ..Wish::default() }).await;
    for begun in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET /health HTTP/1.1\r\nhost:"] {
        let said = house.say(begun.as_bytes()).await;
        assert!(said.is_empty() || said.contains(" 408 "), "{begun}: {said}");
    }
    // The whole preface with its settings, and then nothing: HTTP/2 has no head to wait for.
    let said = {
        let mut silent = house.connect().await;
        silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut said = Vec::new();
        tokio::time::timeout(PATIENCE, silent.read_to_end(&mut said))
            .await
            .expect("the server closes")
            .map(|_| said)
    };
    assert!(said.is_ok());
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let house = House::open().await;
    let many = "x: y\r\n".repeat(100);
    let said = house.say(format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    let long = "y".repeat(40 * 1024);
    let said = house.say(format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
}

#[tokio::test]
async fn garbage_is_no_request() {
    let house = House::open().await;
    for garbage in ["\x16\x03\x01\x02\0\x01\0\x01", "nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let said = house.say(garbage.as_bytes()).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
    }
    assert_eq!(house.get("/health").await.status(), 200);
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let house = House::with(Wish { connections_max: 2, ..Wish::default() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = house.connect().await;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let said = house.say(b"").await;
    let said_with_request = {
        let mut stream = house.connect().await;
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
        read_all(&mut stream).await
    };
    for said in [said, said_with_request] {
        let (head, body) = said.split_once("\r\n\r\n").expect("a whole response");
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 1"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert_eq!(serde_json::from_str::<Value>(body).unwrap()["error"]["code"], "overloaded");
    }
    assert!(house.metrics.encode().contains("parlor_connections_refused_total 2"));
    held.pop();
    // The place is free once the server has seen the end of that connection.
    let served = async {
        while house
            .request(Method::GET, "/health")
            .send()
            .await
            .map(|response| response.status().as_u16())
            .ok()
            != Some(200)
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("a place is free again");
}

#[tokio::test]
async fn http_2_serves_many_requests_on_one_connection() {
    let house = House::open().await;
    let client = Client::builder().http2_prior_knowledge().timeout(PATIENCE).no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", house.address);
    let asks = (0..20).map(|_| client.get(url("/health")).send());
    for response in futures_util::future::join_all(asks).await {
        let response = response.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    }
    let own = client.get(url("/page/token")).header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(own.status(), 200);
    assert!(house.metrics.encode().contains("parlor_connections 1"));
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let house = House::open().await;
    let mut quiet = house.connect().await;
    quiet.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    quiet.read_exact(&mut first).await.unwrap();
    let streaming = house.chat(r#"{"query":"gate","stream":true}"#).await;
    let drain = house.drain.clone();
    let draining = tokio::spawn(async move { drain.drain(PATIENCE).await });
    // The quiet connection closes at once; the streaming one goes on to its end.
    read_all(&mut quiet).await;
    assert!(!draining.is_finished());
    assert!(TcpStream::connect(house.address).await.is_err());
    house.talk.gate.notify_one();
    assert!(streaming.text().await.unwrap().contains("event: done"));
    assert_eq!(draining.await.unwrap(), Vec::<String>::new());
}

/// Found by a SIGTERM under load: a connection that was taken a moment before, and one that waited to be taken, were
/// reset with their requests in them.
#[tokio::test]
async fn what_was_sent_just_before_a_drain_is_answered() {
    let house = House::open().await;
    let mut early = house.connect().await;
    eventually_open(&house, 1).await;
    // This thread runs both sides: the second one waits in the system's queue until the first `await` below.
    let late = std::net::TcpStream::connect(house.address).unwrap();
    late.set_nonblocking(true).unwrap();
    let mut late = TcpStream::from_std(late).unwrap();
    house.drain.begin();
    for stream in [&mut early, &mut late] {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    }
    for stream in [&mut early, &mut late] {
        let said = read_all(stream).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said:?}");
    }
    assert_eq!(house.drain.drain(PATIENCE).await, Vec::<String>::new());
}

async fn eventually_open(house: &House, connections: usize) {
    while !house.metrics.encode().contains(&format!("parlor_connections {connections}\n")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_drain_names_the_connection_that_does_not_end() {
    let house = House::open().await;
    let streaming = house.chat(r#"{"query":"hang","stream":true}"#).await;
    assert_eq!(house.drain.drain(Duration::from_millis(50)).await, ["http connection"]);
    drop(streaming);
}

#[tokio::test]
async fn a_silent_stream_is_kept_open_by_comments() {
    let house = House::open().await;
    let mut streaming = house.chat(r#"{"query":"hang","stream":true}"#).await;
    assert!(streaming.chunk().await.unwrap().unwrap().starts_with(b"event: delta"));
    tokio::time::pause();
    let ping = streaming.chunk().await.unwrap().unwrap();
    assert_eq!(&ping[..], b": ping\n\n");
}

fn nets(nets: &[&str]) -> Vec<ipnet::IpNet> {
    nets.iter().map(|net| net.parse().unwrap()).collect()
}

#[tokio::test]
async fn an_address_that_is_not_allowed_gets_in_nowhere() {
    let origins = Origins { allowed: Allowed(nets(&["10.0.0.0/8"])), ..Origins::default() };
    let house = House::with(Wish { origins, ..Wish::default() }).await;
    for path in ["/health", "/", "/api/v1/chat", "/more", "/nowhere"] {
        let forged = house.request(Method::GET, path).header("x-forwarded-for", "10.1.2.3");
        let response = forged.send().await.unwrap();
        assert!(response.headers().contains_key("x-request-id"), "{path}");
        let (status, code, _) = problem(response).await;
        assert_eq!((status.as_u16(), code.as_str()), (403, "address"), "{path}");
    }
    assert!(house.metrics.encode().contains("parlor_limited_total{channel=\"other\",limit=\"address\"} 5"));
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_clients_own_address_counts() {
    let allowed = Allowed(nets(&["10.0.0.0/8", "2001:db8::/32"]));
    let origins = Origins { allowed, trusted_proxies: nets(&["127.0.0.0/8", "192.0.2.0/24"]) };
    let house = House::with(Wish { origins, ..Wish::default() }).await;
    for (forwarded, expected) in [
        ("10.1.2.3", 200),
        ("203.0.113.7, 10.1.2.3", 200),
        ("203.0.113.7, 10.1.2.3, 192.0.2.1", 200),
        ("2001:db8::1", 200),
        ("10.1.2.3, 203.0.113.7", 403),
        ("203.0.113.7", 403),
        ("unknown", 403),
    ] {
        let request = house.request(Method::GET, "/health").header("x-forwarded-for", forwarded);
        assert_eq!(request.send().await.unwrap().status(), expected, "{forwarded}");
    }
    assert_eq!(house.get("/health").await.status(), 403, "the proxy itself is not on the list");
}

#[tokio::test]
async fn the_chat_door_has_a_list_of_its_own() {
    let house = House::with(Wish { chat_allowed: Allowed(nets(&["10.0.0.0/8"])), ..Wish::default() }).await;
    // The socket was beside the list when it came.
    for path in ["/", "/page/page.js", "/page/token", "/chat"] {
        assert_eq!(house.get(path).await.status(), 403, "{path}");
    }
    assert_eq!(
        House::open().await.get("/chat").await.status(),
        401,
        "whom the list lets in is asked for a token"
    );
    assert_eq!(house.chat(r#"{"query":"x"}"#).await.status(), 403);
    for path in ["/health", "/ready", "/more"] {
        assert_eq!(house.get(path).await.status(), 200, "{path}");
    }
}

/// A pause between two requests ended the connection when the time for a head was over: proxies that keep
/// connections for a minute met closed ones.
#[tokio::test]
async fn a_pause_between_requests_is_no_head_that_does_not_come() {
    let header_timeout = Duration::from_millis(100);
    let house = House::with(Wish { header_timeout, ..Wish::default() }).await;
    let mut stream = house.connect().await;
    let ask = async |stream: &mut TcpStream| {
        stream.write_all(b"GET /more HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"more") {
            assert!(stream.read_buf(&mut said).await.unwrap() > 0, "the connection is open");
        }
    };
    ask(&mut stream).await;
    tokio::time::sleep(header_timeout * 5).await;
    ask(&mut stream).await;
    stream.write_all(b"GET /more HTTP/1.1\r\nho").await.unwrap();
    assert_eq!(read_all(&mut stream).await, "", "a later head that has begun has its time as well");
}
