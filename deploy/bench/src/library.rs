//! The same adapter as an ordinary library: the crate that becomes the component, called in this process over the
//! SDK's doubles, which compute with secrets for real. Each thread of the server has doubles of its own.

use std::cell::RefCell;

use parlor::message;
use parlor_dingtalk::DingTalk;
use parlor_sdk::testing::Host;
use parlor_sdk::{HttpRequest, Message, Reception, Scope};

use crate::sample::{SECRET, Sample};

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// The messages of a request; none if it is refused.
pub fn receive(sample: &Sample, request: message::HttpRequest) -> Option<Vec<message::Message>> {
    HOST.with_borrow_mut(|host| {
        let host =
            host.get_or_insert_with(|| Host::new().secret(SECRET, &sample.secret).clock_ms(sample.now_ms));
        match host.receive(&DingTalk, &handed_in(request)) {
            Ok(Reception::Accept(acceptance)) => {
                Some(acceptance.messages.into_iter().map(handed_out).collect())
            }
            _ => None,
        }
    })
}

fn handed_in(request: message::HttpRequest) -> HttpRequest {
    let message::HttpRequest { method, url, path, query, headers, body } = request;
    HttpRequest { method, url, path, query, headers, body: body.into() }
}

/// A message of text alone, as the sample is one.
fn handed_out(message: Message) -> message::Message {
    message::Message {
        id: message.id,
        conversation: message.conversation,
        album: message.album,
        scope: if message.scope == Scope::Group { message::Scope::Group } else { message::Scope::Direct },
        sender: message::Sender {
            id: message.sender.id,
            name: message.sender.name,
            extra: message.sender.extra,
        },
        addressed: message.addressed,
        text: message.text,
        quoted: message.quoted,
        attachments: Vec::new(),
        context: Vec::new(),
        sent_at_ms: message.sent_at_ms,
        address: message.address,
        extra: message.extra,
        wishes: None,
        favour: message::Favour::Its,
    }
}
