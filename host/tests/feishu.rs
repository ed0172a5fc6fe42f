//! Feishu through the real binary: from a sealed event to a card, against a platform that holds to its own rules
//! and against the official client.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Event, Host, Model, OpenPlatform, Seen, Settings, eventually};

const HOOK: &str = "/webhook/lark";
/// Long enough for a second answer to show up if there were one.
const MOMENT: Duration = Duration::from_millis(300);
/// More tables than one card may hold.
const TABLES: usize = 6;

async fn lark(own: Value) -> (Host, OpenPlatform, Model) {
    let (platform, model) = (OpenPlatform::start().await, Model::start().await);
    let host = Host::start(&model.join(platform.join(Settings::new(), own))).await;
    (host, platform, model)
}

async fn takes(host: &Host, event: &Event) {
    assert_eq!(event.post(&host.url(HOOK)).await, (200, "{}".to_owned()));
}

/// What stands in a chat, once so many messages are there and none of them grows.
async fn sees(platform: &OpenPlatform, chat: &str, messages: usize) -> Vec<Seen> {
    eventually(&format!("{messages} whole messages in `{chat}`"), || {
        let seen = platform.seen(chat);
        (seen.len() >= messages && seen.iter().all(|seen| !seen.grows)).then_some(seen)
    })
    .await
}

fn texts(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.text.as_str()).collect()
}

async fn delivered(host: &Host, times: usize) {
    let is_it = |line: &String| line.contains("\"delivered\"");
    eventually(&format!("{times} turns are delivered"), || {
        (host.lines_with("turn ends").iter().filter(|line| is_it(line)).count() >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sealed_event_gets_one_card() {
    let (host, platform, model) = lark(json!({})).await;
    let event = platform.direct("oc_ann", "canary one");
    takes(&host, &event).await;
    takes(&host, &event).await;
    delivered(&host, 1).await;
    let seen = sees(&platform, "oc_ann", 1).await;
    assert_eq!(texts(&seen), [Model::answer_to("canary one")]);
    assert_eq!((seen[0].kind.as_str(), seen[0].grows), ("interactive", false));
    takes(&host, &event).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!((platform.seen("oc_ann").len(), model.times_asked("canary one")), (1, 1));
    assert!(platform.codes().is_empty(), "{:?}", platform.calls());
}

#[tokio::test]
async fn the_first_call_to_the_address_is_answered_in_the_clear() {
    let (host, platform, _model) = lark(json!({})).await;
    let challenge = platform.challenge("ajls384\"kdjx98XX", "secret-canary-verification-token");
    let (status, body) = challenge.post(&host.url(HOOK)).await;
    assert_eq!(
        (status, serde_json::from_str::<Value>(&body).unwrap()),
        (200, json!({ "challenge": "ajls384\"kdjx98XX" }))
    );
    assert_eq!(platform.challenge("x", "another").post(&host.url(HOOK)).await.0, 401);
}

/// Whatever is wrong, the answer is the same, down to its bytes.
#[tokio::test]
async fn who_is_not_the_platform_learns_nothing() {
    let (host, platform, model) = lark(json!({})).await;
    let honest = platform.direct("oc_ann", "canary stolen");
    let change = |change: &dyn Fn(&mut Event)| {
        let mut event = honest.clone();
        change(&mut event);
        event
    };
    let header = |event: &mut Event, at: usize, value: &str| event.headers[at].1 = value.to_owned();
    let plain = json!({ "schema": "2.0", "header": { "event_type": "im.message.receive_v1",
        "token": "secret-canary-verification-token" }, "event": {} });
    let forged = [
        change(&|event| event.headers.clear()),
        change(&|event| header(event, 0, "1")),
        change(&|event| header(event, 1, "other")),
        change(&|event| header(event, 2, &"0".repeat(64))),
        change(&|event| event.headers[2].1 = event.headers[2].1.to_uppercase()),
        change(&|event| header(event, 2, "not hex")),
        change(&|event| event.body.push(' ')),
        change(&|event| event.body = "{\"encrypt\":\"AAAA\"}".to_owned()),
        change(&|event| event.body = plain.to_string()),
        change(&|event| event.body = "garbage".to_owned()),
        platform.challenge("x", "wrong"),
    ];
    let mut answers = Vec::new();
    for event in &forged {
        answers.push(event.post(&host.url(HOOK)).await);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, 401);
    tokio::time::sleep(MOMENT).await;
    assert_eq!((platform.calls().len(), model.asked().len()), (0, 0));
    assert_eq!(host.lines_with("\"security\"").len(), forged.len(), "the operator learns of each");
}

#[tokio::test]
async fn what_is_quoted_reaches_the_model() {
    let (host, platform, model) = lark(json!({})).await;
    let quoted = platform.group("oc_ours", "canary the harbour opens at nine", json!({}));
    let more = json!({ "parent_id": quoted.message, "root_id": quoted.message });
    takes(&host, &platform.group("oc_ours", "canary is that so?", more)).await;
    delivered(&host, 1).await;
    let asked = model.asked().last().unwrap().to_string();
    assert!(asked.contains("the harbour opens at nine") && asked.contains("canary is that so?"), "{asked}");
    assert!(!asked.contains("@_user_1"), "{asked}");
    assert_eq!(platform.seen("oc_ours").len(), 1);
}

#[tokio::test]
async fn a_quote_that_may_not_be_read_costs_the_quote_alone() {
    let (host, platform, _model) = lark(json!({})).await;
    platform.deny("im:message:readonly");
    let more = json!({ "parent_id": "om_gone" });
    takes(&host, &platform.group("oc_ours", "canary what of it?", more)).await;
    let seen = sees(&platform, "oc_ours", 1).await;
    assert_eq!(texts(&seen), [Model::answer_to("canary what of it?")]);
    host.wait_for_line(&["the quoted message cannot be read"]).await;
}

#[tokio::test]
async fn a_token_that_the_platform_forgot_is_minted_anew_once() {
    let (host, platform, _model) = lark(json!({})).await;
    for (chat, mints) in [("oc_ann", 1), ("oc_bob", 2)] {
        takes(&host, &platform.direct(chat, "canary late")).await;
        assert_eq!(texts(&sees(&platform, chat, 1).await), [Model::answer_to("canary late")]);
        delivered(&host, mints).await;
        assert_eq!(platform.mints(), mints);
        // A token that is younger than a second counts as somebody's new one.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        platform.forget_tokens();
    }
}

#[tokio::test]
async fn a_reply_that_is_throttled_comes_later_and_once() {
    let (host, platform, model) = lark(json!({ "reply": "text" })).await;
    platform.refuse_with(230_020);
    takes(&host, &platform.direct("oc_ann", "canary patience")).await;
    assert_eq!(texts(&sees(&platform, "oc_ann", 1).await), [Model::answer_to("canary patience")]);
    delivered(&host, 1).await;
    assert_eq!((platform.seen("oc_ann").len(), model.times_asked("canary patience")), (1, 1));
    assert_eq!(platform.codes(), [230_020]);
}

/// The platform takes no card with so many tables, and the person gets the answer all the same.
#[tokio::test]
async fn a_card_that_is_refused_goes_as_plain_text() {
    let (host, platform, model) = lark(json!({})).await;
    let answer = "| a |\n|---|\n| canary |\n\n".repeat(TABLES) + "end";
    model.script("canary tables", &answer);
    takes(&host, &platform.direct("oc_ann", "canary tables")).await;
    delivered(&host, 1).await;
    let seen = platform.seen("oc_ann");
    let last = seen.last().unwrap();
    assert_eq!((last.kind.as_str(), last.text.as_str()), ("text", answer.as_str()));
}

#[tokio::test]
async fn an_app_that_may_not_use_growing_cards_answers_in_one_that_is_replaced() {
    let (host, platform, _model) = lark(json!({})).await;
    platform.deny("cardkit:card:write");
    for text in ["canary one", "canary two"] {
        takes(&host, &platform.direct("oc_ann", text)).await;
    }
    delivered(&host, 2).await;
    let seen = platform.seen("oc_ann");
    assert_eq!(texts(&seen), ["canary one", "canary two"].map(Model::answer_to));
    assert!(seen.iter().all(|seen| seen.kind == "interactive"));
    let asked = platform.calls().iter().filter(|call| call.line.ends_with("/cards")).count();
    assert!(asked <= 1, "what was denied is not asked for each time");
}

#[tokio::test]
async fn a_message_that_is_taken_back_gets_no_answer() {
    let (host, platform, model) = lark(json!({})).await;
    model.hold("canary oops");
    let event = platform.direct("oc_ann", "canary oops");
    takes(&host, &event).await;
    eventually("the turn asks", || (model.times_asked("canary oops") == 1).then_some(())).await;
    takes(&host, &platform.recall(&event.message)).await;
    host.wait_for_line(&["turn ends", "withdrawn"]).await;
    model.release("canary oops");
    takes(&host, &platform.direct("oc_ann", "canary again")).await;
    delivered(&host, 1).await;
    let own = platform.seen("oc_ann");
    assert_eq!(own.last().unwrap().text, Model::answer_to("canary again"));
    assert!(own.iter().all(|seen| !seen.text.contains("oops")), "{own:?}");
}

#[tokio::test]
async fn a_long_answer_comes_in_several_cards_and_each_of_them_once() {
    let (host, platform, model) = lark(json!({})).await;
    let words: Vec<String> = (0..6000).map(|number| format!("w{number}字")).collect();
    model.script("canary at length", &words.join(" "));
    takes(&host, &platform.direct("oc_ann", "canary at length")).await;
    delivered(&host, 1).await;
    let seen = platform.seen("oc_ann");
    assert!(seen.len() > 1, "{} messages", seen.len());
    let shown: Vec<&str> = seen.iter().flat_map(|seen| seen.text.split_whitespace()).collect();
    assert!(shown == words, "all words, each once and in order");
    assert!(platform.codes().is_empty(), "{:?}", platform.codes());
}

#[tokio::test]
async fn a_group_robot_signs_what_it_sends() {
    let (host, platform, _model) = lark(json!({ "destination": "group-robot" })).await;
    takes(&host, &platform.group("oc_ours", "canary aloud", json!({}))).await;
    delivered(&host, 1).await;
    assert_eq!(platform.seen_of_robot(), [Model::answer_to("canary aloud")]);
    assert!(platform.calls().is_empty(), "the app's own door is not used");
}

/// Everybody is answered at once, word by word, by one app: the host keeps to the platform's rates by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_answered_within_every_rate_of_the_platform() {
    const PEOPLE: usize = 24;
    const WORDS: usize = 120;
    let (platform, model) = (OpenPlatform::start().await, Model::start().await);
    let settings = model.join(platform.join(Settings::new(), json!({})));
    let settings = settings.set("channels.lark.limits", json!({ "concurrent": PEOPLE }));
    let host = Host::start(&settings).await;
    let text = |person: usize| format!("canary crowd {person}.");
    let answer = |person: usize| -> String {
        let words =
            (0..WORDS).map(|word| if word % 12 == 11 { "canary.\n\n".into() } else { format!("w{word} ") });
        words.chain([format!("the end for {person}")]).collect()
    };
    model.let_through("canary crowd", 0);
    for person in 0..PEOPLE {
        model.script(&text(person), &answer(person));
        takes(&host, &platform.direct(&format!("oc_{person}"), &text(person))).await;
    }
    for words in 0..WORDS {
        model.let_through("canary crowd", words);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    model.release("canary crowd");
    delivered(&host, PEOPLE).await;
    let seen: Vec<_> = (0..PEOPLE).map(|person| platform.seen(&format!("oc_{person}"))).collect();
    let open = seen.iter().flatten().filter(|seen| seen.grows).count();
    let equal = (0..PEOPLE).filter(|person| texts(&seen[*person]) == [answer(*person)]).count();
    let calls = platform.calls();
    let is_update = |call: &&support::Call| call.line.ends_with("/content");
    let updates = calls.iter().filter(is_update).count();
    let refused = calls.iter().filter(is_update).filter(|call| call.code != 0).count();
    println!(
        "a crowd of {PEOPLE}: {updates} updates, {refused} refused, {} calls refused in all, {open} cards left open, {equal} final texts equal",
        platform.codes().len()
    );
    assert!(platform.codes().is_empty(), "{:?}", platform.codes());
    assert_eq!((open, equal), (0, PEOPLE));
    assert!(updates > 2 * PEOPLE, "they do grow: {updates}");
}

/// A reply that was sent and not recorded, as after a crash: the platform knows its key.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_kill_between_sending_and_recording_doubles_nothing() {
    let (platform, model) = (OpenPlatform::start().await, Model::start().await);
    let mut host = Host::at_rest(&model.join(platform.join(Settings::new(), json!({}))));
    host.run_with(&[("PARLOR_KILL_AT", "turn::before_record")]).await;
    takes(&host, &platform.direct("oc_ann", "canary once")).await;
    assert!(!host.ended().await.success());
    assert_eq!(platform.seen("oc_ann").len(), 1, "the reply is out, and nothing tells of it");
    host.run_with(&[]).await;
    delivered(&host, 1).await;
    assert_eq!(texts(&sees(&platform, "oc_ann", 1).await), [Model::answer_to("canary once")]);
    assert_eq!(platform.seen("oc_ann").len(), 1);
}

/// Runs the official client on a task; see `clients/feishu.py`.
fn official(task: &Value) -> Value {
    let packages = std::env::var_os("PARLOR_TEST_PYTHONPATH")
        .expect("`PARLOR_TEST_PYTHONPATH` names no folder of packages: run `cargo xtask test`");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/feishu.py");
    let mut python = Command::new("python3");
    python.arg(script).env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").env("no_proxy", "*");
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the official client fails");
    serde_json::from_slice(&output.stdout).expect("it tells what came of it as JSON")
}

/// Requests to a webhook, and whether the official library is known to be laxer than we are.
fn requests(platform: &OpenPlatform) -> Vec<(Event, bool)> {
    let honest = platform.direct("oc_ann", "canary judged");
    let mut all = vec![
        (honest.clone(), false),
        (platform.event("contact.user.updated_v3", "", json!({})), false),
        (platform.challenge("c-1", "secret-canary-verification-token"), false),
        (platform.challenge("c-1", "another"), false),
        (platform.group("oc_ours", "canary judged too", json!({})), false),
    ];
    let changes: [&dyn Fn(&mut Event); 9] = [
        &|event| event.headers.clear(),
        &|event| event.headers[0].1.push('1'),
        &|event| event.headers[1].1.clear(),
        &|event| event.headers[2].1 = event.headers[2].1.to_uppercase(),
        &|event| event.headers[2].1.truncate(63),
        &|event| event.body.insert(1, ' '),
        &|event| event.body = event.body.replace('A', "B"),
        &|event| event.body.truncate(40),
        &|event| event.body = "null".to_owned(),
    ];
    for change in changes {
        let mut event = honest.clone();
        change(&mut event);
        all.push((event, false));
    }
    // It takes a signed body in the clear, which the platform never sends once there is a key.
    let plain = json!({ "schema": "2.0", "header": { "event_type": "im.message.receive_v1",
        "token": "secret-canary-verification-token" }, "event": { "message": { "message_id": "om_plain" } } });
    all.push((platform.signed_in_the_clear(&plain.to_string()), true));
    // It answers a first call whatever its signature says.
    let mut challenge = platform.challenge("c-2", "secret-canary-verification-token");
    challenge.headers = honest.headers.clone();
    all.push((challenge, true));
    all
}

#[tokio::test]
async fn the_official_library_accepts_and_refuses_the_same_requests() {
    let (host, platform, _model) = lark(json!({})).await;
    let requests = requests(&platform);
    let cases: Vec<Value> = requests.iter().map(|(event, _)| event.as_case()).collect();
    let (encrypt_key, token) = ("secret-canary-encrypt-key", "secret-canary-verification-token");
    let task = json!({ "judge": { "encrypt_key": encrypt_key, "token": token, "requests": cases } });
    let official = tokio::task::spawn_blocking(move || official(&task)).await.unwrap();
    let verdicts = official["judge"].as_array().unwrap();
    assert_eq!(verdicts.len(), requests.len());
    for ((event, is_laxer), verdict) in requests.iter().zip(verdicts) {
        let (status, body) = event.post(&host.url(HOOK)).await;
        let is_accepted = verdict["verdict"] != "refused" || told_no_handler(verdict);
        assert_eq!(is_accepted, status == 200 || *is_laxer, "{event:?}: {verdict} and {status}");
        if *is_laxer {
            assert_eq!(status, 401, "{event:?}");
        } else if verdict["body"].as_str().is_some_and(|told| told.contains("challenge")) && status == 200 {
            let told: Value = serde_json::from_str(verdict["body"].as_str().unwrap()).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), told);
        }
    }
    let honest = verdicts.iter().filter(|verdict| verdict["verdict"] == "message").count();
    assert_eq!(honest, 3, "the two messages and the one in the clear: {verdicts:?}");
}

/// It verified an event and then found nobody who wants it.
fn told_no_handler(verdict: &Value) -> bool {
    verdict["body"].as_str().is_some_and(|told| told.contains("processor not found"))
}

#[tokio::test]
async fn the_official_client_gets_through_the_rules_and_reads_what_we_send() {
    let (host, platform, model) = lark(json!({})).await;
    model.script("canary at length", &"word ".repeat(8000));
    for text in ["canary one", "canary at length"] {
        takes(&host, &platform.direct("oc_ann", text)).await;
    }
    delivered(&host, 2).await;
    let ours: Vec<Value> = platform
        .calls()
        .into_iter()
        .filter(|call| !call.line.starts_with("GET"))
        .map(|call| json!({ "line": call.line, "body": call.body }))
        .collect();
    let asked = platform.direct("oc_driven", "canary driven");
    let (origin, message) = (platform.origin().to_owned(), asked.message.clone());
    let task = json!({
        "read": { "calls": ours },
        "drive": { "origin": origin, "app_id": "cli_9f5343c580712544", "app_secret": "secret-canary-app",
            "message": message },
    });
    let official = tokio::task::spawn_blocking(move || official(&task)).await.unwrap();
    let read = official["read"].as_array().unwrap();
    assert!(read.len() >= 2);
    for call in read {
        assert_eq!(call["unknown"], json!([]), "{call}");
    }
    let words: Vec<&str> = read.iter().filter_map(|call| call["words"].as_str()).collect();
    assert!(words.contains(&Model::answer_to("canary one").as_str()), "{words:?}");
    let drive = &official["drive"];
    // Created, shown, shown again, written twice; an old number; closed; too late; placed, replaced, asked for.
    assert_eq!(drive["codes"], json!([0, 0, 0, 0, 0, 300_317, 0, 300_309, 0, 0, 0]));
    assert_eq!(drive["is_one_message"], true);
    assert!(drive["asked"].as_str().unwrap().contains("canary driven"));
    let seen = platform.seen("oc_driven");
    assert_eq!(texts(&seen), ["one two", "second"]);
}

/// Awaits the host's calls of `update`.
#[tokio::test]
async fn a_card_grows_while_the_model_writes_and_closes_with_the_last_word() {
    let (host, platform, model) = lark(json!({})).await;
    model.hold("canary slowly");
    takes(&host, &platform.direct("oc_ann", "canary slowly")).await;
    eventually("a card that grows", || {
        platform.seen("oc_ann").first().is_some_and(|seen| seen.grows).then_some(())
    })
    .await;
    eventually("its first words", || platform.seen("oc_ann")[0].text.starts_with("answer").then_some(()))
        .await;
    model.release("canary slowly");
    delivered(&host, 1).await;
    let seen = platform.seen("oc_ann");
    assert_eq!((texts(&seen), seen[0].grows), (vec![Model::answer_to("canary slowly").as_str()], false));
    assert!(platform.codes().is_empty(), "{:?}", platform.calls());
}

/// The same: ten minutes pass at the platform before the last word.
#[tokio::test]
async fn a_card_whose_time_is_over_still_gets_the_whole_answer() {
    let (host, platform, model) = lark(json!({})).await;
    model.hold("canary slowly");
    takes(&host, &platform.direct("oc_ann", "canary slowly")).await;
    eventually("its first words", || {
        platform.seen("oc_ann").first().is_some_and(|seen| seen.text.starts_with("answer")).then_some(())
    })
    .await;
    platform.advance(Duration::from_secs(601));
    model.release("canary slowly");
    delivered(&host, 1).await;
    let seen = platform.seen("oc_ann");
    assert_eq!((texts(&seen), seen[0].grows), (vec![Model::answer_to("canary slowly").as_str()], false));
    assert!(platform.codes().contains(&200_850), "{:?}", platform.codes());
}

/// Found by the simulation, seed 2162: the reply that showed the card was not heard of, and by then the message was
/// taken back, to which the platform takes no reply any more.
#[tokio::test]
async fn a_card_whose_showing_was_not_heard_of_is_closed_when_its_message_is_taken_back() {
    let (host, platform, model) = lark(json!({})).await;
    model.hold("canary oops");
    platform.lose_answers_to_replies();
    let event = platform.direct("oc_ann", "canary oops");
    takes(&host, &event).await;
    eventually("a card that grows", || platform.seen("oc_ann").first().filter(|seen| seen.grows).map(drop))
        .await;
    takes(&host, &platform.recall(&event.message)).await;
    host.wait_for_line(&["turn ends", "withdrawn"]).await;
    model.release("canary oops");
    let seen = platform.seen("oc_ann");
    assert!(seen.len() == 1 && !seen[0].grows && seen[0].text != "…", "{seen:?}");
    assert!(platform.codes().contains(&230_011), "{:?}", platform.calls());
}

/// One effect of two is done and nothing tells of it: a card that nobody saw is made anew, one that is out is found
/// again, and people see one card.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_kill_while_a_card_is_opened_leaves_one_card() {
    for (pass, shown, made) in [("1", 0, 2), ("2", 1, 1)] {
        let (platform, model) = (OpenPlatform::start().await, Model::start().await);
        let mut host = Host::at_rest(&model.join(platform.join(Settings::new(), json!({}))));
        host.run_with(&[("PARLOR_KILL_AT", &format!("show::before_record {pass}"))]).await;
        model.hold("canary slowly");
        takes(&host, &platform.direct("oc_ann", "canary slowly")).await;
        assert!(!host.ended().await.success());
        let seen = platform.seen("oc_ann");
        assert!(seen.len() == shown && seen.iter().all(|seen| seen.grows), "{seen:?}");
        model.release("canary slowly");
        host.run_with(&[]).await;
        delivered(&host, 1).await;
        let seen = platform.seen("oc_ann");
        assert_eq!((texts(&seen), seen[0].grows), (vec![Model::answer_to("canary slowly").as_str()], false));
        let cards = platform.calls().iter().filter(|call| call.line.ends_with("/cards")).count();
        assert!(cards <= made, "{:?}", platform.calls());
    }
}
