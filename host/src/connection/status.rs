//! How a channel's connection does, for probes, operators and logs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Millis;

/// What it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Dialling,
    Open {
        since: Millis,
    },
    /// It dials again at this time.
    Pausing {
        until: Millis,
        why: String,
    },
    /// It does not dial again until an operator acts.
    Stopped {
        why: String,
    },
    /// The release that serves keeps no socket.
    Unwanted,
    /// The host drains.
    Ended,
}

impl State {
    /// A word for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Dialling => "dialling",
            State::Open { .. } => "open",
            State::Pausing { .. } => "pausing",
            State::Stopped { .. } => "stopped",
            State::Unwanted => "unwanted",
            State::Ended => "ended",
        }
    }

    /// Why there is no socket, if that is so.
    pub fn why(&self) -> Option<&str> {
        match self {
            State::Pausing { why, .. } | State::Stopped { why } => Some(why),
            State::Dialling | State::Open { .. } | State::Unwanted | State::Ended => None,
        }
    }
}

/// All that is told of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub state: State,
    /// Sockets opened since the host started.
    pub opened: u64,
    /// Sockets that are open now: two while one replaces the other.
    pub sockets: usize,
    /// Frames heard since the host started.
    pub frames: u64,
    pub last_heard_at: Option<Millis>,
    /// Whether the first attempt has ended, well or not.
    pub is_tried: bool,
}

/// The report of a connection, kept up to date by its driver.
#[derive(Debug)]
pub struct Status {
    report: Mutex<Report>,
    /// An operator acted.
    dial: Notify,
}

impl Default for Status {
    fn default() -> Self {
        let report = Report {
            state: State::Unwanted,
            opened: 0,
            sockets: 0,
            frames: 0,
            last_heard_at: None,
            is_tried: false,
        };
        Self { report: Mutex::new(report), dial: Notify::new() }
    }
}

impl Status {
    /// None as long as no socket is wanted.
    pub fn report(&self) -> Option<Report> {
        let report = self.lock();
        (report.state != State::Unwanted).then(|| report.clone())
    }

    /// Dials at once, also where the connection was stopped. Nothing happens while a socket is open.
    pub fn dial(&self) {
        self.dial.notify_one();
    }

    pub(super) async fn asked_to_dial(&self) {
        self.dial.notified().await;
    }

    pub(super) fn set(&self, state: State) {
        self.lock().state = state;
    }

    pub(super) fn note_opened(&self, now: Millis) {
        let mut report = self.lock();
        report.opened += 1;
        report.is_tried = true;
        report.state = State::Open { since: now };
    }

    pub(super) fn note_failed(&self) {
        self.lock().is_tried = true;
    }

    pub(super) fn note_sockets(&self, sockets: usize) {
        self.lock().sockets = sockets;
    }

    pub(super) fn note_frame(&self, now: Millis) {
        let mut report = self.lock();
        report.frames += 1;
        report.last_heard_at = Some(now);
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        // A report is whole after any panic.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
