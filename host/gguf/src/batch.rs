//! The step loop on the inference thread: who leaves, who comes, what goes into the next batch, what came out.
//!
//! One step: drop those who left or ran out of time; give idle sequences to those who wait; batch one token of each
//! generating sequence and a chunk of prompt tokens; decode; sample; send. Knows llama.cpp's context and its traps: a
//! batch larger than `n_batch`, a position beyond a sequence's cells or a foreign sequence id abort the process, so
//! the sizes are fixed in [`Limits`] and all comes from [`Sequence`]s that keep to them.

use std::cmp::Reverse;
use std::ops::Range;
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::vocab::LlamaVocab;

use crate::events::{Finish, GenerationError};
use crate::sequence::{Ending, Job, Sequence};
use crate::shared::{Activity, Finished, SequenceStats, Shared, refuse};

/// Steps that a prompt waits while shorter ones go first. About a second; shortest-first is best for the mean, and
/// this is what keeps it from starving a long one.
const PASSED_OVER_MAX: u32 = 8;
/// Weight of the last step in the mean step time: about the last ten count.
const STEP_WEIGHT: f64 = 0.1;

/// Sizes that were fixed when the context was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of one sequence.
    pub context_tokens: usize,
    pub sequences: usize,
    /// Prompt tokens a step.
    pub chunk_tokens: usize,
}

impl Limits {
    /// One token for each sequence, and a chunk of prompt.
    pub fn batch_tokens(self) -> usize {
        self.sequences + self.chunk_tokens
    }
}

pub(crate) struct Batcher<'a> {
    context: LlamaContext<'a>,
    batch: LlamaBatch<'static>,
    vocab: LlamaVocab<'a>,
    sequences: Vec<Sequence>,
    limits: Limits,
    shared: &'a Shared,
}

/// Tokens of one sequence in a batch.
struct Share {
    sequence: usize,
    positions: Range<usize>,
    /// Where in the batch its last token stands, if a next one is to be chosen after it.
    logits_at: Option<i32>,
}

impl<'a> Batcher<'a> {
    pub fn new(context: LlamaContext<'a>, vocab: LlamaVocab<'a>, limits: Limits, shared: &'a Shared) -> Self {
        let ids = 0..i32::try_from(limits.sequences).expect("at most SEQUENCES_MAX");
        let sequences = ids.map(Sequence::new).collect();
        Self {
            context,
            // One sequence id per token: `add` would write past its memory with more.
            batch: LlamaBatch::new(limits.batch_tokens(), 1),
            vocab,
            sequences,
            limits,
            shared,
        }
    }

    /// Until the engine is dropped.
    pub fn run(mut self) {
        self.publish();
        while !self.shared.lock().is_stopped {
            self.drop_ended();
            self.admit();
            self.sequences.iter_mut().for_each(Sequence::unpark);
            let shares = self.plan();
            self.publish();
            if shares.is_empty() {
                self.shared.rest(self.next_deadline());
            } else {
                self.step(shares);
            }
        }
        self.stop();
    }

    /// Running jobs whose readers have gone, or whose time is up.
    fn drop_ended(&mut self) {
        let now = Instant::now();
        for index in 0..self.sequences.len() {
            let Some(run) = &self.sequences[index].run else { continue };
            if run.job.sender.is_abandoned() {
                self.end(index, Ending::Finished(Finish::Cancelled));
            } else if run.job.deadline <= now {
                self.end(index, Ending::Finished(Finish::Deadline));
            }
        }
    }

    /// Gives idle sequences to those who wait, first come first served.
    fn admit(&mut self) {
        let idle = self.sequences.iter().filter(|sequence| sequence.run.is_none()).count();
        let mut state = self.shared.lock();
        let swept = state.sweep();
        let admitted = idle.min(state.waiting.len());
        let admitted: Vec<Job> = state.waiting.drain(..admitted).collect();
        state.stats.waiting = state.waiting.len();
        state.stats.running = self.sequences.len() - idle + admitted.len();
        drop(state);
        refuse(swept);
        admitted.into_iter().for_each(|job| self.begin(job));
    }

    /// On the idle sequence that already holds most of the prompt, else on the one that was idle longest.
    fn begin(&mut self, job: Job) {
        let idle = (0..self.sequences.len()).filter(|index| self.sequences[*index].run.is_none());
        let best = idle.max_by_key(|index| {
            let sequence = &self.sequences[*index];
            (sequence.common_prefix(&job.prompt), Reverse((sequence.used_at, sequence.id)))
        });
        let index = best.expect("`admit` takes no more jobs than there are idle sequences");
        let prefix = self.sequences[index].common_prefix(&job.prompt);
        self.forget(index, prefix);
        let sequence = &mut self.sequences[index];
        let mut state = self.shared.lock();
        state.stats.cached_tokens += sequence.tokens.len() as u64;
        drop(state);
        sequence.begin(job);
    }

    /// Keeps the first `kept` tokens of the sequence, or none where the model's cache cannot be cut (recurrent ones).
    fn forget(&mut self, index: usize, kept: usize) {
        let sequence = &mut self.sequences[index];
        let id = u32::try_from(sequence.id).expect("ids count from 0");
        let from = u32::try_from(kept).expect("a context is counted in u32");
        let is_cut = self.context.clear_kv_cache_seq(Some(id), Some(from), None).unwrap_or(false);
        if is_cut {
            sequence.tokens.truncate(kept);
        } else {
            // Removal of a whole sequence never fails.
            let _ = self.context.clear_kv_cache_seq(Some(id), None, None);
            sequence.tokens.clear();
        }
    }

    /// What goes into the next batch: each generating sequence's token, and up to a chunk of prompts.
    fn plan(&mut self) -> Vec<Share> {
        let mut shares: Vec<Share> = (0..self.sequences.len())
            .filter(|index| self.sequences[*index].next().is_some())
            .map(|sequence| Share { sequence, positions: self.end_of(sequence), logits_at: None })
            .collect();
        let mut chunk_left = self.limits.chunk_tokens;
        for sequence in self.prefilling() {
            let left = self.sequences[sequence].prompt_left();
            let positions = left.start..left.end.min(left.start + chunk_left);
            chunk_left -= positions.len();
            let run = self.sequences[sequence].run.as_mut().expect("a prefilling sequence has a job");
            run.passed_over = if positions.is_empty() { run.passed_over + 1 } else { 0 };
            if !positions.is_empty() {
                shares.push(Share { sequence, positions, logits_at: None });
            }
        }
        shares
    }

    fn end_of(&self, sequence: usize) -> Range<usize> {
        let end = self.sequences[sequence].tokens.len();
        end..end + 1
    }

    /// In the order in which they get their share: who was passed over too often, then the shortest.
    fn prefilling(&self) -> Vec<usize> {
        let mut prefilling: Vec<usize> = (0..self.sequences.len())
            .filter(|index| !self.sequences[*index].prompt_left().is_empty())
            .collect();
        prefilling.sort_by_key(|index| {
            let sequence = &self.sequences[*index];
            let passed_over = sequence.run.as_ref().map_or(0, |run| run.passed_over);
            (passed_over < PASSED_OVER_MAX, sequence.prompt_left().len())
        });
        prefilling
    }

    fn step(&mut self, mut shares: Vec<Share>) {
        let began = Instant::now();
        self.fill(&mut shares);
        if let Err(error) = self.context.decode(&mut self.batch) {
            return self.fail(&shares, &error.to_string());
        }
        for share in &shares {
            self.take(share);
        }
        self.count(&shares, began.elapsed());
        for share in &shares {
            self.advance(share);
        }
    }

    fn fill(&mut self, shares: &mut [Share]) {
        self.batch.clear();
        for share in shares {
            let sequence = &self.sequences[share.sequence];
            let needs_logits = share.positions.end >= sequence.prompt_end();
            for position in share.positions.clone() {
                let is_last = needs_logits && position + 1 == share.positions.end;
                if is_last {
                    share.logits_at = Some(self.batch.n_tokens());
                }
                let at = i32::try_from(position).expect("a context is counted in i32 by llama.cpp");
                self.batch
                    .add(sequence.token_at(position), at, &[sequence.id], is_last)
                    .expect("`plan` keeps to the size that the batch was made with");
            }
        }
    }

    /// The cache holds them now.
    fn take(&mut self, share: &Share) {
        let sequence = &mut self.sequences[share.sequence];
        for position in share.positions.clone() {
            sequence.tokens.push(sequence.token_at(position));
        }
        sequence.steps += 1;
    }

    fn advance(&mut self, share: &Share) {
        let Some(at) = share.logits_at else { return };
        let logits = self.context.get_logits_ith(at);
        let sequence = &mut self.sequences[share.sequence];
        if let Some(ending) = sequence.advance(logits, &self.vocab, self.limits.context_tokens) {
            self.end(share.sequence, ending);
        }
    }

    /// The jobs of this step end, since what their cells hold is not known any more. The thread goes on.
    fn fail(&mut self, shares: &[Share], why: &str) {
        tracing::error!(why, "llama.cpp failed at a step");
        for share in shares {
            self.end(share.sequence, Ending::Failed(GenerationError::Decode(why.to_owned())));
            self.forget(share.sequence, 0);
        }
    }

    /// The sequence is free, and the figures say so before the reader knows.
    fn end(&mut self, index: usize, ending: Ending) {
        let sequence = &mut self.sequences[index];
        let Some(run) = sequence.run.take() else { return };
        let mut state = self.shared.lock();
        sequence.used_at = state.stats.steps;
        state.stats.finished.count(&ending);
        drop(state);
        self.publish();
        run.end(ending);
    }

    fn count(&mut self, shares: &[Share], took: Duration) {
        let tokens: usize = shares.iter().map(|share| share.positions.len()).sum();
        let prompt: usize =
            shares.iter().filter(|share| self.is_prompt(share)).map(|share| share.positions.len()).sum();
        let mut state = self.shared.lock();
        let stats = &mut state.stats;
        stats.steps += 1;
        stats.prompt_tokens += prompt as u64;
        stats.completion_tokens += (tokens - prompt) as u64;
        stats.step_time = match stats.step_time {
            Duration::ZERO => took,
            mean => mean.mul_f64(1.0 - STEP_WEIGHT) + took.mul_f64(STEP_WEIGHT),
        };
    }

    fn is_prompt(&self, share: &Share) -> bool {
        share.positions.start < self.sequences[share.sequence].prompt_end()
    }

    /// How things stand, for those who ask and for `Busy`.
    fn publish(&self) {
        let sequences: Vec<SequenceStats> = self.sequences.iter().map(Sequence::stats).collect();
        let steps_left =
            self.sequences.iter().filter_map(|sequence| sequence.steps_left(self.limits.chunk_tokens)).min();
        let mut state = self.shared.lock();
        state.free_in = state.stats.step_time * u32::try_from(steps_left.unwrap_or(0)).unwrap_or(u32::MAX);
        let stats = &mut state.stats;
        stats.running = sequences.iter().filter(|sequence| sequence.activity != Activity::Idle).count();
        stats.parked = sequences.iter().filter(|sequence| sequence.activity == Activity::Parked).count();
        stats.kv_tokens = sequences.iter().map(|sequence| sequence.kv_tokens as u64).sum();
        stats.kv_tokens_max = (self.limits.sequences * self.limits.context_tokens) as u64;
        stats.sequences = sequences;
    }

    /// When there is nothing to compute, this is the next thing that happens by itself.
    fn next_deadline(&self) -> Option<Instant> {
        let running =
            self.sequences.iter().filter_map(|sequence| Some(sequence.run.as_ref()?.job.deadline)).min();
        let waiting = self.shared.lock().waiting.iter().map(|job| job.deadline).min();
        running.into_iter().chain(waiting).min()
    }

    /// The engine is dropped: all who wait or run are told.
    fn stop(&mut self) {
        (0..self.sequences.len()).for_each(|index| self.end(index, Ending::Finished(Finish::Cancelled)));
        let waiting = std::mem::take(&mut self.shared.lock().waiting);
        waiting.into_iter().for_each(|job| job.refuse(Finish::Cancelled));
    }
}

impl Finished {
    fn count(&mut self, ending: &Ending) {
        let counter = match ending {
            Ending::Finished(Finish::Stop) => &mut self.stop,
            Ending::Finished(Finish::Length) => &mut self.length,
            Ending::Finished(Finish::Cancelled) => &mut self.cancelled,
            Ending::Finished(Finish::Deadline) => &mut self.deadline,
            Ending::Failed(_) => &mut self.failed,
        };
        *counter += 1;
    }
}
