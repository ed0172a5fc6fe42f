//! One stage through a whole turn, as the host leads it: begin, the text through `filter`, `resume`, `finish`.

use std::sync::Arc;

use super::super::bench::{Bench, answered};
use super::super::platform::{Mood, Platform};
use super::super::seen::Seen;
use crate::message::{Completion, Fault, FinishReason, Message, Prompt, Reply};
use crate::plugin::{Flow, PipelineRun, PipelineTurn, Step};

/// The host hears a stage's questions so often in one turn.
const ROUNDS_MAX: usize = 8;

type Model<'a> = dyn Fn(&Prompt) -> Result<Completion, Fault> + Sync + 'a;
type Cut<'a> = dyn Fn(&str) -> Vec<String> + Sync + 'a;

/// A stage that is tried.
pub struct Stage<'a> {
    bench: &'a Bench,
    platform: Arc<Platform>,
}

/// What came of a turn.
#[derive(Debug, Default)]
pub struct Played {
    /// The filtered text, as it streamed by.
    shown: String,
    /// Nothing if the stage is silent.
    pub said: Option<String>,
    is_stopped: bool,
    pub asked: Vec<Prompt>,
}

impl Played {
    /// What people saw grow is where the reply begins, unless the stage stopped the model.
    pub fn check_shown(&self) -> Result<(), String> {
        let said = self.said.as_deref().unwrap_or_default();
        if self.is_stopped || said.starts_with(&self.shown) {
            return Ok(());
        }
        Err(format!("`{}` was shown, and `{said}` said", self.shown))
    }

    pub fn note(&self, seen: &Seen) {
        seen.note(&self.shown);
        seen.note(self.said.as_deref().unwrap_or_default());
        self.asked.iter().for_each(|prompt| seen.note(format!("{prompt:?}")));
    }
}

pub fn turn(text: &str) -> PipelineTurn {
    let message = Message::direct("m-1".to_owned(), "c-1".to_owned(), "u-1", text.to_owned());
    let (channel, platform) = ("(conformance)".to_owned(), "(none)".to_owned());
    PipelineTurn { channel, platform, message, history: Vec::new(), extra: Vec::new() }
}

pub fn completion(text: &str) -> Completion {
    Completion {
        model: "(conformance)".to_owned(),
        text: text.to_owned(),
        tool_calls: Vec::new(),
        finish_reason: FinishReason::Stop,
        prompt_tokens: 1,
        completion_tokens: 1,
        extra: Vec::new(),
    }
}

impl<'a> Stage<'a> {
    pub fn new(bench: &'a Bench) -> Self {
        Self { bench, platform: Platform::new(&bench.manifest, Mood::Kind) }
    }

    pub async fn run(&mut self) -> Result<PipelineRun, String> {
        let services = self.bench.open(&self.bench.bare(), &self.platform);
        self.bench.release.run(services).await.map_err(|error| format!("no run: {error}"))
    }

    /// One turn. The model speaks in the pieces that `cut` makes; where the stage does not ask it, the next one does.
    pub async fn play(
        mut self,
        turn: PipelineTurn,
        model: &Model<'_>,
        cut: &Cut<'_>,
    ) -> Result<Result<Played, Fault>, String> {
        let mut run = self.run().await?;
        let mut played = Played::default();
        let outcome = self.lead(&mut run, &mut played, turn, model, cut).await?;
        Ok(outcome.map(|said| Played { said, ..played }))
    }

    async fn lead(
        &self,
        run: &mut PipelineRun,
        played: &mut Played,
        turn: PipelineTurn,
        model: &Model<'_>,
        cut: &Cut<'_>,
    ) -> Result<Result<Option<String>, Fault>, String> {
        let mut step = match answered("begin", run.begin(turn).await)? {
            Ok(Step::Pass | Step::Next(_)) => match next_stage(run, played, model, cut).await? {
                Ok((reply, step)) => match step {
                    Step::Pass => return Ok(Ok(Some(reply.text))),
                    step => step,
                },
                Err(fault) => return Ok(Err(fault)),
            },
            Ok(step) => step,
            Err(fault) => return Ok(Err(fault)),
        };
        for _ in 0..=ROUNDS_MAX {
            step = match step {
                Step::Say(reply) | Step::Reset(reply) => return Ok(Ok(Some(reply.text))),
                Step::Ignore => return Ok(Ok(None)),
                Step::Pass | Step::Next(_) => return Err("it hands on what it has asked about".to_owned()),
                Step::Ask(prompt) => match ask(run, played, *prompt, model, cut).await? {
                    Ok(step) => step,
                    Err(fault) => return Ok(Err(fault)),
                },
            };
        }
        Err(format!("it asks more than {ROUNDS_MAX} times"))
    }
}

/// Whether a later stage asks, of which nothing is known.
pub fn is_of_next_stage(prompt: &Prompt) -> bool {
    prompt.messages.is_empty()
}

/// A later stage answers: its text streams through this one, which closes it.
async fn next_stage(
    run: &mut PipelineRun,
    played: &mut Played,
    model: &Model<'_>,
    cut: &Cut<'_>,
) -> Result<Result<(Reply, Step), Fault>, String> {
    let text = match model(&Prompt::default()) {
        Ok(completion) => completion.text,
        // Then the turn has failed behind this stage, which hears nothing of it.
        Err(fault) => return Ok(Err(fault)),
    };
    let reply = match stream(run, played, &text, cut).await? {
        Ok(None) => Reply::text(text),
        Ok(Some(stopped)) => return Ok(Ok((stopped.clone(), Step::Say(stopped)))),
        Err(fault) => return Ok(Err(fault)),
    };
    let step = answered("finish", run.finish(reply.clone()).await)?;
    Ok(step.map(|step| (reply, step)))
}

async fn ask(
    run: &mut PipelineRun,
    played: &mut Played,
    prompt: Prompt,
    model: &Model<'_>,
    cut: &Cut<'_>,
) -> Result<Result<Step, Fault>, String> {
    let (said, is_shown) = (model(&prompt), prompt.show);
    played.asked.push(prompt);
    if let (Ok(completion), true) = (&said, is_shown) {
        match stream(run, played, &completion.text, cut).await? {
            Ok(None) => {}
            Ok(Some(stopped)) => return Ok(Ok(Step::Say(stopped))),
            Err(fault) => return Ok(Err(fault)),
        }
    }
    answered("resume", run.resume(said).await)
}

/// Text through the filter; the reply if it stops the model.
async fn stream(
    run: &mut PipelineRun,
    played: &mut Played,
    text: &str,
    cut: &Cut<'_>,
) -> Result<Result<Option<Reply>, Fault>, String> {
    for delta in cut(text) {
        match answered("filter", run.filter(&delta).await)? {
            Ok(Flow::Show(shown)) => played.shown.push_str(&shown),
            Ok(Flow::Stop(reply)) => {
                played.is_stopped = true;
                return Ok(Ok(Some(reply)));
            }
            Err(fault) => return Ok(Err(fault)),
        }
    }
    Ok(Ok(None))
}
