//! What the plugin says, in English and Chinese. CommonMark, as every reply.

use crate::settings::{Command, Language, Settings};

impl Language {
    fn choose(self, english: &str, chinese: &str) -> String {
        match self {
            Self::English => english.to_owned(),
            Self::Chinese => chinese.to_owned(),
        }
    }

    /// What this person has to say to the bot.
    pub fn help(self, settings: &Settings, sender: &str, is_group: bool) -> String {
        let about = settings.about.iter().map(|about| format!("{about}\n"));
        let trigger = settings.trigger.iter().filter(|_| is_group).map(|trigger| {
            let trigger = trigger.trim();
            match (self, settings.mention_suffices) {
                (Self::English, true) => {
                    format!("Begin a message with `{trigger}`, or mention me, and I answer.\n")
                }
                (Self::English, false) => format!("Begin a message with `{trigger}`, and I answer.\n"),
                (Self::Chinese, true) => format!("消息以 `{trigger}` 开头或 @我，我就会回答。\n"),
                (Self::Chinese, false) => format!("消息以 `{trigger}` 开头，我就会回答。\n"),
            }
        });
        let chooses = !settings.models.is_empty() && settings.may(sender, Command::Model);
        let is_open = |command: &Command| *command == Command::Model || settings.may(sender, *command);
        let commands = Command::ALL.into_iter().filter(|command| settings.allow.contains(command));
        let commands = commands
            .filter(is_open)
            .map(|command| format!("- `/{}` {}", command.name(), self.purpose(command, chooses)));
        about.chain(trigger).chain(commands).collect::<Vec<_>>().join("\n")
    }

    fn purpose(self, command: Command, chooses: bool) -> String {
        match command {
            Command::Help => self.choose("tells what there is", "查看可用命令"),
            Command::Reset => self.choose("forgets what we talked about", "清空对话，重新开始"),
            Command::Model if !chooses => self.choose("tells which model answers", "查看当前模型"),
            Command::Model => self.choose(
                "tells which model answers; `/model NAME` chooses another",
                "查看当前模型；`/model 名称` 切换模型",
            ),
        }
    }

    /// The conversation is forgotten.
    pub fn forgotten(self) -> String {
        self.choose("Forgotten. Let us start afresh.", "好的，之前的对话已清空，我们重新开始。")
    }

    /// Which model answers, and which there are.
    pub fn model(self, chosen: Option<&str>, settings: &Settings) -> String {
        let current = match (self, chosen) {
            (Self::English, Some(model)) => format!("Model: `{model}`."),
            (Self::Chinese, Some(model)) => format!("当前模型：`{model}`。"),
            (Self::English, None) => "Model: the usual one.".to_owned(),
            (Self::Chinese, None) => "当前模型：默认。".to_owned(),
        };
        format!("{current}{}", self.choices(settings))
    }

    /// From now on this model answers; none is the usual one.
    pub fn model_chosen(self, model: Option<&str>) -> String {
        match (self, model) {
            (Self::English, Some(model)) => format!("From now on `{model}` answers in this conversation."),
            (Self::Chinese, Some(model)) => format!("好的，本会话改由 `{model}` 回答。"),
            (Self::English, None) => "From now on the usual model answers again.".to_owned(),
            (Self::Chinese, None) => "好的，本会话恢复使用默认模型。".to_owned(),
        }
    }

    /// There is no such model; perhaps `nearest` was meant.
    pub fn no_such_model(self, name: &str, nearest: Option<&str>, settings: &Settings) -> String {
        let name = shown(name);
        let sorry = match (self, nearest) {
            (Self::English, Some(nearest)) => {
                format!("There is no model {name}. Did you mean `{nearest}`?")
            }
            (Self::Chinese, Some(nearest)) => format!("没有模型 {name}。您是指 `{nearest}` 吗？"),
            (Self::English, None) => format!("There is no model {name}."),
            (Self::Chinese, None) => format!("没有模型 {name}。"),
        };
        format!("{sorry}{}", self.choices(settings))
    }

    /// There is nothing to choose from.
    pub fn model_fixed(self) -> String {
        self.choose("The model cannot be chosen here.", "这里不能切换模型。")
    }

    /// The choice could not be kept.
    pub fn not_kept(self) -> String {
        self.choose(
            "Sorry, I could not keep that choice. Please try again later.",
            "抱歉，没能保存这个选择，请稍后再试。",
        )
    }

    /// The command is for admins.
    pub fn not_allowed(self, command: Command) -> String {
        let name = command.name();
        match self {
            Self::English => format!("You are not allowed to use `/{name}` here; ask an administrator."),
            Self::Chinese => format!("您没有使用 `/{name}` 的权限，请联系管理员。"),
        }
    }

    /// There is no such command; perhaps `nearest` was meant.
    pub fn no_such_command(self, name: &str, nearest: Option<Command>, has_help: bool) -> String {
        let mut sentences = vec![match self {
            Self::English => format!("There is no command `/{name}`."),
            Self::Chinese => format!("没有命令 `/{name}`。"),
        }];
        sentences.extend(nearest.map(|nearest| match self {
            Self::English => format!("Did you mean `/{}`?", nearest.name()),
            Self::Chinese => format!("您是指 `/{}` 吗？", nearest.name()),
        }));
        if has_help {
            sentences.push(self.choose("`/help` lists what there is.", "发送 `/help` 查看可用命令。"));
        }
        sentences.join(if self == Self::English { " " } else { "" })
    }

    fn choices(self, settings: &Settings) -> String {
        if settings.models.is_empty() {
            return String::new();
        }
        let models: Vec<String> = settings.models.iter().map(|model| format!("`{model}`")).collect();
        match self {
            Self::English => {
                let models = models.join(", ");
                format!("\n\nThere are: {models}. `/model default` goes back to the usual one.")
            }
            Self::Chinese => {
                format!("\n\n可选：{}。发送 `/model default` 恢复默认。", models.join("、"))
            }
        }
    }
}

/// What a person typed, short, and as code so that nothing in it is markup.
fn shown(typed: &str) -> String {
    let plain: String = typed.chars().filter(|c| *c != '`' && !c.is_control()).take(40).collect();
    format!("`{plain}`")
}
