//! Generated types to the host's and back. A list of equal things: one `From` for each noun.

use std::time::Duration;

use super::adapter::exports::parlor::plugin::adapter as made;
use super::adapter::parlor::plugin::{http, types};
use super::connection::exports::parlor::plugin::connection as wire;
use super::pipeline::exports::parlor::plugin::pipeline as line;
use crate::message;
use crate::plugin::services::{FailureKind, HttpFailure};
use crate::plugin::{
    Acceptance, Action, Closure, Delivered, Endpoint, Flow, Inquiry, Outcome, PipelineTurn, Presentation,
    Reception, Snapshot, Step,
};

/// Two enums or flat variants with the same names on both sides.
macro_rules! same {
    ($a:path, $b:path, { $($name:ident),+ $(,)? }) => {
        impl From<$a> for $b {
            fn from(from: $a) -> Self {
                use $a as A;
                use $b as B;
                match from { $(A::$name => B::$name),+ }
            }
        }
        impl From<$b> for $a {
            fn from(from: $b) -> Self {
                use $a as A;
                use $b as B;
                match from { $(B::$name => A::$name),+ }
            }
        }
    };
}

same!(types::Scope, message::Scope, { Direct, Group });
same!(types::MediaKind, message::MediaKind, { Image, Audio, Video, File, Other });
same!(types::Role, message::Role, { System, User, Assistant, Tool });
same!(types::FaultKind, message::FaultKind, { Invalid, Unauthorized, Throttled, Unavailable, Uncertain, Gone, Internal, Other });
same!(line::FinishReason, message::FinishReason, { Stop, Length, ToolCalls, Filtered, Cancelled, Other });
same!(http::FailureKind, FailureKind, { Denied, Unresolved, Refused, TimedOut, Broken, TooLarge, Throttled, Other });

/// Two records with the same fields on both sides, each field converted. What is the host's `own` no plugin
/// sees or sets.
macro_rules! same_record {
    ($a:path, $b:path, { $($field:ident $(: $how:ident)?),+ $(,)? } $(, own { $($own:ident),+ })?) => {
        impl From<$a> for $b {
            fn from(from: $a) -> Self {
                Self {
                    $($field: same_record!(@ from.$field $(, $how)?)),+
                    $(, $($own: Default::default()),+)?
                }
            }
        }
        impl From<$b> for $a {
            fn from(from: $b) -> Self {
                Self { $($field: same_record!(@ from.$field $(, $how)?)),+ }
            }
        }
    };
    (@ $value:expr) => { $value };
    (@ $value:expr, into) => { $value.into() };
    (@ $value:expr, each) => { $value.into_iter().map(Into::into).collect() };
}

same_record!(types::HttpResponse, message::HttpResponse, { status, headers, body: into });
same_record!(types::Sender, message::Sender, { id, name, extra });
same_record!(types::Attachment, message::Attachment, { kind: into, name, media_type, reference, extra });
same_record!(types::Tool, message::Tool, { name, description, parameters, extra }, own { strict });
same_record!(types::ToolCall, message::ToolCall, { id, name, arguments, extra });
same_record!(types::Utterance, message::Utterance, {
    role: into, content: each, tool_calls: each, tool_call_id, extra,
});
same_record!(types::Reply, message::Reply, { text, title, suggestions, attachments: each, extra });
same_record!(types::Message, message::Message, {
    id, conversation, album, scope: into, sender: into, addressed, text, quoted, attachments: each, context: each,
    sent_at_ms, address, extra,
}, own { wishes, favour });
same_record!(line::Prompt, message::Prompt, {
    model, messages: each, tools: each, tool_choice, max_tokens, temperature, stop, response_schema, cacheable, show,
    extra,
}, own { format, top_p, seed });
same_record!(line::Completion, message::Completion, {
    model, text, tool_calls: each, finish_reason: into, prompt_tokens, completion_tokens, extra,
});
same_record!(line::Turn, PipelineTurn, { channel, platform, message: into, history: each, extra });

impl From<types::Content> for message::Content {
    fn from(from: types::Content) -> Self {
        match from {
            types::Content::Text(text) => Self::Text(text),
            types::Content::Attachment(attachment) => Self::Attachment(attachment.into()),
        }
    }
}

impl From<message::Content> for types::Content {
    fn from(from: message::Content) -> Self {
        match from {
            message::Content::Text(text) => Self::Text(text),
            message::Content::Attachment(attachment) => Self::Attachment(attachment.into()),
        }
    }
}

impl From<message::HttpRequest> for types::HttpRequest {
    fn from(from: message::HttpRequest) -> Self {
        let message::HttpRequest { method, url, path, query, headers, body } = from;
        Self { method, url, path, query, headers, body: body.into() }
    }
}

impl From<types::Fault> for message::Fault {
    fn from(from: types::Fault) -> Self {
        let retry_after = from.retry_after_ms.map(Duration::from_millis);
        Self { kind: from.kind.into(), reason: from.reason, retry_after }
    }
}

impl From<message::Fault> for types::Fault {
    fn from(from: message::Fault) -> Self {
        Self { kind: from.kind.into(), reason: from.reason, retry_after_ms: from.retry_after.map(millis) }
    }
}

impl From<HttpFailure> for http::Failure {
    fn from(from: HttpFailure) -> Self {
        let retry_after_ms = from.retry_after.map(millis);
        Self { kind: from.kind.into(), reason: from.reason, request_sent: from.request_sent, retry_after_ms }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<made::Reception> for Reception {
    fn from(from: made::Reception) -> Self {
        match from {
            made::Reception::Answer(response) => Self::Answer(response.into()),
            made::Reception::Accept(acceptance) => Self::Accept(Acceptance {
                response: acceptance.response.into(),
                messages: acceptance.messages.into_iter().map(Into::into).collect(),
                withdrawn: acceptance.withdrawn,
            }),
            made::Reception::Inquire(inquiry) => Self::Inquire(Inquiry {
                messages: inquiry.messages.into_iter().map(Into::into).collect(),
                message_id: inquiry.message_id,
                wait: Duration::from_millis(inquiry.wait_ms.into()),
                context: inquiry.context,
            }),
            made::Reception::Refuse(fault) => Self::Refuse(fault.into()),
        }
    }
}

impl From<Snapshot> for made::Snapshot {
    fn from(from: Snapshot) -> Self {
        Self { reply: from.reply.into(), finished: from.finished, asked: from.asked }
    }
}

impl From<made::Presentation> for Presentation {
    fn from(from: made::Presentation) -> Self {
        Self {
            response: from.response.map(Into::into),
            complete: from.complete,
            checkpoint: from.checkpoint,
            again_within: from.again_within_ms.map(|ms| Duration::from_millis(ms.into())),
        }
    }
}

impl From<made::Delivered> for Delivered {
    fn from(from: made::Delivered) -> Self {
        match from {
            made::Delivered::More(checkpoint) => Self::More(checkpoint),
            made::Delivered::Done(receipt) => Self::Done(receipt.ids),
        }
    }
}

impl From<types::Frame> for message::Frame {
    fn from(from: types::Frame) -> Self {
        match from {
            types::Frame::Text(text) => Self::Text(text),
            types::Frame::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl From<message::Frame> for types::Frame {
    fn from(from: message::Frame) -> Self {
        match from {
            message::Frame::Text(text) => Self::Text(text),
            message::Frame::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl From<wire::Endpoint> for Endpoint {
    fn from(from: wire::Endpoint) -> Self {
        Self { url: from.url, headers: from.headers, context: from.context }
    }
}

impl From<Closure> for wire::Closure {
    fn from(from: Closure) -> Self {
        match from {
            Closure::Refused(response) => Self::Refused(response.into()),
            Closure::Closed(code, reason) => Self::Closed((code, reason)),
            Closure::Lost => Self::Lost,
        }
    }
}

impl From<wire::Outcome> for Outcome {
    fn from(from: wire::Outcome) -> Self {
        Self { actions: from.actions.into_iter().map(Into::into).collect(), memory: from.memory }
    }
}

impl From<wire::Action> for Action {
    fn from(from: wire::Action) -> Self {
        match from {
            wire::Action::Send(frame) => Self::Send(frame.into()),
            wire::Action::Message(message) => Self::Message(Box::new(message.into())),
            wire::Action::Withdrawn(id) => Self::Withdrawn(id),
            wire::Action::Acknowledge(frame) => Self::Acknowledge(frame.into()),
            wire::Action::Resolve((correlation, frame)) => Self::Resolve(correlation, frame.into()),
            wire::Action::HeartbeatEveryMs(0) => Self::HeartbeatEvery(None),
            wire::Action::HeartbeatEveryMs(ms) => Self::HeartbeatEvery(Some(Duration::from_millis(ms))),
            wire::Action::Replace(reason) => Self::Replace(reason),
            wire::Action::Reconnect(reason) => Self::Reconnect(reason),
            wire::Action::Stop(fault) => Self::Stop(fault.into()),
        }
    }
}

impl From<line::Step> for Step {
    fn from(from: line::Step) -> Self {
        match from {
            line::Step::Pass => Self::Pass,
            line::Step::Next(turn) => Self::Next(Box::new(turn.into())),
            line::Step::Ask(prompt) => Self::Ask(Box::new(prompt.into())),
            line::Step::Say(reply) => Self::Say(reply.into()),
            line::Step::Ignore => Self::Ignore,
            line::Step::Reset(reply) => Self::Reset(reply.into()),
        }
    }
}

impl From<line::Flow> for Flow {
    fn from(from: line::Flow) -> Self {
        match from {
            line::Flow::Show(text) => Self::Show(text),
            line::Flow::Stop(reply) => Self::Stop(reply.into()),
        }
    }
}
