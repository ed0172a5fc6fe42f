//! The stage that turns talk into prompts and completions into replies: a channel's pipelines in order.
//!
//! `begin` runs front to back until one asks, says or ignores; one that has heard its answer may still hand the turn
//! on. Text runs back through the `filter`s, the asking stage first; `finish` closes the stages in front of it. It
//! does not ask a model itself: it hands the question out and is told the answer. A channel without pipelines asks with
//! history and text as they are. Read on in `shadow`: how a candidate is tried of which nothing goes on.

mod shadow;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::message::{Completion, Fault, Favour, Prompt, Reply, Role, Utterance};
use crate::plugin::shelf::{FITTED, Share};
use crate::plugin::{CallError, Flow, PipelineRun, PipelineTurn, Shelf, Step};

/// Questions of one turn; a pipeline that asks for ever is a defect.
pub const ROUNDS_MAX: u32 = 8;

/// The contract's key of a turn's `extra`: the model of prompts that name none of their own.
const MODEL: &str = "model";

/// Why a pipeline gave no reply.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("pipeline `{plugin}`: {source}")]
    Call { plugin: String, source: CallError },
    #[error("pipeline `{plugin}`: {source}")]
    Fault { plugin: String, source: Fault },
    #[error("pipeline `{0}` asked more than {ROUNDS_MAX} times in one turn")]
    TooManyRounds(String),
    #[error("pipeline `{0}` took a step that has no meaning there")]
    Misstep(String),
}

impl PipelineError {
    /// Whether the same turn may go well later.
    pub fn is_passing(&self) -> bool {
        match self {
            PipelineError::Fault { source, .. } => source.is_passing(),
            PipelineError::Call { source: CallError::NoInstance(_), .. } => true,
            _ => false,
        }
    }
}

/// One pipeline of one channel.
#[derive(Debug, Clone)]
pub struct Stage {
    name: String,
    channel: Arc<str>,
    shelf: Arc<Shelf>,
}

impl Stage {
    /// Every release that the shelf has under this name must be fitted for the channel.
    pub fn new(name: String, channel: Arc<str>, shelf: Arc<Shelf>) -> Stage {
        Stage { name, channel, shelf }
    }

    /// Whether a candidate serves a conversation: with the stable release the same may go well.
    pub fn is_candidates(&self, conversation: &str, favour: Favour) -> bool {
        let serving = self.shelf.serving(&self.name).expect(FITTED);
        !Arc::ptr_eq(serving.pick(conversation, favour), &serving.stable)
    }

    /// Opens it for a turn that begins like this, in the release that serves its conversation: that one stays with
    /// the turn.
    async fn open(&self, turn: &PipelineTurn, favour: Favour) -> Result<Opened, PipelineError> {
        let serving = self.shelf.serving(&self.name).expect(FITTED);
        let fitted = serving.pick(&turn.message.conversation, favour);
        let services = fitted.services(&self.channel).expect(FITTED).for_a_call();
        let run = fitted.release.run(services).await;
        let run = run.map_err(|source| PipelineError::Call { plugin: self.name.clone(), source })?;
        Ok(Opened { name: self.name.clone(), run })
    }

    /// Lets a candidate that is a shadow begin the turn as well.
    fn rehearse(&self, turn: &PipelineTurn, favour: Favour, begun: &shadow::Begun) {
        let serving = self.shelf.serving(&self.name).expect(FITTED);
        let Some(candidate) = serving.candidate.as_ref().filter(|candidate| candidate.share == Share::Shadow)
        else {
            return;
        };
        if favour == Favour::Its {
            let services = candidate.fitted.services(&self.channel).expect(FITTED).clone();
            shadow::rehearse(candidate.fitted.clone(), services, turn.clone(), begun.clone());
        }
    }
}

/// What the line wants next.
#[derive(Debug)]
pub enum Want {
    /// Ask a model, pass its text through `filter`, then `resume`.
    Ask(Box<Prompt>),
    Say {
        reply: Reply,
        forget: bool,
    },
    Silence,
}

/// Whether a model of this name is configured.
pub type Models<'a> = dyn Fn(&str) -> bool + Send + Sync + 'a;

/// One turn on its way through a channel's pipelines.
#[derive(Default)]
pub struct Line {
    /// Not reached yet, front to back.
    ahead: VecDeque<Stage>,
    /// The turn in front of those, while the question of a stage that may still hand it on is open.
    held: Option<PipelineTurn>,
    favour: Favour,
    /// Opened so far, front to back.
    open: Vec<Opened>,
    rounds: u32,
    /// The stage whose question is open; none: the host asked for all of them.
    asking: Option<usize>,
    /// The stage that spoke last: its filter stopped the model, or it heard what the model said.
    speaker: usize,
    /// A stage asked to forget the conversation; it stays so whatever those in front of it still ask.
    forget: bool,
    /// The turn's own model, as the last `next` left it.
    model: Option<String>,
}

struct Opened {
    name: String,
    run: PipelineRun,
}

impl Opened {
    fn told<T>(&self, outcome: Result<Result<T, Fault>, CallError>) -> Result<T, PipelineError> {
        let plugin = || self.name.clone();
        let answer = outcome.map_err(|source| PipelineError::Call { plugin: plugin(), source })?;
        answer.map_err(|source| PipelineError::Fault { plugin: plugin(), source })
    }
}

impl Line {
    /// Begins a turn: front to back until a stage asks, says or ignores. A stage may choose one of `models`
    /// for the turn.
    pub async fn begin(
        stages: &[Stage],
        turn: PipelineTurn,
        favour: Favour,
        models: &Models<'_>,
    ) -> Result<(Line, Want), PipelineError> {
        let ahead = stages.iter().cloned().collect();
        let mut line = Line { ahead, favour, ..Line::default() };
        let want = line.enter(turn, models).await?;
        Ok((line, want))
    }

    async fn enter(&mut self, mut turn: PipelineTurn, models: &Models<'_>) -> Result<Want, PipelineError> {
        while let Some(stage) = self.ahead.pop_front() {
            let mut opened = stage.open(&turn, self.favour).await?;
            let begun = opened.run.begin(turn.clone()).await;
            stage.rehearse(&turn, self.favour, &begun);
            let step = opened.told(begun)?;
            self.open.push(opened);
            match step {
                Step::Pass => {}
                Step::Next(next) => turn = self.take_over(&stage.name, *next, models),
                step => {
                    self.held = Some(turn);
                    return self.settle(self.open.len() - 1, step).await;
                }
            }
        }
        Ok(self.question(Box::new(plain_prompt(turn))))
    }

    /// A turn as a stage rewrote it. A model that is gone must not silence the person: it is passed over.
    fn take_over(&mut self, by: &str, mut turn: PipelineTurn, models: &Models<'_>) -> PipelineTurn {
        let given = turn.extra.len();
        turn.extra.retain(|(key, model)| key != MODEL || models(model));
        if turn.extra.len() < given {
            tracing::warn!(plugin = by, "the model chosen for a turn is not configured; it is passed over");
        }
        let chosen = turn.extra.iter().find(|(key, _)| key == MODEL);
        self.model = chosen.map(|(_, model)| model.clone());
        turn
    }

    fn question(&self, mut prompt: Box<Prompt>) -> Want {
        prompt.model = prompt.model.or_else(|| self.model.clone());
        Want::Ask(prompt)
    }

    /// The open question is the host's own: no stage would hear why a model failed.
    pub fn is_plain(&self) -> bool {
        self.asking.is_none()
    }

    /// Hands over what the model said, or why it failed.
    pub async fn resume(
        &mut self,
        completion: Result<Completion, Fault>,
        models: &Models<'_>,
    ) -> Result<Want, PipelineError> {
        match self.asking.take() {
            Some(at) => self.resume_at(at, completion, models).await,
            None => self.say_plainly(completion).await,
        }
    }

    async fn say_plainly(&mut self, completion: Result<Completion, Fault>) -> Result<Want, PipelineError> {
        let failed = |source| PipelineError::Fault { plugin: "(none)".to_owned(), source };
        let reply = Reply::text(completion.map_err(failed)?.text);
        self.close(self.open.len(), reply).await
    }

    async fn resume_at(
        &mut self,
        at: usize,
        completion: Result<Completion, Fault>,
        models: &Models<'_>,
    ) -> Result<Want, PipelineError> {
        self.speaker = at;
        let outcome = self.open[at].run.resume(completion).await;
        match (self.open[at].told(outcome)?, self.held.take()) {
            (Step::Pass, Some(turn)) => self.enter(turn, models).await,
            (Step::Next(next), Some(_)) => {
                let turn = self.take_over(&self.open[at].name.clone(), *next, models);
                self.enter(turn, models).await
            }
            (step, held) => {
                self.held = held;
                self.settle(at, step).await
            }
        }
    }

    async fn settle(&mut self, at: usize, step: Step) -> Result<Want, PipelineError> {
        match step {
            Step::Ask(prompt) => self.ask(at, prompt),
            Step::Say(reply) => self.close(at, reply).await,
            Step::Reset(reply) => {
                self.forget = true;
                self.close(at, reply).await
            }
            Step::Ignore => Ok(Want::Silence),
            Step::Pass | Step::Next(_) => Err(PipelineError::Misstep(self.open[at].name.clone())),
        }
    }

    fn ask(&mut self, at: usize, prompt: Box<Prompt>) -> Result<Want, PipelineError> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(PipelineError::TooManyRounds(self.open[at].name.clone()));
        }
        self.asking = Some(at);
        Ok(self.question(prompt))
    }

    /// Closes the stages in front of `at`, back to front; one of them may ask once more.
    async fn close(&mut self, at: usize, mut reply: Reply) -> Result<Want, PipelineError> {
        self.held = None;
        for before in (0..at).rev() {
            let outcome = self.open[before].run.finish(reply.clone()).await;
            match self.open[before].told(outcome)? {
                Step::Pass => {}
                Step::Say(said) => reply = said,
                Step::Reset(said) => (reply, self.forget) = (said, true),
                Step::Ask(prompt) => return self.ask(before, prompt),
                Step::Ignore => return Ok(Want::Silence),
                Step::Next(_) => return Err(PipelineError::Misstep(self.open[before].name.clone())),
            }
        }
        Ok(Want::Say { reply, forget: self.forget })
    }

    /// A delta on its way out: through the asking stage's filter first, then those in front of it.
    pub async fn filter(&mut self, delta: String) -> Result<Flow, PipelineError> {
        let passed = self.asking.map_or(self.open.len(), |at| at + 1);
        let mut text = delta;
        for at in (0..passed).rev() {
            let outcome = self.open[at].run.filter(&text).await;
            match self.open[at].told(outcome)? {
                Flow::Show(shown) if shown.is_empty() => return Ok(Flow::Show(shown)),
                Flow::Show(shown) => text = shown,
                Flow::Stop(reply) => {
                    self.speaker = at;
                    return Ok(Flow::Stop(reply));
                }
            }
        }
        Ok(Flow::Show(text))
    }

    /// A reply in the place of the speaker's own: it passes those in front of it, as any reply.
    pub async fn say(&mut self, reply: Reply) -> Result<Want, PipelineError> {
        self.asking = None;
        self.close(self.speaker, reply).await
    }
}

/// History and text as they are, or the conversation that the caller has brought along whole.
fn plain_prompt(turn: PipelineTurn) -> Prompt {
    let is_whole = turn.message.wishes.as_ref().is_some_and(|wishes| wishes.verbatim);
    let messages = if is_whole {
        turn.message.context
    } else {
        let said = Utterance::text(Role::User, turn.message.text);
        turn.history.into_iter().chain([said]).collect()
    };
    Prompt { messages, show: true, ..Prompt::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Scope, Sender};

    fn turn(models: &[&str]) -> PipelineTurn {
        let message = Message {
            id: "m".to_owned(),
            conversation: "c".to_owned(),
            album: None,
            scope: Scope::Direct,
            sender: Sender { id: "u".to_owned(), name: None, extra: Vec::new() },
            addressed: true,
            text: "hello".to_owned(),
            quoted: None,
            attachments: Vec::new(),
            context: Vec::new(),
            sent_at_ms: None,
            address: Vec::new(),
            extra: Vec::new(),
            wishes: None,
            favour: Favour::Its,
        };
        let extra = models.iter().map(|model| (MODEL.to_owned(), (*model).to_owned())).collect();
        PipelineTurn { channel: "a".to_owned(), platform: String::new(), message, history: Vec::new(), extra }
    }

    fn asked(line: &Line, own: Option<&str>) -> Option<String> {
        let prompt = Prompt { model: own.map(str::to_owned), ..Prompt::default() };
        match line.question(Box::new(prompt)) {
            Want::Ask(prompt) => prompt.model,
            _ => None,
        }
    }

    #[test]
    fn the_last_turn_handed_on_chooses_the_model_of_prompts_that_name_none() {
        let mut line = Line::default();
        let is_configured = |name: &str| name != "gone";
        assert_eq!(asked(&line, None), None, "the channel's own");
        line.take_over("a", turn(&["chosen"]), &is_configured);
        assert_eq!(asked(&line, None).as_deref(), Some("chosen"));
        assert_eq!(asked(&line, Some("own")).as_deref(), Some("own"));
        let next = line.take_over("b", turn(&["gone"]), &is_configured);
        assert!(next.extra.is_empty(), "those behind see no model that is not configured");
        assert_eq!(asked(&line, None), None);
    }
}
