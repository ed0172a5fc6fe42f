//! What was heard and is not yet settled, in order: to be stored, and acknowledged only then.
//!
//! As long as one commit is under way the next things gather behind it and go together, so that a burst costs few
//! commits. It is bounded: the sockets wait, not the memory of the host.

use std::collections::VecDeque;

use super::line::LineId;
use crate::message::{Frame, Message};

/// Messages that wait or are being stored; a busy socket is read no further then.
const MESSAGES_MAX: usize = 64;

/// What came of one call.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The socket that it was heard on.
    pub line: Option<LineId>,
    pub messages: Vec<Message>,
    pub withdrawn: Vec<String>,
    pub acknowledgements: Vec<Frame>,
    /// The adapter's memory after it, if that changed.
    pub memory: Option<Vec<u8>>,
}

impl Unit {
    fn must_be_stored(&self) -> bool {
        !(self.messages.is_empty() && self.withdrawn.is_empty())
    }

    /// Whether the platform brings it again if it is not stored, since it gets no acknowledgement.
    pub(super) fn comes_again(&self) -> bool {
        self.messages.is_empty() || !self.acknowledgements.is_empty()
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    units: VecDeque<Unit>,
}

impl Queue {
    pub(super) fn push(&mut self, unit: Unit) {
        self.units.push_back(unit);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.units.iter().map(|unit| unit.messages.len()).sum::<usize>() < MESSAGES_MAX
            && self.units.len() < MESSAGES_MAX
    }

    /// The next unit if there is nothing to store in it.
    pub(super) fn settled(&mut self) -> Option<Unit> {
        self.units.pop_front_if(|unit| !unit.must_be_stored())
    }

    /// All that waits, to be stored together.
    pub(super) fn take(&mut self) -> Vec<Unit> {
        self.units.drain(..).collect()
    }

    /// Forgets what waits: the platform brings it again.
    pub(super) fn clear(&mut self) {
        self.units.clear();
    }
}
