//! What a pipeline answers: the trait to write and the types it speaks.
//!
//! A pipeline value lives for one turn: made by `Default`, asked to [`Pipeline::begin`], then fed
//! completions and deltas until the turn ends. See `wit/0.1/pipeline.wit`.

use crate::{
    fault::Fault,
    message::{Extra, Message, Reply, Tool, ToolCall, Utterance},
};

/// The well-known key of [`Turn::extra`] for [`Turn::model`].
pub const MODEL: &str = "model";

/// One turn on its way through this stage.
pub trait Pipeline: Default + 'static {
    /// Looks at the turn and says what shall happen.
    ///
    /// # Errors
    /// The host apologises to the person and tells the operator.
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault>;

    /// Gets what the model said, or why it failed. Only after [`Step::Ask`]. What was asked in [`Pipeline::begin`]
    /// may end as that may: [`Step::Pass`] and [`Step::Next`] hand the turn on.
    ///
    /// # Errors
    /// As for [`Pipeline::begin`].
    fn resume(&mut self, completion: Result<Completion, Fault>) -> Result<Step, Fault> {
        Ok(Step::Say(Reply::new(completion?.text)))
    }

    /// Text streams by, of this stage's own question or from a later stage. What is held back may come
    /// out of a later call; the whole text comes to [`Pipeline::resume`] where the question was this
    /// stage's own, else to [`Pipeline::finish`].
    ///
    /// # Errors
    /// As for [`Pipeline::begin`].
    fn filter(&mut self, delta: String) -> Result<Flow, Fault> {
        Ok(Flow::Show(delta))
    }

    /// A later stage, or the model that no stage asked, has said its reply, streamed or not: as
    /// `finish` of the later stages left it, whatever their filters showed. [`Step::Pass`] leaves it,
    /// [`Step::Say`] and [`Step::Reset`] have the whole text as it shall stand, [`Step::Ask`] asks once
    /// more, [`Step::Ignore`] stays silent; [`Step::Next`] fails the turn.
    ///
    /// # Errors
    /// As for [`Pipeline::begin`].
    fn finish(&mut self, reply: Reply) -> Result<Step, Fault> {
        Ok(Step::Say(reply))
    }
}

/// A message with its surroundings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// The channel's name in the configuration.
    pub channel: String,
    /// The adapter's name; empty at the host's own doors.
    pub platform: String,
    /// What was said.
    pub message: Message,
    /// Oldest first, without the current message; bounded by the channel's `history`.
    pub history: Vec<Utterance>,
    /// More about it.
    pub extra: Extra,
}

impl Turn {
    /// The model of this turn's prompts that name none of their own, if a stage in front chose one.
    pub fn model(&self) -> Option<&str> {
        self.extra.iter().find(|(name, _)| name == MODEL).map(|(_, model)| model.as_str())
    }

    /// Chooses a model out of the configuration for this turn; hand it on by [`Step::Next`]. The
    /// host passes over a name that is not configured, and logs it.
    pub fn choose_model(&mut self, model: impl Into<String>) {
        self.extra.retain(|(name, _)| name != MODEL);
        self.extra.push((MODEL.to_owned(), model.into()));
    }
}

/// A question to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// A model name from the configuration; none takes [`Turn::model`], and else the channel's.
    pub model: Option<String>,
    /// What the model is shown, oldest first.
    pub messages: Vec<Utterance>,
    /// Tools that it may ask for.
    pub tools: Vec<Tool>,
    /// `auto`, `none`, `required`, or the name of the tool that it must ask for.
    pub tool_choice: Option<String>,
    /// Bound of the answer.
    pub max_tokens: Option<u32>,
    /// 0 is the same text each time.
    pub temperature: Option<f32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// JSON Schema that the answer must satisfy.
    pub response_schema: Option<String>,
    /// A host with a cache may answer the same prompt from it.
    pub cacheable: bool,
    /// False: the text is for this stage alone; no filter, no update.
    pub show: bool,
    /// More for the model's backend.
    pub extra: Extra,
}

impl Prompt {
    /// Asks the turn's model, or else the channel's, and shows the answer as it comes.
    pub fn new(messages: Vec<Utterance>) -> Self {
        Self { messages, ..Self::default() }
    }
}

impl Default for Prompt {
    fn default() -> Self {
        Self {
            model: None,
            messages: Vec::new(),
            tools: Vec::new(),
            tool_choice: None,
            max_tokens: None,
            temperature: None,
            stop: Vec::new(),
            response_schema: None,
            cacheable: false,
            show: true,
            extra: Vec::new(),
        }
    }
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinishReason {
    /// It had said all.
    #[default]
    Stop,
    /// The bound was reached.
    Length,
    /// It wants tools.
    ToolCalls,
    /// Its keeper cut it off.
    Filtered,
    /// Nobody listens any more.
    Cancelled,
    /// None of these.
    Other,
}

/// What a model said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// The model that answered.
    pub model: String,
    /// Its words.
    pub text: String,
    /// Tools that it asks for.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub finish_reason: FinishReason,
    /// Tokens read.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub completion_tokens: u32,
    /// More about it.
    pub extra: Extra,
}

/// What shall happen to a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Not mine: hand the turn to the next stage as it is.
    Pass,
    /// Hand a rewritten turn to the next stage.
    Next(Box<Turn>),
    /// Ask a model; [`Pipeline::resume`] gets what it says, or why it failed.
    Ask(Prompt),
    /// Answer now.
    Say(Reply),
    /// Stay silent.
    Ignore,
    /// Forget this conversation's history, then say this.
    Reset(Reply),
}

/// What becomes of streaming text.
#[derive(Clone, Debug, PartialEq)]
pub enum Flow {
    /// Show this now.
    Show(String),
    /// Stop the model: this is the reply.
    Stop(Reply),
}
