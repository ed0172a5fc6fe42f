//! One place in the context: the tokens whose keys and values it holds, and the job that runs on it, if any.
//!
//! Knows what a job still needs, not how llama.cpp computes it, nor which others share the step.

use std::ops::Range;
use std::time::Instant;

use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;

use crate::events::{Done, Event, Finish, GenerationError, Sender};
use crate::sampling::Sampler;
use crate::shared::{Activity, SequenceStats};
use crate::text::TextOut;

/// A checked request with its prompt in tokens.
pub(crate) struct Job {
    pub prompt: Vec<LlamaToken>,
    pub max_tokens: u32,
    pub sampler: Sampler,
    pub text: TextOut,
    pub deadline: Instant,
    pub sender: Sender,
}

impl Job {
    /// Ends a job that never ran.
    pub fn refuse(self, finish: Finish) {
        let done =
            Done { finish, prompt_tokens: count(&self.prompt), cached_tokens: 0, completion_tokens: 0 };
        self.sender.end(None, Event::Done(done));
    }
}

pub(crate) struct Sequence {
    pub id: i32,
    /// What the KV cache holds, position by position; kept when a job ends, for the next that begins alike.
    pub tokens: Vec<LlamaToken>,
    pub run: Option<Run>,
    /// The step at which it last ended a job.
    pub used_at: u64,
    pub steps: u64,
}

/// A job on a sequence.
pub(crate) struct Run {
    pub job: Job,
    cached: u32,
    generated: u32,
    /// Chosen, but not computed yet. `None` while the prompt is not done.
    next: Option<LlamaToken>,
    /// Text that the full channel did not take: as long as it is there, the sequence is parked.
    held: Option<String>,
    /// Steps in which other prompts went first.
    pub passed_over: u32,
}

impl Sequence {
    pub fn new(id: i32) -> Self {
        Self { id, tokens: Vec::new(), run: None, used_at: 0, steps: 0 }
    }

    /// Tokens that the prompt begins with and the cache holds; at least one of the prompt is computed anew, since
    /// only that gives the logits to go on from.
    pub fn common_prefix(&self, prompt: &[LlamaToken]) -> usize {
        let common = self.tokens.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        common.min(prompt.len() - 1)
    }

    /// `self.tokens` is cut to what the job can use by now.
    pub fn begin(&mut self, job: Job) {
        let cached = count(&self.tokens);
        self.run = Some(Run { job, cached, generated: 0, next: None, held: None, passed_over: 0 });
    }

    pub fn activity(&self) -> Activity {
        match &self.run {
            None => Activity::Idle,
            Some(run) if run.held.is_some() => Activity::Parked,
            Some(run) if run.next.is_some() => Activity::Generating,
            Some(_) => Activity::Prefilling,
        }
    }

    /// The token to compute, if the sequence generates and is not parked.
    pub fn next(&self) -> Option<LlamaToken> {
        self.run.as_ref().filter(|run| run.held.is_none()).and_then(|run| run.next)
    }

    /// Positions of the prompt that are still to be computed.
    pub fn prompt_left(&self) -> Range<usize> {
        match &self.run {
            Some(run) if run.next.is_none() => self.tokens.len()..run.job.prompt.len(),
            _ => 0..0,
        }
    }

    /// Where the prompt ends and the completion begins.
    pub fn prompt_end(&self) -> usize {
        self.run.as_ref().map_or(0, |run| run.job.prompt.len())
    }

    /// What belongs at a position that is still to be computed.
    pub fn token_at(&self, position: usize) -> LlamaToken {
        let run = self.run.as_ref().expect("only a sequence with a job is in a batch");
        match run.job.prompt.get(position) {
            Some(token) => *token,
            None => run.next.expect("behind its prompt, a sequence has its next token"),
        }
    }

    pub fn stats(&self) -> SequenceStats {
        SequenceStats { activity: self.activity(), kv_tokens: self.tokens.len(), steps: self.steps }
    }

    /// Steps until this job ends at the latest, with `chunk` prompt tokens a step.
    pub fn steps_left(&self, chunk: usize) -> Option<u64> {
        let run = self.run.as_ref()?;
        Some(u64::from(run.job.max_tokens - run.generated) + self.prompt_left().len().div_ceil(chunk) as u64)
    }

    /// Takes the logits after the last token, chooses the next, and sends what it adds to the text. Says how the job
    /// ends, if it does.
    pub fn advance(
        &mut self,
        logits: &[f32],
        vocab: &LlamaVocab<'_>,
        context_tokens: usize,
    ) -> Option<Ending> {
        let is_full = self.tokens.len() >= context_tokens;
        let run = self.run.as_mut().expect("only a sequence with a job is in a batch");
        let Some(token) = run.job.sampler.sample(logits) else {
            return Some(Ending::Failed(GenerationError::NoToken));
        };
        if vocab.is_eog(token) {
            return Some(Ending::Finished(Finish::Stop));
        }
        run.generated += 1;
        let piece = run.job.text.push(&vocab.token_to_piece(token, false, None));
        run.send(piece.text);
        if piece.is_stopped {
            return Some(Ending::Finished(Finish::Stop));
        }
        if run.generated >= run.job.max_tokens || is_full {
            return Some(Ending::Finished(Finish::Length));
        }
        run.next = Some(token);
        None
    }

    /// Offers the held text again; if the channel takes it, the sequence goes on at this step.
    pub fn unpark(&mut self) {
        if let Some(run) = &mut self.run
            && let Some(text) = run.held.take()
        {
            run.send(text);
        }
    }
}

/// How a job ends.
pub(crate) enum Ending {
    Finished(Finish),
    Failed(GenerationError),
}

impl Run {
    fn send(&mut self, text: String) {
        debug_assert!(
            self.held.is_none(),
            "a parked sequence computes nothing, so it holds one text at most"
        );
        if !text.is_empty() {
            self.held = self.job.sender.try_send(text).err();
        }
    }

    /// The last events: what was held by a full channel, what the stop filter held back, and how it ended.
    pub fn end(mut self, ending: Ending) {
        let tail = self.job.text.finish();
        let event = match ending {
            Ending::Failed(error) => Event::Failed(error),
            Ending::Finished(finish) => Event::Done(Done {
                finish,
                prompt_tokens: count(&self.job.prompt),
                cached_tokens: self.cached,
                completion_tokens: self.generated,
            }),
        };
        self.job.sender.end(self.held.into_iter().chain([tail]), event);
    }
}

fn count(tokens: &[LlamaToken]) -> u32 {
    u32::try_from(tokens.len()).expect("a prompt is checked against the context, which is a u32")
}
