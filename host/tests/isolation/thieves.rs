//! A plugin that derives secrets through the operations, and ends with nothing.
//!
//! The ways are in `guests/unruly/src/thief.rs`. Here are the secrets, the destination that says back whatever it was
//! told, and the search: in all that the guest found, in the log and the store, and in what went anywhere else.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

use crate::support::{Host, Model, Settings, client, guests};

/// A secret is told by so many of its bytes together: what is shorter leaves it as hard to guess as before.
const TOLD_BYTES: usize = 8;
const FORMS: [&str; 11] = [
    "plain-text",
    "header",
    "percent",
    "json",
    "base64",
    "base64-shifted",
    "hex",
    "hex-upper",
    "query",
    "body",
    "path",
];
/// Ways that would spell a secret: what they found is empty, or they found something.
const SPELLING: [&str; 6] = ["equals", "prefix", "sorted-digest", "seal-bounds", "periods", "mac-as-digest"];
const WAYS: [&str; 10] = [
    "key-forms",
    "vector-is-key",
    "timing",
    "names",
    "cut-echo",
    "kept-echo",
    "places",
    "errors",
    "mint",
    "control",
];

/// A destination that is granted a secret, and tells back what it was sent.
#[derive(Debug, Clone, Default)]
struct Echo {
    /// What the guest found, by the way.
    found: Arc<Mutex<Vec<(String, String)>>>,
    /// All that came, in one text for each request.
    seen: Arc<Mutex<Vec<String>>>,
    kept: Arc<Mutex<String>>,
    token: String,
}

impl Echo {
    async fn start(token: &str) -> (Echo, String) {
        let echo = Echo { token: token.to_owned(), ..Echo::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(echo.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (echo, origin)
    }

    fn found(&self, way: &str) -> String {
        let found = self.found.lock().unwrap();
        let found = found.iter().rev().find(|(one, _)| one == way);
        found.unwrap_or_else(|| panic!("the way `{way}` was not gone to its end")).1.clone()
    }
}

async fn answer(
    State(echo): State<Echo>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    echo.seen.lock().unwrap().push(format!("{method} {uri} {headers:?} {body}"));
    if let Some(way) = uri.path().strip_prefix("/v1/found/") {
        echo.found.lock().unwrap().push((way.to_owned(), body));
        return "{}".into_response();
    }
    if uri.path() == "/token" {
        return json!({ "token": echo.token }).to_string().into_response();
    }
    let query: Vec<_> = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    let field =
        |name: &str| query.iter().find(|(field, _)| field == name).map(|(_, value)| value.to_string());
    let header =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    echo.say_back(&field("how").unwrap_or_default(), &header, &uri, field("key").unwrap_or_default(), body)
}

impl Echo {
    fn say_back(&self, how: &str, header: &str, uri: &Uri, key: String, body: String) -> Response {
        let percent = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        match how {
            "plain-text" => header.to_owned().into_response(),
            "header" => [("x-you-sent", header.to_owned())].into_response(),
            "percent" => percent(header).into_response(),
            "json" => json!({ "error": format!("no such key: {header}") }).to_string().into_response(),
            "base64" => STANDARD.encode(header).into_response(),
            "base64-shifted" => STANDARD_NO_PAD.encode(format!("u:{header}:x")).into_response(),
            "hex" => hex::encode(header).into_response(),
            "hex-upper" => hex::encode_upper(header).into_response(),
            "query" => key.into_response(),
            "body" => body.into_response(),
            "path" => uri.path().to_owned().into_response(),
            "cut" => header.chars().take(64).collect::<String>().into_response(),
            "keep" => {
                header.clone_into(&mut self.kept.lock().unwrap());
                "kept".into_response()
            }
            "tell" => self.kept.lock().unwrap().clone().into_response(),
            "redirect" => redirect(&key),
            "status" => (StatusCode::UNAUTHORIZED, format!("no such key: {key}")).into_response(),
            "hang-up" => {
                let pieces = vec![Ok(Bytes::from(key)), Err("no more")];
                let pieces = pieces.into_iter().chain([Ok::<_, &str>(Bytes::new())]);
                Body::from_stream(futures_util::stream::iter(pieces)).into_response()
            }
            _ => "{}".into_response(),
        }
    }
}

fn redirect(key: &str) -> Response {
    let to = HeaderValue::try_from(format!("https://other.example.com/?key={key}"));
    (StatusCode::FOUND, [("location", to.unwrap())]).into_response()
}

/// A text of 43 letters, which no guess hits.
fn secret() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).unwrap();
    STANDARD_NO_PAD.encode(bytes)
}

/// Whether a text tells a secret, or enough of it, in a form that can be turned back.
fn tells(text: &str, secret: &str) -> bool {
    let bytes = STANDARD_NO_PAD.decode(secret).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    let reversed: String = secret.chars().rev().collect();
    let keys = [bytes.as_slice(), &bytes[..16], &bytes[16..], digest.as_ref()];
    let keys = keys.iter().flat_map(|key| {
        [hex::encode(key), STANDARD_NO_PAD.encode(key), format!("{key:?}"), format!("{key:02x?}")]
    });
    let forms = [reversed, hex::encode(secret), STANDARD_NO_PAD.encode(secret)].into_iter().chain(keys);
    let parts = (0..=secret.len() - TOLD_BYTES).map(|at| secret[at..at + TOLD_BYTES].to_owned());
    let text_lower = text.to_lowercase();
    parts.chain(forms).any(|form| text.contains(&form) || text_lower.contains(&form.to_lowercase()))
}

struct Scene {
    host: Host,
    echo: Echo,
    _model: Model,
    guarded: String,
    sealing: String,
    sent: String,
    token: String,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with_public("").await
    }

    /// What goes out begins with this, which the manifest calls public where it ends with a colon.
    async fn with_public(beginning: &str) -> Scene {
        let [guarded, sealing, sent, token] = [secret(), secret(), secret(), secret()];
        let (echo, origin) = Echo::start(&token).await;
        let model = Model::start().await;
        let channel = json!({
            "adapter": "unruly",
            "settings": { "planted": guarded },
            "secrets": { "guarded": guarded, "sealing": sealing, "sent": format!("{beginning}{sent}") },
        });
        let settings = Settings::new()
            .set("plugins.folder", guests().to_str().unwrap())
            .set("channels.wild", channel)
            .insert("endpoints", "https://echo.example.com", origin.clone())
            .insert("endpoints", "https://mint.example.com", origin)
            .environment("PARLOR_LOG", "debug");
        let host = Host::start(&model.join(settings)).await;
        Scene { host, echo, _model: model, guarded, sealing, sent, token }
    }

    fn secrets(&self) -> [(&'static str, &str); 4] {
        [("guarded", &self.guarded), ("sealing", &self.sealing), ("sent", &self.sent), ("token", &self.token)]
    }

    /// Goes a way to its end; what the guest found.
    async fn go(&self, way: &str, argument: &str) -> String {
        let id = format!("way-{way}-{argument}");
        let url = self.host.url(&format!("/webhook/wild/later/steal/{way}"));
        let request = client().post(url).header("x-request-id", &id).body(argument.to_owned());
        assert_eq!(request.send().await.unwrap().status(), 200, "{way}");
        let line = self.host.wait_for_line(&["deed done", &format!("id={id} ")]).await;
        assert!(line.contains("outcome=told"), "{way}: {line}");
        self.echo.found(way)
    }

    fn told_by(&self, text: &str) -> Vec<&'static str> {
        self.secrets().iter().filter(|(_, secret)| tells(text, secret)).map(|(name, _)| *name).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_derives_secrets_through_the_operations_ends_with_nothing() {
    let scene = Scene::new().await;
    for way in SPELLING {
        assert_eq!(scene.go(way, "").await, "", "the way `{way}` spells");
    }
    for way in WAYS {
        let found = scene.go(way, "").await;
        let told = scene.told_by(&found);
        if way == "control" {
            assert_eq!(told, ["guarded"], "the search finds what there is to be found");
            continue;
        }
        assert!(told.is_empty(), "the way `{way}` tells {told:?}: {found}");
        assert!(way != "timing" || found != scene.guarded[..4], "a comparison's time tells letters");
    }
    assert!(scene.echo.found("cut-echo").contains("xxx***"), "the destination did cut and tell");
    assert!(scene.echo.found("vector-is-key").contains("elevenchars"), "an envelope was made that opens");
    for form in FORMS {
        let found = scene.go("echo", form).await;
        assert!(scene.told_by(&found).is_empty(), "told back as {form}: {found}");
        assert!(found.contains("***"), "the destination told nothing back as {form}: {found}");
    }
    assert!(scene.told_by(&scene.host.log_text()).is_empty(), "the log tells");
    nothing_elsewhere(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_part_of_a_secret_gives_nothing_of_the_rest_away() {
    let scene = Scene::with_public("1234567890:").await;
    let echoes = FORMS.map(|form| ("echo", form)).into_iter();
    for (way, argument) in echoes.chain([("cut-echo", ""), ("kept-echo", "")]) {
        let found = scene.go(way, argument).await;
        assert!(scene.told_by(&found).is_empty(), "the way `{way}` as {argument}: {found}");
        assert!(found.contains("***"), "the destination told nothing back as {argument}: {found}");
    }
    assert!(scene.echo.found("cut-echo").contains("1234567890:***"), "what is public stays");
    assert!(scene.told_by(&scene.host.log_text()).is_empty(), "the log tells");
}

/// The secret that goes out went to its places alone, and the others nowhere.
fn nothing_elsewhere(scene: &Scene) {
    let seen = scene.echo.seen.lock().unwrap();
    let has = |secret: &str| seen.iter().filter(|request| request.contains(secret)).count();
    assert!(has(&scene.sent) > 0 && has(&scene.token) > 0, "the destination is granted both");
    assert_eq!(has(&scene.sealing), 0);
    let guarded = seen.iter().filter(|request| tells(request, &scene.guarded));
    let guarded: Vec<_> = guarded.filter(|request| !request.contains("/found/control")).collect();
    assert!(guarded.is_empty(), "{guarded:?}");
    for elsewhere in ["x-elsewhere\": \"${secret:sent}\"", "other=${secret:sent}"] {
        assert!(seen.iter().any(|request| request.contains(elsewhere)), "{elsewhere} is plain text");
    }
}
