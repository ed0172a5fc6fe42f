//! The chat socket: whole turns through the real binary here, the door alone in `door`.
#![cfg(unix)]

#[path = "socket/client.rs"]
mod client;
#[path = "socket/door.rs"]
mod door;
#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

use client::{Client, shown};
use serde_json::{Value, json};
use support::{Host, Model, Settings, eventually};

fn settings(model: &Model) -> Settings {
    model.join(Settings::new()).set("chat", json!({}))
}

async fn house() -> (Host, Model) {
    let model = Model::start().await;
    (Host::start(&settings(&model)).await, model)
}

fn token(host: &Host, subject: &str) -> String {
    let output = host.output(&["token", "--subject", subject]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn open(host: &Host, subject: &str) -> Client {
    Client::open(host.address(), &token(host, subject)).await
}

async fn is_asked(model: &Model, query: &str) {
    eventually("the model is asked", || (model.times_asked(query) > 0).then_some(())).await;
}

/// Asks, and reads as far as a model goes that holds the rest back. Returns what `accepted` said.
async fn ask_held(client: &mut Client, id: &str, query: &str) -> Value {
    client.ask(id, query).await;
    let accepted = client.expect("accepted").await;
    client.expect("delta").await;
    accepted
}

#[tokio::test]
async fn an_answer_streams_and_its_session_goes_on() {
    let model = Model::start().await;
    let settings = model.join(Settings::new()).set("chat", json!({ "pipelines": ["assistant"] }));
    let host = Host::start(&settings).await;
    let mut client = open(&host, "ann-canary").await;
    client.ask("q-1", "canary one two").await;
    let steps = client.answer().await;
    let (accepted, done) = (&steps[0], steps.last().unwrap());
    assert_eq!(accepted["type"], "accepted");
    assert!(steps.len() > 2, "the answer comes in pieces: {steps:?}");
    let reply = Model::answer_to("canary one two");
    assert_eq!(shown(&steps), reply);
    assert_eq!((&done["type"], &done["id"], &done["reply"]), (&json!("done"), &json!("q-1"), &json!(reply)));
    for name in ["message_id", "session_id"] {
        assert_eq!(done[name], accepted[name]);
    }
    let session_id = &accepted["session_id"];
    client.say(json!({ "type": "ask", "id": "q-2", "query": "canary more", "session_id": session_id })).await;
    assert_eq!(client.answer().await[0]["session_id"], *session_id);
    assert!(model.asked()[1].to_string().contains("canary one two"), "what was said before is in the prompt");
}

#[tokio::test]
async fn a_dropped_line_is_taken_up_where_it_was() {
    let (host, model) = house().await;
    model.hold("canary long");
    let mut first = open(&host, "ann").await;
    let accepted = ask_held(&mut first, "q-1", "canary long story").await;
    first.drop_hard();
    let mut second = open(&host, "ann").await;
    second.ask("q-1", "canary long story").await;
    assert_eq!(second.expect("accepted").await, accepted);
    let snapshot = second.expect("snapshot").await;
    let reply = Model::answer_to("canary long story");
    let so_far = snapshot["text"].as_str().unwrap();
    assert!(!so_far.is_empty() && reply.starts_with(so_far) && so_far != reply, "{so_far}");
    model.release("canary long");
    let mut steps = vec![snapshot];
    steps.extend(second.answer().await);
    assert_eq!(shown(&steps), reply);
    assert_eq!(steps.last().unwrap()["reply"], reply);
    assert_eq!((model.times_asked("canary long"), model.left()), (1, 0), "one question, heard to its end");
}

#[tokio::test]
async fn an_answer_waits_for_who_was_away_at_its_end() {
    let (host, model) = house().await;
    model.hold("canary slow");
    let mut first = open(&host, "ann").await;
    let accepted = ask_held(&mut first, "q-1", "canary slow").await;
    first.drop_hard();
    host.wait_for_line(&["chat socket closed"]).await;
    model.release("canary slow");
    host.wait_for_line(&["turn ends", "delivered"]).await;
    let mut second = open(&host, "ann").await;
    for _ in 0..2 {
        second.ask("q-1", "canary slow").await;
        let steps = second.answer().await;
        assert_eq!(steps.len(), 2, "{steps:?}");
        assert_eq!(steps[0], accepted);
        assert_eq!(steps[1]["reply"], Model::answer_to("canary slow"));
    }
    assert_eq!((model.times_asked("canary slow"), model.left()), (1, 0));
}

#[tokio::test]
async fn a_turn_goes_on_by_itself_after_kill_9() {
    let (mut host, model) = house().await;
    model.hold("canary");
    let mut first = open(&host, "ann").await;
    let accepted = ask_held(&mut first, "q-1", "canary killed").await;
    host.kill();
    host.run().await;
    eventually("the model is asked again", || (model.times_asked("canary killed") == 2).then_some(())).await;
    let mut second = open(&host, "ann").await;
    second.ask("q-1", "canary killed").await;
    assert_eq!(second.expect("accepted").await, accepted);
    second.expect("snapshot").await;
    model.release("canary");
    assert_eq!(second.answer().await.last().unwrap()["reply"], Model::answer_to("canary killed"));
    host.wait_for_line(&["turn ends", "delivered"]).await;
    host.kill();
    host.run().await;
    let mut third = open(&host, "ann").await;
    third.ask("q-1", "canary killed").await;
    assert_eq!(third.answer().await[1]["reply"], Model::answer_to("canary killed"), "from the store");
    assert_eq!(model.times_asked("canary killed"), 2, "each process asked once at most");
}

#[tokio::test]
async fn a_turn_that_outlasts_the_shutdown_goes_on_at_the_next_start() {
    let model = Model::start().await;
    let settings = settings(&model).set("limits", json!({ "grace_period": "500ms" }));
    let mut host = Host::start(&settings).await;
    model.hold("canary");
    let mut first = open(&host, "ann").await;
    ask_held(&mut first, "q-1", "canary patience").await;
    host.terminate();
    host.ended().await;
    model.release("canary");
    host.run().await;
    let mut second = open(&host, "ann").await;
    second.ask("q-1", "canary patience").await;
    assert_eq!(second.answer().await.last().unwrap()["reply"], Model::answer_to("canary patience"));
}

#[tokio::test]
async fn a_shutdown_ends_quiet_lines_at_once_and_others_after_their_answer() {
    let (mut host, model) = house().await;
    model.hold("canary");
    let (mut quiet, mut busy) = (open(&host, "ann").await, open(&host, "bob").await);
    ask_held(&mut busy, "q-1", "canary last words").await;
    host.terminate();
    assert_eq!(quiet.closed().await.0, 1012);
    busy.ask("q-2", "canary too late").await;
    let refused = busy.expect("error").await;
    assert_eq!((&refused["id"], &refused["code"]), (&json!("q-2"), &json!("draining")));
    model.release("canary");
    assert_eq!(busy.answer().await.last().unwrap()["reply"], Model::answer_to("canary last words"));
    assert_eq!(busy.closed().await.0, 1012);
    assert!(host.ended().await.success());
    assert_eq!(model.times_asked("canary too late"), 0);
}

#[tokio::test]
async fn stop_ends_the_model_and_is_remembered() {
    let (mut host, model) = house().await;
    model.hold("canary");
    let mut client = open(&host, "ann").await;
    let accepted = ask_held(&mut client, "q-1", "canary endless").await;
    // Somebody else who listens to the same turn hears it too.
    let mut other = open(&host, "ann").await;
    other.ask("q-1", "canary endless").await;
    other.expect("accepted").await;
    other.expect("snapshot").await;
    client.say(json!({ "type": "stop", "id": "q-1" })).await;
    assert_eq!(client.hear().await, json!({ "type": "stopped", "id": "q-1" }));
    assert_eq!(other.hear().await, json!({ "type": "stopped", "id": "q-1" }));
    eventually("the model stops", || (model.left() == 1).then_some(())).await;
    host.restart().await;
    let mut again = open(&host, "ann").await;
    again.ask("q-1", "canary endless").await;
    assert_eq!(again.answer().await, [accepted, json!({ "type": "stopped", "id": "q-1" })]);
    assert_eq!(model.times_asked("canary endless"), 1);
}

#[tokio::test]
async fn stop_comes_too_late_for_an_answer_and_finds_no_unknown_question() {
    let (host, _model) = house().await;
    let mut client = open(&host, "ann").await;
    client.ask("q-1", "canary quick").await;
    let mut done = client.answer().await.pop().unwrap();
    host.wait_for_line(&["turn ends", "delivered"]).await;
    client.say(json!({ "type": "stop", "id": "q-1" })).await;
    // What an answer took is told where it is made, and not stored with it.
    let made = done.as_object_mut().unwrap();
    assert!(made.remove("model").is_some() && made.remove("usage").is_some());
    assert_eq!(client.hear().await, done);
    let mut other = open(&host, "bob").await;
    for (client, id) in [(&mut client, "q-9"), (&mut other, "q-1")] {
        client.say(json!({ "type": "stop", "id": id })).await;
        let told = client.expect("error").await;
        assert_eq!((&told["id"], &told["code"]), (&json!(id), &json!("unknown_id")));
    }
}

#[tokio::test]
async fn two_people_with_the_same_id_are_apart() {
    let (host, model) = house().await;
    let (mut ann, mut bob) = (open(&host, "ann").await, open(&host, "bob").await);
    ann.ask("q-1", "canary of ann").await;
    bob.ask("q-1", "canary of bob").await;
    let (for_ann, for_bob) = (ann.answer().await, bob.answer().await);
    assert_eq!(for_ann.last().unwrap()["reply"], Model::answer_to("canary of ann"));
    assert_eq!(for_bob.last().unwrap()["reply"], Model::answer_to("canary of bob"));
    assert_ne!(for_ann[0]["message_id"], for_bob[0]["message_id"]);
    // A person whose name goes on where another one's ends is somebody else, too.
    let mut short = open(&host, "an").await;
    short.ask("nq-1", "canary of an").await;
    assert_eq!(short.answer().await.last().unwrap()["reply"], Model::answer_to("canary of an"));
    assert_eq!(model.asked().len(), 3);
}

#[tokio::test]
async fn a_rate_bounds_questions_and_not_coming_back_for_an_answer() {
    let model = Model::start().await;
    let limits = json!({ "person_rate": "1/1h", "person_burst": 1 });
    let host = Host::start(&settings(&model).set("chat.limits", limits)).await;
    let mut client = open(&host, "ann").await;
    client.ask("q-1", "canary first").await;
    client.answer().await;
    client.ask("q-2", "canary second").await;
    let told = client.expect("error").await;
    assert_eq!((&told["id"], &told["code"]), (&json!("q-2"), &json!("rate_limited")), "{told}");
    assert!(told["retry_after"].as_u64().is_some_and(|wait| wait > 3000), "{told}");
    client.ask("q-1", "canary first").await;
    assert_eq!(client.answer().await.pop().unwrap()["reply"], Model::answer_to("canary first"));
    assert_eq!(model.times_asked("canary second"), 0);
}

#[tokio::test]
async fn an_id_is_for_one_question() {
    let (host, model) = house().await;
    let mut client = open(&host, "ann").await;
    let asked = json!({ "type": "ask", "id": "q-1", "query": "canary first", "session_id": "s-1" });
    client.say(asked.clone()).await;
    client.answer().await;
    for (name, value) in [("query", "canary second"), ("session_id", "s-2")] {
        let mut other = asked.clone();
        other[name] = json!(value);
        client.say(other).await;
        let told = client.expect("error").await;
        assert_eq!((&told["id"], &told["code"]), (&json!("q-1"), &json!("id_taken")), "{name}");
    }
    client.ask("q-1", "canary first").await;
    let steps = client.answer().await;
    assert_eq!((&steps[0]["session_id"], &steps[1]["type"]), (&json!("s-1"), &json!("done")));
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn questions_of_one_session_keep_their_order_and_hold_up_no_other() {
    let (host, model) = house().await;
    model.hold("canary first");
    let mut client = open(&host, "ann").await;
    for (id, query, session_id) in
        [("q-1", "canary first", "s-1"), ("q-2", "canary second", "s-1"), ("q-3", "canary aside", "s-2")]
    {
        client.say(json!({ "type": "ask", "id": id, "query": query, "session_id": session_id })).await;
    }
    is_asked(&model, "canary first").await;
    let before = client.answer().await;
    assert_eq!(before.last().unwrap()["id"], "q-3", "another session does not wait");
    assert_eq!(model.times_asked("canary second"), 0, "the second question waits for the first");
    model.release("canary first");
    assert_eq!(client.answer().await.last().unwrap()["id"], "q-1");
    assert_eq!(client.answer().await.last().unwrap()["id"], "q-2");
}

#[tokio::test]
async fn a_failure_is_told_in_plain_words_and_stays_one() {
    let (host, model) = house().await;
    model.refuse("canary bad", 400, 10);
    let mut client = open(&host, "ann").await;
    client.ask("q-1", "canary bad").await;
    let first = client.answer().await;
    let told = first.last().unwrap();
    assert_eq!((&told["id"], &told["code"]), (&json!("q-1"), &json!("failed")), "{told}");
    assert!(told["message"].as_str().unwrap().starts_with("Sorry"), "{told}");
    client.ask("q-1", "canary bad").await;
    assert_eq!(client.answer().await.last(), first.last());
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn neither_token_nor_talk_reaches_a_log_at_its_finest() {
    let model = Model::start().await;
    let mut host = Host::at_rest(&settings(&model));
    let mut serve = host.command(&["serve"]);
    serve.env("PARLOR_LOG", "trace,tungstenite=trace,tokio_tungstenite=trace");
    host.begin_with(serve);
    host.serves().await;
    let token = token(&host, "ann-canary");
    let mut client = Client::open(host.address(), &token).await;
    client.ask("q-1", "canary secret talk").await;
    client.answer().await;
    client.say(json!({ "type": "ask", "id": "canary id of nonsense", "query": 7 })).await;
    client.expect("error").await;
    assert!(Client::try_open(host.address(), &format!("/chat?token=x{token}"), &[]).await.is_err());
    host.wait_for_line(&["token refused"]).await;
    let log = host.log_text();
    assert!(log.contains("\"trace\""), "the log is at its finest");
    assert!(log.contains("\"url.path\":\"/chat\""), "the door is named");
    let signature = token.rsplit('.').next().unwrap();
    assert!(!log.contains(signature) && !log.contains("token="), "a token stands in the log");
}

#[tokio::test]
async fn without_the_chat_door_there_is_no_socket() {
    let model = Model::start().await;
    let host = Host::start(&model.join(Settings::new())).await;
    let refused = Client::try_open(host.address(), &format!("/chat?token={}", host.token()), &[]).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(response)) = refused else { panic!("it opened") };
    assert_eq!(response.status(), 404);
}
