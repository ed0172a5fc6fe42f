//! F5, a model's server that fails everybody: it is left alone after ten failures, one question finds it again, and
//! meanwhile another model answers where one is named.

use std::time::{Duration, Instant};

use parlor::model::breaker::{FAILURES_MAX, REST_MIN};
use serde_json::json;

use crate::knock::{Chats, Talk, all_answered, eventually_slowly, scene};
use crate::models::APOLOGY;
use crate::row::{Row, ms, rounds};
use crate::support::{Host, Model, Platform, Settings, client};

/// In every message here.
const ALL: &str = "canary";
/// Each is tried four times: twelve failures, if nobody were left alone.
const PEOPLE: usize = 3;
/// Between the host's opening and our reading of its log.
const SLACK: Duration = Duration::from_millis(500);
/// For which one question is kept under way. Whoever comes meanwhile comes back after two seconds.
const LOOK: Duration = Duration::from_millis(1500);
const AT_ONCE: Duration = Duration::from_secs(1);

async fn say(host: &Host, chats: &Chats, name: &str) -> Talk {
    let talk = Talk::new(name.to_owned(), 1);
    let knock = chats.knock(&talk.conversation, &talk.texts[0]);
    assert_eq!(knock.post(host.address()).await.unwrap(), 200);
    talk
}

/// The state that the figures tell, and what the operators' door says of the model.
async fn told(host: &Host) -> (String, String) {
    let figures = client().get(host.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let states = ["closed", "open", "half_open"].into_iter().filter(|state| {
        figures.contains(&format!("parlor_model_breaker{{model=\"fake\",state=\"{state}\"}} 1\n"))
    });
    let token = host.token_with(&["--role", "viewer"]);
    let asked = client().get(host.admin_url("/api/v1/admin/overview")).bearer_auth(token);
    let overview: serde_json::Value = asked.send().await.unwrap().json().await.unwrap();
    let checks = overview["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "model fake").unwrap();
    assert_eq!(check["ok"], true, "another node would find the server no better");
    (states.collect(), check["detail"].as_str().unwrap().to_owned())
}

/// Until the breaker opens; how often the model was asked by then.
async fn fails_everybody(host: &Host, model: &Model, chats: &Chats, row: &mut Row) -> (usize, Vec<Talk>) {
    model.refuse(ALL, 500, usize::MAX);
    let mut talks = Vec::new();
    for number in 0..PEOPLE {
        talks.push(say(host, chats, &format!("down-{number}")).await);
    }
    eventually_slowly("it is left alone", || !host.lines_with("it is left alone").is_empty()).await;
    let failures = model.asked().len();
    // The tenth failure opens it; the others' tries may have been under way.
    let allowed = FAILURES_MAX as usize..=FAILURES_MAX as usize + PEOPLE - 1;
    row.holds(allowed.contains(&failures), format!("{failures} failures before it is left alone"));
    (failures, talks)
}

async fn outage(row: &mut Row) {
    let chats = Chats::Keyless(Platform::start().await);
    let (mut host, model) = scene(&chats).await;
    host.run().await;
    let (failures, talks) = fails_everybody(&host, &model, &chats, row).await;
    let opened = Instant::now();
    let (state, detail) = told(&host).await;
    row.holds(state == "open" && detail.contains("left alone"), format!("told as {state}: {detail}"));
    model.refuse(ALL, 500, 0);
    model.let_through(ALL, 0);
    eventually_slowly("one question goes through", || model.asked().len() > failures).await;
    row.holds(opened.elapsed() + SLACK >= REST_MIN, format!("asked after {} already", ms(opened.elapsed())));
    let late = say(&host, &chats, "while-probing").await;
    tokio::time::sleep(LOOK).await;
    let probes = model.asked().len() - failures;
    row.holds(
        probes == 1,
        format!("{probes} questions at a server of which nobody knew whether it was back"),
    );
    let (state, detail) = told(&host).await;
    row.holds(state == "half_open", format!("told as {state}: {detail}"));
    model.release(ALL);
    let back = Instant::now();
    for talk in talks.iter().chain([&late]) {
        let what = format!("a word to {}", talk.conversation);
        eventually_slowly(&what, || !chats.seen(&talk.conversation).is_empty()).await;
    }
    row.recovered(back.elapsed());
    row.holds(late.is_answered(&chats), "who came late got no answer");
    for talk in &talks {
        let (seen, answer) = (chats.seen(&talk.conversation), Model::answer_to(&talk.texts[0]));
        row.holds(seen == [answer] || seen == [APOLOGY], format!("{} got {seen:?}", talk.conversation));
    }
    let (state, _) = told(&host).await;
    row.holds(state == "closed", format!("told as {state} at the end"));
    for line in ["it is left alone", "one question is let through", "answers again"] {
        let lines = host.lines_with(line).len();
        row.holds(lines == 1, format!("{lines} lines say that `{line}`"));
    }
    row.figure(format!("{failures} failures, {probes} probe"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_server_that_fails_everybody_is_left_alone_and_found_again() {
    let mut row = Row::new("F5", "a model's server fails everybody, and is back (breaker)");
    row.rounds = rounds(1, 5);
    for _ in 0..row.rounds {
        outage(&mut row).await;
    }
    row.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_another_model_answers_for_a_server_that_fails_everybody() {
    let mut row = Row::new("F5", "another model stands in for it (`fallback`)");
    row.rounds = rounds(3, 50);
    let chats = Chats::Keyless(Platform::start().await);
    let (ill, spare) = (Model::start().await, Model::start().await);
    let settings = ill.join(spare.join_as("spare", chats.join(Settings::new())));
    let host = Host::start(&settings.set("models.fake.fallback", json!(["spare"]))).await;
    let (_, mut talks) = fails_everybody(&host, &ill, &chats, &mut row).await;
    all_answered(&talks, &chats, &mut row).await;
    let (mut longest, before) = (Duration::ZERO, ill.asked().len());
    let began = Instant::now();
    for number in 0..row.rounds {
        if began.elapsed() > REST_MIN / 2 {
            row.rounds = number;
            break;
        }
        let said = Instant::now();
        let talk = say(&host, &chats, &format!("open-{number}")).await;
        eventually_slowly("the other model's answer", || talk.is_answered(&chats)).await;
        longest = longest.max(said.elapsed());
        talks.push(talk);
    }
    row.holds(row.rounds > 0 && ill.asked().len() == before, "the server was not left alone");
    row.holds(
        spare.asked().len() == talks.len(),
        format!("the other was asked {} times", spare.asked().len()),
    );
    row.in_time(longest <= AT_ONCE, format!("answered within {}", ms(longest)));
    row.holds(row.doubled == 0, "something is doubled");
    row.close();
}
