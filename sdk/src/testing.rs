//! A host for tests: doubles of its services, native and of this thread alone.
//!
//! The services of this crate, called natively, are served from a [`Host`]: settings and secrets
//! that the test gives (secrets compute for real), scripted HTTP, a store, a clock that stands
//! still until it is stepped, and records of what was sent and logged. Plugin code runs through
//! its trait, as in the host, without a component. Never part of a component.
//!
//! What only the real host knows, such as grants and places for secrets, is tested by
//! `parlor plugin test`.
//!
//! ```
//! use parlor_sdk::{clock, settings, testing::Host};
//!
//! let host = Host::new().setting("persona", "\"a pirate\"").clock_ms(1_700_000_000_000);
//! assert_eq!(settings::get::<String>("persona")?.as_deref(), Some("a pirate"));
//! host.step_ms(5);
//! assert_eq!(clock::now_ms(), 1_700_000_000_005);
//! # Ok::<(), parlor_sdk::Fault>(())
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use crate::{
    adapter::{Adapter, Delivered, Reception},
    connection::{Connection, Frame, Outcome},
    fault::Fault,
    http::{BodyPart, Failure, HttpRequest, HttpResponse, Outbound},
    log::Level,
    message::Reply,
};

mod secrets;
pub(crate) mod services;

/// A delivery that needs more calls than this goes round in circles.
const DELIVERY_CALLS_MAX: usize = 100;

/// The services of one test. A new one replaces the thread's old one.
#[derive(Clone, Debug)]
pub struct Host {
    state: Rc<RefCell<State>>,
}

/// A line that the plugin logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// Its words.
    pub message: String,
    /// Its values.
    pub fields: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct State {
    settings: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    now_ms: u64,
    scripted: VecDeque<Result<HttpResponse, Failure>>,
    sent: Vec<Outbound>,
    expired: Vec<String>,
    store: BTreeMap<String, (Vec<u8>, Option<u64>)>,
    is_store_down: bool,
    lines: Vec<LogLine>,
    /// The body of the request that is being received; none outside of `receive`.
    receiving: Option<Vec<u8>>,
}

thread_local! {
    static HOST: RefCell<Rc<RefCell<State>>> = RefCell::default();
}

fn with_state<T>(act: impl FnOnce(&mut State) -> T) -> T {
    HOST.with(|host| act(&mut host.borrow().borrow_mut()))
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Nothing set, nothing scripted, the clock at the epoch.
    pub fn new() -> Self {
        let state = Rc::new(RefCell::new(State::default()));
        HOST.with(|host| host.replace(Rc::clone(&state)));
        Self { state }
    }

    /// Sets a setting to a JSON text.
    #[must_use]
    pub fn setting(self, name: &str, json: &str) -> Self {
        self.state.borrow_mut().settings.insert(name.into(), json.into());
        self
    }

    /// Sets a secret.
    #[must_use]
    pub fn secret(self, name: &str, value: &str) -> Self {
        self.state.borrow_mut().secrets.insert(name.into(), value.into());
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn clock_ms(self, now_ms: u64) -> Self {
        self.state.borrow_mut().now_ms = now_ms;
        self
    }

    /// Moves the clock on.
    pub fn step_ms(&self, by_ms: u64) {
        self.state.borrow_mut().now_ms += by_ms;
    }

    /// Takes the plugin's store away, or brings it back with what was in it.
    pub fn take_store_down(&self, is_down: bool) {
        self.state.borrow_mut().is_store_down = is_down;
    }

    /// The next request that is sent gets this; unscripted ones fail as refused connections.
    pub fn respond(&self, response: Result<HttpResponse, Failure>) -> &Self {
        self.state.borrow_mut().scripted.push_back(response);
        self
    }

    /// The next request that is sent gets this JSON text.
    pub fn respond_json(&self, status: u16, json: &str) -> &Self {
        let response = HttpResponse { body: json.into(), ..HttpResponse::new(status) };
        self.respond(Ok(response.with_header("content-type", "application/json")))
    }

    /// What was sent so far, oldest first.
    pub fn sent(&self) -> Vec<Outbound> {
        self.state.borrow().sent.clone()
    }

    /// The tokens that were given back as stale.
    pub fn expired_tokens(&self) -> Vec<String> {
        self.state.borrow().expired.clone()
    }

    /// What was logged so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.state.borrow().lines.clone()
    }

    /// Calls `receive` as the host does: HTTP and store are refused while it runs.
    ///
    /// # Errors
    /// What the adapter refuses with.
    pub fn receive(&self, adapter: &impl Adapter, request: &HttpRequest) -> Result<Reception, Fault> {
        self.state.borrow_mut().receiving = Some(request.body.clone());
        let reception = adapter.receive(request);
        self.state.borrow_mut().receiving = None;
        reception
    }

    /// Calls `hear` as the host does: HTTP and store are refused while it runs.
    ///
    /// # Errors
    /// What the adapter says of a frame that it passes over.
    pub fn hear(&self, adapter: &impl Connection, memory: &[u8], frame: &str) -> Result<Outcome, Fault> {
        self.state.borrow_mut().receiving = Some(Vec::new());
        let outcome = adapter.hear(memory, Frame::Text(frame.to_owned()));
        self.state.borrow_mut().receiving = None;
        outcome
    }

    /// Calls `finish` until all is sent and returns the platform's ids.
    ///
    /// # Errors
    /// The first fault.
    ///
    /// # Panics
    /// If one call sends more than one request that succeeds, or the delivery never ends.
    pub fn deliver(
        &self,
        adapter: &impl Adapter,
        address: &[u8],
        key: &str,
        reply: &Reply,
    ) -> Result<Vec<String>, Fault> {
        let mut checkpoint = Vec::new();
        for _ in 0..DELIVERY_CALLS_MAX {
            let sent_before = self.state.borrow().sent.len();
            let delivered = adapter.finish(address, key, &checkpoint, reply)?;
            let sent = self.state.borrow().sent.len() - sent_before;
            assert!(sent <= 1, "one call of `finish` sent {sent} requests");
            match delivered {
                Delivered::More(next) => checkpoint = next,
                Delivered::Done(ids) => return Ok(ids),
            }
        }
        panic!("the delivery asked for more than {DELIVERY_CALLS_MAX} calls");
    }
}

impl Outbound {
    /// The body's bytes as text, attachments left out; for tests.
    pub fn body_text(&self) -> String {
        let pieces = self.body.iter().filter_map(|part| match part {
            BodyPart::Bytes(bytes) => Some(bytes.as_slice()),
            BodyPart::Attachment(_) => None,
        });
        String::from_utf8_lossy(&pieces.collect::<Vec<_>>().concat()).into_owned()
    }
}
