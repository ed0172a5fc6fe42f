//! A request while a candidate stands beside the stable release.
//!
//! Whose conversation it is stands in the request, and only an adapter can read it: so the stable release reads first,
//! and if the conversation is the candidate's, the candidate reads the same bytes again. That costs microseconds, since
//! `receive` reaches nothing. What the candidate cannot read as the stable release can is taken in as that one read it:
//! a bad candidate loses no message, and is told of to whoever judges it.

use tokio::sync::Semaphore;

use super::{AdapterError, Speaker};
use crate::message::{Favour, HttpRequest, Message};
use crate::plugin::Reception;
use crate::plugin::shelf::{Candidate, Share};
use crate::telemetry;

/// Requests that shadows read at a time; more are not compared.
static SHADOWS: Semaphore = Semaphore::const_new(4);

pub(super) async fn receive(
    stable: Speaker,
    beside: Speaker,
    candidate: &Candidate,
    request: HttpRequest,
    favour: Favour,
) -> Result<(Reception, Speaker), AdapterError> {
    if favour == Favour::Candidate {
        return Ok((beside.receive(request).await?, beside));
    }
    let reception = stable.receive(request.clone()).await?;
    if candidate.share == Share::Shadow {
        compare(beside, request, reception.clone());
        return Ok((reception, stable));
    }
    let conversation = conversation(&reception);
    if !conversation.is_some_and(|conversation| candidate.serves(conversation, favour)) {
        return Ok((reception, stable));
    }
    match beside.receive(request).await {
        Ok(again) if brings_the_same(&reception, &again) => Ok((again, beside)),
        Ok(_) => {
            beside.fitted.release.found_wanting("receive", DIFFERS);
            tracing::warn!(candidate = %beside.label(), "the candidate reads other messages in a request than the stable release; that one serves it");
            Ok((reception, stable))
        }
        Err(error) => {
            let error = telemetry::chain(&error);
            tracing::warn!(candidate = %beside.label(), error, "the candidate did not read a request; the stable release serves it");
            Ok((reception, stable))
        }
    }
}

/// How a call ended that brought something else than the stable release's.
pub const DIFFERS: &str = "differs";

/// Lets a shadow read the request too. Nobody waits for it.
fn compare(shadow: Speaker, request: HttpRequest, expected: Reception) {
    let Ok(permit) = SHADOWS.try_acquire() else { return };
    tokio::spawn(async move {
        let read = shadow.receive(request).await;
        if read.is_ok_and(|read| read != expected) {
            shadow.fitted.release.found_wanting("receive", DIFFERS);
            tracing::info!(candidate = %shadow.label(), "the shadow reads a request otherwise than the stable release");
        }
        drop(permit);
    });
}

fn conversation(reception: &Reception) -> Option<&str> {
    let messages = match reception {
        Reception::Accept(acceptance) => &acceptance.messages,
        Reception::Inquire(inquiry) => &inquiry.messages,
        Reception::Answer(_) | Reception::Refuse(_) => return None,
    };
    Some(&messages.first()?.conversation)
}

/// Whether the same messages come in under the same names: else a repeat that the other release reads would be another
/// message.
fn brings_the_same(one: &Reception, other: &Reception) -> bool {
    let names = |messages: &[Message]| {
        messages.iter().map(|message| (message.id.clone(), message.conversation.clone())).collect::<Vec<_>>()
    };
    match (one, other) {
        (Reception::Accept(one), Reception::Accept(other)) => {
            names(&one.messages) == names(&other.messages) && one.withdrawn == other.withdrawn
        }
        (Reception::Inquire(one), Reception::Inquire(other)) => {
            one.message_id == other.message_id && names(&one.messages) == names(&other.messages)
        }
        _ => false,
    }
}
