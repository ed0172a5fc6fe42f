//! Jobs through the real binary: what an operator says on a channel, at once or later, is said once and recorded,
//! whatever happens to the process meanwhile.
#![cfg(unix)]

#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::time::Duration;

use parlor::clock::rfc3339;
use reqwest::Method;
use serde_json::{Value, json};
use support::{Host, Model, PATIENCE, Platform, Settings, client, eventually, now_ms};

const TEAM: &str = "/webhook/team";
const TO_TEAM: &str = "/channels/team/messages";
/// Long enough for a second message to show up if there were one.
const MOMENT: Duration = Duration::from_millis(300);

struct Scene {
    host: Host,
    platform: Platform,
    model: Model,
}

/// What the door answered.
struct Told {
    status: u16,
    place: Option<String>,
    body: Value,
}

impl Scene {
    async fn set() -> Scene {
        let mut scene = Scene::prepare().await;
        scene.host.run().await;
        scene
    }

    /// The platform's channel `team`, and `hook`, which knows a repeat by its key; no process yet.
    async fn prepare() -> Scene {
        let platform = Platform::start().await;
        let settings = platform.join(Settings::new());
        let settings = platform.join_webhook(settings, json!({ "answer": "callback" }), true);
        let model = Model::start().await;
        let settings = model.join(settings).set("chat", json!({}));
        Scene { host: Host::at_rest(&settings), platform, model }
    }

    fn token(&self, role: &str, person: &str) -> String {
        self.host.token_with(&["--role", role, "--subject", person])
    }

    async fn ask(&self, method: Method, path: &str, key: Option<&str>, body: Option<Value>) -> Told {
        let token = self.token("operator", "olga");
        self.ask_with(&token, method, path, key, body).await.expect("the door answers")
    }

    /// None: the process broke off.
    async fn ask_with(
        &self,
        token: &str,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Option<Told> {
        let url = self.host.admin_url(&format!("/api/v1/admin{path}"));
        let mut request = client().request(method, url).bearer_auth(token);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.ok()?;
        let place = response.headers().get("location").map(|place| place.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = serde_json::from_slice(&response.bytes().await.ok()?).unwrap_or_default();
        Some(Told { status, place, body })
    }

    /// Says it, and has the job.
    async fn say(&self, path: &str, body: Value) -> Value {
        let told = self.ask(Method::POST, path, None, Some(body)).await;
        assert_eq!(told.status, 202, "{}", told.body);
        let id = told.body["id"].as_str().unwrap();
        assert_eq!(told.place.as_deref(), Some(&*format!("/api/v1/admin/jobs/{id}")));
        told.body
    }

    async fn job(&self, job: &Value) -> Value {
        let told = self.ask(Method::GET, &format!("/jobs/{}", job["id"].as_str().unwrap()), None, None).await;
        assert_eq!(told.status, 200, "{}", told.body);
        told.body
    }

    async fn until(&self, job: &Value, state: &str) -> Value {
        let began = tokio::time::Instant::now();
        loop {
            let now = self.job(job).await;
            if now["state"] == state {
                return now;
            }
            assert!(began.elapsed() < PATIENCE, "it never was {state}: {now}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody writes to the bot there, and gets his answer.
    async fn write_to(&self, conversation: &str) {
        let seen = self.platform.seen(conversation).len();
        let hello = self.platform.group(conversation, "canary hello");
        assert_eq!(hello.post(&self.host.url(TEAM)).await, Some(200));
        eventually("the answer", || (self.platform.seen(conversation).len() > seen).then_some(())).await;
    }
}

#[tokio::test]
async fn what_an_operator_says_is_seen_and_its_job_tells_so() {
    let scene = Scene::set().await;
    scene.write_to("ours").await;
    let told = json!({ "text": "**canary** we move at noon", "conversation": "ours" });
    let job = scene.say(TO_TEAM, told).await;
    let done = scene.until(&job, "delivered").await;
    let seen = scene.platform.seen("ours");
    assert!(
        seen.len() == 2 && seen[1] == "**canary** we move at noon",
        "nobody asked, nobody is named: {seen:?}"
    );
    assert_eq!(
        (&done["channel"], &done["conversation"], &done["person"]),
        (&json!("team"), &json!("ours"), &json!("olga"))
    );
    assert_eq!((&done["attempts"], done.get("reason"), done.get("at")), (&json!(1), None, None));
    assert!(done["ended_at"].as_str() >= done["created_at"].as_str(), "{done}");
    assert!(!done.to_string().contains("noon"), "a viewer may see the job, and not what is said");

    let aloud = scene.say(TO_TEAM, json!({ "text": "canary to all" })).await;
    scene.until(&aloud, "delivered").await;
    assert_eq!(scene.platform.seen("robot"), ["canary to all"], "the adapter's default destination");
    let listed = scene.ask(Method::GET, "/jobs?limit=1", None, None).await.body;
    assert_eq!((&listed["items"][0]["id"], listed["next"].is_string()), (&aloud["id"], true));
    let rest = format!("/jobs?after={}", listed["next"].as_str().unwrap());
    let rest = scene.ask(Method::GET, &rest, None, None).await.body;
    assert_eq!(rest, json!({ "items": [scene.job(&job).await] }));

    let admin = scene.token("admin", "ada");
    let audit = scene.ask_with(&admin, Method::GET, "/audit", None, None).await.unwrap().body;
    let acts: Vec<_> = audit["items"].as_array().unwrap().iter().collect();
    let acts: Vec<_> = acts.iter().map(|entry| (&entry["person"], &entry["act"], &entry["target"])).collect();
    let (olga, act) = (json!("olga"), json!("channel.say"));
    assert_eq!(acts, [(&olga, &act, &json!("team")), (&olga, &act, &json!("team ours"))]);
}

#[tokio::test]
async fn the_model_hears_nothing_of_what_is_said_and_what_is_said_at_once_keeps_its_order() {
    let scene = Scene::set().await;
    scene.write_to("ours").await;
    let mut jobs = Vec::new();
    for number in 0..8 {
        jobs.push(
            scene.say(TO_TEAM, json!({ "text": format!("canary {number}"), "conversation": "ours" })).await,
        );
    }
    for job in &jobs {
        scene.until(job, "delivered").await;
    }
    let seen = scene.platform.seen("ours");
    assert_eq!(seen.len(), 9);
    for (number, seen) in seen[1..].iter().enumerate() {
        assert!(seen.ends_with(&format!("canary {number}")), "{number}: {seen}");
    }
    scene.write_to("ours").await;
    let asked = scene.model.asked();
    assert_eq!(asked.len(), 2);
    assert!(!asked.last().unwrap().to_string().contains("canary 7"), "{asked:?}");
}

#[tokio::test]
async fn with_a_key_the_same_is_said_once_and_something_else_is_refused() {
    let scene = Scene::set().await;
    let saying = json!({ "text": "canary once" });
    let first = scene.ask(Method::POST, TO_TEAM, Some("k1"), Some(saying.clone())).await;
    let again = scene.ask(Method::POST, TO_TEAM, Some("k1"), Some(saying.clone())).await;
    assert_eq!((first.status, again.status), (202, 200));
    assert_eq!(first.body["id"], again.body["id"]);
    let other = scene.ask(Method::POST, TO_TEAM, Some("k1"), Some(json!({ "text": "canary twice" }))).await;
    assert_eq!((other.status, &other.body["error"]["code"]), (409, &json!("key_taken")));
    let rita = scene.token("operator", "rita");
    let hers = scene.ask_with(&rita, Method::POST, TO_TEAM, Some("k1"), Some(saying)).await.unwrap();
    assert_eq!(hers.status, 202, "a key is its owner's");
    scene.until(&first.body, "delivered").await;
    scene.until(&hers.body, "delivered").await;
    assert_eq!(scene.platform.seen("robot"), ["canary once", "canary once"]);
    let admin = scene.token("admin", "ada");
    let audit = scene.ask_with(&admin, Method::GET, "/audit", None, None).await.unwrap().body;
    assert_eq!(audit["items"].as_array().unwrap().len(), 2, "what was not done is not written down");
}

#[tokio::test]
async fn what_is_for_later_is_said_then_also_by_another_process() {
    let mut scene = Scene::set().await;
    let at = now_ms() + 2500;
    let job = scene.say(TO_TEAM, json!({ "text": "canary later", "at": rfc3339(at) })).await;
    assert_eq!(
        (&job["state"], &job["at"], &job["due_at"]),
        (&json!("waiting"), &job["due_at"], &json!(rfc3339(at)))
    );
    let other = scene.say(TO_TEAM, json!({ "text": "canary now" })).await;
    // What was sent and not written down would be sent again.
    scene.until(&other, "delivered").await;
    assert_eq!(scene.platform.seen("robot"), ["canary now"]);
    scene.host.kill();
    scene.host.run().await;
    let seen_at = eventually("the message", || {
        (scene.platform.seen("robot") == ["canary now", "canary later"]).then(now_ms)
    })
    .await;
    assert!(seen_at >= at, "{} ms too early", at.saturating_sub(seen_at));
    assert_eq!(scene.until(&job, "delivered").await["at"], json!(rfc3339(at)));
}

#[tokio::test]
async fn a_job_that_waits_can_be_cancelled() {
    let scene = Scene::set().await;
    let at = rfc3339(now_ms() + 3_600_000);
    let job = scene.say(TO_TEAM, json!({ "text": "canary never", "at": at })).await;
    let path = format!("/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!(scene.ask(Method::POST, &format!("{path}/cancel"), None, None).await.status, 204);
    assert_eq!(scene.job(&job).await["state"], "cancelled");
    assert_eq!(scene.ask(Method::POST, &format!("{path}/cancel"), None, None).await.status, 404);
    assert_eq!(scene.ask(Method::GET, "/jobs/none", None, None).await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_with_a_reason() {
    let scene = Scene::set().await;
    let refused = async |path: &str, key: Option<&str>, body: Value| {
        let told = scene.ask(Method::POST, path, key, Some(body)).await;
        let message = told.body["error"]["message"].as_str().unwrap_or_default().to_owned();
        (told.status, message)
    };
    let text = json!({ "text": "canary" });
    let past = json!({ "text": "canary", "at": "2020-01-01T00:00:00Z" });
    let far = json!({ "text": "canary", "at": "2999-01-01T00:00:00Z" });
    let nobody = json!({ "text": "canary", "conversation": "nobody" });
    for (path, key, body, status, word) in [
        ("/channels/none/messages", None, text.clone(), 404, "no such channel"),
        ("/channels/chat/messages", None, text.clone(), 409, "door of the host's own"),
        (TO_TEAM, None, nobody, 404, "nobody has written"),
        (TO_TEAM, None, past, 409, "`at` is past"),
        (TO_TEAM, None, far, 409, "a year ahead"),
        (TO_TEAM, None, json!({ "text": " \n" }), 400, "`text`"),
        (TO_TEAM, None, json!({}), 400, "text"),
        (TO_TEAM, None, json!({ "text": "canary", "when": "now" }), 400, "when"),
        (TO_TEAM, None, json!({ "text": "canary", "at": "tomorrow" }), 400, "`at` takes a time"),
        (TO_TEAM, Some("a key"), text.clone(), 400, "`Idempotency-Key`"),
    ] {
        let (found, message) = refused(path, key, body.clone()).await;
        assert_eq!(found, status, "{path} {body}: {message}");
        assert!(message.contains(word), "{path} {body}: {message}");
    }
    let viewer = scene.token("viewer", "vera");
    let told = scene.ask_with(&viewer, Method::POST, TO_TEAM, None, Some(text)).await.unwrap();
    assert_eq!(told.status, 403);
    assert_eq!(scene.ask(Method::GET, "/jobs", None, None).await.body["items"], json!([]));
    assert_eq!(scene.platform.seen_in_all(), 0);
}

#[tokio::test]
async fn an_adapter_that_answers_in_its_responses_alone_says_nothing_else() {
    let platform = Platform::start().await;
    let settings = platform.join_webhook(Settings::new(), json!({}), false);
    let model = Model::start().await;
    let scene = Scene { host: Host::start(&model.join(settings)).await, platform, model };
    let told =
        scene.ask(Method::POST, "/channels/hook/messages", None, Some(json!({ "text": "canary" }))).await;
    assert_eq!((told.status, &told.body["error"]["code"]), (409, &json!("cannot_say")));
}

/// Nobody asked for it, so that nobody gets an apology.
#[tokio::test]
async fn a_job_that_cannot_be_done_is_a_dead_letter_that_can_be_replayed() {
    let scene = Scene::set().await;
    scene.platform.garble(true);
    let job = scene.say(TO_TEAM, json!({ "text": "canary lost" })).await;
    let dead = scene.until(&job, "dead").await;
    scene.platform.garble(false);
    assert!(dead["reason"].as_str().unwrap().contains("could not be delivered"), "{dead}");
    let seen = scene.platform.seen("robot");
    assert!(seen.iter().all(|seen| seen == "canary lost"), "and no apology: {seen:?}");
    let id = dead["dead_letter"].as_i64().unwrap().to_string();
    let door = scene.host.admin_url("/");
    let listed = String::from_utf8(scene.host.output(&["replay", "--url", &door]).stdout).unwrap();
    assert!(listed.contains(&id) && listed.contains("host/jobs"), "{listed}");
    let replayed = scene.host.output(&["replay", &id, "--url", &door]);
    assert!(replayed.status.success(), "{replayed:?}");
    let done = scene.until(&job, "delivered").await;
    assert_eq!(done.get("dead_letter"), None);
    assert_eq!(scene.platform.seen("robot").len(), seen.len() + 1);
}

#[cfg(feature = "failpoints")]
mod kills {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    const SIGKILL: i32 = 9;

    const PLACES: [&str; 6] = [
        "jobs::before_commit",
        "jobs::after_commit",
        "turn::generating",
        "turn::answered",
        "turn::before_send",
        "turn::before_record",
    ];

    /// Says it until it is told that it is stored, as a program that knows its key does; tells how often that took.
    async fn say_until_stored(scene: &mut Scene, token: &str, key: &str, text: &str) -> usize {
        let saying = json!({ "text": text });
        let path = "/channels/hook/messages";
        let first = scene.ask_with(token, Method::POST, path, Some(key), Some(saying.clone())).await;
        assert_eq!(scene.host.ended().await.signal(), Some(SIGKILL), "{key}");
        scene.host.run_with(&[]).await;
        if first.is_some_and(|told| told.status == 202) {
            return 1;
        }
        let again = scene.ask_with(token, Method::POST, path, Some(key), Some(saying)).await.unwrap();
        assert!([200, 202].contains(&again.status), "{}", again.body);
        2
    }

    /// Through a receiver that knows a repeat by its key: once, wherever the process dies.
    #[tokio::test]
    async fn a_kill_anywhere_loses_and_doubles_no_job() {
        let mut scene = Scene::prepare().await;
        let token = scene.token("operator", "olga");
        let mut repeats = 0;
        for (round, place) in PLACES.into_iter().enumerate() {
            scene.host.begin_with_environment(&[("PARLOR_KILL_AT", place)]);
            scene.host.serves().await;
            repeats += say_until_stored(&mut scene, &token, place, &format!("canary {round}")).await - 1;
            eventually(place, || (scene.platform.seen("").len() > round).then_some(())).await;
            scene.host.terminate();
            assert!(scene.host.ended().await.success());
        }
        tokio::time::sleep(MOMENT).await;
        let said: Vec<_> = (0..PLACES.len()).map(|round| format!("canary {round}")).collect();
        assert_eq!(scene.platform.seen(""), said);
        assert!(repeats >= 2, "a kill before the response makes the caller repeat himself");
    }
}
