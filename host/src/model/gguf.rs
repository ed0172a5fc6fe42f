//! A weights file in this process: `parlor_gguf`'s engine behind a chat template.
//!
//! The model loads in the background; who asks meanwhile waits. It does not know how tokens are made (see
//! `host/gguf`) nor conversations: the engine finds by itself what of a prompt it has in its cache.

mod date;
mod json;
mod marks;
pub mod template;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use parlor_gguf::{
    Config, Done, Engine, Event, Finish, Generation, GenerationError, LoadError, Request, StartError,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::{Abilities, Answer, Delta, Model, ModelError, Usage};
use crate::config;
use crate::message::{FinishReason, Format, Prompt, Utterance};
use template::{CHATML, Template, TemplateError};

/// What a caller is told whose time ended before the model was loaded: a second per gigabyte to hash it.
const LOADING_RETRY: Duration = Duration::from_secs(5);
/// What a caller is told whose time ended while it waited for one of `concurrent`.
const BUSY_RETRY: Duration = Duration::from_secs(5);
/// An answer's length if nobody names one: a few paragraphs, and a quarter of the default context.
const MAX_TOKENS_DEFAULT: u32 = 512;

/// The `gguf` backend.
pub struct Gguf {
    path: PathBuf,
    state: watch::Receiver<State>,
    settings: Settings,
    permits: Option<Arc<Semaphore>>,
}

#[derive(Clone)]
enum State {
    Loading,
    Loaded(Arc<Loaded>),
    /// Why it cannot be used, for people.
    Failed(Arc<SetupError>),
}

struct Loaded {
    engine: Engine,
    template: Template,
}

#[derive(Debug, Clone)]
struct Settings {
    max_tokens: u32,
    /// What the operator said about it, if anything.
    max_tokens_max: Option<u32>,
    temperature: Option<f32>,
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("`sha256` must be 64 hexadecimal digits")]
    Sha256,
    #[error("the chat template in `{}` cannot be used: {source}; take another conversion of the model", path.display())]
    Template { path: PathBuf, source: TemplateError },
    #[error("the thread that loads the model cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("loading `{}` ended without a result; this is a defect", path.display())]
    Lost { path: PathBuf },
}

impl Gguf {
    /// Begins to load and returns at once. What goes wrong is logged, and told to `loaded` and to whoever asks.
    pub fn start(local: &config::Gguf, model: &config::Model) -> Arc<Self> {
        let (tell, state) = watch::channel(State::Loading);
        let settings = Settings {
            max_tokens: model.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT),
            max_tokens_max: model.max_tokens,
            temperature: model.temperature,
            timeout: model.timeout,
        };
        let permits = model.concurrent.map(|concurrent| Arc::new(Semaphore::new(concurrent)));
        load_in_background(local, tell);
        Arc::new(Self { path: local.path.clone(), state, settings, permits })
    }

    async fn settled(&self) -> Result<Arc<Loaded>, Arc<SetupError>> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Loading)).await;
        match settled.map(|state| state.clone()) {
            Ok(State::Loaded(loaded)) => Ok(loaded),
            Ok(State::Failed(error)) => Err(error),
            Ok(State::Loading) | Err(_) => Err(Arc::new(SetupError::Lost { path: self.path.clone() })),
        }
    }

    async fn permit(&self, deadline: Instant) -> Result<Option<OwnedSemaphorePermit>, ModelError> {
        let Some(permits) = &self.permits else {
            return Ok(None);
        };
        let permit = timeout_at(deadline, Arc::clone(permits).acquire_owned()).await;
        let permit = permit.map_err(|_| ModelError::Busy { retry_after: BUSY_RETRY })?;
        Ok(Some(permit.expect("the semaphore is never closed")))
    }

    fn request(&self, prompt: &Prompt, deadline: Instant) -> Request {
        let mut request = Request {
            max_tokens: prompt.max_tokens.unwrap_or(self.settings.max_tokens).max(1),
            stop: prompt.stop.clone(),
            json_schema: prompt.format.as_ref().map(schema).or_else(|| prompt.response_schema.clone()),
            seed: prompt.seed.map(i64::cast_unsigned),
            deadline: Some(deadline.into_std()),
            ..Request::default()
        };
        if let Some(temperature) = prompt.temperature.or(self.settings.temperature) {
            request.temperature = temperature;
        }
        if let Some(top_p) = prompt.top_p {
            // 0 means the likeliest alone, and so does a share that one token always has
            request.top_p = top_p.max(f32::EPSILON);
        }
        request
    }
}

/// The schema of a form; its name and description are words for models behind an API.
fn schema(format: &Format) -> String {
    match format {
        Format::Object => r#"{"type":"object"}"#.to_owned(),
        Format::Schema(schema) => schema.schema.clone(),
    }
}

#[async_trait]
impl Model for Gguf {
    async fn ask(&self, prompt: &Prompt, deadline: Instant) -> Result<Answer, ModelError> {
        let deadline = deadline.min(Instant::now() + self.settings.timeout);
        // its answer would be a call written out as text
        if !prompt.tools.is_empty() && prompt.tool_choice.as_deref() != Some("none") {
            return Err(ModelError::Refused(
                "models of backend `gguf` cannot call tools yet; use another".to_owned(),
            ));
        }
        let loaded = timeout_at(deadline, self.settled()).await;
        let loaded = loaded.map_err(|_| ModelError::Busy { retry_after: LOADING_RETRY })?;
        let loaded = loaded.map_err(|error| ModelError::Unavailable(error.to_string()))?;
        let permit = self.permit(deadline).await?;
        let (request, messages) = (self.request(prompt, deadline), prompt.messages.clone());
        // rendering and tokenising a long prompt takes longer than an async thread may
        let started = tokio::task::spawn_blocking(move || loaded.start(request, &messages)).await;
        let generation =
            started.map_err(|_| ModelError::Broken("its prompt could not be rendered".to_owned()))??;
        Ok(answer(generation, permit))
    }

    fn abilities(&self) -> Abilities {
        Abilities { tools: false, formats: true, max_tokens: self.settings.max_tokens_max }
    }

    fn ready(&self) -> Result<(), String> {
        match &*self.state.borrow() {
            State::Loading => Err("loading".to_owned()),
            State::Loaded(_) => Ok(()),
            State::Failed(error) => Err(error.to_string()),
        }
    }

    async fn loaded(&self) -> Result<(), String> {
        self.settled().await.map(drop).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    fn start(&self, mut request: Request, messages: &[Utterance]) -> Result<Generation, ModelError> {
        let rendered = self.template.render(messages);
        request.prompt =
            rendered.map_err(|error| ModelError::Refused(format!("its chat template says: {error}")))?;
        self.engine.start(request).map_err(start_error)
    }
}

/// On a thread of its own, so that the end of the runtime does not wait for it.
fn load_in_background(local: &config::Gguf, tell: watch::Sender<State>) {
    let tell = Arc::new(tell);
    let (local, told) = (LoadOrder::of(local), Arc::clone(&tell));
    let thread = std::thread::Builder::new().name("gguf-load".to_owned()).spawn(move || {
        told.send_replace(match local.load() {
            Ok(loaded) => State::Loaded(Arc::new(loaded)),
            Err(error) => {
                tracing::error!(error = %error, "the model cannot be used");
                State::Failed(Arc::new(error))
            }
        })
    });
    if let Err(error) = thread {
        tell.send_replace(State::Failed(Arc::new(SetupError::Thread(error))));
    }
}

/// What to load.
struct LoadOrder {
    config: Config,
    sha256: Option<String>,
}

impl LoadOrder {
    fn of(local: &config::Gguf) -> Self {
        let mut config = Config::new(&local.path);
        config.context_tokens = local.context;
        config.sequences_max = local.max_batch_size;
        config.threads = local.threads;
        Self { config, sha256: local.sha256.clone() }
    }

    fn load(mut self) -> Result<Loaded, SetupError> {
        self.config.sha256 = self.sha256.as_deref().map(digest).transpose()?;
        let engine = Engine::load(&self.config)?;
        let template = self.template(&engine)?;
        Ok(Loaded { engine, template })
    }

    fn template(&self, engine: &Engine) -> Result<Template, SetupError> {
        let metadata = engine.metadata();
        let path = &self.config.path;
        if metadata.chat_template.is_none() {
            tracing::warn!(path = %path.display(), "the model has no chat template; using ChatML");
        }
        let source = metadata.chat_template.as_deref().unwrap_or(CHATML);
        Template::compile(source, &metadata.bos, &metadata.eos)
            .map_err(|source| SetupError::Template { path: path.clone(), source })
    }
}

fn digest(text: &str) -> Result<[u8; 32], SetupError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).map_err(|_| SetupError::Sha256)?;
    Ok(digest)
}

/// Dropping it drops the generation, which frees its sequence at the next step.
fn answer(generation: Generation, permit: Option<OwnedSemaphorePermit>) -> Answer {
    let events = stream::unfold(Some((generation, permit)), |state| async {
        let (mut generation, permit) = state?;
        Some(match generation.next().await {
            Some(Event::Delta(text)) => (Ok(Delta::Text(text)), Some((generation, permit))),
            Some(Event::Done(done)) => (closing(done), None),
            Some(Event::Failed(error)) => (Err(generation_error(&error)), None),
            None => (Err(generation_error(&GenerationError::EngineLost)), None),
        })
    });
    events.boxed()
}

fn closing(done: Done) -> Result<Delta, ModelError> {
    let finish_reason = match done.finish {
        Finish::Stop => FinishReason::Stop,
        Finish::Length => FinishReason::Length,
        Finish::Cancelled => FinishReason::Cancelled,
        Finish::Deadline => return Err(ModelError::TimedOut),
    };
    let Done { prompt_tokens, completion_tokens, .. } = done;
    Ok(Delta::Done(Usage { finish_reason, prompt_tokens, completion_tokens }))
}

fn generation_error(error: &GenerationError) -> ModelError {
    ModelError::Broken(error.to_string())
}

fn start_error(error: StartError) -> ModelError {
    match error {
        StartError::Busy { retry_after } => ModelError::Busy { retry_after },
        StartError::ContextExceeded { prompt_tokens, context_tokens } => {
            ModelError::ContextExceeded { prompt_tokens, context_tokens }
        }
        StartError::Stopped => ModelError::Unavailable(error.to_string()),
        other => ModelError::Refused(other.to_string()),
    }
}
