//! The parts of a scene: a scripted adapter, an inbox, and a platform at the other end of a pipe.
//!
//! The adapter's words: `m…` is a message; `replace`, `stop`, `beat`, `fail`, `tell` (its memory) and `withdraw m…` do
//! what they say; `count m…` counts messages in the memory, `silent m…` does so without an acknowledgement.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{SinkExt as _, StreamExt as _};
use parlor::clock::FixedClock;
use parlor::connection::{Connection, Intake, NotTaken, Opener, Report, Speaker, Status};
use parlor::drain::Drain;
use parlor::egress::{NotOpened, Socket, socket};
use parlor::message::{Fault, FaultKind, Frame, HttpResponse, Message, Scope, Sender};
use parlor::plugin::services::{FailureKind, HttpFailure, Memory, MemoryError};
use parlor::plugin::{Action, Closure, Endpoint, Outcome};
use parlor::random::Random;
use parlor::telemetry::Metrics;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

const PATIENCE: Duration = Duration::from_secs(3600);
/// Less than the driver may hold of what a platform sends.
const PIPE_BYTES: usize = 512;

pub fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        conversation: "all".to_owned(),
        album: None,
        scope: Scope::Direct,
        sender: Sender { id: "ann".to_owned(), name: None, extra: Vec::new() },
        addressed: true,
        text: id.to_owned(),
        quoted: None,
        attachments: Vec::new(),
        context: Vec::new(),
        sent_at_ms: None,
        address: Vec::new(),
        extra: Vec::new(),
        wishes: Default::default(),
        favour: parlor::message::Favour::Its,
    }
}

pub fn acknowledged(message: Message, acknowledgement: &str) -> Vec<Action> {
    vec![Action::Message(Box::new(message)), Action::Acknowledge(Frame::Text(acknowledgement.to_owned()))]
}

pub fn text(frame: &Frame) -> &str {
    match frame {
        Frame::Text(text) => text,
        Frame::Binary(bytes) => std::str::from_utf8(bytes).unwrap(),
    }
}

/// What an attempt to connect comes to; a socket if nothing is set.
#[derive(Debug, Clone)]
pub enum Attempt {
    NotAdmitted(Fault),
    Refused(u16),
    Unreached,
}

#[derive(Debug, Default)]
pub struct Script {
    attempts: Mutex<VecDeque<Attempt>>,
    dialled: Mutex<Vec<Instant>>,
    heard: AtomicUsize,
    /// What `opened` was handed.
    contexts: Mutex<Vec<String>>,
    /// The release that serves keeps no socket.
    is_webhook: AtomicBool,
    swaps: watch::Sender<()>,
    closures: Mutex<Vec<String>>,
}

impl Script {
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// What was learnt by dialling, as each socket that opened was told it.
    pub fn contexts(&self) -> Vec<String> {
        self.contexts.lock().unwrap().clone()
    }

    /// Another release serves from now on.
    pub fn swap(&self, keeps_a_socket: bool) {
        self.is_webhook.store(!keeps_a_socket, Ordering::Relaxed);
        self.swaps.send_replace(());
    }

    /// How the connection ended, in a word each.
    pub fn closures(&self) -> Vec<String> {
        self.closures.lock().unwrap().clone()
    }

    fn hear(memory: &[u8], said: &str) -> Result<Outcome, Fault> {
        let count: usize = std::str::from_utf8(memory).unwrap().parse().unwrap_or(0);
        let next = Some((count + 1).to_string().into_bytes());
        let only = |action| Outcome { actions: vec![action], memory: None };
        let reply = |text: String| only(Action::Send(Frame::Text(text)));
        Ok(match said.split_once(' ') {
            None if said == "replace" => only(Action::Replace("it expires".to_owned())),
            None if said == "stop" => {
                only(Action::Stop(Fault::new(FaultKind::Gone, "somebody else is connected")))
            }
            None if said == "beat" => only(Action::HeartbeatEvery(Some(Duration::from_secs(5)))),
            None if said == "fail" => return Err(Fault::new(FaultKind::Internal, "not understood")),
            None if said == "tell" => reply(count.to_string()),
            None => Outcome { actions: acknowledged(message(said), &format!("ack {said}")), memory: None },
            Some(("count", id)) => {
                Outcome { actions: acknowledged(message(id), &format!("ack {id}")), memory: next }
            }
            Some(("silent", id)) => {
                Outcome { actions: vec![Action::Message(Box::new(message(id)))], memory: next }
            }
            Some(("withdraw", id)) => {
                let acknowledgement = Action::Acknowledge(Frame::Text(format!("ack {said}")));
                Outcome { actions: vec![Action::Withdrawn(id.to_owned()), acknowledgement], memory: None }
            }
            Some(_) => panic!("the script has no word `{said}`"),
        })
    }
}

#[async_trait]
impl Speaker for Script {
    fn connects(&self) -> bool {
        !self.is_webhook.load(Ordering::Relaxed)
    }

    async fn dial(&self, _memory: &[u8]) -> Result<Endpoint, Fault> {
        let mut dialled = self.dialled.lock().unwrap();
        dialled.push(Instant::now());
        let mut attempts = self.attempts.lock().unwrap();
        match attempts.front().cloned() {
            Some(Attempt::NotAdmitted(fault)) => {
                attempts.pop_front();
                Err(fault)
            }
            _ => Ok(Endpoint {
                url: "wss://events.example.com/".to_owned(),
                headers: Vec::new(),
                context: format!("dialled {}", dialled.len()).into_bytes(),
            }),
        }
    }

    async fn opened(&self, _memory: &[u8], context: &[u8]) -> Result<Outcome, Fault> {
        self.contexts.lock().unwrap().push(String::from_utf8(context.to_vec()).unwrap());
        Ok(Outcome::default())
    }

    async fn hear(&self, memory: &[u8], frame: Frame) -> Result<Outcome, Fault> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        Script::hear(memory, text(&frame))
    }

    async fn heartbeat(&self, _memory: &[u8]) -> Result<Outcome, Fault> {
        Ok(Outcome { actions: vec![Action::Send(Frame::Text("beat".to_owned()))], memory: None })
    }

    async fn closed(&self, _memory: &[u8], why: Closure) -> Result<Outcome, Fault> {
        let word = match why {
            Closure::Refused(response) => format!("refused {}", response.status),
            Closure::Closed(code, _) => format!("closed {code}"),
            Closure::Lost => "lost".to_owned(),
        };
        self.closures.lock().unwrap().push(word);
        Ok(Outcome::default())
    }
}

/// Opens pipes; the other ends go to the test.
#[derive(Debug)]
struct Pipes {
    script: Arc<Script>,
    lines: mpsc::UnboundedSender<tokio::io::DuplexStream>,
}

#[async_trait]
impl Opener for Pipes {
    async fn open(&self, _endpoint: Endpoint) -> Result<Socket, NotOpened> {
        match self.script.attempts.lock().unwrap().pop_front() {
            Some(Attempt::Refused(status)) => {
                return Err(NotOpened::Refused(HttpResponse { status, ..HttpResponse::default() }));
            }
            Some(_) => {
                let (kind, reason) = (FailureKind::Refused, "nobody listens".to_owned());
                return Err(HttpFailure { kind, reason, request_sent: false, retry_after: None }.into());
            }
            None => {}
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        self.lines.send(theirs).unwrap();
        Ok(socket(Box::new(ours), Role::Client).await)
    }
}

/// An inbox that can be held shut, broken, or full to its limits.
#[derive(Debug)]
pub struct Inbox {
    stored: Mutex<Vec<String>>,
    withdrawn: Mutex<Vec<String>>,
    commits: AtomicUsize,
    broken: AtomicUsize,
    refusing: AtomicUsize,
    is_open: watch::Sender<bool>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            stored: Mutex::default(),
            withdrawn: Mutex::default(),
            commits: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
            is_open: watch::Sender::new(true),
        }
    }
}

impl Inbox {
    pub fn shut(&self) {
        self.is_open.send_replace(false);
    }

    pub fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// The next so many commits fail.
    pub fn break_for(&self, commits: usize) {
        self.broken.store(commits, Ordering::Relaxed);
    }

    /// The next so many messages are over the limits.
    pub fn refuse_for(&self, messages: usize) {
        self.refusing.store(messages, Ordering::Relaxed);
    }

    pub fn stored(&self) -> Vec<String> {
        self.stored.lock().unwrap().clone()
    }

    pub fn withdrawn(&self) -> Vec<String> {
        self.withdrawn.lock().unwrap().clone()
    }

    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }
}

fn one_less(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Intake for Inbox {
    async fn admit(&self) -> Result<(), NotTaken> {
        if one_less(&self.refusing) { Err(NotTaken("too fast".to_owned())) } else { Ok(()) }
    }

    async fn take(&self, messages: Vec<Message>, withdrawn: Vec<String>) -> Result<(), NotTaken> {
        self.is_open.subscribe().wait_for(|is_open| *is_open).await.unwrap();
        if one_less(&self.broken) {
            return Err(NotTaken("the disk is full".to_owned()));
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.stored.lock().unwrap().extend(messages.into_iter().map(|message| message.id));
        self.withdrawn.lock().unwrap().extend(withdrawn);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Shelf(Mutex<Option<Vec<u8>>>);

#[async_trait]
impl Memory for Shelf {
    async fn get(&self, _key: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn set(&self, _key: &str, value: &[u8], _ttl: Option<Duration>) -> Result<(), MemoryError> {
        *self.0.lock().unwrap() = Some(value.to_vec());
        Ok(())
    }

    async fn delete(&self, _key: &str) -> Result<(), MemoryError> {
        Ok(())
    }

    async fn increment(&self, _key: &str, _by: i64, _ttl: Option<Duration>) -> Result<i64, MemoryError> {
        Err(MemoryError::Unavailable)
    }
}

#[derive(Debug)]
struct Half;

impl Random for Half {
    fn fraction(&self) -> f64 {
        0.5
    }
}

/// A connection that is driven, and all that it stands on.
pub struct Scene {
    pub speaker: Arc<Script>,
    pub inbox: Arc<Inbox>,
    pub status: Arc<Status>,
    pub drain: Drain,
    memory: Arc<Shelf>,
    lines: tokio::sync::Mutex<mpsc::UnboundedReceiver<tokio::io::DuplexStream>>,
}

impl Scene {
    pub async fn start() -> Scene {
        Scene::with([]).await
    }

    /// With these attempts first.
    pub async fn with(attempts: impl IntoIterator<Item = Attempt>) -> Scene {
        let script = Script { attempts: Mutex::new(attempts.into_iter().collect()), ..Script::default() };
        Scene::on(Arc::new(script), Arc::default()).await
    }

    async fn on(speaker: Arc<Script>, memory: Arc<Shelf>) -> Scene {
        let (sender, lines) = mpsc::unbounded_channel();
        let (inbox, status, drain) = (Arc::new(Inbox::default()), Arc::new(Status::default()), Drain::new());
        Connection {
            channel: "board".into(),
            speaker: speaker.clone(),
            opener: Arc::new(Pipes { script: speaker.clone(), lines: sender }),
            intake: inbox.clone(),
            swaps: speaker.swaps.subscribe(),
            memory: memory.clone(),
            status: status.clone(),
            clock: Arc::new(FixedClock(0)),
            random: Arc::new(Half),
            metrics: Arc::new(Metrics::new()),
            drain: drain.clone(),
        }
        .start();
        Scene { speaker, inbox, status, drain, memory, lines: tokio::sync::Mutex::new(lines) }
    }

    /// Another process on what this one kept.
    pub async fn restart(self) -> Scene {
        self.drain.drain(PATIENCE).await;
        Scene::on(Arc::default(), self.memory).await
    }

    /// The platform's end of the next socket that opens.
    pub async fn line(&self) -> Line {
        let opened = tokio::time::timeout(PATIENCE, async { self.lines.lock().await.recv().await });
        let stream = opened.await.expect("a socket is opened in time").expect("the opener lives");
        Line::on(socket(Box::new(stream), Role::Server).await)
    }

    /// What the next attempt comes to.
    pub fn next(&self, attempt: Attempt) {
        self.speaker.attempts.lock().unwrap().push_back(attempt);
    }

    pub fn dials(&self) -> usize {
        self.speaker.dialled.lock().unwrap().len()
    }

    /// Times between attempts.
    pub fn pauses(&self) -> Vec<Duration> {
        let dialled = self.speaker.dialled.lock().unwrap();
        dialled.windows(2).map(|two| two[1] - two[0]).collect()
    }

    pub fn report(&self) -> Report {
        self.status.report().expect("a socket is wanted")
    }

    /// The memory as it would be read after a restart.
    pub async fn kept(&self) -> Option<Vec<u8>> {
        self.memory.get("memory").await.unwrap()
    }
}

/// The platform's end of a socket: it reads and answers pings all the while, until it plays dead. Dropped, it breaks.
pub struct Line {
    heard: mpsc::UnboundedReceiver<tungstenite::Message>,
    says: mpsc::Sender<tungstenite::Message>,
    reading: tokio::task::JoinHandle<()>,
    writing: tokio::task::JoinHandle<()>,
}

impl Line {
    fn on(socket: Socket) -> Line {
        let (mut sink, mut stream) = socket.split();
        let (hearing, heard) = mpsc::unbounded_channel();
        let (says, mut said) = mpsc::channel(1);
        let reading = tokio::spawn(async move {
            while let Some(Ok(read)) = stream.next().await {
                if hearing.send(read).is_err() {
                    return;
                }
            }
        });
        let writing = tokio::spawn(async move {
            while let Some(message) = said.recv().await {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        });
        Line { heard, says, reading, writing }
    }

    pub async fn say(&mut self, text: &str) {
        self.says.send(tungstenite::Message::Text(text.into())).await.expect("the socket is open");
    }

    pub async fn close(&mut self, code: u16, reason: &'static str) {
        let goodbye = CloseFrame { code: code.into(), reason: reason.into() };
        self.says.send(tungstenite::Message::Close(Some(goodbye))).await.expect("the socket is open");
    }

    /// The next text.
    pub async fn hears(&mut self) -> String {
        self.hears_within(PATIENCE).await.expect("the host says something in time")
    }

    pub async fn hears_within(&mut self, time: Duration) -> Option<String> {
        let text = async {
            loop {
                if let tungstenite::Message::Text(text) = self.heard.recv().await? {
                    return Some(text.as_str().to_owned());
                }
            }
        };
        tokio::time::timeout(time, text).await.ok().flatten()
    }

    /// The code of the host's goodbye.
    pub async fn closed(&mut self) -> Option<u16> {
        let goodbye = async {
            loop {
                if let tungstenite::Message::Close(goodbye) = self.heard.recv().await? {
                    return goodbye.map(|goodbye| goodbye.code.into());
                }
            }
        };
        tokio::time::timeout(PATIENCE, goodbye).await.expect("the host closes in time")
    }

    /// Neither reads nor writes any more, and does not close: the half-open connection that TCP knows nothing of.
    pub async fn play_dead(&mut self) {
        let (hearing, heard) = mpsc::unbounded_channel();
        drop(hearing);
        self.heard = heard;
        self.reading.abort();
        // The other half stays, so that the pipe is not closed.
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reading.abort();
        self.writing.abort();
    }
}
