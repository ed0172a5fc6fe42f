//! The operator's settings, and the commands that there can be.

use parlor_sdk::{
    Fault, Turn,
    settings::{get, get_or},
    text::has_han,
};

/// What people can ask the bot to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tells what there is.
    Help,
    /// Forgets the conversation.
    Reset,
    /// Tells or chooses the model.
    Model,
}

impl Command {
    /// All of them, in the order in which help lists them.
    pub const ALL: [Self; 3] = [Self::Help, Self::Reset, Self::Model];

    /// As it is typed and stands in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Help => "help",
            Self::Reset => "reset",
            Self::Model => "model",
        }
    }

    /// The command of this name, in English or Chinese.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "help" | "帮助" => Some(Self::Help),
            "reset" | "重置" => Some(Self::Reset),
            "model" | "模型" => Some(Self::Model),
            _ => None,
        }
    }
}

/// A language that the plugin speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What begins messages for the bot in groups.
    pub trigger: Option<String>,
    /// Whether naming the bot is enough.
    pub mention_suffices: bool,
    /// The commands that there are.
    pub allow: Vec<Command>,
    /// Whether a command that there is not passes as any message.
    pub passes_unknown: bool,
    /// Models that people may choose.
    pub models: Vec<String>,
    /// Who may use `admin_commands`; everybody if empty.
    pub admins: Vec<String>,
    /// Commands of the admins.
    pub admin_commands: Vec<Command>,
    /// What help says first.
    pub about: Option<String>,
    /// The language of all answers; the person's own if unset.
    pub language: Option<Language>,
}

impl Settings {
    /// # Errors
    /// A setting is not what the manifest says.
    pub fn read() -> Result<Self, Fault> {
        Ok(Self {
            trigger: get("trigger")?,
            mention_suffices: get_or("mention_suffices", true)?,
            allow: commands("allow", &Command::ALL)?,
            passes_unknown: get_or("unknown", "answer".to_owned())? == "pass",
            models: get_or("models", Vec::new())?,
            admins: get_or("admins", Vec::new())?,
            admin_commands: commands("admin_commands", &[Command::Model])?,
            about: get("about")?,
            language: get::<String>("language")?.map(|language| match language.as_str() {
                "zh" => Language::Chinese,
                _ => Language::English,
            }),
        })
    }

    /// Whether this person may use a command.
    pub fn may(&self, sender: &str, command: Command) -> bool {
        let is_open = self.admins.is_empty() || !self.admin_commands.contains(&command);
        is_open || self.admins.iter().any(|admin| admin == sender)
    }

    /// The language to answer in: by what was written now, or else last.
    pub fn language_of(&self, turn: &Turn) -> Language {
        let last = || turn.history.last().is_some_and(|utterance| has_han(&utterance.text()));
        let is_chinese = || has_han(&turn.message.text) || turn.message.text.contains('／') || last();
        let by_text = || if is_chinese() { Language::Chinese } else { Language::English };
        self.language.unwrap_or_else(by_text)
    }
}

fn commands(name: &str, default: &[Command]) -> Result<Vec<Command>, Fault> {
    let Some(names) = get::<Vec<String>>(name)? else { return Ok(default.to_vec()) };
    let command = |word: &String| {
        Command::ALL
            .into_iter()
            .find(|command| command.name() == word)
            .ok_or_else(|| Fault::invalid(format!("setting `{name}` names a command that there is not")))
    };
    names.iter().map(command).collect()
}
