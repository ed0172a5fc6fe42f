//! The `openai` backend against a server whose every byte a test writes.
//!
//! Time is stepped: it stands still until a test advances it, also while bytes travel between the two.

#![allow(clippy::unwrap_used, reason = "what a test does not expect shall end it")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use parlor::config;
use parlor::message::{
    Attachment, Content, FinishReason, MediaKind, Prompt, Role, Tool, ToolCall, Utterance,
};
use parlor::model::breaker::Standing;
use parlor::model::openai::OpenAi;
use parlor::model::{Answer, Delta, Model, ModelError, Usage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

const KEY: &str = "sk-canary-0123456789";
const TIMEOUT: Duration = Duration::from_secs(120);

/// Holds time still as long as it lives. After a minute of real time it lets go, so that a test which
/// waits for what never comes fails instead of hanging.
struct StillTime {
    _hold: mpsc::Sender<()>,
}

impl StillTime {
    fn new() -> Self {
        let (hold, held) = mpsc::channel::<()>();
        // tokio's paused time stands while a blocking task runs
        tokio::task::spawn_blocking(move || held.recv_timeout(Duration::from_secs(60)));
        Self { _hold: hold }
    }
}

/// Real time for bytes on their way, without a step of the tests' time.
async fn settle() {
    tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))).await.unwrap();
}

struct Server {
    listener: TcpListener,
    _time: StillTime,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, _time: StillTime::new() }
    }

    fn model_with(&self, change: impl FnOnce(&mut config::Model)) -> OpenAi {
        let endpoint = format!("http://{}/v1", self.listener.local_addr().unwrap());
        model_at(&endpoint, change)
    }

    fn model(&self) -> OpenAi {
        self.model_with(|_| {})
    }

    async fn call(&self) -> Call {
        let accepted = tokio::time::timeout(TIMEOUT * 10, self.listener.accept()).await;
        let (stream, _) = accepted.expect("no request came").unwrap();
        stream.set_nodelay(true).unwrap();
        let mut call = Call { stream, head: String::new(), body: Value::Null };
        call.read_request().await;
        call
    }

    async fn is_quiet(&self) -> bool {
        settle().await;
        self.listener.accept().now_or_never().is_none()
    }
}

fn model_at(endpoint: &str, change: impl FnOnce(&mut config::Model)) -> OpenAi {
    let remote = config::OpenAi {
        endpoint: endpoint.parse().unwrap(),
        api_key: Some(KEY.into()),
        model: "small".to_owned(),
    };
    let mut model = config::Model {
        backend: config::Backend::Echo,
        concurrent: None,
        max_tokens: Some(256),
        temperature: Some(0.7),
        timeout: TIMEOUT,
        fallback: Vec::new(),
    };
    change(&mut model);
    OpenAi::new("remote", &remote, &model).unwrap()
}

/// One request, and the pen for its response.
struct Call {
    stream: TcpStream,
    head: String,
    body: Value,
}

impl Call {
    async fn read_request(&mut self) {
        let mut bytes = Vec::new();
        let end = loop {
            assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "the request broke off");
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        self.head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        while bytes.len() < end + length.parse::<usize>().unwrap() {
            assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "the request broke off");
        }
        self.body = serde_json::from_slice(&bytes[end..]).unwrap();
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A whole response, after which the client closes.
    async fn respond(mut self, status: u16, headers: &str, body: impl AsRef<str>) {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n");
        self.write(format!("{head}{headers}\r\n{body}")).await;
        self.gone().await;
    }

    async fn begin(&mut self) {
        let headers = "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
        self.write(format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).await;
    }

    /// One chunk of the body.
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.write(framed).await;
    }

    async fn event(&mut self, data: Value) {
        self.send(format!("data: {data}\n\n")).await;
    }

    async fn text(&mut self, text: &str) {
        self.event(json!({"choices": [{"index": 0, "delta": {"content": text}}]})).await;
    }

    async fn end(&mut self) {
        self.write("0\r\n\r\n").await;
    }

    async fn finish(&mut self) {
        self.event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})).await;
        self.send("data: [DONE]\n\n").await;
        self.end().await;
    }

    async fn answer(&mut self, text: &str) {
        self.begin().await;
        self.text(text).await;
        self.finish().await;
    }

    /// Until the client has closed the connection, and is at what it does next.
    async fn gone(&mut self) {
        let mut rest = [0; 1024];
        while !matches!(self.stream.read(&mut rest).await, Ok(0) | Err(_)) {}
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// The connection dies as it does when a process is killed.
    fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

fn prompt() -> Prompt {
    Prompt { messages: vec![Utterance::text(Role::User, "say hello")], ..Prompt::default() }
}

fn soon() -> Instant {
    Instant::now() + TIMEOUT
}

type Outcome = Result<(String, Vec<ToolCall>, Usage), ModelError>;

async fn whole(mut answer: Answer) -> Outcome {
    let (mut text, mut calls, mut usage) = (String::new(), Vec::new(), None);
    while let Some(delta) = answer.next().await {
        assert!(usage.is_none(), "something came after `Done`");
        match delta? {
            Delta::Text(more) => text += &more,
            Delta::ToolCall(call) => calls.push(call),
            Delta::Done(figures) => usage = Some(figures),
        }
    }
    Ok((text, calls, usage.expect("the stream ended silently")))
}

fn ask_until(model: impl Into<Arc<OpenAi>>, prompt: Prompt, deadline: Instant) -> JoinHandle<Outcome> {
    let model = model.into();
    tokio::spawn(async move { whole(model.ask(&prompt, deadline).await?).await })
}

fn ask(model: impl Into<Arc<OpenAi>>) -> JoinHandle<Outcome> {
    ask_until(model, prompt(), soon())
}

async fn text_of(asked: JoinHandle<Outcome>) -> String {
    asked.await.unwrap().unwrap().0
}

async fn error_of(asked: JoinHandle<Outcome>) -> ModelError {
    asked.await.unwrap().unwrap_err()
}

/// What it was broken by.
async fn breach(asked: JoinHandle<Outcome>) -> String {
    match error_of(asked).await {
        ModelError::Broken(what) => what,
        other => panic!("not broken but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_streams_with_its_usage() {
    let server = Server::new().await;
    let model = server.model();
    let asked = tokio::spawn(async move { model.ask(&prompt(), soon()).await });
    let mut call = server.call().await;
    assert!(call.head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{}", call.head);
    assert!(call.head.contains(&format!("authorization: bearer {KEY}\r\n")), "{}", call.head);
    let expected = json!({"model": "small", "messages": [{"role": "user", "content": "say hello"}],
        "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 256, "temperature": 0.7});
    assert_eq!(call.body, expected);

    // each delta is there before the next is written
    call.begin().await;
    call.event(json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})).await;
    call.text("Hel").await;
    let mut answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.next().await, Some(Ok(Delta::Text("Hel".to_owned()))));
    call.text("lo").await;
    assert_eq!(answer.next().await, Some(Ok(Delta::Text("lo".to_owned()))));
    call.event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})).await;
    call.event(json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})).await;
    call.send("data: [DONE]\n\n").await;
    let usage = Usage { finish_reason: FinishReason::Length, prompt_tokens: 7, completion_tokens: 2 };
    assert_eq!(answer.next().await, Some(Ok(Delta::Done(usage))));
    assert_eq!(answer.next().await, None);
}

/// A prompt with something in every field.
fn full_prompt() -> Prompt {
    let photo = Attachment {
        kind: MediaKind::Image,
        name: Some("cat.png".to_owned()),
        media_type: Some("image/png".to_owned()),
        reference: "https://files.example/private".to_owned(),
        extra: Vec::new(),
    };
    let mut question = Utterance::text(Role::User, "what is it?");
    question.content.push(Content::Attachment(photo));
    let look = tool_call("c1", "look", "{\"at\":1}");
    let mut calls = Utterance::text(Role::Assistant, "");
    calls.tool_calls.push(look);
    let told = Utterance { tool_call_id: Some("c1".to_owned()), ..Utterance::text(Role::Tool, "a cat") };
    Prompt {
        messages: vec![Utterance::text(Role::System, "be brief"), question, calls, told],
        tools: vec![Tool {
            name: "look".to_owned(),
            description: "looks".to_owned(),
            parameters: "{\"type\":\"object\"}".to_owned(),
            extra: Vec::new(),
            strict: false,
        }],
        tool_choice: Some("look".to_owned()),
        max_tokens: Some(9),
        temperature: Some(0.0),
        stop: vec!["END".to_owned()],
        response_schema: Some("{\"type\":\"object\",\"properties\":{}}".to_owned()),
        ..Prompt::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_is_told_whole() {
    let server = Server::new().await;
    let asked = ask_until(server.model(), full_prompt(), soon());
    let mut call = server.call().await;
    call.answer("fine").await;
    assert_eq!(text_of(asked).await, "fine");
    let schema = json!({"type": "object", "properties": {}});
    let expected = json!({
        "model": "small",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is it?\n[image `cat.png` (image/png)]"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":1}"}}]},
            {"role": "tool", "content": "a cat", "tool_call_id": "c1"},
        ],
        "stream": true,
        "stream_options": {"include_usage": true},
        "max_tokens": 9,
        "temperature": 0.0,
        "stop": ["END"],
        "tools": [{"type": "function",
            "function": {"name": "look", "description": "looks", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema",
            "json_schema": {"name": "answer", "strict": true, "schema": schema}},
    });
    assert_eq!(call.body, expected);
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_is_no_json_is_refused_before_a_request() {
    let server = Server::new().await;
    let prompt = Prompt { response_schema: Some("{".to_owned()), ..prompt() };
    let error = error_of(ask_until(server.model(), prompt, soon())).await;
    assert_eq!(error, ModelError::Refused("`response_schema` is no JSON Schema object".to_owned()));
    assert!(server.is_quiet().await);
}

fn call_part(part: &Value) -> Value {
    json!({"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]})
}

fn tool_call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned(), extra: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn tool_calls_are_put_together_by_index() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    for part in [
        json!({"index": 0, "id": "a", "function": {"name": "add", "arguments": ""}}),
        json!({"index": 1, "id": "b", "function": {"name": "now"}}),
        json!({"index": 0, "function": {"arguments": "{\"x\":"}}),
        json!({"index": 0, "id": "", "function": {"name": "", "arguments": "1}"}}),
        // some servers number nothing, or everything 0, and send each call whole
        json!({"index": 0, "id": "c", "function": {"name": "sub", "arguments": "{}"}}),
        json!({"id": "d", "function": {"name": "mul", "arguments": {"y": 2}}}),
    ] {
        call.event(call_part(&part)).await;
    }
    call.finish().await;
    let (text, calls, usage) = asked.await.unwrap().unwrap();
    assert_eq!((text.as_str(), usage.finish_reason), ("", FinishReason::ToolCalls));
    let expected =
        [("a", "add", "{\"x\":1}"), ("b", "now", "{}"), ("c", "sub", "{}"), ("d", "mul", "{\"y\":2}")];
    assert_eq!(calls, expected.map(|(id, name, arguments)| tool_call(id, name, arguments)));
}

#[tokio::test(start_paused = true)]
async fn a_tool_call_whose_arguments_are_no_json_is_not_passed_on() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    let part = json!({"index": 0, "id": "a", "function": {"name": "add", "arguments": "{\"x\":"}});
    call.event(call_part(&part)).await;
    call.finish().await;
    assert_eq!(breach(asked).await, "the arguments of tool call `add` are no JSON");
}

/// Models that were asked for a form refuse in a field of its own, and say nothing else.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_heard_in_the_models_own_words() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.event(json!({"choices": [{"index": 0, "delta": {"content": null, "refusal": "I cannot "}}]})).await;
    call.event(json!({"choices": [{"index": 0, "delta": {"refusal": "do that."}}]})).await;
    call.finish().await;
    assert_eq!(text_of(asked).await, "I cannot do that.");
}

/// It ends as a text does that the length cut, and not as a failure, or worse, as a call without arguments.
#[tokio::test(start_paused = true)]
async fn a_tool_call_that_the_length_cut_is_no_call() {
    for arguments in ["", "{\"x\":"] {
        let server = Server::new().await;
        let asked = ask(server.model());
        let mut call = server.call().await;
        call.begin().await;
        let whole = json!({"index": 0, "id": "a", "function": {"name": "add", "arguments": "{}"}});
        let cut = json!({"index": 1, "id": "b", "function": {"name": "sub", "arguments": arguments}});
        call.event(call_part(&whole)).await;
        call.event(call_part(&cut)).await;
        call.event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})).await;
        call.send("data: [DONE]\n\n").await;
        let (_, calls, usage) = asked.await.unwrap().unwrap();
        assert_eq!((calls, usage.finish_reason), (vec![tool_call("a", "add", "{}")], FinishReason::Length));
    }
}

/// One refusal with these headers: the next request comes after `wait` and not before.
async fn comes_back_after(server: &Server, headers: &str, wait: Duration) {
    let asked = ask(server.model());
    server.call().await.respond(429, headers, "").await;
    advance(wait - Duration::from_millis(100)).await;
    assert!(server.is_quiet().await, "came before {wait:?}: {headers}");
    // and the jitter's first span
    advance(Duration::from_millis(100 + 501)).await;
    server.call().await.answer("now").await;
    assert_eq!(text_of(asked).await, "now");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_in_all_its_forms() {
    let server = Server::new().await;
    comes_back_after(&server, "retry-after: 7\r\n", Duration::from_secs(7)).await;
    let both = "retry-after-ms: 1500\r\nretry-after: 9\r\n";
    comes_back_after(&server, both, Duration::from_millis(1500)).await;
    let date = "date: Sun, 06 Nov 1994 08:49:30 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:50 GMT\r\n";
    comes_back_after(&server, date, Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_more_time_than_there_is_gets_no_second_request() {
    let server = Server::new().await;
    for (status, headers, seconds) in [
        (429, "retry-after: 500\r\n", 500),
        (503, "retry-after: 120\r\n", 120),
        (429, "retry-after-ms: 1e9\r\n", 1_000_000),
    ] {
        let asked = ask(server.model());
        server.call().await.respond(status, headers, "").await;
        // no time has passed
        let busy = ModelError::Busy { retry_after: Duration::from_secs(seconds) };
        assert_eq!(error_of(asked).await, busy);
    }
    assert!(server.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn passing_trouble_is_tried_three_times_more() {
    let server = Server::new().await;
    for (status, body, expected) in [
        (500, "", ModelError::Unavailable("status 500".to_owned())),
        (408, "", ModelError::Unavailable("status 408".to_owned())),
        (409, "{\"error\":\"locked\"}", ModelError::Unavailable("status 409: locked".to_owned())),
        (503, "{\"message\":\"loading\"}", ModelError::Unavailable("status 503: loading".to_owned())),
        (429, "", ModelError::Busy { retry_after: Duration::from_secs(5) }),
    ] {
        let asked = ask(server.model());
        for _ in 0..4 {
            server.call().await.respond(status, "", body).await;
            advance(Duration::from_secs(5)).await;
        }
        assert_eq!(error_of(asked).await, expected);
        assert!(server.is_quiet().await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_and_then_an_answer_is_an_answer() {
    let server = Server::new().await;
    let asked = ask(server.model());
    server.call().await.respond(500, "", "oops").await;
    advance(Duration::from_secs(1)).await;
    server.call().await.answer("hello").await;
    assert_eq!(text_of(asked).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_not_tried_again_and_hides_the_key() {
    let server = Server::new().await;
    for status in [400, 401, 403, 404, 422, 302] {
        let asked = ask(server.model());
        let message = format!("bad key {KEY}\r\n{}", "x".repeat(400));
        let body = json!({"error": {"message": message, "type": "invalid_request_error"}}).to_string();
        server.call().await.respond(status, "location: /elsewhere\r\n", body).await;
        let (ModelError::Refused(words) | ModelError::Denied(words)) = error_of(asked).await else {
            panic!("{status} is not refused")
        };
        assert!(words.starts_with(&format!("status {status}: bad key ***  xxx")), "{words}");
        assert_eq!(words.len(), "status 400: ".len() + 300);
    }
    let quota = json!({"error": {"message": "pay", "code": "insufficient_quota"}}).to_string();
    let asked = ask(server.model());
    server.call().await.respond(429, "", quota).await;
    assert_eq!(error_of(asked).await, ModelError::Denied("status 429: pay".to_owned()));
    assert!(server.is_quiet().await);
    assert!(!format!("{:?}", server.model()).contains(KEY));
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_has_to_mend_is_told_apart_from_a_bad_request() {
    let server = Server::new().await;
    for (status, is_denied) in
        [(400, false), (422, false), (401, true), (403, true), (404, true), (302, true)]
    {
        let asked = ask(server.model());
        server.call().await.respond(status, "location: /elsewhere\r\n", "{}").await;
        let error = error_of(asked).await;
        assert_eq!(matches!(error, ModelError::Denied(_)), is_denied, "{status}: {error:?}");
    }
}

async fn error_of_400(error: Value) -> ModelError {
    let server = Server::new().await;
    let asked = ask(server.model());
    server.call().await.respond(400, "", json!({"error": error}).to_string()).await;
    error_of(asked).await
}

#[tokio::test(start_paused = true)]
async fn a_context_that_is_exceeded_says_by_how_much() {
    let code = "context_length_exceeded";
    let words = "This model's maximum context length is 4097 tokens, however you sent 5000 tokens.";
    let fields = json!({"message": "too long", "code": 400, "type": "exceed_context_size_error",
        "n_prompt_tokens": 5000, "n_ctx": 4097});
    for error in [json!({"message": words, "code": code}), json!({"message": words}), fields] {
        let exceeded = ModelError::ContextExceeded { prompt_tokens: 5000, context_tokens: 4097 };
        assert_eq!(error_of_400(error).await, exceeded);
    }
    for (error, words) in [
        (json!({"message": "too long", "code": code}), "status 400: too long"),
        (json!({"message": "2 of 3 are wrong"}), "status 400: 2 of 3 are wrong"),
    ] {
        assert_eq!(error_of_400(error).await, ModelError::Refused(words.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_left_in_time() {
    let server = Server::new().await;
    // the caller's deadline, the model's own, the first byte's
    for (deadline, timeout, seconds) in [(10, 120, 10), (300, 20, 20), (300, 300, 60)] {
        let model = server.model_with(|model| model.timeout = Duration::from_secs(timeout));
        let asked = ask_until(model, prompt(), Instant::now() + Duration::from_secs(deadline));
        let mut call = server.call().await;
        advance(Duration::from_millis(seconds * 1000 - 100)).await;
        settle().await;
        assert!(!asked.is_finished(), "gave up before {seconds} s");
        advance(Duration::from_millis(101)).await;
        assert_eq!(error_of(asked).await, ModelError::TimedOut);
        call.gone().await;
    }
    assert!(server.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn retries_spend_the_one_deadline() {
    let server = Server::new().await;
    let asked = ask_until(server.model(), prompt(), Instant::now() + Duration::from_secs(10));
    let call = server.call().await;
    advance(Duration::from_secs(5)).await;
    call.respond(500, "retry-after: 2\r\n", "").await;
    advance(Duration::from_millis(2501)).await;
    let _second = server.call().await;
    advance(Duration::from_millis(2500)).await;
    assert_eq!(error_of(asked).await, ModelError::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_is_broken_and_one_that_trickles_ends_at_the_deadline() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.text("hel").await;
    settle().await;
    advance(Duration::from_secs(46)).await;
    assert_eq!(breach(asked).await, "nothing came for 45 s");
    call.gone().await;

    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.text("hel").await;
    for _ in 0..3 {
        settle().await;
        advance(Duration::from_secs(39)).await;
        call.send(": still here\n\n").await;
        settle().await;
        assert!(!asked.is_finished());
    }
    advance(Duration::from_secs(4)).await;
    assert_eq!(error_of(asked).await, ModelError::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn bytes_may_come_one_at_a_time_with_any_line_end() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    let event = |text: &str, end: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}{end}{end}")
    };
    let begin = "\u{feff}: hello\r\n\r\n";
    let end = "data: {\"choices\":[{\"delta\":{},\r\ndata: \"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]";
    let body = [begin, &event("你", "\r\n"), &event("好🙂", "\n"), &event("é", "\r"), end].concat();
    for byte in body.as_bytes() {
        call.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    call.end().await;
    assert_eq!(text_of(asked).await, "你好🙂é");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    let server = Server::new().await;
    // the body's end without the answer's; the connection's end; a reset
    for way in ["end", "close", "reset"] {
        let asked = ask(server.model());
        let mut call = server.call().await;
        call.begin().await;
        call.text("hel").await;
        settle().await;
        match way {
            "end" => call.end().await,
            "close" => drop(call),
            _ => call.reset(),
        }
        let why = breach(asked).await;
        assert_eq!(way == "end", why == "it ended without `finish_reason` or `[DONE]`", "{why}");
    }
    assert!(server.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_before_its_first_word_is_asked_for_again() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.end().await;
    drop(call);
    settle().await;
    advance(Duration::from_secs(1)).await;
    server.call().await.reset();
    settle().await;
    advance(Duration::from_secs(2)).await;
    let mut call = server.call().await;
    call.begin().await;
    call.send("data: {\"cho\n\n").await;
    call.gone().await;
    advance(Duration::from_secs(4)).await;
    server.call().await.answer("hello").await;
    assert_eq!(text_of(asked).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn garbage_is_broken_and_its_text_stays_out_of_the_error() {
    let server = Server::new().await;
    for garbage in ["{\"choices\": [{\"private", "42", "{\"choices\":\"private\"}", "private"] {
        let asked = ask(server.model());
        let mut call = server.call().await;
        call.begin().await;
        call.text("hel").await;
        call.send(format!("data: {garbage}\n\n")).await;
        let why = breach(asked).await;
        assert!(why.starts_with("an event in it is no") && !why.contains("private"), "{why}");
    }
    let asked = ask(server.model());
    server.call().await.respond(200, "content-type: text/html\r\n", "<html>").await;
    assert!(breach(asked).await.contains("`endpoint`"));
    assert!(server.is_quiet().await);
}

/// Writes `block` again and again up to 200 MB; how many bytes it took until the client had enough.
async fn flood(mut call: Call, block: &str) -> usize {
    let mut sent = 0;
    let framed = format!("{:x}\r\n{block}\r\n", block.len());
    while sent < 200_000_000 && call.stream.write_all(framed.as_bytes()).await.is_ok() {
        sent += block.len();
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_200_megabytes_is_cut() {
    let server = Server::new().await;
    let text = "x".repeat(64 << 10);
    let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let comment = format!(": {text}\n");
    for (block, limit, why) in [
        (event, 16 << 20, "it has more than 16777216 bytes"),
        (text, 1 << 20, "an event is longer than 1048576 bytes"),
        (comment, 64 << 20, "its body has more than 67108864 bytes"),
    ] {
        let asked = ask(server.model());
        let mut call = server.call().await;
        call.begin().await;
        let sent = flood(call, &block).await;
        assert_eq!(breach(asked).await, why);
        // what lies in the sockets' buffers was sent too
        assert!(sent < limit + (16 << 20), "{sent} bytes were taken");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_whole_once_the_model_says_so() {
    let server = Server::new().await;
    let finish = json!({"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "stop"}]});
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.event(finish.clone()).await;
    call.end().await;
    assert_eq!(text_of(asked).await, "!");
    drop(call);

    // nor does a line that is kept open for nothing hold it up
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.event(finish).await;
    settle().await;
    advance(Duration::from_millis(3001)).await;
    assert_eq!(text_of(asked).await, "!");
}

#[tokio::test(start_paused = true)]
async fn a_done_with_nothing_before_it_is_no_answer() {
    let server = Server::new().await;
    let asked = ask(server.model());
    for _ in 0..4 {
        let mut call = server.call().await;
        call.begin().await;
        call.send("data: [DONE]\n\n").await;
        call.end().await;
        drop(call);
        settle().await;
        advance(Duration::from_secs(5)).await;
    }
    assert_eq!(breach(asked).await, "there was no choice in it");
}

#[tokio::test(start_paused = true)]
async fn errors_within_the_stream_are_errors() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.event(json!({"error": {"message": "full", "type": "overloaded_error"}})).await;
    call.gone().await;
    advance(Duration::from_secs(1)).await;
    let mut call = server.call().await;
    call.begin().await;
    call.text("hel").await;
    call.send(format!("event: error\ndata: {{\"error\":{{\"message\":\"died on {KEY}\"}}}}\n\n")).await;
    assert_eq!(breach(asked).await, "the server says: died on ***");

    let asked = ask(server.model());
    let mut call = server.call().await;
    call.begin().await;
    call.event(json!({"error": {"message": "no such model", "code": 404}})).await;
    assert_eq!(error_of(asked).await, ModelError::Denied("status 404: no such model".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stream_is_understood() {
    let server = Server::new().await;
    let asked = ask(server.model());
    let body = json!({"choices": [{"index": 0, "message": {"content": "hello", "tool_calls": [
        {"id": "a", "function": {"name": "now", "arguments": "{}"}}]}, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    let headers = "content-type: application/json; charset=utf-8\r\n";
    server.call().await.respond(200, headers, body.to_string()).await;
    let usage = Usage { finish_reason: FinishReason::ToolCalls, prompt_tokens: 3, completion_tokens: 4 };
    assert_eq!(asked.await.unwrap(), Ok(("hello".to_owned(), vec![tool_call("a", "now", "{}")], usage)));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_answer_closes_the_connection() {
    let server = Server::new().await;
    let model = server.model();
    let asked = tokio::spawn(async move { model.ask(&prompt(), soon()).await });
    let mut call = server.call().await;
    call.begin().await;
    call.text("hel").await;
    let answer = asked.await.unwrap().unwrap();
    drop(answer);
    call.gone().await;

    // and so does giving up before the first delta
    let asked = ask(server.model());
    let mut call = server.call().await;
    asked.abort();
    call.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_again() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    let first = ask(Arc::clone(&model));
    let mut call = server.call().await;
    call.answer("one").await;
    assert_eq!(text_of(first).await, "one");
    settle().await;
    let second = ask(model);
    call.read_request().await;
    call.answer("two").await;
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_run_than_the_configuration_says() {
    let server = Server::new().await;
    let model = Arc::new(server.model_with(|model| model.concurrent = Some(1)));
    let first = ask(Arc::clone(&model));
    let mut call = server.call().await;
    call.begin().await;
    call.text("one").await;
    let late = ask_until(Arc::clone(&model), prompt(), Instant::now() + Duration::from_secs(9));
    assert!(server.is_quiet().await);
    advance(Duration::from_secs(10)).await;
    assert_eq!(error_of(late).await.outcome(), "busy");
    let second = ask(model);
    assert!(server.is_quiet().await);
    call.finish().await;
    drop(call);
    assert_eq!(text_of(first).await, "one");
    server.call().await.answer("two").await;
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_is_unavailable() {
    let _time = StillTime::new();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let asked = ask(model_at(&format!("http://{gone}/v1"), |_| {}));
    let begun = Instant::now();
    while !asked.is_finished() {
        settle().await;
        advance(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let ModelError::Unavailable(why) = error_of(asked).await else { panic!("not unavailable") };
    assert!(why.to_lowercase().contains("refused") && !why.contains("http"), "{why}");
}

const RESTS: Duration = Duration::from_secs(5);

fn resting(seconds: u64) -> ModelError {
    ModelError::Resting { retry_after: Duration::from_secs(seconds) }
}

/// One question that the server fails at once, and that is not tried again.
async fn fail(server: &Server, model: &Arc<OpenAi>) {
    let asked = ask(model.clone());
    server.call().await.respond(200, "content-type: text/html\r\n", "<p>").await;
    breach(asked).await;
}

/// The breaker is open: nobody is asked.
async fn is_left_alone(server: &Server, model: &Arc<OpenAi>) {
    assert_eq!(error_of(ask(model.clone())).await, resting(RESTS.as_secs()));
    assert!(server.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_ten_times_in_a_row_is_left_alone_and_found_again_by_one_question() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    for _ in 0..10 {
        fail(&server, &model).await;
    }
    is_left_alone(&server, &model).await;
    assert_eq!(model.standing(), Some(Standing::Open { rest: RESTS }));
    advance(RESTS).await;
    let probe = ask(model.clone());
    let mut call = server.call().await;
    assert_eq!(error_of(ask(model.clone())).await, resting(2));
    assert!(server.is_quiet().await);
    call.answer("back").await;
    assert_eq!(text_of(probe).await, "back");
    assert_eq!(model.standing(), Some(Standing::Closed));
    drop(call);
    settle().await;
    let next = ask(model);
    server.call().await.answer("and on").await;
    assert_eq!(text_of(next).await, "and on");
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_failure_opens_the_breaker_is_not_tried_again() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    for _ in 0..8 {
        fail(&server, &model).await;
    }
    let asked = ask(model.clone());
    server.call().await.respond(500, "", "").await;
    advance(Duration::from_secs(5)).await;
    server.call().await.respond(500, "", "").await;
    assert_eq!(error_of(asked).await, ModelError::Unavailable("status 500".to_owned()));
    is_left_alone(&server, &model).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_or_is_busy_is_not_left_alone() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    for (status, headers) in [(400, ""), (401, ""), (404, ""), (429, "retry-after: 500\r\n")] {
        for _ in 0..12 {
            let asked = ask(model.clone());
            server.call().await.respond(status, headers, "").await;
            assert!(!matches!(error_of(asked).await, ModelError::Resting { .. }), "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_and_says_until_when_is_left_alone_too() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    for _ in 0..10 {
        let asked = ask(model.clone());
        server.call().await.respond(503, "retry-after: 500\r\n", "").await;
        assert!(matches!(error_of(asked).await, ModelError::Busy { .. }));
    }
    is_left_alone(&server, &model).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_alone_unless_its_callers_were_in_a_hurry() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    for patience in [Duration::from_secs(9), Duration::from_secs(10)] {
        for _ in 0..10 {
            let asked = ask_until(model.clone(), prompt(), Instant::now() + patience);
            let _call = server.call().await;
            advance(patience).await;
            assert_eq!(error_of(asked).await, ModelError::TimedOut);
        }
    }
    is_left_alone(&server, &model).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_answers_break_off_is_left_alone() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    for _ in 0..10 {
        let asked = ask(model.clone());
        let mut call = server.call().await;
        call.begin().await;
        call.text("hel").await;
        settle().await;
        call.reset();
        breach(asked).await;
    }
    is_left_alone(&server, &model).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_its_caller_leaves_tells_nothing_of_the_server() {
    let server = Server::new().await;
    let model = Arc::new(server.model());
    for _ in 0..9 {
        fail(&server, &model).await;
    }
    for _ in 0..3 {
        let asked = ask(model.clone());
        let mut call = server.call().await;
        call.begin().await;
        call.text("hel").await;
        settle().await;
        asked.abort();
        call.gone().await;
    }
    assert_eq!(model.standing(), Some(Standing::Closed));
    fail(&server, &model).await;
    is_left_alone(&server, &model).await;
}
