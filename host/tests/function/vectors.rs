//! Rows of the platforms' vector files, each as a request to a channel of its own that has the row's secrets.
//!
//! The same rules as in the adapters' manifests (`[[vectors]]`), but for the clock: here it is the real one.

use std::path::Path;

use serde_json::{Value, json};

pub struct Row {
    pub id: String,
    /// The channel's part of a configuration.
    pub channel: Value,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
    /// None: the platforms' own libraries differ, and the adapter's settings decide.
    pub is_accepted: Option<bool>,
    /// Sealed anew in each answer, with a nonce of its own.
    pub is_sealed: bool,
}

impl Row {
    pub fn post(&self, url: &str) -> reqwest::RequestBuilder {
        let mut request = crate::support::client().post(format!("{url}?{}", self.query));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(self.body.clone())
    }
}

/// All rows about requests that come in.
pub fn rows() -> Vec<Row> {
    let events = read("feishu").into_iter().filter_map(|row| event(&row));
    let callbacks = read("dingtalk").into_iter().filter_map(|row| callback(&row));
    events.chain(callbacks).collect()
}

fn read(adapter: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/adapters");
    let file = folder.join(adapter).join(format!("tests/fixtures/{adapter}.json"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn headers(value: &Value) -> Vec<(String, String)> {
    let given = value.as_object().into_iter().flatten();
    given.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn event(row: &Value) -> Option<Row> {
    let (inputs, expected) = (&row["inputs"], &row["expected"]);
    let mut settings = json!({ "app_id": "cli_trial" });
    let (headers, body, is_accepted) = match row["algo"].as_str()? {
        "feishu-event-sig" | "feishu-url-verification" | "feishu-token" => {
            settings["accept_plain"] = json!(true);
            (headers(&inputs["headers"]), text(&inputs["body"]), expected["accept"].as_bool())
        }
        "feishu-card-v1-sig" => {
            (headers(&inputs["headers"]), text(&inputs["body"]), expected["accept"].as_bool())
        }
        "feishu-aes256cbc" => {
            let body = format!("{{\"encrypt\":{}}}", inputs["encrypt"]);
            let signed = format!("1700000000n{}{body}", inputs["encrypt_key"].as_str()?);
            let sign = hex::encode(ring::digest::digest(&ring::digest::SHA256, signed.as_bytes()));
            let headers = [("timestamp", "1700000000"), ("nonce", "n")]
                .map(|(name, value)| (format!("x-lark-request-{name}"), value.to_owned()));
            let headers = headers.into_iter().chain([("x-lark-signature".to_owned(), sign)]).collect();
            (headers, body, Some(expected["error"].is_null()))
        }
        _ => return None,
    };
    let secrets = secrets([
        ("app_secret", json!("unused")),
        ("encrypt_key", inputs["encrypt_key"].clone()),
        ("verification_token", inputs["verification_token"].clone()),
    ]);
    let channel = json!({ "adapter": "feishu", "settings": settings, "secrets": secrets });
    Some(Row { id: id(row), channel, query: String::new(), headers, body, is_accepted, is_sealed: false })
}

fn callback(row: &Value) -> Option<Row> {
    let (inputs, expected) = (&row["inputs"], &row["expected"]);
    match row["algo"].as_str()? {
        "dingtalk-http-callback-verify" => Some(Row {
            id: id(row),
            channel: json!({
                "adapter": "dingtalk", "settings": { "robot_code": "r", "destination": "group-robot" },
                "secrets": { "app_secret": inputs["app_secret"], "robot_token": "TOK" },
            }),
            query: String::new(),
            headers: headers(&inputs["headers"]),
            body: text(&inputs["body"]),
            // Fresh in 2023, stale by now: no clock is set here.
            is_accepted: Some(false),
            is_sealed: false,
        }),
        "dingtalk-event-callback-crypto" => Some(Row {
            id: id(row),
            channel: json!({
                "adapter": "dingtalk", "settings": { "app_key": inputs["owner_key"] },
                "secrets": {
                    "app_secret": "unused", "event_token": inputs["token"], "event_aes_key": inputs["encoding_aes_key"],
                },
            }),
            query: ["msg_signature", "timestamp", "nonce"]
                .map(|name| format!("{name}={}", text(&inputs[name])))
                .join("&"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: json!({ "encrypt": inputs["encrypt"] }).to_string(),
            is_accepted: expected["ok"].as_bool(),
            is_sealed: true,
        }),
        _ => None,
    }
}

fn id(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

/// Those that the row has.
fn secrets(secrets: [(&str, Value); 3]) -> Value {
    let given =
        secrets.into_iter().filter(|(_, value)| value.as_str().is_some_and(|value| !value.is_empty()));
    given.map(|(name, value)| (name.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()
}
