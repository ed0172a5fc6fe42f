//! How much a plugin may hand over, field by field. What is more ends its call: it would fill the store, the log or a
//! model's context for everybody.
//!
//! The bounds are far above what platforms and people write, so that no honest plugin meets one; what people could
//! overdo a plugin refuses by itself, as their fault and not its own.

use super::{Acceptance, Delivered, Flow, Inquiry, PipelineTurn, Presentation, Reception, Step};
use crate::message::{Attachment, Fault, HttpResponse, Message, Prompt, Reply, Utterance};

/// Ids and names: the inbox, the history and the limits are kept by them.
pub const ID_BYTES_MAX: usize = 2 << 10;
/// What people and models say; a request that brings it has at most half of this.
pub const TEXT_BYTES_MAX: usize = 2 << 20;
/// Where a reply goes, how far it came, and what an inquiry must remember.
pub const STATE_BYTES_MAX: usize = 64 << 10;
/// All of a message, or of a reply.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Messages of one request, ids of one receipt, and other lists.
pub const ENTRIES_MAX: usize = 1_000;
/// A response to a platform.
pub const RESPONSE_BYTES_MAX: usize = 2 << 20;
pub const HEADERS_BYTES_MAX: usize = 64 << 10;
/// A fault's sentence; what is longer is cut, since the fault counts all the same.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// More of something than a plugin may hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{what}` has {size} {unit}, and at most {max} are taken")]
pub struct TooMuch {
    pub what: &'static str,
    pub size: usize,
    pub max: usize,
    unit: &'static str,
}

/// What a plugin hands over.
pub trait Output {
    /// Refuses what is too much, and cuts what may be cut.
    fn bound(&mut self) -> Result<(), TooMuch>;
}

fn bytes(what: &'static str, given: &(impl AsRef<[u8]> + ?Sized), max: usize) -> Result<(), TooMuch> {
    at_most(what, given.as_ref().len(), max, "bytes")
}

fn entries<T>(what: &'static str, given: &[T]) -> Result<(), TooMuch> {
    at_most(what, given.len(), ENTRIES_MAX, "entries")
}

fn at_most(what: &'static str, size: usize, max: usize, unit: &'static str) -> Result<(), TooMuch> {
    if size > max { Err(TooMuch { what, size, max, unit }) } else { Ok(()) }
}

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn all_of(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

impl<T: Output> Output for Result<T, Fault> {
    fn bound(&mut self) -> Result<(), TooMuch> {
        match self {
            Ok(given) => given.bound(),
            Err(fault) => fault.bound(),
        }
    }
}

impl Output for Fault {
    fn bound(&mut self) -> Result<(), TooMuch> {
        self.reason.truncate(self.reason.floor_char_boundary(REASON_BYTES_MAX));
        Ok(())
    }
}

/// A checkpoint.
impl Output for Vec<u8> {
    fn bound(&mut self) -> Result<(), TooMuch> {
        bytes("checkpoint", self, STATE_BYTES_MAX)
    }
}

impl Output for Reception {
    fn bound(&mut self) -> Result<(), TooMuch> {
        match self {
            Reception::Answer(response) => response.bound(),
            Reception::Accept(acceptance) => acceptance.bound(),
            Reception::Inquire(inquiry) => inquiry.bound(),
            Reception::Refuse(fault) => fault.bound(),
        }
    }
}

impl Output for HttpResponse {
    fn bound(&mut self) -> Result<(), TooMuch> {
        entries("response.headers", &self.headers)?;
        at_most("response.headers", all_of(&self.headers), HEADERS_BYTES_MAX, "bytes")?;
        bytes("response.body", &self.body, RESPONSE_BYTES_MAX)
    }
}

impl Output for Acceptance {
    fn bound(&mut self) -> Result<(), TooMuch> {
        self.response.bound()?;
        messages(&mut self.messages)?;
        entries("withdrawn", &self.withdrawn)?;
        self.withdrawn.iter().try_for_each(|id| bytes("withdrawn", id, ID_BYTES_MAX))
    }
}

impl Output for Inquiry {
    fn bound(&mut self) -> Result<(), TooMuch> {
        messages(&mut self.messages)?;
        bytes("inquiry.message-id", &self.message_id, ID_BYTES_MAX)?;
        bytes("inquiry.context", &self.context, STATE_BYTES_MAX)
    }
}

fn messages(given: &mut [Message]) -> Result<(), TooMuch> {
    entries("messages", given)?;
    given.iter_mut().try_for_each(Message::bound)
}

impl Output for Message {
    fn bound(&mut self) -> Result<(), TooMuch> {
        bytes("message.id", &self.id, ID_BYTES_MAX)?;
        bytes("message.conversation", &self.conversation, ID_BYTES_MAX)?;
        bytes("message.album", self.album.as_deref().unwrap_or_default(), ID_BYTES_MAX)?;
        bytes("message.sender.id", &self.sender.id, ID_BYTES_MAX)?;
        bytes("message.sender.name", self.sender.name.as_deref().unwrap_or_default(), ID_BYTES_MAX)?;
        bytes("message.text", &self.text, TEXT_BYTES_MAX)?;
        bytes("message.quoted", self.quoted.as_deref().unwrap_or_default(), TEXT_BYTES_MAX)?;
        bytes("message.address", &self.address, STATE_BYTES_MAX)?;
        attachments(&self.attachments)?;
        entries("message.context", &self.context)?;
        let context: usize = self.context.iter().map(said).sum();
        let more = all_of(&self.sender.extra) + all_of(&self.extra) + context + enclosed(&self.attachments);
        let whole = self.text.len() + length(self.quoted.as_ref()) + more;
        at_most("message", whole, MESSAGE_BYTES_MAX, "bytes")
    }
}

fn attachments(given: &[Attachment]) -> Result<(), TooMuch> {
    entries("attachments", given)?;
    given
        .iter()
        .try_for_each(|attachment| bytes("attachment.reference", &attachment.reference, STATE_BYTES_MAX))
}

fn enclosed(attachments: &[Attachment]) -> usize {
    let size = |attachment: &Attachment| {
        let told = length(attachment.name.as_ref()) + length(attachment.media_type.as_ref());
        told + attachment.reference.len() + all_of(&attachment.extra)
    };
    attachments.iter().map(size).sum()
}

/// What an utterance takes, about.
fn said(utterance: &Utterance) -> usize {
    let calls = utterance.tool_calls.iter();
    let calls = calls.map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum::<usize>();
    utterance.plain_text().len() + calls
}

impl Output for Reply {
    fn bound(&mut self) -> Result<(), TooMuch> {
        bytes("reply.text", &self.text, TEXT_BYTES_MAX)?;
        bytes("reply.title", self.title.as_deref().unwrap_or_default(), STATE_BYTES_MAX)?;
        entries("reply.suggestions", &self.suggestions)?;
        attachments(&self.attachments)?;
        let suggestions: usize = self.suggestions.iter().map(String::len).sum();
        let more = suggestions + enclosed(&self.attachments) + all_of(&self.extra);
        at_most("reply", self.text.len() + more, MESSAGE_BYTES_MAX, "bytes")
    }
}

impl Output for Presentation {
    fn bound(&mut self) -> Result<(), TooMuch> {
        self.response.as_mut().map_or(Ok(()), HttpResponse::bound)?;
        self.checkpoint.bound()
    }
}

impl Output for Delivered {
    fn bound(&mut self) -> Result<(), TooMuch> {
        match self {
            Delivered::More(checkpoint) => checkpoint.bound(),
            Delivered::Done(ids) => {
                entries("receipt.ids", ids)?;
                ids.iter().try_for_each(|id| bytes("receipt.ids", id, ID_BYTES_MAX))
            }
        }
    }
}

impl Output for Step {
    fn bound(&mut self) -> Result<(), TooMuch> {
        match self {
            Step::Pass | Step::Ignore => Ok(()),
            Step::Next(turn) => turn.bound(),
            Step::Ask(prompt) => prompt.bound(),
            Step::Say(reply) | Step::Reset(reply) => reply.bound(),
        }
    }
}

impl Output for PipelineTurn {
    fn bound(&mut self) -> Result<(), TooMuch> {
        entries("turn.history", &self.history)?;
        self.message.bound()
    }
}

impl Output for Prompt {
    fn bound(&mut self) -> Result<(), TooMuch> {
        entries("prompt.messages", &self.messages)?;
        entries("prompt.tools", &self.tools)?;
        entries("prompt.stop", &self.stop)?;
        let tools = self.tools.iter();
        let tools = tools.map(|tool| tool.name.len() + tool.description.len() + tool.parameters.len());
        let whole = self.messages.iter().map(said).chain(tools).sum::<usize>();
        at_most("prompt", whole, MESSAGE_BYTES_MAX, "bytes")
    }
}

impl Output for Flow {
    fn bound(&mut self) -> Result<(), TooMuch> {
        match self {
            Flow::Show(text) => bytes("flow.show", text, TEXT_BYTES_MAX),
            Flow::Stop(reply) => reply.bound(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::FaultKind;

    #[test]
    fn what_is_too_much_is_named_with_its_bound() {
        let mut message = Message::direct("i".repeat(ID_BYTES_MAX), "c".to_owned(), "p", "hello".to_owned());
        assert_eq!(message.bound(), Ok(()));
        message.id.push('i');
        let refused = message.bound().expect_err("one byte more");
        assert_eq!(refused.to_string(), "`message.id` has 2049 bytes, and at most 2048 are taken");
        let mut reply = Reply { suggestions: vec![String::new(); ENTRIES_MAX + 1], ..Reply::text("") };
        let refused = reply.bound().expect_err("one entry more");
        assert_eq!(refused.to_string(), "`reply.suggestions` has 1001 entries, and at most 1000 are taken");
    }

    #[test]
    fn many_small_things_are_too_much_together() {
        let mut reply =
            Reply { extra: vec![("x".repeat(1 << 20), "y".repeat(1 << 20)); 2], ..Reply::text("z") };
        assert_eq!(reply.bound().expect_err("four MiB and one byte").what, "reply");
    }

    #[test]
    fn a_faults_sentence_is_cut_between_letters() {
        let mut fault = Fault::new(FaultKind::Other, "é".repeat(REASON_BYTES_MAX));
        fault.reason.insert(0, 'x');
        fault.bound().expect("cut, not refused");
        assert_eq!(fault.reason.len(), REASON_BYTES_MAX - 1);
        assert!(fault.reason.ends_with('é'));
    }
}
