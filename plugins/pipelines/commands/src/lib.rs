//! The pipeline in front of the others: which messages are for the bot, and what people tell it to do.
//!
//! `read` knows what people type, `settings` what the operator allows, `choice` keeps the model of a
//! conversation, `sentences` has the words. It knows no model and asks none.

use parlor_sdk::{
    Content, Fault, Pipeline, Reply, Role, Scope, Step, Turn, Utterance, log, register_pipeline,
};

mod choice;
mod read;
mod sentences;
mod settings;

use read::{Call, after_mentions, after_trigger, plain};
use settings::{Command, Language, Settings};

/// What goes back to the channel's model, unless a model has this name.
const USUAL: [&str; 2] = ["default", "默认"];
/// Names that are less like each other are not taken for a slip of the pen.
const LIKENESS_MIN: f64 = 0.7;

/// One message.
#[derive(Default)]
pub struct Commands;

impl Pipeline for Commands {
    fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
        let settings = Settings::read()?;
        let text = turn.message.text.clone();
        let is_named = turn.message.addressed || turn.message.scope == Scope::Direct;
        // Elsewhere `@somebody /reset` is for somebody else.
        let heard = if is_named { after_mentions(&text) } else { &text };
        let behind = settings.trigger.as_deref().and_then(|trigger| after_trigger(heard, trigger));
        if !is_for_the_bot(&turn, &settings, behind.is_some()) {
            return Ok(Step::Ignore);
        }
        let is_asked = is_named || behind.is_some();
        let desk = Desk { language: settings.language_of(&turn), settings: &settings, turn: &turn, is_asked };
        if let Some(step) = desk.answer(behind.unwrap_or(heard)) {
            return Ok(step);
        }
        if behind.is_some_and(str::is_empty) && has_words_alone(&turn) {
            return Ok(desk.say(desk.help()));
        }
        let behind = behind.map(str::to_owned);
        Ok(hand_on(turn, &settings, behind))
    }
}

/// In a group people also talk to each other.
fn is_for_the_bot(turn: &Turn, settings: &Settings, has_trigger: bool) -> bool {
    let is_named = turn.message.addressed && settings.mention_suffices;
    settings.trigger.is_none() || turn.message.scope == Scope::Direct || has_trigger || is_named
}

fn has_words_alone(turn: &Turn) -> bool {
    turn.message.attachments.is_empty() && turn.message.quoted.is_none()
}

/// The message as the model shall see it, and the model that this conversation chose.
fn hand_on(mut turn: Turn, settings: &Settings, behind: Option<String>) -> Step {
    let mut is_changed = false;
    if let Some(text) = behind {
        turn.message.text = text;
        // The trigger is a way of saying the bot's name.
        turn.message.addressed = true;
        is_changed = true;
    }
    if let Some(trigger) = &settings.trigger {
        let said = turn.history.iter_mut().filter(|utterance| utterance.role == Role::User);
        said.for_each(|utterance| is_changed |= strip(utterance, trigger));
    }
    let may_choose = settings.allow.contains(&Command::Model) && !settings.models.is_empty();
    let chosen = may_choose.then(|| choice::of(&turn.message.conversation, &settings.models)).flatten();
    if let Some(model) = chosen {
        turn.choose_model(model);
        is_changed = true;
    }
    if is_changed { Step::Next(Box::new(turn)) } else { Step::Pass }
}

/// Takes the trigger off what was said before.
fn strip(utterance: &mut Utterance, trigger: &str) -> bool {
    let Some(Content::Text(text)) = utterance.content.first_mut() else { return false };
    let Some(rest) = after_trigger(text, trigger).map(str::to_owned) else { return false };
    *text = rest;
    true
}

/// Where commands are answered.
struct Desk<'a> {
    settings: &'a Settings,
    turn: &'a Turn,
    language: Language,
    /// The message is said to the bot; in a group it may be for another one.
    is_asked: bool,
}

impl Desk<'_> {
    /// None if the text is no command, or one that passes.
    fn answer(&self, text: &str) -> Option<Step> {
        let call = read::call(text)?;
        let command = Command::named(&call.name).filter(|command| self.settings.allow.contains(command));
        match command {
            Some(Command::Model) => Some(self.say(self.model(&call))),
            Some(command) if !self.may(command) => Some(self.refuse(command)),
            Some(Command::Help) => Some(self.say(self.help())),
            Some(Command::Reset) => Some(Step::Reset(Reply::aside(self.language.forgotten()))),
            None if self.settings.passes_unknown || !self.is_asked || !call.name.is_ascii() => None,
            None => Some(self.say(self.no_such_command(&call))),
        }
    }

    /// Help, commands and their answers are no part of the conversation.
    fn say(&self, text: String) -> Step {
        Step::Say(Reply::aside(text))
    }

    fn refuse(&self, command: Command) -> Step {
        self.say(self.language.not_allowed(command))
    }

    fn may(&self, command: Command) -> bool {
        let may = self.settings.may(&self.turn.message.sender.id, command);
        if !may {
            log::security("a command is for admins alone", &[("command", command.name())]);
        }
        may
    }

    fn help(&self) -> String {
        let sender = &self.turn.message.sender.id;
        self.language.help(self.settings, sender, self.turn.message.scope == Scope::Group)
    }

    /// Tells the model, or chooses one.
    fn model(&self, call: &Call) -> String {
        let (models, conversation) = (&self.settings.models, &self.turn.message.conversation);
        if call.argument.is_empty() {
            let chosen = choice::of(conversation, models);
            return self.language.model(chosen.as_deref(), self.settings);
        }
        if models.is_empty() {
            return self.language.model_fixed();
        }
        if !self.may(Command::Model) {
            return self.language.not_allowed(Command::Model);
        }
        let wanted: String = call.argument.chars().map(plain).collect();
        let (chosen, kept) = match models.iter().find(|model| model.to_lowercase() == wanted) {
            Some(model) => (Some(model.as_str()), choice::keep(conversation, model)),
            None if USUAL.contains(&wanted.as_str()) => (None, choice::forget(conversation)),
            None => {
                let nearest = nearest(&wanted, models.iter().map(String::as_str));
                return self.language.no_such_model(&call.argument, nearest, self.settings);
            }
        };
        match kept {
            Ok(()) => self.language.model_chosen(chosen),
            Err(error) => {
                log::error("a choice could not be kept", &[("reason", &Fault::from(error).reason)]);
                self.language.not_kept()
            }
        }
    }

    fn no_such_command(&self, call: &Call) -> String {
        let allowed = &self.settings.allow;
        let meant = nearest(&call.name, allowed.iter().map(|command| command.name()));
        let meant = meant.and_then(Command::named);
        self.language.no_such_command(&call.name, meant, allowed.contains(&Command::Help))
    }
}

/// The name that was probably meant.
fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = names.map(|name| (strsim::jaro_winkler(typed, &name.to_lowercase()), name));
    let best = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).map(|(_, name)| name)
}

register_pipeline!(Commands);
