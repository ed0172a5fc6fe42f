//! The one script that does everything, and what it is told: all of an operation happens in one step on the server.
//!
//! It does not know what the operations mean; `redis` calls them and the `.lua` files of this folder are them.

use std::sync::LazyLock;

use redis::Cmd;
use sha1::{Digest as _, Sha1};

use crate::clock::Millis;

/// Functions of later files use those of earlier ones.
const SOURCE: &str = concat!(
    include_str!("base.lua"),
    include_str!("turns.lua"),
    include_str!("memory.lua"),
    include_str!("releases.lua"),
    include_str!("allowances.lua"),
    include_str!("oversight.lua"),
    include_str!("end.lua"),
);

/// By which the server knows the script once it has seen it.
static DIGEST: LazyLock<String> = LazyLock::new(|| hex::encode(Sha1::digest(SOURCE)));

/// A time past this means never: the script counts in doubles, which are whole up to 2^53.
pub const NEVER: Millis = 9_000_000_000_000_000;

/// One operation and what it is told.
#[derive(Debug)]
pub struct Call {
    pub op: &'static str,
    /// The hash tag of all its keys, such as `{parlor:3}`.
    pub tag: String,
    /// The caller's clock; none if the operation is told no time by it.
    pub now: Option<Millis>,
    /// Whether replicas have to have it before it counts as done.
    pub is_durable: bool,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// What loses nothing that was promised if it is lost.
    pub fn new(op: &'static str, tag: String) -> Call {
        Call { op, tag, now: None, is_durable: false, arguments: Vec::new() }
    }

    pub fn durable(mut self) -> Call {
        self.is_durable = true;
        self
    }

    pub fn at(mut self, now: Millis) -> Call {
        self.now = Some(now);
        self
    }

    pub fn with(mut self, argument: impl AsRef<[u8]>) -> Call {
        self.arguments.push(argument.as_ref().to_vec());
        self
    }

    pub fn with_number(self, number: impl Into<i128>) -> Call {
        self.with(number.into().to_string())
    }

    pub fn with_time(self, time: Millis) -> Call {
        self.with(time.min(NEVER).to_string())
    }

    pub fn with_all<T: AsRef<[u8]>>(self, arguments: impl IntoIterator<Item = T>) -> Call {
        arguments.into_iter().fold(self, Call::with)
    }
}

/// What is the same in all calls of a moment.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub now: Millis,
    /// By the server's clock; after it nobody waits.
    pub deadline: Option<Millis>,
    pub is_by_caller: bool,
    pub node: &'a str,
}

/// The command; in full if the server has not seen the script yet.
pub fn command(call: &Call, frame: Frame<'_>, in_full: bool) -> Cmd {
    let mut command = if in_full { redis::cmd("EVAL") } else { redis::cmd("EVALSHA") };
    command.arg(if in_full { SOURCE } else { DIGEST.as_str() }).arg(1).arg(&call.tag).arg(call.op);
    command.arg(frame.now.min(NEVER)).arg(frame.deadline.unwrap_or(NEVER));
    command.arg(if frame.is_by_caller { "caller" } else { "server" }).arg(frame.node);
    for argument in &call.arguments {
        command.arg(argument.as_slice());
    }
    command
}
