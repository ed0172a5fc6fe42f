//! A [`Pipeline`](crate::Pipeline) behind the exports of the world `prompt-pipeline`.

use std::{cell::RefCell, marker::PhantomData};

use super::{
    bindings::{
        adapter::parlor::plugin::types::{Fault, Reply},
        pipeline::exports::parlor::plugin::pipeline as wit,
    },
    convert::{Ours, Wits, both_ways},
    log_panics,
};
use crate::pipeline::{Completion, FinishReason, Flow, Pipeline, Prompt, Step, Turn};

/// The exports of one pipeline.
pub struct Export<T>(PhantomData<T>);

impl<T: Pipeline> wit::Guest for Export<T> {
    type Run = Run<T>;
}

/// One turn's value. The host calls one function at a time, so that it is never borrowed twice.
pub struct Run<T>(RefCell<T>);

impl<T: Pipeline> wit::GuestRun for Run<T> {
    fn new() -> Self {
        log_panics();
        Self(RefCell::default())
    }

    fn begin(&self, turn: wit::Turn) -> Result<wit::Step, Fault> {
        self.0.borrow_mut().begin(turn.into()).map(step_wit).map_err(Into::into)
    }

    fn resume(&self, completion: Result<wit::Completion, Fault>) -> Result<wit::Step, Fault> {
        let completion = completion.map(Into::into).map_err(Into::into);
        self.0.borrow_mut().resume(completion).map(step_wit).map_err(Into::into)
    }

    fn filter(&self, delta: String) -> Result<wit::Flow, Fault> {
        self.0.borrow_mut().filter(delta).map(flow_wit).map_err(Into::into)
    }

    fn finish(&self, reply: Reply) -> Result<wit::Step, Fault> {
        self.0.borrow_mut().finish(reply.into()).map(step_wit).map_err(Into::into)
    }
}

both_ways!(wit::Turn, Turn, record { channel, platform, message, history, extra });
both_ways!(
    wit::Prompt,
    Prompt,
    record {
        model,
        messages,
        tools,
        tool_choice,
        max_tokens,
        temperature,
        stop,
        response_schema,
        cacheable,
        show,
        extra,
    }
);
both_ways!(wit::FinishReason, FinishReason, enum { Stop, Length, ToolCalls, Filtered, Cancelled, Other });
both_ways!(
    wit::Completion,
    Completion,
    record { model, text, tool_calls, finish_reason, prompt_tokens, completion_tokens, extra }
);

fn step_wit(step: Step) -> wit::Step {
    match step {
        Step::Pass => wit::Step::Pass,
        Step::Next(turn) => wit::Step::Next((*turn).into()),
        Step::Ask(prompt) => wit::Step::Ask(prompt.into()),
        Step::Say(reply) => wit::Step::Say(reply.into()),
        Step::Ignore => wit::Step::Ignore,
        Step::Reset(reply) => wit::Step::Reset(reply.into()),
    }
}

fn flow_wit(flow: Flow) -> wit::Flow {
    match flow {
        Flow::Show(text) => wit::Flow::Show(text),
        Flow::Stop(reply) => wit::Flow::Stop(reply.into()),
    }
}
