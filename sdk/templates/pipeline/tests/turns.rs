//! A turn through the trait, with a double of the host.

use my_plugin::MyPlugin;
use parlor_sdk::{Message, Pipeline, Step, Turn, Utterance, testing::Host};

fn turn(text: &str) -> Turn {
    Turn {
        message: Message::new("m-1", "c-1", "ada", text),
        ..Turn::default()
    }
}

#[test]
fn the_persona_stands_in_front_of_the_conversation() {
    let _host = Host::new().setting("persona", r#""You are a pirate.""#);
    let mut turn = turn(" hello ");
    turn.history = vec![Utterance::user("a"), Utterance::assistant("b")];
    let step = MyPlugin.begin(turn);
    let Ok(Step::Ask(prompt)) = step else {
        panic!("{step:?}")
    };
    let wanted = [
        Utterance::system("You are a pirate."),
        Utterance::user("a"),
        Utterance::assistant("b"),
        Utterance::user("hello"),
    ];
    assert_eq!(prompt.messages, wanted);
}

#[test]
fn nothing_is_answered_with_nothing() {
    let _host = Host::new();
    assert!(matches!(MyPlugin.begin(turn("  ")), Ok(Step::Ignore)));
}
