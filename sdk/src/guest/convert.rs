//! Between the contract's shared types and ours, field by field, in both directions.

use super::bindings::adapter::parlor::plugin::{http as wit_http, types as wit};
use crate::{
    fault::{Fault, FaultKind},
    http::{BodyPart, Failure, FailureKind, HttpRequest, HttpResponse, Outbound},
    message::{
        Attachment, Content, MediaKind, Message, Reply, Role, Scope, Sender, Tool, ToolCall, Utterance,
    },
};

/// Records and enums whose names are the same on both sides.
macro_rules! both_ways {
    ($wit:path, $ours:path, record { $($field:ident),+ $(,)? }) => {
        impl From<$wit> for $ours {
            fn from(value: $wit) -> Self {
                let $wit { $($field),+ } = value;
                Self { $($field: $field.ours()),+ }
            }
        }
        impl From<$ours> for $wit {
            fn from(value: $ours) -> Self {
                let $ours { $($field),+ } = value;
                Self { $($field: $field.wits()),+ }
            }
        }
        both_ways!($wit, $ours);
    };
    ($wit:path, $ours:path, enum { $($case:ident),+ $(,)? }) => {
        impl From<$wit> for $ours {
            fn from(value: $wit) -> Self {
                match value { $(<$wit>::$case => Self::$case),+ }
            }
        }
        impl From<$ours> for $wit {
            fn from(value: $ours) -> Self {
                match value { $(<$ours>::$case => Self::$case),+ }
            }
        }
        both_ways!($wit, $ours);
    };
    ($wit:path, $ours:path) => {
        impl Ours for $wit {
            type Type = $ours;
            fn ours(self) -> $ours { self.into() }
        }
        impl Wits for $ours {
            type Type = $wit;
            fn wits(self) -> $wit { self.into() }
        }
    };
}
pub(super) use both_ways;

/// A type of the contract, told in ours.
pub(super) trait Ours {
    type Type;
    fn ours(self) -> Self::Type;
}

/// A type of ours, told in the contract's.
pub(super) trait Wits {
    type Type;
    fn wits(self) -> Self::Type;
}

/// Types that both sides share as they are.
macro_rules! same {
    ($($type:ty),+ $(,)?) => { $(
        impl Ours for $type {
            type Type = Self;
            fn ours(self) -> Self { self }
        }
        impl Wits for $type {
            type Type = Self;
            fn wits(self) -> Self { self }
        }
    )+ };
}

same!(String, bool, u8, u16, u32, u64, f32, (String, String));

impl<T: Ours> Ours for Vec<T> {
    type Type = Vec<T::Type>;
    fn ours(self) -> Self::Type {
        self.into_iter().map(T::ours).collect()
    }
}

impl<T: Wits> Wits for Vec<T> {
    type Type = Vec<T::Type>;
    fn wits(self) -> Self::Type {
        self.into_iter().map(T::wits).collect()
    }
}

impl<T: Ours> Ours for Option<T> {
    type Type = Option<T::Type>;
    fn ours(self) -> Self::Type {
        self.map(T::ours)
    }
}

impl<T: Wits> Wits for Option<T> {
    type Type = Option<T::Type>;
    fn wits(self) -> Self::Type {
        self.map(T::wits)
    }
}

both_ways!(wit::HttpRequest, HttpRequest, record { method, url, path, query, headers, body });
both_ways!(wit::HttpResponse, HttpResponse, record { status, headers, body });
both_ways!(wit::Scope, Scope, enum { Direct, Group });
both_ways!(wit::Sender, Sender, record { id, name, extra });
both_ways!(wit::MediaKind, MediaKind, enum { Image, Audio, Video, File, Other });
both_ways!(wit::Attachment, Attachment, record { kind, name, media_type, reference, extra });
both_ways!(wit::Role, Role, enum { System, User, Assistant, Tool });
both_ways!(wit::Tool, Tool, record { name, description, parameters, extra });
both_ways!(wit::ToolCall, ToolCall, record { id, name, arguments, extra });
both_ways!(wit::Utterance, Utterance, record { role, content, tool_calls, tool_call_id, extra });
both_ways!(
    wit::Message,
    Message,
    record {
        id,
        conversation,
        album,
        scope,
        sender,
        addressed,
        text,
        quoted,
        attachments,
        context,
        sent_at_ms,
        address,
        extra,
    }
);
both_ways!(wit::Reply, Reply, record { text, title, suggestions, attachments, extra });
both_ways!(wit::FaultKind, FaultKind, enum {
    Invalid, Unauthorized, Throttled, Unavailable, Uncertain, Gone, Internal, Other,
});
both_ways!(wit::Fault, Fault, record { kind, reason, retry_after_ms });
both_ways!(wit_http::FailureKind, FailureKind, enum {
    Denied, Unresolved, Refused, TimedOut, Broken, TooLarge, Throttled, Other,
});
both_ways!(wit_http::Failure, Failure, record { kind, reason, request_sent, retry_after_ms });

impl Ours for wit::Content {
    type Type = Content;
    fn ours(self) -> Content {
        match self {
            Self::Text(text) => Content::Text(text),
            Self::Attachment(attachment) => Content::Attachment(attachment.into()),
        }
    }
}

impl Wits for Content {
    type Type = wit::Content;
    fn wits(self) -> wit::Content {
        match self {
            Self::Text(text) => wit::Content::Text(text),
            Self::Attachment(attachment) => wit::Content::Attachment(attachment.into()),
        }
    }
}

impl Wits for BodyPart {
    type Type = wit_http::BodyPart;
    fn wits(self) -> wit_http::BodyPart {
        match self {
            Self::Bytes(bytes) => wit_http::BodyPart::Bytes(bytes),
            Self::Attachment(reference) => wit_http::BodyPart::Attachment(reference),
        }
    }
}

impl From<Outbound> for wit_http::Outbound {
    fn from(request: Outbound) -> Self {
        let Outbound { method, url, headers, body, timeout, limit_key } = request;
        let timeout_ms = timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        Self { method, url, headers, body: body.wits(), timeout_ms, limit_key }
    }
}
