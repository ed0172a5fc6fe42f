//! F18: people who write into the log. Whatever they say, and wherever they say it, a line stays one JSON object, and
//! neither their words nor any secret stand in it.

use serde_json::{Value, json};

use crate::knock::{Chats, Knock};
use crate::row::{Row, rounds};
use crate::support::{Envelope, Host, Model, Platform, Settings, client, eventually, now_ms, raw};

/// What a field may hold, and the mark that more was cut.
const FIELD_BYTES_MAX: usize = 8 * 1024 + 64;
const FORGED: &str = "forged-by-canary";

/// Words that would end a line, a string or an object, paint a terminal, or take all of a field.
fn words() -> Vec<String> {
    let line = format!(r#""}}{{"log.level":"fatal","message":"{FORGED}"}}"#);
    vec![
        format!("\r\n{line}\r\n."),
        line.clone(),
        format!("\u{1b}[31m\u{1b}]0;{FORGED}\u{7}\u{9b}31m"),
        format!("\u{2028}{line}\u{2029}\u{85}\u{0}."),
        "long ".repeat(180_000),
        "password=canary-and-nothing-else, Authorization: Bearer canary.canary.canary".to_owned(),
    ]
}

async fn say_everywhere(host: &Host, chats: &Chats, model: &Model, name: &str, words: &str) {
    let said = format!("canary {name}: {words}");
    // A server that says back what it cannot process, and then a short answer to what is long.
    model.refuse(name, 500, 4);
    model.script(name, "canary well");
    let status = chats.knock(&format!("canary-{words:.100}"), &said).post(host.address()).await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(chats.knock(name, &said).post(host.address()).await.unwrap(), 200);
    let (headers, body) = Envelope::new(&format!("{name} {words:.60}"), "s", &said).signed(now_ms());
    // A header takes no control characters: then it is missing, and the request is no honest one.
    let headers = headers.into_iter().filter(|(_, value)| value.parse::<http::HeaderValue>().is_ok());
    let knock = Knock { path: "/webhook/hook", headers: headers.collect(), body };
    knock.post(host.address()).await.unwrap();
    let brief = format!("canary {words:.1000}");
    let escaped: String = url::form_urlencoded::byte_serialize(brief.as_bytes()).collect();
    let by_path = client().post(host.url(&format!("/webhook/{escaped}?token={escaped}")));
    by_path.header("user-agent", "canary\"}{").send().await.unwrap();
    let asked = client().post(host.url("/api/v1/chat")).bearer_auth(format!("{escaped}.canary"));
    asked.header("x-request-id", "a\"b}{'canary'").json(&json!({ "query": said })).send().await.unwrap();
    client().get(host.url(&format!("/chat?token={escaped}"))).send().await.unwrap();
    raw(
        host.address(),
        format!("GET /{brief} HTTP/1.1\r\nhost: canary\r\nconnection: close\r\n\r\n").as_bytes(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_line_of_the_log_stays_one_object_and_tells_nothing() {
    let mut row = Row::new("F18", "CR LF, ANSI, U+2028, quotes, 1 MB and secrets in what people say");
    row.rounds = rounds(1, 20);
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_webhook(platform.join(Settings::new()), json!({}), false);
    let settings = model.join(settings).set("chat", json!({})).environment("PARLOR_LOG", "debug");
    let mut host = Host::start(&settings).await;
    let chats = Chats::Keyless(platform.clone());
    for round in 0..row.rounds {
        for (number, words) in words().iter().enumerate() {
            let name = format!("w{round}-{number}");
            say_everywhere(&host, &chats, &model, &name, words).await;
            eventually("an answer", || (!chats.seen(&name).is_empty()).then_some(())).await;
        }
    }
    host.terminate();
    assert!(host.ended().await.success());
    let text = host.log_text();
    let mut longest = 0;
    for line in text.lines() {
        let Ok(Value::Object(object)) = serde_json::from_str(line) else {
            row.holds(false, format!("no object: {line:?}"));
            continue;
        };
        row.holds(object["log.level"] != "fatal", "somebody wrote a line of his own");
        row.holds(!line.chars().any(char::is_control), "a control character");
        longest = object.values().map(|value| value.to_string().len()).fold(longest, usize::max);
    }
    let told = text.to_lowercase().matches("canary").count();
    row.holds(told == 0, format!("{told} times what was said, who said it, or a secret"));
    row.holds(longest <= FIELD_BYTES_MAX, format!("a field of {longest} bytes"));
    row.figure(format!("{} lines, longest field {longest} bytes", text.lines().count()));
    row.close();
}
