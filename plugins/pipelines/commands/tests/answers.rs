//! A message through the trait: what is answered, what goes on, and what stays between people.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_commands::Commands;
use parlor_sdk::{
    Attachment, MediaKind, Message, Pipeline, Reply, Scope, Step, Turn, Utterance, log::Level, testing::Host,
};

const DAY_MS: u64 = 24 * 3600 * 1000;

fn direct(text: &str) -> Turn {
    Turn { message: Message::new("m1", "c1", "ann", text), ..Turn::default() }
}

fn group(text: &str, addressed: bool) -> Turn {
    let mut turn = direct(text);
    (turn.message.scope, turn.message.addressed) = (Scope::Group, addressed);
    turn
}

fn step(turn: Turn) -> Step {
    Commands.begin(turn).unwrap()
}

fn said(turn: Turn) -> String {
    match step(turn) {
        Step::Say(reply) => {
            assert_eq!(reply, Reply::aside(reply.text.clone()), "an answer to a command enters no history");
            reply.text
        }
        other => panic!("{other:?}"),
    }
}

fn next(turn: Turn) -> Turn {
    match step(turn) {
        Step::Next(turn) => *turn,
        other => panic!("{other:?}"),
    }
}

fn models() -> Host {
    Host::new().setting("models", "[\"Qwen-Plus\", \"local\"]")
}

#[test]
fn without_a_trigger_every_message_passes() {
    let _host = Host::new();
    for turn in [direct("hello"), group("hello", false), group("/etc/hosts is wrong", false), direct("a / b")]
    {
        assert_eq!(step(turn), Step::Pass);
    }
}

#[test]
fn in_groups_the_trigger_or_the_bots_name_is_needed() {
    let _host = Host::new().setting("trigger", "\"/ai\"");
    for text in ["hello", "/aim high", "say /ai", "/help", "@bob /ai hi"] {
        assert_eq!(step(group(text, false)), Step::Ignore, "{text}");
    }
    for (text, heard) in
        [("/ai hi", "hi"), ("／ＡＩ　你好", "你好"), ("/Ai你好", "你好"), (" \u{200b}/ai, hi", ", hi")]
    {
        let message = next(group(text, false)).message;
        assert_eq!(
            (message.text.as_str(), message.addressed),
            (heard, true),
            "the trigger says the bot's name"
        );
    }
    assert_eq!(step(group("hello", true)), Step::Pass, "the bot is named");
    assert_eq!(next(group("@Bot\u{2005}/ai hi", true)).message.text, "hi");
    assert_eq!(step(direct("hello")), Step::Pass);
    assert_eq!(next(direct("/ai hello")).message.text, "hello");
}

#[test]
fn a_team_may_want_the_trigger_always() {
    let _host = Host::new().setting("trigger", "\"小助手\"").setting("mention_suffices", "false");
    assert_eq!(step(group("hello", true)), Step::Ignore);
    assert_eq!(next(group("小助手hello", false)).message.text, "hello");
    assert_eq!(step(direct("hello")), Step::Pass);
}

#[test]
fn the_trigger_is_not_part_of_the_history() {
    let _host = Host::new().setting("trigger", "\"/ai\"");
    let mut turn = group("/ai and now?", false);
    turn.history = vec![Utterance::user("/ai first"), Utterance::assistant("/ai stays")];
    assert_eq!(next(turn).history, [Utterance::user("first"), Utterance::assistant("/ai stays")]);
}

#[test]
fn the_trigger_alone_gets_help_unless_something_comes_with_it() {
    let _host = Host::new().setting("trigger", "\"/ai\"");
    assert!(said(group("/ai", false)).contains("Begin a message with `/ai`"));
    let mut turn = group("/ai", false);
    turn.message.attachments = vec![Attachment::new(MediaKind::Image, "r")];
    assert_eq!(next(turn).message.text, "");
}

#[test]
fn help_lists_what_is_allowed_in_the_persons_language() {
    let host = Host::new().setting("about", "\"I am Bot.\"");
    let help = said(direct("/help"));
    assert!(help.starts_with("I am Bot.\n\n- `/help` tells"), "{help}");
    assert!(help.contains("`/reset`") && help.contains("`/model`"), "{help}");
    let chinese = "- `/help` 查看可用命令";
    assert!(said(direct("/帮助")).contains(chinese));
    assert!(said(direct("／help")).contains(chinese), "a full-width slash comes from a Chinese keyboard");
    let mut turn = direct("/help");
    turn.history = vec![Utterance::user("你好"), Utterance::assistant("你好！")];
    assert!(said(turn).contains(chinese));
    let _host = host.setting("allow", "[\"help\"]").setting("language", "\"zh\"");
    let help = said(direct("/help"));
    assert!(help.contains(chinese) && !help.contains("reset"), "{help}");
}

#[test]
fn help_promises_nobody_what_he_may_not_do() {
    let host = Host::new();
    assert!(said(direct("/help")).ends_with("- `/model` tells which model answers"), "there is no choice");
    let host = host.setting("models", "[\"local\"]");
    assert!(said(direct("/help")).ends_with("`/model NAME` chooses another"));
    let host = host.setting("admins", "[\"eve\"]").setting("admin_commands", "[\"model\", \"reset\"]");
    let help = said(direct("/help"));
    assert!(help.ends_with("- `/model` tells which model answers") && !help.contains("/reset"), "{help}");
    let mut admin = direct("/help");
    admin.message.sender.id = "eve".into();
    let help = said(admin);
    assert!(help.ends_with("`/model NAME` chooses another") && help.contains("/reset"), "{help}");
    drop(host);
}

/// Other bots of a group have commands of their own.
#[test]
fn a_strange_command_in_a_group_that_was_not_said_to_the_bot_gets_no_answer() {
    let host = Host::new();
    assert_eq!(step(group("/deploy now", false)), Step::Pass);
    assert!(said(group("/deploy now", true)).starts_with("There is no command `/deploy`."));
    assert!(said(group("/help", false)).contains("`/help`"), "its own are known to it all the same");
    let _host = host.setting("trigger", "\"/ai\"");
    assert!(said(group("/ai /deploy", false)).starts_with("There is no command `/deploy`."));
}

#[test]
fn a_command_is_known_however_it_is_typed() {
    let _host = Host::new();
    for text in [
        "/reset",
        " ／ＲＥＳＥＴ ",
        "/Reset@bot",
        "@Bot\u{2005}/reset",
        "/reset @Bot",
        "\u{feff}/reset\u{200b}",
        "/重置",
    ] {
        assert!(matches!(step(direct(text)), Step::Reset(_)), "{text:?}");
    }
    assert_eq!(step(group("@bob /reset", false)), Step::Pass, "it is for Bob");
    assert_eq!(
        step(Turn { ..direct("/reset") }),
        Step::Reset(Reply::aside("Forgotten. Let us start afresh."))
    );
}

#[test]
fn a_command_that_is_not_on_the_list_gets_a_plain_sentence_or_passes() {
    let host = Host::new().setting("allow", "[\"help\", \"reset\"]");
    assert_eq!(
        said(direct("/rest")),
        "There is no command `/rest`. Did you mean `/reset`? `/help` lists what there is."
    );
    assert_eq!(said(direct("/model x")), "There is no command `/model`. `/help` lists what there is.");
    assert_eq!(step(direct("/今天天气怎么样")), Step::Pass, "talk that begins with a slash");
    let _host = host.setting("unknown", "\"pass\"");
    assert_eq!(step(direct("/model x")), Step::Pass);
}

#[test]
fn a_chosen_model_stays_with_its_conversation() {
    let host = models();
    assert_eq!(step(direct("hi")), Step::Pass);
    let told = said(direct("/model"));
    assert!(told.starts_with("Model: the usual one.\n\nThere are: `Qwen-Plus`, `local`."), "{told}");
    assert_eq!(said(direct("/model ＱＷＥＮ-plus")), "From now on `Qwen-Plus` answers in this conversation.");
    assert!(said(direct("/model")).starts_with("Model: `Qwen-Plus`."));
    assert_eq!(next(direct("hi")).model(), Some("Qwen-Plus"));
    let mut elsewhere = direct("hi");
    elsewhere.message.conversation = "c2".into();
    assert_eq!(step(elsewhere), Step::Pass);
    for _ in 0..3 {
        host.step_ms(29 * DAY_MS);
        assert_eq!(next(direct("hi")).model(), Some("Qwen-Plus"), "a choice in use is kept");
    }
    host.step_ms(31 * DAY_MS);
    assert_eq!(step(direct("hi")), Step::Pass, "and forgotten when nobody comes back to it");
}

#[test]
fn a_choice_can_be_taken_back_and_ends_with_the_offer() {
    let host = models();
    said(direct("/model local"));
    assert_eq!(said(direct("/model 默认")), "好的，本会话恢复使用默认模型。");
    assert_eq!(step(direct("hi")), Step::Pass);
    said(direct("/model local"));
    let _host = host.setting("models", "[\"Qwen-Plus\"]");
    assert_eq!(step(direct("hi")), Step::Pass, "it is no longer offered");
    assert!(said(direct("/model")).starts_with("Model: the usual one."));
}

#[test]
fn an_unknown_model_is_answered_with_the_choices() {
    let _host = models();
    let told = said(direct("/model qwen-puls"));
    assert!(
        told.starts_with("There is no model `qwen-puls`. Did you mean `Qwen-Plus`?\n\nThere are: "),
        "{told}"
    );
    let told = said(direct("/model `x`\u{7}"));
    assert!(told.starts_with("There is no model `x`.\n"), "{told}");
    let _host = Host::new();
    assert_eq!(said(direct("/model local")), "The model cannot be chosen here.");
    assert_eq!(said(direct("/model")), "Model: the usual one.");
}

#[test]
fn what_is_for_admins_is_for_them_alone() {
    let host = models().setting("admins", "[\"eve\"]");
    assert!(said(direct("/model local")).starts_with("You are not allowed to use `/model`"));
    assert_eq!(host.lines().iter().map(|line| line.level).collect::<Vec<_>>(), [Level::Security]);
    assert_eq!(step(direct("hi")), Step::Pass);
    assert!(said(direct("/model")).starts_with("Model: "), "telling it is free to all");
    let mut admin = direct("/model local");
    admin.message.sender.id = "eve".into();
    said(admin);
    assert_eq!(next(direct("hi")).model(), Some("local"), "the choice is the conversation's");
    let _host = host.setting("admin_commands", "[\"reset\"]");
    assert!(said(direct("/重置")).contains("没有使用 `/reset` 的权限"));
}

#[test]
fn a_conversation_with_a_very_long_id_keeps_its_choice_apart() {
    let _host = models();
    let of = |id: String, text: &str| {
        let mut turn = direct(text);
        turn.message.conversation = id;
        turn
    };
    let long = "甲".repeat(200);
    said(of(long.clone() + "1", "/model local"));
    assert_eq!(next(of(long.clone() + "1", "hi")).model(), Some("local"));
    assert_eq!(step(of(long + "2", "hi")), Step::Pass);
}
