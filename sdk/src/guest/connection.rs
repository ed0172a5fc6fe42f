//! A [`Connection`](crate::Connection) behind the export that `socket-adapter` has beyond `webhook-adapter`.

use super::{
    adapter::{Export, adapter},
    bindings::{
        adapter::parlor::plugin::types::{Fault, Frame as WitFrame},
        connection::exports::parlor::plugin::connection as wit,
    },
};
use crate::connection::{Action, Closure, Connection, Endpoint, Frame, Outcome};

impl<T: Connection> wit::Guest for Export<T> {
    fn dial(memory: Vec<u8>) -> Result<wit::Endpoint, Fault> {
        let dialled = adapter::<T>().dial(&memory);
        let told = |Endpoint { url, headers, context }| wit::Endpoint { url, headers, context };
        dialled.map(told).map_err(Into::into)
    }

    fn opened(memory: Vec<u8>, context: Vec<u8>) -> Result<wit::Outcome, Fault> {
        told(adapter::<T>().opened(&memory, &context))
    }

    fn hear(memory: Vec<u8>, frame: WitFrame) -> Result<wit::Outcome, Fault> {
        told(adapter::<T>().hear(&memory, frame.into()))
    }

    fn heartbeat(memory: Vec<u8>) -> Result<wit::Outcome, Fault> {
        told(adapter::<T>().heartbeat(&memory))
    }

    fn closed(memory: Vec<u8>, why: wit::Closure) -> Result<wit::Outcome, Fault> {
        told(adapter::<T>().closed(&memory, why.into()))
    }
}

fn told(outcome: Result<Outcome, crate::Fault>) -> Result<wit::Outcome, Fault> {
    let outcome = outcome?;
    Ok(wit::Outcome {
        actions: outcome.actions.into_iter().map(Into::into).collect(),
        memory: outcome.memory,
    })
}

impl From<WitFrame> for Frame {
    fn from(from: WitFrame) -> Self {
        match from {
            WitFrame::Text(text) => Self::Text(text),
            WitFrame::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<Frame> for WitFrame {
    fn from(from: Frame) -> Self {
        match from {
            Frame::Text(text) => Self::Text(text),
            Frame::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<wit::Closure> for Closure {
    fn from(from: wit::Closure) -> Self {
        match from {
            wit::Closure::Refused(response) => Self::Refused(response.into()),
            wit::Closure::Closed((code, reason)) => Self::Closed(code, reason),
            wit::Closure::Lost => Self::Lost,
        }
    }
}

impl From<Action> for wit::Action {
    fn from(from: Action) -> Self {
        match from {
            Action::Send(frame) => Self::Send(frame.into()),
            Action::Message(message) => Self::Message((*message).into()),
            Action::Withdrawn(id) => Self::Withdrawn(id),
            Action::Acknowledge(frame) => Self::Acknowledge(frame.into()),
            Action::Resolve(correlation, frame) => Self::Resolve((correlation, frame.into())),
            Action::HeartbeatEveryMs(ms) => Self::HeartbeatEveryMs(ms),
            Action::Replace(reason) => Self::Replace(reason),
            Action::Reconnect(reason) => Self::Reconnect(reason),
            Action::Stop(fault) => Self::Stop(fault.into()),
        }
    }
}
