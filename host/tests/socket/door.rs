//! The door of the chat socket alone: what it takes, what it refuses, what it closes and with which code. Those
//! who answer are a fake; time and clock are stepped.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use axum::middleware;
use futures_util::{StreamExt as _, stream};
use parlor::auth::{Issuer, LEEWAY, Verifier};
use parlor::clock::{Clock, Millis};
use parlor::doors::chat::{Event, Refusal, Reply, Usage};
use parlor::doors::socket::{
    self, Attached, Attend, GARBAGE_MAX, MESSAGE_BYTES_MAX, Names, PING_EVERY, Question, Sockets, Step,
    Stopped, UNDER_WAY_MAX,
};
use parlor::doors::{frame, server};
use parlor::drain::Drain;
use parlor::telemetry::Metrics;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::Client;

const SECRET: &str = "a secret of at least thirty-two bytes";
const LIFE: Duration = Duration::from_secs(600);
/// One delta of those that never end.
const FLOOD: usize = 64 * 1024;

/// Says what it is asked, and can be told to behave otherwise by the question.
#[derive(Default)]
struct Parrot {
    asked: std::sync::Mutex<Vec<Question>>,
    gate: Arc<Notify>,
    flooded: Arc<AtomicUsize>,
    left: Arc<Notify>,
}

/// Tells that nobody listens any more.
struct Listened(Arc<Notify>);

impl Drop for Listened {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn delta(text: &str) -> Step {
    Step::Event(Event::Delta(text.to_owned()))
}

fn done(query: &str) -> Step {
    let usage = Some(Usage { prompt_tokens: 3, completion_tokens: 2 });
    Step::Event(Event::Done(Reply { text: query.to_owned(), model: Some("local".to_owned()), usage }))
}

fn names() -> Names {
    Names { message_id: "m-1".to_owned(), session_id: "s-1".to_owned() }
}

#[async_trait]
impl Attend for Parrot {
    async fn attach(&self, question: Question) -> Result<Attached, Refusal> {
        let query = question.query.clone();
        self.asked.lock().unwrap().push(question);
        let steps = match query.as_str() {
            "busy" => {
                let (message, retry_after) = ("too busy".to_owned(), Some(Duration::from_millis(1500)));
                return Err(Refusal { status: 429, code: "busy", message, retry_after });
            }
            "hang" => stream::iter([delta("so far")]).chain(stream::pending()).boxed(),
            "gate" => {
                let gate = self.gate.clone();
                stream::once(async move { gate.notified().await }).map(|()| done("open")).boxed()
            }
            "again" => {
                stream::iter([Step::Snapshot("so far".to_owned()), delta(" so good"), done("all")]).boxed()
            }
            "hung up" => stream::iter([delta("so far")]).boxed(),
            "long" => stream::iter([done(&"长".repeat(100_000))]).boxed(),
            "flood" => {
                let (flooded, listened) = (self.flooded.clone(), Listened(self.left.clone()));
                let pour = move || {
                    let _ = &listened;
                    flooded.fetch_add(1, Ordering::Relaxed);
                    delta(&"x".repeat(FLOOD))
                };
                stream::repeat_with(pour).boxed()
            }
            _ => {
                let words: Vec<Step> = query.split_inclusive(' ').map(delta).chain([done(&query)]).collect();
                stream::iter(words).boxed()
            }
        };
        Ok(Attached { names: names(), steps })
    }

    async fn stop(&self, person: &str, id: &str) -> Result<Option<Stopped>, Refusal> {
        assert_eq!(person, "li");
        Ok((id != "unknown").then(|| Stopped { names: names(), how: Step::Stopped }))
    }
}

/// Wall time that only the test moves.
#[derive(Debug)]
struct Stepped(AtomicU64);

impl Stepped {
    fn step(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Stepped {
    fn now(&self) -> Millis {
        self.0.load(Ordering::SeqCst)
    }
}

struct House {
    address: SocketAddr,
    parrot: Arc<Parrot>,
    clock: Arc<Stepped>,
    metrics: Arc<Metrics>,
    drain: Drain,
}

impl House {
    async fn open() -> House {
        Self::with_places(100).await
    }

    async fn with_places(connections_max: usize) -> House {
        let parrot = Arc::new(Parrot::default());
        let clock = Arc::new(Stepped(AtomicU64::new(1_790_000_000_000)));
        let (metrics, drain) = (Arc::new(Metrics::new()), Drain::new());
        let parlor = ["parlor".to_owned()];
        let sockets = Sockets {
            verifier: Verifier::new(&SecretString::from(SECRET), &parlor, &parlor, clock.clone()),
            attend: parrot.clone(),
            metrics: metrics.clone(),
            drain: drain.clone(),
        };
        let router = socket::routes(sockets).layer(middleware::from_fn(frame::frame));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = server::Bounds { header_timeout: Duration::from_secs(10), connections_max };
        drain.spawn("accept", server::serve(listener, router, bounds, drain.clone(), metrics.clone()));
        House { address, parrot, clock, metrics, drain }
    }

    fn token(&self, scope: &str) -> String {
        let issuer = Issuer::new(&SecretString::from(SECRET), "parlor", "parlor", self.clock.clone());
        issuer.issue(&[scope], LIFE, Some("li")).unwrap()
    }

    async fn line(&self) -> Client {
        Client::open(self.address, &self.token("chat:write")).await
    }

    /// What is answered instead of an opened line.
    async fn refused(&self, path: &str, headers: &[(&'static str, &str)]) -> (u16, Value) {
        match Client::try_open(self.address, path, headers).await {
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                (response.status().as_u16(), serde_json::from_slice(body).unwrap_or(Value::Null))
            }
            other => panic!("not refused: {:?}", other.map(|_| "opened").map_err(|error| error.to_string())),
        }
    }

    /// An opening by hand, for what no library would send. Returns the head of the response.
    async fn by_hand(&self, request: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.replace("TOKEN", &self.token("chat:write")).as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        (stream, String::from_utf8(head).unwrap())
    }
}

const OPENING: &str = "GET /chat?token=TOKEN HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: WebSocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Holds tokio's time still until the test moves it: it also stands still while nothing is to be done.
struct Frozen {
    _thaw: mpsc::Sender<()>,
}

impl Frozen {
    fn time() -> Frozen {
        tokio::time::pause();
        let (thaw, thawed) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || thawed.recv());
        Frozen { _thaw: thaw }
    }

    /// Moves on, and lets everybody do what is due. Timers count whole milliseconds and round up.
    async fn advance(&self, time: Duration) {
        tokio::time::advance(time + Duration::from_millis(1)).await;
        settle().await;
    }
}

/// What was written on one side of a connection of this machine is read on the other side.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn until_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut said).await;
    said
}

#[tokio::test]
async fn an_answer_comes_in_steps() {
    let house = House::open().await;
    let mut line = house.line().await;
    line.say(json!({ "type": "ask", "id": "q:1", "query": "two words", "session_id": "s.0" })).await;
    let done = json!({
        "type": "done", "id": "q:1", "message_id": "m-1", "session_id": "s-1", "reply": "two words",
        "model": "local", "usage": { "prompt_tokens": 3, "completion_tokens": 2 },
    });
    let expected = [
        json!({ "type": "accepted", "id": "q:1", "message_id": "m-1", "session_id": "s-1" }),
        json!({ "type": "delta", "id": "q:1", "text": "two " }),
        json!({ "type": "delta", "id": "q:1", "text": "words" }),
        done,
    ];
    assert_eq!(line.answer().await, expected);
    let asked = house.parrot.asked.lock().unwrap().pop().unwrap();
    assert_eq!((asked.person.as_str(), asked.session_id.as_deref()), ("li", Some("s.0")));
    assert_eq!(asked.request_id.len(), 36);
    line.ask("q-2", "again").await;
    let texts: Vec<_> = line.answer().await.iter().map(|told| told["text"].clone()).collect();
    assert_eq!(texts, [json!(null), json!("so far"), json!(" so good"), json!(null)]);
    line.say(json!({ "type": "ping" })).await;
    assert_eq!(line.hear().await, json!({ "type": "pong" }));
}

#[tokio::test]
async fn a_long_answer_comes_whole() {
    let house = House::open().await;
    let mut line = house.line().await;
    line.ask("q-1", "long").await;
    let steps = line.answer().await;
    assert_eq!(steps.last().unwrap()["reply"], "长".repeat(100_000));
    assert_eq!(steps.len(), 2);
}

#[tokio::test]
async fn a_refused_question_tells_when_to_come_back_and_ends_nothing_else() {
    let house = House::open().await;
    let mut line = house.line().await;
    line.ask("q-1", "busy").await;
    let told =
        json!({ "type": "error", "id": "q-1", "code": "busy", "message": "too busy", "retry_after": 2 });
    assert_eq!(line.hear().await, told);
    line.ask("q-1", "now").await;
    line.expect("accepted").await;
}

#[tokio::test]
async fn who_has_no_valid_token_gets_no_line() {
    let house = House::open().await;
    let (good, other) = (house.token("chat:write"), house.token("metrics:read"));
    let bearer = format!("Bearer {good}");
    for (path, headers, status, code) in [
        ("/chat".to_owned(), vec![], 401, "unauthorized"),
        ("/chat?token=".to_owned(), vec![], 401, "unauthorized"),
        (format!("/chat?token={good}x"), vec![], 401, "unauthorized"),
        (format!("/chat?token={other}"), vec![], 403, "missing_scope"),
        (format!("/chat?token={good}"), vec![("authorization", bearer.as_str())], 400, "invalid_request"),
        (format!("/chat?token={good}&token={good}"), vec![], 400, "invalid_request"),
    ] {
        let (refused, problem) = house.refused(&path, &headers).await;
        assert_eq!((refused, &problem["error"]["code"]), (status, &json!(code)), "{path}");
    }
    assert!(house.metrics.encode().contains("parlor_chat_connections 0"));
    let proxys = [("authorization", "Basic eDp5")];
    for (path, headers) in [
        ("/chat".to_owned(), vec![("authorization", bearer.as_str())]),
        (format!("/chat?theme=dark&token={good}"), proxys.to_vec()),
    ] {
        let mut line = Client::try_open(house.address, &path, &headers).await.expect("the line opens");
        line.say(json!({ "type": "ping" })).await;
        line.expect("pong").await;
    }
}

#[tokio::test]
async fn what_does_not_open_a_websocket_is_told_how() {
    let house = House::open().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (_line, head) = house.by_hand(OPENING).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The sample of RFC 6455 §1.3.
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    for (given, instead, status) in [
        ("version: 13", "version: 8", 426),
        ("upgrade: WebSocket", "upgrade: h2c", 426),
        ("keep-alive, Upgrade", "keep-alive", 426),
        ("HTTP/1.1", "HTTP/1.0", 426),
        ("GET", "HEAD", 426),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
        ("sec-websocket-key", "x-key", 400),
        ("GET", "POST", 405),
        // The token comes first.
        ("?token=TOKEN", "", 401),
    ] {
        let (_, head) = house.by_hand(&OPENING.replace(given, instead)).await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")) || head.starts_with("HTTP/1.0 426 "),
            "{instead}: {head}"
        );
        assert_eq!(status == 426, head.contains("sec-websocket-version: 13"), "{head}");
    }
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let url = format!("http://{}/chat?token={}", house.address, house.token("chat:write"));
    assert_eq!(http_2.get(url).send().await.unwrap().status(), 426);
}

#[tokio::test]
async fn garbage_is_refused_by_the_name_of_its_field() {
    let house = House::open().await;
    let mut line = house.line().await;
    let long = "x".repeat(129);
    for (text, id, said) in [
        ("nonsense".to_owned(), None, "not a JSON object"),
        (r#"["ask","q","x"]"#.to_owned(), None, "not a JSON object"),
        (r#"{"type":"ask""#.to_owned(), None, "EOF"),
        (r#"{"type":"ping"} {"type":"ping"}"#.to_owned(), None, "trailing characters"),
        ("{}".to_owned(), None, "`type` is missing"),
        (r#"{"type":"tell","id":"q"}"#.to_owned(), Some("q"), "`type` is `ask`, `stop` or `ping`"),
        (r#"{"type":7,"id":"q"}"#.to_owned(), Some("q"), "`type` is not a text"),
        (r#"{"type":"ask","query":"x"}"#.to_owned(), None, "`id` is missing"),
        (r#"{"type":"ask","id":"","query":"x"}"#.to_owned(), None, "`id` takes 1 to 128"),
        (r#"{"type":"ask","id":"a b","query":"x"}"#.to_owned(), None, "`id` takes 1 to 128"),
        (format!(r#"{{"type":"ask","id":"{long}","query":"x"}}"#), None, "`id` takes 1 to 128"),
        (r#"{"type":"ask","id":["q"],"query":"x"}"#.to_owned(), None, "`id` is not a text"),
        (r#"{"type":"ask","id":"q"}"#.to_owned(), Some("q"), "`query` is missing"),
        (r#"{"type":"ask","id":"q","query":7}"#.to_owned(), Some("q"), "`query` is not a text"),
        (r#"{"type":"ask","id":"q","query":" \n"}"#.to_owned(), Some("q"), "`query` is empty"),
        (
            format!(r#"{{"type":"ask","id":"q","query":"{}"}}"#, "x".repeat(32 * 1024 + 1)),
            Some("q"),
            "longer than",
        ),
        (r#"{"type":"ask","id":"q","query":"x","query":"y"}"#.to_owned(), None, "duplicate field `query`"),
        (
            r#"{"type":"ask","id":"q","query":"x","sesion_id":"s"}"#.to_owned(),
            None,
            "unknown field `sesion_id`",
        ),
        (
            r#"{"type":"ask","id":"q","query":"x","session_id":"a/b"}"#.to_owned(),
            Some("q"),
            "`session_id` takes",
        ),
        (r#"{"type":"stop"}"#.to_owned(), None, "`id` is missing"),
        (
            r#"{"type":"stop","id":"q","query":"x"}"#.to_owned(),
            Some("q"),
            "`query` does not belong to `stop`",
        ),
        (r#"{"type":"ping","id":"q"}"#.to_owned(), Some("q"), "`id` does not belong to `ping`"),
    ] {
        line.send(Message::text(text.clone())).await;
        let told = line.expect("error").await;
        let code = if said == "longer than" { "query_too_long" } else { "invalid_request" };
        assert_eq!((&told["code"], told["id"].as_str()), (&json!(code), id), "{text}");
        assert!(told["message"].as_str().unwrap().contains(said), "{text}: {told}");
        line.say(json!({ "type": "ping" })).await;
        line.expect("pong").await;
    }
    assert!(house.parrot.asked.lock().unwrap().is_empty());
}

/// Many clients write all but ASCII as escapes, Python's `json` among them.
#[tokio::test]
async fn the_longest_question_fits_however_its_client_escapes_it() {
    let house = House::open().await;
    for (escaped, character) in [(r"\ud83d\ude00", "😀"), (r"\u957f", "长"), (r"\n", "\n")] {
        let times = 32 * 1024 / character.len() - 1;
        let query = format!("x{}", escaped.repeat(times));
        let mut line = house.line().await;
        line.send(Message::text(format!(r#"{{"type": "ask", "id": "q-1", "query": "{query}"}}"#))).await;
        line.expect("accepted").await;
        let asked = house.parrot.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.query, format!("x{}", character.repeat(times)));
    }
}

#[tokio::test]
async fn who_talks_only_garbage_is_sent_away() {
    let house = House::open().await;
    let mut line = house.line().await;
    for _ in 0..GARBAGE_MAX {
        line.send(Message::text("nonsense")).await;
        line.expect("error").await;
    }
    assert_eq!(line.closed().await.0, 1008);
}

#[tokio::test]
async fn what_is_no_small_text_closes_the_line() {
    let house = House::open().await;
    let frame = |text: Vec<u8>, opcode, is_last| Message::Frame(Frame::message(text, opcode, is_last));
    let text = OpCode::Data(Data::Text);
    let half = vec![b'x'; MESSAGE_BYTES_MAX / 2 + 1];
    for (messages, code) in [
        (vec![Message::text("x".repeat(MESSAGE_BYTES_MAX + 1))], 1009),
        // Far more than any buffer on the way: the goodbye arrives all the same.
        (vec![Message::text("x".repeat(500_000))], 1009),
        (vec![frame(half.clone(), text, false), frame(half, OpCode::Data(Data::Continue), true)], 1009),
        (vec![Message::binary("x")], 1003),
        (vec![frame(vec![0xff, 0xfe], text, true)], 1007),
        (vec![frame(b"x".to_vec(), OpCode::Data(Data::Continue), true)], 1002),
    ] {
        let mut line = house.line().await;
        for message in messages {
            line.send(message).await;
        }
        assert_eq!(line.closed().await.0, code);
    }
    // A frame without a mask, which no client may send (RFC 6455 §5.1).
    let (mut line, _) = house.by_hand(OPENING).await;
    line.write_all(b"\x81\x02{}").await.unwrap();
    let said = until_end(&mut line).await;
    assert_eq!(said[..4], [0x88, said.len() as u8 - 2, 0x03, 0xea], "1002: {said:?}");
    let mut line = house.line().await;
    line.say(json!({ "type": "ping", "id": null, "query": null })).await;
    line.expect("pong").await;
}

#[tokio::test]
async fn a_line_carries_a_few_questions_at_a_time() {
    let house = House::open().await;
    let mut line = house.line().await;
    for n in 0..UNDER_WAY_MAX {
        line.ask(&format!("q-{n}"), "hang").await;
        line.expect("accepted").await;
        line.expect("delta").await;
    }
    line.ask("q-more", "hang").await;
    let told = line.expect("error").await;
    assert_eq!((&told["id"], &told["code"]), (&json!("q-more"), &json!("too_many")));
    // One that is under way is no further one.
    line.ask("q-1", "hang").await;
    line.expect("accepted").await;
    line.expect("delta").await;
    line.say(json!({ "type": "stop", "id": "q-0" })).await;
    assert_eq!(line.hear().await, json!({ "type": "stopped", "id": "q-0" }));
    line.ask("q-more", "some words").await;
    assert_eq!(line.answer().await.last().unwrap()["type"], "done");
    line.ask("q-next", "more words").await;
    assert_eq!(line.answer().await.last().unwrap()["type"], "done");
}

/// A turn that goes on at the next start: the line is closed, and nothing is said of it.
#[tokio::test]
async fn an_answer_that_is_hung_up_is_no_answer_and_no_failure() {
    let house = House::open().await;
    let mut line = house.line().await;
    line.ask("q-1", "hung up").await;
    line.expect("accepted").await;
    line.expect("delta").await;
    line.say(json!({ "type": "ping" })).await;
    line.expect("pong").await;
    house.drain.begin();
    assert_eq!(line.closed().await.0, 1012);
}

#[tokio::test]
async fn a_drain_lets_answers_end() {
    let house = House::open().await;
    let (mut quiet, mut busy) = (house.line().await, house.line().await);
    busy.ask("q-1", "gate").await;
    busy.expect("accepted").await;
    let drain = house.drain.clone();
    let draining = tokio::spawn(async move { drain.drain(Duration::from_secs(60)).await });
    assert_eq!(quiet.closed().await.0, 1012);
    assert!(!draining.is_finished());
    house.parrot.gate.notify_one();
    assert_eq!(busy.expect("done").await["reply"], "open");
    assert_eq!(busy.closed().await.0, 1012);
    drop((quiet, busy));
    assert_eq!(draining.await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_line_ends_with_its_token() {
    let house = House::open().await;
    let frozen = Frozen::time();
    let (mut busy, mut quiet) = (house.line().await, house.line().await);
    busy.ask("q-1", "hang").await;
    busy.expect("accepted").await;
    busy.expect("delta").await;
    let last_second = LIFE + LEEWAY - Duration::from_secs(1);
    house.clock.step(last_second);
    busy.say(json!({ "type": "ping" })).await;
    busy.expect("pong").await;
    house.clock.step(Duration::from_secs(1));
    // Who says something hears it at once, who says nothing when the line is looked after.
    busy.say(json!({ "type": "ping" })).await;
    frozen.advance(PING_EVERY).await;
    for line in [&mut busy, &mut quiet] {
        assert_eq!(line.expect("error").await["code"], "token_expired");
        assert_eq!(line.closed().await.0, 4401);
    }
    assert_eq!(house.refused("/chat?token=", &[]).await.0, 401);
}

#[tokio::test]
async fn a_quiet_line_stays_for_as_long_as_it_answers_pings() {
    let house = House::open().await;
    let frozen = Frozen::time();
    let mut line = house.line().await;
    settle().await;
    // Longer than a connection of HTTP may be idle.
    for _ in 0..10 {
        frozen.advance(PING_EVERY).await;
        assert!(matches!(line.next().await, Some(Ok(Message::Ping(_)))));
        line.flush().await;
        settle().await;
    }
    line.ask("q-1", "still there").await;
    assert_eq!(line.answer().await.last().unwrap()["reply"], "still there");
}

#[tokio::test]
async fn a_line_that_answers_no_ping_is_given_up() {
    let house = House::open().await;
    let frozen = Frozen::time();
    let (mut line, _) = house.by_hand(OPENING).await;
    settle().await;
    frozen.advance(PING_EVERY).await;
    let mut ping = [0; 2];
    line.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping, [0x89, 0]);
    frozen.advance(PING_EVERY).await;
    assert_eq!(until_end(&mut line).await, [0; 0]);
    assert!(house.metrics.encode().contains("parlor_connections 0"));
}

#[tokio::test]
async fn who_reads_too_slowly_fills_no_memory_and_is_given_up() {
    let house = House::open().await;
    let frozen = Frozen::time();
    let (mut line, _) = house.by_hand(OPENING).await;
    let ask = br#"{"type":"ask","id":"q","query":"flood"}"#;
    let mut frame = vec![0x81, 0x80 | ask.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(ask);
    line.write_all(&frame).await.unwrap();
    let mut seconds = 0;
    let left = house.parrot.left.clone();
    let left = left.notified();
    tokio::pin!(left);
    while futures_util::poll!(&mut left).is_pending() {
        assert!(seconds < 120, "the host still waits");
        frozen.advance(Duration::from_secs(1)).await;
        seconds += 1;
        // A sign of life, so that it is for the reading alone. It may break once the host has gone.
        let _ = line.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await;
    }
    let poured = house.parrot.flooded.load(Ordering::Relaxed) * FLOOD;
    assert!(poured < 16 << 20, "{poured} bytes wait for a client that reads none");
}

#[tokio::test]
async fn an_open_line_keeps_its_place() {
    let house = House::with_places(1).await;
    let mut line = house.line().await;
    line.say(json!({ "type": "ping" })).await;
    line.expect("pong").await;
    let figures = house.metrics.encode();
    assert!(
        figures.contains("parlor_connections 1") && figures.contains("parlor_chat_connections 1"),
        "{figures}"
    );
    let (status, problem) = house.refused("/chat", &[]).await;
    assert_eq!((status, &problem["error"]["code"]), (503, &json!("overloaded")));
    line.socket.close(None).await.unwrap();
    assert!(line.next().await.is_none_or(|last| matches!(last, Ok(Message::Close(_)))));
    drop(line);
    while !house.metrics.encode().contains("parlor_connections 0") {
        tokio::task::yield_now().await;
    }
    assert!(house.metrics.encode().contains("parlor_chat_connections 0"));
    house.line().await;
}
