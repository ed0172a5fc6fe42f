//! The life of one line: what the client says goes to its turns, what they say goes to the client, until one of
//! both ends it.
//!
//! One thing at a time: while a question is stored or a frame is written, nothing else is read, so that questions
//! are stored in their order and a slow client fills no buffer. What the turns say meanwhile comes as one delta.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::StatusCode;
use hyper::upgrade::Upgraded;
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamMap;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::asked::{Asked, Garbage};
use super::told::Told;
use super::wire::{Ending, TOKEN_EXPIRED, Wire};
use super::{Attached, Names, Question, Sockets, Step, Stopped};
use crate::auth::{Caller, Verifier};
use crate::doors::problem::Problem;
use crate::telemetry;

/// Questions under way on one line: a person has a few tabs or tries at most.
pub const UNDER_WAY_MAX: usize = 4;
/// Messages in a row that make no sense; who sends more does not speak this protocol.
pub const GARBAGE_MAX: u32 = 8;
/// A line is asked this often whether it still lives, and has as long to say so. Proxies cut a silent one after 30
/// to 60 seconds.
pub const PING_EVERY: Duration = Duration::from_secs(20);

/// Where the steps of one question come from.
type Steps = BoxStream<'static, (Arc<Names>, Step)>;

pub struct Line {
    sockets: Arc<Sockets>,
    caller: Caller,
    request_id: String,
    wire: Wire,
    /// By the client's own ids.
    under_way: StreamMap<String, Steps>,
    garbage: u32,
    is_leaving: bool,
    /// Whether anything came since the last ping.
    is_alive: bool,
    next_ping: Instant,
}

impl Line {
    pub async fn new(sockets: Arc<Sockets>, caller: Caller, request_id: String, io: Upgraded) -> Self {
        Self {
            sockets,
            caller,
            request_id,
            wire: Wire::new(io).await,
            under_way: StreamMap::new(),
            garbage: 0,
            is_leaving: false,
            is_alive: true,
            next_ping: Instant::now() + PING_EVERY,
        }
    }

    /// Speaks until the line ends.
    pub async fn run(mut self) {
        let began = Instant::now();
        let person = telemetry::person(&self.caller.person);
        tracing::info!(event.action = "open", person, "chat socket open");
        let ending = self.converse().await;
        let (code, reason) = match ending {
            Ending::Gone(reason) => (None, reason),
            Ending::Close(code, reason) => (Some(u16::from(code)), reason),
        };
        let (seconds, under_way) = (began.elapsed().as_secs(), self.under_way.len());
        tracing::info!(event.action = "close", code, reason, seconds, under_way, "chat socket closed");
        if let Ending::Close(code, reason) = ending {
            drop(self.under_way);
            self.wire.close(code, reason).await;
        }
    }

    async fn converse(&mut self) -> Ending {
        loop {
            if self.is_leaving && self.under_way.is_empty() {
                return Ending::Close(CloseCode::Restart, "the host is shutting down; come back");
            }
            if let Err(ending) = self.step().await {
                return ending;
            }
        }
    }

    /// Waits for one thing and deals with it.
    async fn step(&mut self) -> Result<(), Ending> {
        tokio::select! {
            heard = self.wire.next() => {
                self.is_alive = true;
                match heard? {
                    Some(text) => self.hear(&text).await,
                    None => Ok(()),
                }
            }
            step = self.under_way.next(), if !self.under_way.is_empty() => match step {
                Some((id, (names, step))) => self.pass_on(&id, &names, step).await,
                None => Ok(()),
            },
            () = look(self.next_ping, &self.sockets.verifier, &self.caller) => self.look().await,
            () = self.sockets.drain.cancelled(), if !self.is_leaving => {
                self.is_leaving = true;
                Ok(())
            }
        }
    }

    /// Whether both sides still have a reason to stay.
    async fn look(&mut self) -> Result<(), Ending> {
        self.check_token().await?;
        if Instant::now() < self.next_ping {
            return Ok(());
        }
        if !std::mem::take(&mut self.is_alive) {
            return Err(Ending::Gone("the client does not answer"));
        }
        self.next_ping = Instant::now() + PING_EVERY;
        self.wire.ping().await
    }

    async fn check_token(&mut self) -> Result<(), Ending> {
        if !self.sockets.verifier.life_left(&self.caller).is_zero() {
            return Ok(());
        }
        let message = "the token has expired; come back with a new one";
        self.tell(&Told::problem(None, Problem::new(StatusCode::UNAUTHORIZED, "token_expired", message)))
            .await?;
        Err(Ending::Close(TOKEN_EXPIRED, "the token has expired"))
    }

    async fn hear(&mut self, text: &str) -> Result<(), Ending> {
        self.check_token().await?;
        match Asked::parse(text) {
            Ok(asked) => {
                self.garbage = 0;
                self.answer(asked).await
            }
            Err(garbage) => self.refuse(garbage).await,
        }
    }

    async fn refuse(&mut self, garbage: Garbage) -> Result<(), Ending> {
        self.tell(&Told::problem(garbage.id.as_deref(), garbage.problem)).await?;
        self.garbage += 1;
        if self.garbage < GARBAGE_MAX {
            return Ok(());
        }
        Err(Ending::Close(CloseCode::Policy, "too many messages that make no sense"))
    }

    async fn answer(&mut self, asked: Asked) -> Result<(), Ending> {
        match asked {
            Asked::Ping => self.tell(&Told::Pong).await,
            Asked::Stop { id } => self.stop(&id).await,
            Asked::Ask { id, .. } if self.is_full(&id) => {
                let message =
                    format!("{UNDER_WAY_MAX} questions are under way on this line; wait for one to end");
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message);
                self.tell(&Told::problem(Some(&id), problem)).await
            }
            Asked::Ask { id, query, session_id } => self.ask(id, query, session_id).await,
        }
    }

    fn is_full(&self, id: &str) -> bool {
        self.under_way.len() >= UNDER_WAY_MAX && !self.under_way.contains_key(id)
    }

    async fn ask(&mut self, id: String, query: String, session_id: Option<String>) -> Result<(), Ending> {
        let (person, key) = (self.caller.person.clone(), self.caller.token_id.clone());
        let request_id = self.request_id.clone();
        let question = Question { id: id.clone(), query, session_id, person, key, request_id };
        match self.sockets.attend.attach(question).await {
            Ok(Attached { names, steps }) => {
                let names = Arc::new(names);
                self.tell(&Told::accepted(&id, &names)).await?;
                let steps = steps.map(move |step| (names.clone(), step)).boxed();
                self.under_way.insert(id, steps);
                Ok(())
            }
            Err(refusal) => self.tell(&Told::problem(Some(&id), refusal.into())).await,
        }
    }

    async fn stop(&mut self, id: &str) -> Result<(), Ending> {
        let told = match self.sockets.attend.stop(&self.caller.person, id).await {
            Ok(Some(Stopped { names, how })) => {
                self.under_way.remove(id);
                return self.tell(&Told::step(id, &names, how)).await;
            }
            Ok(None) => {
                let message = "there is no question with this id";
                Told::problem(Some(id), Problem::new(StatusCode::NOT_FOUND, "unknown_id", message))
            }
            Err(refusal) => Told::problem(Some(id), refusal.into()),
        };
        self.tell(&told).await
    }

    async fn pass_on(&mut self, id: &str, names: &Names, step: Step) -> Result<(), Ending> {
        if step.is_last() {
            self.under_way.remove(id);
        }
        self.tell(&Told::step(id, names, step)).await
    }

    async fn tell(&mut self, told: &Told<'_>) -> Result<(), Ending> {
        let began = Instant::now();
        let text = serde_json::to_string(told).expect("text and numbers make JSON");
        self.wire.tell(text).await?;
        // Nothing could be heard meanwhile, and who takes a long answer is there.
        self.is_alive |= began.elapsed() >= PING_EVERY;
        Ok(())
    }
}

/// Returns when it is time to look whether the line lives and the token holds.
async fn look(next_ping: Instant, verifier: &Verifier, caller: &Caller) {
    let expiry = Instant::now() + verifier.life_left(caller).min(PING_EVERY);
    sleep_until(next_ping.min(expiry)).await;
}
