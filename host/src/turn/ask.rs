//! A turn's question: through the pipelines to a model, and its text back through the filters.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{Answer, Turn, TurnError, Turns};
use crate::message::{Completion, Fault, FaultKind, FinishReason, Prompt, Reply, ToolCall};
use crate::model::{self, Delta, ModelError, Usage};
use crate::pipeline::{Line, Want};
use crate::plugin::{Flow, PipelineTurn};

/// Text of one answer; a model that goes on is cut off.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What came of one question to a model.
enum Said {
    Completion(Result<Completion, Fault>),
    /// A filter stopped the model and has the reply.
    Stopped(Reply),
}

impl Turns {
    /// Runs the pipelines until one of them says something, is silent, or fails.
    pub(super) async fn answer(&self, turn: &Turn) -> Result<Answer, TurnError> {
        if let Some(reply) = &turn.claim.settled {
            return Ok(settled(reply));
        }
        let patience = tokio::time::timeout_at(turn.deadline, self.converse(turn));
        tokio::select! {
            answer = patience => answer.map_err(|_| TurnError::TimedOut)?,
            () = turn.cancelled.cancelled() => Err(TurnError::Withdrawn),
            () = abandoned(turn) => Err(TurnError::Withdrawn),
        }
    }

    async fn converse(&self, turn: &Turn) -> Result<Answer, TurnError> {
        let message = turn.claim.message.clone();
        let history =
            self.store.history(&turn.claim.channel, &message.conversation, turn.channel.history).await?;
        let platform = turn.channel.adapter.as_ref().map_or_else(String::new, |adapter| adapter.name.clone());
        let asked = PipelineTurn {
            channel: turn.claim.channel.clone(),
            platform,
            message,
            history,
            extra: Vec::new(),
        };
        let (mut line, mut want) = Line::begin(&turn.channel.stages, asked).await?;
        loop {
            want = match want {
                Want::Ask(prompt) => match self.ask(turn, &mut line, &prompt).await? {
                    Said::Completion(completion) => line.resume(completion).await?,
                    Said::Stopped(reply) => return Ok(Answer::Say { reply, forget: false }),
                },
                Want::Say { reply, forget } => return Ok(Answer::Say { reply, forget }),
                Want::Silence => return Ok(Answer::Silence),
            };
        }
    }

    /// One question to one model. A model's failure is the pipeline's to handle, so it is no error here.
    async fn ask(&self, turn: &Turn, line: &mut Line, prompt: &Prompt) -> Result<Said, TurnError> {
        let name = prompt.model.as_ref().or(turn.channel.model.as_ref());
        let Some((name, model)) = name.and_then(|name| self.models.get_key_value(name)) else {
            let name = name.map_or("(none)", String::as_str);
            let reason = format!("no model `{name}` is configured");
            return Ok(Said::Completion(Err(Fault::new(FaultKind::Invalid, reason))));
        };
        let began = Instant::now();
        let mut hearing = Hearing::new(name, began);
        let outcome = match model.ask(prompt, turn.deadline).await {
            Ok(answer) => self.hear(turn, line, prompt, answer, &mut hearing).await,
            Err(error) => Err(Broken::Model(error)),
        };
        self.account(&hearing, &outcome);
        match outcome {
            Ok(Ended::Done(usage)) => Ok(Said::Completion(Ok(hearing.completion(usage)))),
            Ok(Ended::Stopped(reply)) => Ok(Said::Stopped(reply)),
            Err(Broken::Model(error)) => {
                tracing::warn!(model = %name, outcome = error.outcome(), error = %error, "the model gave no answer");
                Ok(Said::Completion(Err(error.fault())))
            }
            Err(Broken::Line(error)) => Err(error),
        }
    }

    async fn hear(
        &self,
        turn: &Turn,
        line: &mut Line,
        prompt: &Prompt,
        mut answer: model::Answer,
        hearing: &mut Hearing,
    ) -> Result<Ended, Broken> {
        while let Some(delta) = answer.next().await {
            match delta.map_err(Broken::Model)? {
                Delta::Text(text) => {
                    self.note_first(hearing);
                    if let Some(reply) = self.pass_on(turn, line, prompt, hearing, text).await? {
                        return Ok(Ended::Stopped(reply));
                    }
                }
                Delta::ToolCall(call) => hearing.tool_calls.push(call),
                Delta::Done(usage) => return Ok(Ended::Done(usage)),
            }
        }
        Err(Broken::Model(ModelError::Broken("the stream ended without saying so".to_owned())))
    }

    /// Shows a delta to whoever listens, once the filters let it through.
    async fn pass_on(
        &self,
        turn: &Turn,
        line: &mut Line,
        prompt: &Prompt,
        hearing: &mut Hearing,
        text: String,
    ) -> Result<Option<Reply>, Broken> {
        hearing.text.push_str(&text);
        if hearing.text.len() > ANSWER_BYTES_MAX {
            return Err(Broken::Model(ModelError::Broken("the answer is too long".to_owned())));
        }
        if !prompt.show {
            return Ok(None);
        }
        match line.filter(text).await.map_err(|error| Broken::Line(error.into()))? {
            Flow::Show(shown) => {
                if !shown.is_empty() {
                    turn.line.send_modify(|heard| heard.text.push_str(&shown));
                }
                Ok(None)
            }
            Flow::Stop(reply) => Ok(Some(reply)),
        }
    }

    fn note_first(&self, hearing: &mut Hearing) {
        if hearing.first_token.is_none() {
            let after = hearing.began.elapsed();
            hearing.first_token = Some(after);
            self.metrics.first_token(&hearing.model, after);
        }
    }

    fn account(&self, hearing: &Hearing, outcome: &Result<Ended, Broken>) {
        let word = match outcome {
            Ok(Ended::Done(_)) => "ok",
            Ok(Ended::Stopped(_)) => "stopped",
            Err(Broken::Model(error)) => error.outcome(),
            Err(Broken::Line(_)) => "filter_failed",
        };
        self.metrics.model_call(&hearing.model, word);
        if let Ok(Ended::Done(usage)) = outcome {
            self.metrics.model_tokens(&hearing.model, usage.prompt_tokens, usage.completion_tokens);
        }
    }
}

/// An answer for which nobody is asked.
fn settled(reply: &Reply) -> Answer {
    if reply.text.is_empty() {
        return Answer::Silence;
    }
    Answer::Say { reply: reply.clone(), forget: false }
}

/// Resolves when nobody waits for the answer of the host's own door any more.
async fn abandoned(turn: &Turn) {
    match turn.channel.adapter {
        None => turn.line.closed().await,
        Some(_) => std::future::pending().await,
    }
}

enum Ended {
    Done(Usage),
    Stopped(Reply),
}

enum Broken {
    Model(ModelError),
    Line(TurnError),
}

/// What was heard of one answer so far.
struct Hearing {
    model: String,
    began: Instant,
    first_token: Option<Duration>,
    text: String,
    tool_calls: Vec<ToolCall>,
}

impl Hearing {
    fn new(model: &str, began: Instant) -> Self {
        Self {
            model: model.to_owned(),
            began,
            first_token: None,
            text: String::new(),
            tool_calls: Vec::new(),
        }
    }

    fn completion(self, usage: Usage) -> Completion {
        let finish_reason =
            if self.tool_calls.is_empty() { usage.finish_reason } else { FinishReason::ToolCalls };
        Completion {
            model: self.model,
            text: self.text,
            tool_calls: self.tool_calls,
            finish_reason,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            extra: Vec::new(),
        }
    }
}
