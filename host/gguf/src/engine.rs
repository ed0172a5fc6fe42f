//! The door: loads a model, starts completions, tells how things stand.
//!
//! Tokenising and grammars happen here, on the caller's thread; llama.cpp's context belongs to the inference thread
//! alone (`batch`).

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

use crate::batch::{Batcher, Limits};
use crate::events::{Generation, channel};
use crate::metadata::Metadata;
use crate::prompt::Span;
use crate::request::{Request, StartError};
use crate::sampling::Sampler;
use crate::sequence::Job;
use crate::shared::{Shared, Stats};
use crate::text::TextOut;
use crate::weights::LoadError;
use crate::{backend, metadata, prompt, request, schema, weights};

/// `LLAMA_MAX_SEQ` of the pinned llama.cpp.
const SEQUENCES_MAX: u32 = 256;
/// More makes no sense to llama.cpp (`GGML_MAX_N_THREADS`).
const THREADS_MAX: u32 = 512;
const QUEUE_MAX: usize = 65_536;
const CHUNK_TOKENS: std::ops::RangeInclusive<u32> = 32..=128;
/// Room for a short prompt and a short answer; below, nothing useful fits.
const CONTEXT_TOKENS_MIN: u32 = 64;
/// A request without a deadline ends by this one, so that a reader who stopped reading frees its sequence some day.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(600);

/// How to load a model.
#[derive(Debug, Clone)]
pub struct Config {
    pub path: PathBuf,
    /// What the file must hash to.
    pub sha256: Option<[u8; 32]>,
    /// Tokens of context for each sequence.
    pub context_tokens: u32,
    /// Completions that run side by side, up to 256. Each costs memory for a whole context.
    pub sequences_max: u32,
    /// `None` is one per physical core.
    pub threads: Option<u32>,
    /// Prompt tokens in one step, 32 to 128: fewer let running streams flow more evenly, more finish prompts sooner.
    pub chunk_tokens: u32,
    /// Requests that may wait, beyond those that run.
    pub queue_max: usize,
}

impl Config {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sha256: None,
            context_tokens: 2048,
            sequences_max: 4,
            threads: None,
            chunk_tokens: 64,
            queue_max: 64,
        }
    }

    fn check(&self) -> Result<(), LoadError> {
        let refuse = |field, value, rule| Err(LoadError::Config { field, value, rule });
        if self.context_tokens < CONTEXT_TOKENS_MIN {
            return refuse("context_tokens", self.context_tokens.into(), "at least `64`");
        }
        if !(1..=SEQUENCES_MAX).contains(&self.sequences_max) {
            return refuse("sequences_max", self.sequences_max.into(), "from `1` to `256`");
        }
        if self.threads.is_some_and(|threads| !(1..=THREADS_MAX).contains(&threads)) {
            return refuse("threads", self.threads.unwrap_or(0).into(), "from `1` to `512`");
        }
        if !CHUNK_TOKENS.contains(&self.chunk_tokens) {
            return refuse("chunk_tokens", self.chunk_tokens.into(), "from `32` to `128`");
        }
        if !(1..=QUEUE_MAX).contains(&self.queue_max) {
            return refuse("queue_max", self.queue_max as u64, "from `1` to `65536`");
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits {
            context_tokens: self.context_tokens as usize,
            sequences: self.sequences_max as usize,
            chunk_tokens: self.chunk_tokens as usize,
        }
    }
}

/// A loaded model with its inference thread. Dropping it ends all completions and waits for the thread (one step).
pub struct Engine {
    model: Arc<LlamaModel>,
    metadata: Metadata,
    context_tokens: u32,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Checks the file, loads it, and starts the inference thread. Takes some tenths of a second, and a second per
    /// gigabyte to hash: not for an async thread.
    pub fn load(config: &Config) -> Result<Self, LoadError> {
        config.check()?;
        let header = weights::check(&config.path, config.sha256.as_ref())?;
        let backend = backend::start()?;
        // llama.cpp sets up global state as it loads; two models at once gain nothing.
        static LOADING: Mutex<()> = Mutex::new(());
        let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        let model = Arc::new(load_model(backend, &config.path)?);
        let metadata = metadata::read(&model, header.architecture);
        if config.context_tokens > metadata.context_trained {
            return Err(LoadError::ContextTooLong {
                wanted: config.context_tokens,
                trained: metadata.context_trained,
            });
        }
        let shared = Arc::new(Shared::new(config.queue_max, config.sequences_max as usize));
        let thread = start_thread(backend, model.clone(), config, shared.clone())?;
        tracing::info!(model = metadata.name, architecture = metadata.architecture, "model loaded");
        Ok(Self { model, metadata, context_tokens: config.context_tokens, shared, thread: Some(thread) })
    }

    /// Queues a completion. Tokenises on this thread: about a millisecond for a thousand tokens.
    pub fn start(&self, request: Request) -> Result<Generation, StartError> {
        request::check(&request)?;
        let tokens = self.tokenize(&request.prompt)?;
        let grammar =
            request.json_schema.as_deref().map(|schema| schema::grammar(&self.model, schema)).transpose()?;
        let (sender, generation) = channel(self.shared.clone());
        let latest = Instant::now() + REQUEST_TIME_MAX;
        self.shared.enqueue(Job {
            prompt: tokens,
            max_tokens: request.max_tokens,
            sampler: Sampler::new(&request, grammar),
            text: TextOut::new(request.stop),
            deadline: request.deadline.map_or(latest, |deadline| deadline.min(latest)),
            sender,
        })?;
        Ok(generation)
    }

    /// Tokens that a prompt takes of the context; the error if it does not fit.
    pub fn prompt_tokens(&self, prompt: &[Span]) -> Result<u32, StartError> {
        Ok(u32::try_from(self.tokenize(prompt)?.len()).expect("it fits the context, which is a u32"))
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Tokens of context that each sequence has: prompt and completion together.
    pub fn context_tokens(&self) -> u32 {
        self.context_tokens
    }

    pub fn stats(&self) -> Stats {
        self.shared.lock().stats.clone()
    }

    fn tokenize(&self, prompt: &[Span]) -> Result<Vec<LlamaToken>, StartError> {
        request::check_bytes(prompt)?;
        let tokens = prompt::tokenize(&self.model.vocab(), prompt);
        let prompt_tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        if prompt_tokens > self.context_tokens {
            return Err(StartError::ContextExceeded { prompt_tokens, context_tokens: self.context_tokens });
        }
        if tokens.is_empty() { Err(StartError::EmptyPrompt) } else { Ok(tokens) }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there was caught and logged.
            let _ = thread.join();
        }
    }
}

fn load_model(backend: &LlamaBackend, path: &Path) -> Result<LlamaModel, LoadError> {
    // Mapped, so that the pages are shared and a second load is quick.
    let params = LlamaModelParams::default().with_n_gpu_layers(0);
    LlamaModel::load_from_file(backend, path, &params).map_err(|_| LoadError::Refused { path: path.into() })
}

fn start_thread(
    backend: &'static LlamaBackend,
    model: Arc<LlamaModel>,
    config: &Config,
    shared: Arc<Shared>,
) -> Result<JoinHandle<()>, LoadError> {
    let (ready, is_ready) = sync_channel(1);
    let (limits, params) = (config.limits(), context_params(config));
    let refused = LoadError::Context { sequences: config.sequences_max, context: config.context_tokens };
    let thread = Builder::new()
        .name("gguf".to_owned())
        .spawn(move || {
            // Made here, since it borrows the model and never leaves this thread.
            let context = model.new_context(backend, params);
            if let Some(context) = announce(context, &ready) {
                guard(&shared, || Batcher::new(context, model.vocab(), limits, &shared).run());
            }
        })
        .map_err(|source| LoadError::Thread { source })?;
    match is_ready.recv() {
        Ok(true) => Ok(thread),
        Ok(false) | Err(_) => Err(refused),
    }
}

fn announce<'a, E>(
    context: Result<LlamaContext<'a>, E>,
    ready: &SyncSender<bool>,
) -> Option<LlamaContext<'a>> {
    // The loader waits for this; if it is gone, so is the wish for a context.
    ready.send(context.is_ok()).ok()?;
    context.ok()
}

fn context_params(config: &Config) -> LlamaContextParams {
    let threads = config.threads.unwrap_or_else(backend::cores);
    let threads = i32::try_from(threads).expect("at most THREADS_MAX");
    let batch = u32::try_from(config.limits().batch_tokens()).expect("at most SEQUENCES_MAX and a chunk");
    LlamaContextParams::default()
        // In all; llama.cpp rounds each sequence's part up to a multiple of 256.
        .with_n_ctx(NonZeroU32::new(config.context_tokens.saturating_mul(config.sequences_max)))
        .with_n_seq_max(config.sequences_max)
        .with_n_batch(batch)
        .with_n_ubatch(batch)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        // A stream of cells for each sequence: some 4-8% faster than shared ones, and no sequence eats another's room.
        .with_kv_unified(false)
        .with_no_perf(true)
}

/// Whatever happens in the loop, all who wait learn that it is over.
fn guard(shared: &Shared, body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        tracing::error!("the inference thread panicked; the model takes no more requests");
    }
    shared.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Event, GenerationError};

    #[test]
    fn a_panic_on_the_thread_is_an_error_for_all_who_wait_and_no_hang() {
        let shared = Arc::new(Shared::new(4, 1));
        let job = |shared: &Arc<Shared>| {
            let (sender, generation) = channel(shared.clone());
            let request = Request::default();
            let deadline = Instant::now() + REQUEST_TIME_MAX;
            let sampler = Sampler::new(&request, None);
            let job = Job {
                prompt: vec![LlamaToken(0)],
                max_tokens: 1,
                sampler,
                text: TextOut::default(),
                deadline,
                sender,
            };
            (job, generation)
        };
        let (running, running_events) = job(&shared);
        let (waiting, waiting_events) = job(&shared);
        assert_eq!(shared.enqueue(waiting), Ok(()));
        guard(&shared, || {
            let _running = running;
            panic!("as a bug in the step loop would");
        });
        for events in [running_events, waiting_events] {
            let events: Vec<Event> = events.blocking().collect();
            assert_eq!(events, [Event::Failed(GenerationError::EngineLost)]);
        }
        let (late, _events) = job(&shared);
        assert_eq!(shared.enqueue(late), Err(StartError::Stopped));
    }
}
