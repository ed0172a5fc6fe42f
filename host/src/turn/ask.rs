//! A turn's question: through the pipelines to a model, and its text back through the filters.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{Answer, Turn, TurnError, Turns, favour, wishes};
use crate::conversation::Account;
use crate::message::{Completion, FinishReason, Prompt, Reply, ToolCall};
use crate::model::{self, Delta, Model, ModelError, Usage};
use crate::pipeline::{Line, PipelineError, Want};
use crate::plugin::services::Fence as _;
use crate::plugin::{Flow, PipelineTurn};
use crate::store::StoreError;

/// Text of one answer; a model that goes on is cut off.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What came of a question.
enum Said {
    Completion(Result<Completion, ModelError>),
    /// A filter stopped the model and has the reply.
    Stopped(Reply),
}

/// What came of one question to one model.
struct Heard {
    said: Said,
    /// A part of it went on its way to the person.
    is_shown: bool,
}

impl Heard {
    /// What kept the model from an answer of which nobody has seen anything.
    fn failure(&self) -> Option<&ModelError> {
        match &self.said {
            Said::Completion(Err(error)) if !self.is_shown => Some(error),
            _ => None,
        }
    }
}

impl Turns {
    /// Runs the pipelines until one of them says something, is silent, or fails.
    pub(super) async fn answer(&self, turn: &Turn) -> Result<Answer, TurnError> {
        if let Some(reply) = &turn.claim.settled {
            return Ok(settled(reply));
        }
        let patience = tokio::time::timeout_at(turn.deadline, self.converse(turn));
        tokio::select! {
            biased;
            answer = patience => answer.map_err(|_| TurnError::TimedOut)?,
            () = turn.cancelled.cancelled() => Err(TurnError::Withdrawn),
            () = turn.interrupted.cancelled(), if turn.is_interruptible() => Err(TurnError::Interrupted),
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
        let is_configured = |name: &str| self.models.contains_key(name);
        let (mut line, mut want) =
            Line::begin(&turn.channel.stages, asked, favour(&turn.claim), &is_configured).await?;
        let mut account = Account::default();
        loop {
            want = match want {
                Want::Ask(prompt) => match self.ask(turn, &mut line, &prompt).await? {
                    Said::Completion(Err(error)) if line.is_plain() => return Err(TurnError::Model(error)),
                    Said::Completion(completion) => {
                        note(&mut account, &completion, prompt.show, line.is_plain());
                        let told = completion.as_ref().map_err(ModelError::fault).cloned();
                        match line.resume(told, &is_configured).await {
                            Err(PipelineError::Fault { .. }) if is_cut_to_nothing(turn, &completion) => {
                                line.say(Reply::text("")).await?
                            }
                            next => next.map_err(|error| handed_on(error, completion.err()))?,
                        }
                    }
                    Said::Stopped(reply) => {
                        account.finish_reason = FinishReason::Filtered;
                        line.say(reply).await?
                    }
                },
                Want::Say { reply, forget } => return Ok(Answer::Say { reply, forget, account }),
                Want::Silence => return Ok(Answer::Silence),
            };
        }
    }

    /// One question, to the model that it is for or to those that stand in for it. That none of them can answer is the
    /// pipeline's to handle, so it is no error here.
    async fn ask(&self, turn: &Turn, line: &mut Line, prompt: &Prompt) -> Result<Said, TurnError> {
        let name = prompt.model.as_ref().or(turn.channel.model.as_ref());
        let Some((name, model)) = name.and_then(|name| self.models.get_key_value(name)) else {
            let name = name.map_or("(none)", String::as_str);
            let reason = format!("no model `{name}` is configured");
            return Ok(Said::Completion(Err(ModelError::Refused(reason))));
        };
        let heard = self.ask_one(turn, line, prompt, (name, model)).await?;
        if heard.failure().is_none_or(|error| !error.is_of_this_model()) {
            return Ok(heard.said);
        }
        for stand_in in self.stand_ins(name, prompt) {
            tracing::info!(model = %name, instead = %stand_in.0, "another model is asked instead");
            let other = self.ask_one(turn, line, prompt, stand_in).await?;
            if other.failure().is_none() {
                return Ok(other.said);
            }
        }
        Ok(heard.said)
    }

    /// In their order, without those that lack what the prompt needs.
    fn stand_ins<'a>(
        &'a self,
        name: &str,
        prompt: &'a Prompt,
    ) -> impl Iterator<Item = (&'a String, &'a Arc<dyn Model>)> {
        let names = self.fallbacks.get(name).into_iter().flatten();
        let models = names.filter_map(|name| self.models.get_key_value(name));
        models.filter(|(_, model)| model.abilities().suffice_for(prompt))
    }

    async fn ask_one(
        &self,
        turn: &Turn,
        line: &mut Line,
        prompt: &Prompt,
        (name, model): (&String, &Arc<dyn Model>),
    ) -> Result<Heard, TurnError> {
        let prompt = &*wishes::granted(prompt, turn.claim.message.wishes.as_deref(), model.abilities());
        if prompt.show {
            turn.grown.notify_one();
        }
        // After a process stood still another worker may have asked, and stored the answer.
        if !turn.tenure.holds().await {
            return Err(StoreError::LeaseLost.into());
        }
        let began = Instant::now();
        let mut hearing = Hearing::new(name, began);
        let outcome = match model.ask(prompt, turn.deadline).await {
            Ok(answer) => self.hear(turn, line, prompt, answer, &mut hearing).await,
            Err(error) => Err(Broken::Model(error)),
        };
        self.account(&hearing, &outcome);
        let is_shown = prompt.show && !hearing.text.is_empty();
        let said = match outcome {
            Ok(Ended::Done(usage)) => Said::Completion(Ok(hearing.completion(usage))),
            Ok(Ended::Stopped(reply)) => Said::Stopped(reply),
            Err(Broken::Model(error)) => {
                tracing::warn!(model = %name, outcome = error.outcome(), error = %error, "the model gave no answer");
                Said::Completion(Err(error))
            }
            Err(Broken::Line(error)) => return Err(error),
        };
        Ok(Heard { said, is_shown })
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
                if turn.line.borrow().text.len() + shown.len() > ANSWER_BYTES_MAX {
                    return Err(Broken::Line(TurnError::Overgrown));
                }
                if !shown.is_empty() {
                    turn.line.send_modify(|heard| heard.text.push_str(&shown));
                    turn.grown.notify_one();
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
    Answer::Say { reply: reply.clone(), forget: false, account: Account::default() }
}

/// Writes down what a completion took, and how the one that is shown came to its end.
fn note(
    account: &mut Account,
    completion: &Result<Completion, ModelError>,
    is_shown: bool,
    is_callers: bool,
) {
    let Ok(completion) = completion else { return };
    account.prompt_tokens = account.prompt_tokens.saturating_add(completion.prompt_tokens);
    account.completion_tokens = account.completion_tokens.saturating_add(completion.completion_tokens);
    if !is_shown && account.model.is_some() {
        return;
    }
    account.model = Some(completion.model.clone());
    account.finish_reason = match completion.finish_reason {
        // the pipeline calls its own tools; what it says then is an answer
        FinishReason::ToolCalls if !is_callers => FinishReason::Stop,
        reason => reason,
    };
    account.tool_calls = if is_callers { completion.tool_calls.clone() } else { Vec::new() };
}

/// A caller's own bounds left nothing of an answer: that is what he asked for, though no pipeline can say it.
fn is_cut_to_nothing(turn: &Turn, completion: &Result<Completion, ModelError>) -> bool {
    let wishes = turn.claim.message.wishes.as_ref();
    let is_bounded = wishes.is_some_and(|wishes| !wishes.stop.is_empty() || wishes.max_tokens.is_some());
    let is_empty = |said: &Completion| said.text.trim().is_empty() && said.tool_calls.is_empty();
    is_bounded && completion.as_ref().is_ok_and(is_empty)
}

/// A pipeline that hands on a model's failure as it was told it: then that is what went wrong.
fn handed_on(error: PipelineError, failure: Option<ModelError>) -> TurnError {
    match (&error, failure) {
        (PipelineError::Fault { source, .. }, Some(failure)) if source.reason == failure.to_string() => {
            TurnError::Model(failure)
        }
        _ => error.into(),
    }
}

/// Resolves when nobody waits any more for an answer that only those on the line would get.
async fn abandoned(turn: &Turn) {
    if turn.needs_listener() { turn.line.closed().await } else { std::future::pending().await }
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
        let finish_reason = match usage.finish_reason {
            FinishReason::Stop | FinishReason::Other if !self.tool_calls.is_empty() => {
                FinishReason::ToolCalls
            }
            reason => reason,
        };
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
