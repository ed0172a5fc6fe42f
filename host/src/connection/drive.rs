//! The life of a channel's connection, in one task: what happens on its sockets becomes calls of the adapter, and what
//! these want is done.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::line::{Event, Line, LineId, What};
use super::memory::Remembered;
use super::queue::{Queue, Unit};
use super::status::State;
use super::{Connection, NotTaken};
use crate::egress::{NotOpened, Socket};
use crate::message::{Fault, Frame, HttpResponse};
use crate::plugin::services::MemoryError;
use crate::plugin::{Action, Closure, Outcome};

/// Frames of all sockets that were read and not yet looked at.
const EVENTS_MAX: usize = 16;
/// What one call may want; more is a defect.
const ACTIONS_MAX: usize = 256;
/// Larger memories no store keeps.
const MEMORY_BYTES_MAX: usize = 64 << 10;
/// A replaced socket is heard out for so long, unless the platform closes it sooner.
const HEARD_OUT_MAX: Duration = Duration::from_secs(30);
/// More often than this no platform wants a heartbeat.
const HEARTBEAT_MIN: Duration = Duration::from_secs(1);

/// Why an attempt brought no socket.
enum Failed {
    /// The adapter does not know where to, or the platform told it no.
    Fault(Fault),
    Refused(HttpResponse),
    Unreached(String),
}

/// What an attempt brought: a socket, and what the adapter knows of it by dialling.
struct Opened {
    socket: Socket,
    context: Vec<u8>,
}

/// What the driver waits for beside frames and times.
#[derive(Default)]
struct Underway {
    attempt: Option<BoxFuture<'static, Result<Opened, Failed>>>,
    commit: Option<BoxFuture<'static, Result<(), NotTaken>>>,
    /// What is being stored.
    units: Vec<Unit>,
    memory: Option<BoxFuture<'static, Result<(), MemoryError>>>,
}

/// Whether there shall be a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Connected,
    /// Not until an operator acts.
    Stopped,
    /// Not until a release comes that keeps one.
    Unwanted,
}

struct Driver {
    own: Connection,
    memory: Remembered,
    lines: BTreeMap<LineId, Line>,
    /// The socket that counts; older ones are heard out.
    current: Option<LineId>,
    next_line: u64,
    queue: Queue,
    backoff: Backoff,
    /// When to dial; none: not wanted, or under way.
    dial_at: Option<Instant>,
    wish: Wish,
    /// When replaced sockets are let go.
    let_go_at: Option<Instant>,
    heartbeat: Option<(Duration, Instant)>,
    events: mpsc::Sender<Event>,
}

/// Keeps a socket open, while one is wanted, until the host drains.
pub(super) async fn drive(mut connection: Connection) {
    let status = connection.status.clone();
    if !is_wanted(&mut connection).await {
        return;
    }
    status.set(State::Dialling);
    let memory = remember(&connection).await;
    let (events, heard) = mpsc::channel(EVENTS_MAX);
    Driver::new(connection, memory, events).run(heard).await;
    status.note_sockets(0);
    status.set(State::Ended);
}

/// Waits for a release that keeps a socket; false: the host drains.
async fn is_wanted(connection: &mut Connection) -> bool {
    while !connection.speaker.connects() {
        tokio::select! {
            () = connection.drain.cancelled() => return false,
            swapped = connection.swaps.changed() => if swapped.is_err() { return false },
        }
    }
    true
}

/// Without its memory it would begin where it began once: it waits for the store.
async fn remember(connection: &Connection) -> Remembered {
    let mut backoff = Backoff::default();
    loop {
        match Remembered::load(&*connection.memory).await {
            Ok(memory) => return memory,
            Err(error) => {
                tracing::warn!(channel = %connection.channel, error = %error, "the connection's memory cannot be read");
            }
        }
        tokio::select! {
            () = connection.drain.cancelled() => return Remembered::default(),
            () = tokio::time::sleep(backoff.next(&*connection.random)) => {}
        }
    }
}

impl Driver {
    fn new(own: Connection, memory: Remembered, events: mpsc::Sender<Event>) -> Self {
        Self {
            own,
            memory,
            lines: BTreeMap::new(),
            current: None,
            next_line: 0,
            queue: Queue::default(),
            backoff: Backoff::default(),
            dial_at: Some(Instant::now()),
            wish: Wish::Connected,
            let_go_at: None,
            heartbeat: None,
            events,
        }
    }

    async fn run(mut self, mut heard: mpsc::Receiver<Event>) {
        let mut underway = Underway::default();
        let (drain, status) = (self.own.drain.clone(), self.own.status.clone());
        let mut swaps = self.own.swaps.clone();
        while !drain.draining() {
            self.begin_what_is_due(&mut underway);
            let next = self.next_time(&underway);
            tokio::select! {
                () = drain.cancelled() => {}
                attempt = ready(&mut underway.attempt), if underway.attempt.is_some() => {
                    underway.attempt = None;
                    self.attempted(attempt).await;
                }
                stored = ready(&mut underway.commit), if underway.commit.is_some() => {
                    underway.commit = None;
                    self.stored(std::mem::take(&mut underway.units), stored);
                }
                kept = ready(&mut underway.memory), if underway.memory.is_some() => {
                    underway.memory = None;
                    self.kept(kept);
                }
                Some(event) = heard.recv(), if self.queue.has_room() => self.happened(event).await,
                () = at(next) => self.passed().await,
                () = status.asked_to_dial() => self.asked_to_dial(&underway),
                Ok(()) = swaps.changed() => self.swapped(),
            }
        }
        self.leave(underway).await;
    }

    /// Starts an attempt, a commit or a write of the memory, where one is wanted and none is under way.
    fn begin_what_is_due(&mut self, underway: &mut Underway) {
        if underway.commit.is_none() {
            self.begin_commit(underway);
        }
        if self.wish != Wish::Connected {
            underway.attempt = None;
        }
        let now = Instant::now();
        if underway.memory.is_none() && self.memory.due().is_some_and(|due| due <= now) {
            underway.memory = Some(self.memory.keep(&self.own.memory));
        }
        if underway.attempt.is_none() && self.dial_at.take_if(|due| *due <= now).is_some() {
            if self.current.is_none() {
                self.own.status.set(State::Dialling);
            }
            underway.attempt = Some(attempt(self.own.clone(), self.memory.now.clone()).boxed());
        }
    }

    /// The next time at which something is due.
    fn next_time(&self, underway: &Underway) -> Option<Instant> {
        let dial = self.dial_at.filter(|_| underway.attempt.is_none());
        let memory = self.memory.due().filter(|_| underway.memory.is_none());
        let heartbeat = self.heartbeat.map(|(_, at)| at);
        [dial, memory, heartbeat, self.let_go_at].into_iter().flatten().min()
    }

    async fn passed(&mut self) {
        let now = Instant::now();
        if self.let_go_at.is_some_and(|at| at <= now) {
            self.let_go_at = None;
            let current = self.current;
            self.lines.retain(|id, _| Some(*id) == current);
            self.count_sockets();
        }
        if let Some((every, at)) = self.heartbeat
            && at <= now
        {
            self.heartbeat = Some((every, now + every));
            let outcome = self.own.speaker.heartbeat(&self.memory.now).await;
            self.apply(self.current, outcome, "its heartbeat failed").await;
        }
    }

    /// An operator's wish is no reason to close what is open.
    fn asked_to_dial(&mut self, underway: &Underway) {
        if self.wish != Wish::Unwanted && self.current.is_none() && underway.attempt.is_none() {
            tracing::info!(channel = %self.own.channel, "an operator asked for the connection");
            self.connect();
        }
    }

    /// Another release may keep a socket where the last one kept none, and none where that one did.
    fn swapped(&mut self) {
        match (self.own.speaker.connects(), self.wish) {
            (true, Wish::Unwanted) => {
                tracing::info!(channel = %self.own.channel, "the release that serves now keeps a connection");
                self.connect();
            }
            (false, Wish::Connected | Wish::Stopped) => {
                tracing::info!(channel = %self.own.channel, "the release that serves now keeps no connection");
                self.rest(Wish::Unwanted);
                self.own.status.set(State::Unwanted);
            }
            (true, Wish::Connected | Wish::Stopped) | (false, Wish::Unwanted) => {}
        }
    }

    fn connect(&mut self) {
        self.wish = Wish::Connected;
        self.dial_at = Some(Instant::now());
    }

    /// Closes what is open, and dials no more.
    fn rest(&mut self, wish: Wish) {
        self.hang_up();
        self.dial_at = None;
        self.wish = wish;
    }

    async fn attempted(&mut self, attempt: Result<Opened, Failed>) {
        match attempt {
            Ok(opened) => self.opened(opened).await,
            Err(failed) => self.failed(failed).await,
        }
    }

    async fn opened(&mut self, Opened { socket, context }: Opened) {
        let id = LineId(self.next_line);
        self.next_line += 1;
        let line = Line::start(id, &self.own.channel, socket, self.events.clone(), &self.own.drain);
        let replaced = self.current.replace(id).is_some();
        self.lines.insert(id, line);
        self.dial_at = None;
        self.heartbeat = None;
        self.let_go_at = replaced.then(|| Instant::now() + HEARD_OUT_MAX);
        self.own.status.note_opened(self.own.clock.now());
        self.count_sockets();
        self.own.metrics.platform_connection_attempt(&self.own.channel, "opened");
        tracing::info!(channel = %self.own.channel, replaced, "connection open");
        let outcome = self.own.speaker.opened(&self.memory.now, &context).await;
        let is_well = outcome.is_ok();
        self.apply(Some(id), outcome, "its opening failed").await;
        if !is_well {
            self.reconnect("the adapter could not open it");
        }
    }

    async fn failed(&mut self, failed: Failed) {
        let random = self.own.random.clone();
        let pause = match &failed {
            Failed::Fault(fault) => self.backoff.after(fault, &*random),
            Failed::Refused(_) | Failed::Unreached(_) => self.backoff.next(&*random),
        };
        self.own.metrics.platform_connection_attempt(&self.own.channel, failed.word());
        self.own.status.note_failed();
        self.dial_again(pause, &failed.to_string());
        let why = match failed {
            Failed::Fault(_) => return,
            Failed::Refused(response) => Closure::Refused(response),
            Failed::Unreached(_) => Closure::Lost,
        };
        if self.lines.is_empty() {
            self.tell_closed(why).await;
        }
    }

    fn dial_again(&mut self, pause: Duration, why: &str) {
        if self.wish != Wish::Connected {
            return;
        }
        tracing::warn!(channel = %self.own.channel, pause_ms = pause.as_millis() as u64, why, "no connection; it is dialled again");
        self.dial_at = Some(Instant::now() + pause);
        if self.current.is_none() {
            let until = self.own.clock.now() + pause.as_millis() as u64;
            self.own.status.set(State::Pausing { until, why: why.to_owned() });
        }
    }

    async fn happened(&mut self, Event { line, what }: Event) {
        if !self.lines.contains_key(&line) {
            // Let go, and what it still had read comes again.
            return;
        }
        match what {
            What::Frame(frame) => self.hear(line, frame).await,
            What::Ended(why) => self.ended(line, why).await,
        }
    }

    async fn hear(&mut self, line: LineId, frame: Frame) {
        self.own.status.note_frame(self.own.clock.now());
        let outcome = self.own.speaker.hear(&self.memory.now, frame).await;
        self.apply(Some(line), outcome, "a frame is passed over").await;
    }

    async fn ended(&mut self, id: LineId, why: Closure) {
        let Some(line) = self.lines.remove(&id) else { return };
        self.count_sockets();
        tracing::info!(channel = %self.own.channel, why = shown(&why), "connection ended");
        if self.current != Some(id) {
            return;
        }
        self.current = None;
        self.heartbeat = None;
        self.backoff.lived(line.opened.elapsed());
        let pause = self.backoff.next(&*self.own.random.clone());
        self.dial_again(pause, &shown(&why));
        if self.lines.is_empty() {
            self.tell_closed(why).await;
        }
    }

    async fn tell_closed(&mut self, why: Closure) {
        let outcome = self.own.speaker.closed(&self.memory.now, why).await;
        self.apply(None, outcome, "it did not take note of the end").await;
    }

    /// Does what a call wants. A call that failed wants nothing.
    async fn apply(&mut self, line: Option<LineId>, outcome: Result<Outcome, Fault>, what: &str) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(fault) => {
                tracing::warn!(channel = %self.own.channel, reason = fault.reason, "{what}");
                return;
            }
        };
        let memory = outcome.memory.filter(|memory| self.is_kept(memory));
        if let Some(memory) = &memory {
            self.memory.now.clone_from(memory);
        }
        let mut unit = Unit { line, memory, ..Unit::default() };
        let mut last = None;
        for action in outcome.actions.into_iter().take(ACTIONS_MAX) {
            match action {
                Action::Send(frame) => self.send(line, frame),
                Action::Message(message) => unit.messages.push(*message),
                Action::Withdrawn(id) => unit.withdrawn.push(id),
                Action::Acknowledge(frame) => unit.acknowledgements.push(frame),
                Action::HeartbeatEvery(every) => self.beat(line, every),
                Action::Resolve(..) => {}
                Action::Replace(_) | Action::Reconnect(_) | Action::Stop(_) => last = Some(action),
            }
        }
        if unit.messages.is_empty() || self.admits(&unit).await {
            self.queue.push(unit);
        }
        match last {
            Some(Action::Replace(why)) => self.replace(line, &why),
            Some(Action::Reconnect(why)) if line == self.current => self.reconnect(&why),
            Some(Action::Stop(fault)) => self.stop(&fault),
            _ => {}
        }
    }

    /// What is over the channel's limits is not acknowledged, as if it could not be stored.
    async fn admits(&mut self, unit: &Unit) -> bool {
        match self.own.intake.admit().await {
            Ok(()) => true,
            Err(why) => {
                self.not_stored(std::slice::from_ref(unit), &why);
                false
            }
        }
    }

    fn is_kept(&self, memory: &[u8]) -> bool {
        let fits = memory.len() <= MEMORY_BYTES_MAX;
        if !fits {
            tracing::error!(channel = %self.own.channel, bytes = memory.len(), "the adapter's memory is too large and stays as it was");
        }
        fits
    }

    fn send(&mut self, line: Option<LineId>, frame: Frame) {
        let Some(id) = line else { return };
        let is_taken = self.lines.get(&id).is_none_or(|line| line.send(frame));
        if !is_taken && self.current == Some(id) {
            self.reconnect("the platform takes nothing that is sent");
        }
    }

    fn beat(&mut self, line: Option<LineId>, every: Option<Duration>) {
        if line.is_some() && line == self.current {
            let every = every.map(|every| every.max(HEARTBEAT_MIN));
            self.heartbeat = every.map(|every| (every, Instant::now() + every));
        }
    }

    /// Dials at once, and hears the old socket meanwhile. A second wish of the same socket is the same wish.
    fn replace(&mut self, line: Option<LineId>, why: &str) {
        let is_wanted = line.is_some() && line == self.current && self.dial_at.is_none();
        if is_wanted {
            tracing::info!(channel = %self.own.channel, why, "the platform is about to close the connection");
            self.dial_at = Some(Instant::now());
        }
    }

    fn reconnect(&mut self, why: &str) {
        if let Some(line) = self.current.take().and_then(|id| self.lines.remove(&id)) {
            self.backoff.lived(line.opened.elapsed());
        }
        self.count_sockets();
        self.heartbeat = None;
        let pause = self.backoff.next(&*self.own.random.clone());
        self.dial_again(pause, why);
    }

    fn stop(&mut self, fault: &Fault) {
        tracing::error!(channel = %self.own.channel, reason = fault.reason, "the connection is stopped until an operator acts");
        self.rest(Wish::Stopped);
        self.own.status.set(State::Stopped { why: fault.reason.clone() });
    }

    /// Closes all sockets.
    fn hang_up(&mut self) {
        self.current = None;
        self.heartbeat = None;
        self.let_go_at = None;
        self.lines.clear();
        self.count_sockets();
    }

    fn count_sockets(&self) {
        self.own.status.note_sockets(self.lines.len());
        self.own.metrics.set_platform_connections(&self.own.channel, self.lines.len());
    }

    /// Settles what has nothing to store, and begins to store what has.
    fn begin_commit(&mut self, underway: &mut Underway) {
        while let Some(unit) = self.queue.settled() {
            self.settle(unit);
        }
        if self.queue.is_empty() {
            return;
        }
        underway.units = self.queue.take();
        let messages = underway.units.iter().flat_map(|unit| unit.messages.iter().cloned()).collect();
        let withdrawn = underway.units.iter().flat_map(|unit| unit.withdrawn.iter().cloned()).collect();
        let intake = self.own.intake.clone();
        underway.commit = Some(Box::pin(async move { intake.take(messages, withdrawn).await }));
    }

    fn stored(&mut self, units: Vec<Unit>, stored: Result<(), NotTaken>) {
        match stored {
            Ok(()) => units.into_iter().for_each(|unit| self.settle(unit)),
            Err(why) => self.not_stored(&units, &why),
        }
    }

    /// All before it is stored: acknowledges it.
    fn settle(&mut self, unit: Unit) {
        for frame in unit.acknowledgements {
            self.send(unit.line, frame);
        }
        if let Some(memory) = unit.memory {
            self.memory.settle(memory);
        }
    }

    /// The platform brings it again if it gets no acknowledgement; one that knows none begins again where the memory
    /// of before says.
    fn not_stored(&mut self, units: &[Unit], why: &NotTaken) {
        tracing::warn!(channel = %self.own.channel, why = %why, "what was heard is not stored and not acknowledged; the platform sends it again");
        if units.iter().all(Unit::comes_again) {
            return;
        }
        self.queue.clear();
        self.memory.revert();
        self.hang_up();
        let pause = self.backoff.next(&*self.own.random.clone());
        self.dial_again(pause, "a message could not be stored");
    }

    fn kept(&mut self, kept: Result<(), MemoryError>) {
        if let Err(error) = kept {
            tracing::warn!(channel = %self.own.channel, error = %error, "the connection's memory could not be kept; it is tried again");
            self.memory.not_kept();
        }
    }

    /// Hears no more, stores and acknowledges what was heard, and closes the sockets.
    async fn leave(mut self, mut underway: Underway) {
        loop {
            if underway.commit.is_none() {
                self.begin_commit(&mut underway);
            }
            let Some(commit) = underway.commit.take() else { break };
            let stored = commit.await;
            self.stored(std::mem::take(&mut underway.units), stored);
        }
        if let Some(keeping) = underway.memory.take() {
            let kept = keeping.await;
            self.kept(kept);
        }
        if self.memory.due().is_some() {
            let kept = self.memory.keep(&self.own.memory).await;
            self.kept(kept);
        }
    }
}

/// Registers and opens a socket.
async fn attempt(own: Connection, memory: Vec<u8>) -> Result<Opened, Failed> {
    let mut endpoint = own.speaker.dial(&memory).await.map_err(Failed::Fault)?;
    let context = std::mem::take(&mut endpoint.context);
    match own.opener.open(endpoint).await {
        Ok(socket) => Ok(Opened { socket, context }),
        Err(NotOpened::Refused(response)) => Err(Failed::Refused(response)),
        Err(NotOpened::Failed(failure)) => Err(Failed::Unreached(failure.reason)),
    }
}

impl Failed {
    /// For metrics.
    fn word(&self) -> &'static str {
        match self {
            Failed::Fault(_) => "not_admitted",
            Failed::Refused(_) => "refused",
            Failed::Unreached(_) => "unreached",
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Fault(fault) => f.write_str(&fault.reason),
            Failed::Refused(response) => {
                write!(f, "the handshake was answered with status {}", response.status)
            }
            Failed::Unreached(why) => f.write_str(why),
        }
    }
}

fn shown(why: &Closure) -> String {
    match why {
        Closure::Refused(response) => format!("refused with status {}", response.status),
        Closure::Closed(code, reason) if reason.is_empty() => format!("closed by the platform ({code})"),
        Closure::Closed(code, reason) => format!("closed by the platform ({code}): {reason}"),
        Closure::Lost => "the line broke, or was silent for too long".to_owned(),
    }
}

/// The outcome of what is under way.
async fn ready<F: Future + Unpin>(underway: &mut Option<F>) -> F::Output {
    match underway {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Waits for a time, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
