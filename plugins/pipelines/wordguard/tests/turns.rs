//! A turn through the trait: what goes on to the model, what is shown, and what the log tells.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use parlor_sdk::{
    Attachment, Flow, MediaKind, Message, Pipeline, Reply, Step, Turn, Utterance, log::Level, testing::Host,
};
use parlor_wordguard::Wordguard;

const WORDS: &str = r#"["色情", "damn", "foo bar"]"#;

fn host() -> Host {
    Host::new().setting("words", WORDS)
}

fn turn(text: &str) -> Turn {
    Turn { message: Message::new("m1", "c1", "u1", text), ..Turn::default() }
}

fn next(text: &str) -> Turn {
    match Wordguard::default().begin(turn(text)).unwrap() {
        Step::Next(turn) => *turn,
        other => panic!("{other:?}"),
    }
}

fn begun() -> Wordguard {
    let mut guard = Wordguard::default();
    assert_eq!(guard.begin(turn("hello")).unwrap(), Step::Pass);
    guard
}

fn show(guard: &mut Wordguard, delta: &str) -> String {
    match guard.filter(delta.to_owned()).unwrap() {
        Flow::Show(text) => text,
        other => panic!("{other:?}"),
    }
}

fn rules(host: &Host) -> Vec<(String, String)> {
    let lines = host.lines();
    assert!(lines.iter().all(|line| line.level == Level::Security));
    let field = |line: &parlor_sdk::testing::LogLine, name: &str| {
        line.fields.iter().find(|(key, _)| key == name).unwrap().1.clone()
    };
    lines.iter().map(|line| (field(line, "direction"), field(line, "rule"))).collect()
}

#[test]
fn a_message_with_a_listed_word_is_refused_in_the_persons_language() {
    let host = host();
    let refused = |text: &str| match Wordguard::default().begin(turn(text)).unwrap() {
        Step::Say(reply) => reply,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("讲个 色\u{200b}情 故事"), Reply::aside("抱歉，这个话题我不能讨论。"));
    assert_eq!(refused("ＤＡＭＮ it"), Reply::aside("Sorry, I cannot talk about that."));
    assert_eq!(rules(&host)[0], ("in".to_owned(), "words[0]".to_owned()));
    let _host = host.setting("refusal", "\"No.\"");
    assert_eq!(refused("damn"), Reply::aside("No."));
}

#[test]
fn a_message_without_one_passes_as_it_is() {
    let host = host();
    assert_eq!(Wordguard::default().begin(turn("The damned class, 情色")).unwrap(), Step::Pass);
    assert!(host.lines().is_empty());
}

#[test]
fn what_is_quoted_or_attached_counts_as_said() {
    let _host = host();
    let mut quoting = turn("what is this?");
    quoting.message.quoted = Some("damn".into());
    assert!(matches!(Wordguard::default().begin(quoting).unwrap(), Step::Say(_)));
    let mut sending = turn("look");
    sending.message.attachments = vec![Attachment::new(MediaKind::File, "r").named("色情.pdf")];
    assert!(matches!(Wordguard::default().begin(sending).unwrap(), Step::Say(_)));
}

#[test]
fn masked_words_do_not_reach_the_model() {
    let _host = host().setting("inbound", "\"mask\"");
    assert_eq!(next("a Foo\u{a0} BAR, 色 情!").message.text, "a ＊＊＊＊＊＊＊＊, ＊＊＊!");
}

/// The host keeps what a person said, not what became of it.
#[test]
fn history_is_masked_whatever_happens_to_the_message() {
    for action in ["\"mask\"", "\"refuse\""] {
        let _host = host().setting("inbound", action);
        let mut turn = turn("go on");
        turn.history = vec![Utterance::user("damn"), Utterance::assistant("well")];
        turn.message.context = vec![Utterance::user("色情")];
        let Step::Next(next) = Wordguard::default().begin(turn).unwrap() else { panic!("{action}") };
        assert_eq!(next.history, [Utterance::user("＊＊＊＊"), Utterance::assistant("well")]);
        assert_eq!(next.message.context, [Utterance::user("＊＊")]);
        assert_eq!(next.message.text, "go on");
    }
}

#[test]
fn an_alert_lets_all_through_and_names_the_rule_alone() {
    let host = host().setting("inbound", "\"alert\"").setting("outbound", "\"alert\"");
    let mut guard = Wordguard::default();
    assert_eq!(guard.begin(turn("damn")).unwrap(), Step::Pass);
    assert_eq!(show(&mut guard, "a foo "), "a foo ");
    assert_eq!(show(&mut guard, "bar!"), "bar!");
    assert_eq!(guard.finish(Reply::new("a foo bar!")).unwrap(), Step::Pass);
    let expected = [("in", "words[1]"), ("out", "words[2]")].map(|(d, r)| (d.to_owned(), r.to_owned()));
    assert_eq!(rules(&host), expected, "each once");
    assert!(!format!("{:?}", host.lines()).contains("damn"));
}

#[test]
fn a_word_cut_by_deltas_is_masked_and_the_rest_flows() {
    let _host = host();
    let mut guard = begun();
    let deltas = ["so da", "mn nice", ": 色", "\u{200d}", "情", "片, f", "oo"];
    let shown: Vec<String> = deltas.iter().map(|delta| show(&mut guard, delta)).collect();
    assert_eq!(shown, ["so ", "＊＊＊＊ nice", ": ", "", "", "＊＊片, ", ""]);
    let Step::Say(reply) = guard.finish(Reply::new(deltas.concat())).unwrap() else { panic!("nothing said") };
    assert_eq!(reply.text, shown.concat() + "foo", "what was held back comes with the whole text");
}

#[test]
fn an_answer_without_listed_words_stays_as_it_is() {
    let _host = host();
    let mut guard = begun();
    assert_eq!(show(&mut guard, "good"), "good");
    assert_eq!(guard.finish(Reply::new("good")).unwrap(), Step::Pass);
}

#[test]
fn a_refused_answer_stops_the_model_before_a_character_of_the_word_is_shown() {
    let _host = host().setting("outbound", "\"refuse\"");
    let mut guard = begun();
    assert_eq!(show(&mut guard, "so d"), "so ");
    assert_eq!(show(&mut guard, "amn"), "");
    let refusal = Reply::aside("Sorry, I cannot talk about that.");
    assert_eq!(guard.filter(", well".to_owned()).unwrap(), Flow::Stop(refusal.clone()));
    let mut guard = begun();
    assert_eq!(guard.finish(Reply::new("so damn")).unwrap(), Step::Say(refusal), "at the very end too");
}

#[test]
fn all_that_a_reply_shows_is_masked() {
    let _host = host();
    let reply = Reply {
        title: Some("Damn!".into()),
        suggestions: vec!["foo bar".into()],
        attachments: vec![Attachment::new(MediaKind::File, "r").named("色情.pdf")],
        ..Reply::new("fine")
    };
    let Step::Say(reply) = begun().finish(reply).unwrap() else { panic!("nothing said") };
    assert_eq!(reply.title.as_deref(), Some("＊＊＊＊!"));
    assert_eq!(reply.suggestions, ["＊＊＊＊＊＊＊"]);
    assert_eq!(reply.attachments[0].name.as_deref(), Some("＊＊.pdf"));
    assert_eq!(reply.text, "fine");
}

#[test]
fn each_way_can_be_left_open() {
    let _host = host().setting("inbound", "\"off\"");
    let mut guard = Wordguard::default();
    assert_eq!(guard.begin(turn("damn")).unwrap(), Step::Pass);
    assert_eq!(show(&mut guard, "damn."), "＊＊＊＊.");
    let _host = host().setting("outbound", "\"off\"");
    let mut guard = begun();
    assert_eq!(show(&mut guard, "damn."), "damn.");
    assert_eq!(guard.finish(Reply::new("damn.")).unwrap(), Step::Pass);
}

#[test]
fn words_of_the_file_are_named_by_their_line() {
    let host = Host::new().setting("file", "\"\\n坏词\\n\\nevil\"").setting("inbound", "\"alert\"");
    assert_eq!(Wordguard::default().begin(turn("Evil 坏　词")).unwrap(), Step::Pass);
    let found: Vec<String> = rules(&host).into_iter().map(|(_, rule)| rule).collect();
    assert_eq!(found, ["file:4", "file:2"]);
}

#[test]
fn without_words_everything_passes() {
    let _host = Host::new().setting("words", "[\" \"]");
    let mut guard = begun();
    assert_eq!(show(&mut guard, "anything"), "anything");
    assert_eq!(guard.finish(Reply::new("anything")).unwrap(), Step::Pass);
}

#[test]
fn what_stands_between_chinese_characters_is_the_operators_choice() {
    let found = |skip: &str, text: &str| {
        let _host = host().setting("skip", skip);
        matches!(Wordguard::default().begin(turn(text)).unwrap(), Step::Say(_))
    };
    assert!(found("\"space\"", "色 　情") && !found("\"space\"", "色.情") && !found("\"space\"", "色\n情"));
    assert!(found("\"punctuation\"", "色*·/情") && found("\"punctuation\"", "色\n情"));
    assert!(found("\"none\"", "色情") && !found("\"none\"", "色 情"));
    assert!(!found("\"punctuation\"", "d.a.m.n"), "letters between words of other scripts stay apart");
}

#[test]
fn the_same_word_in_another_guise_is_the_same_word() {
    let _host = Host::new().setting("words", r#"["色情", "damn", "strasse", "find", "カ", "가"]"#);
    let found = |text: &str| matches!(Wordguard::default().begin(turn(text)).unwrap(), Step::Say(_));
    let guises = [
        "色 情",
        "色\u{200b}情",
        "⾊情",
        "DAMN",
        "ｄａｍｎ",
        "𝒹𝒶𝓂𝓃",
        "dámn",
        "d\u{ad}amn",
        "Straße",
        "ﬁnd",
        "ｶ",
        "가",
    ];
    for guise in guises {
        assert!(found(guise), "{guise:?}");
    }
    for other in ["d a m n", "dаmn with a Cyrillic letter", "ガ", "ｶﾞ", "カ\u{3099}", "각", "finding", "情色"]
    {
        assert!(!found(other), "{other:?}");
    }
}

#[test]
fn a_setting_that_the_manifest_does_not_know_is_a_fault() {
    let _host = host().setting("inbound", "\"block\"");
    let fault = Wordguard::default().begin(turn("hi")).unwrap_err();
    assert!(fault.reason.contains("`inbound`"), "{fault}");
}
