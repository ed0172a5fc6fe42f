//! Somebody who listens to a host's message bus at its admin door.

use serde_json::Value;

use super::{Host, client};

/// A line on which somebody listens.
pub struct Line {
    response: reqwest::Response,
    text: String,
}

impl Line {
    pub async fn open(host: &Host, token: &str, query: &str) -> Line {
        let url = host.admin_url(&format!("/api/v1/admin/bus{query}"));
        let response = client().get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Line { response, text: String::new() }
    }

    /// Name and data of the next event; none at the end of the line.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let Some(data) = field("data: ") else { continue };
                let name = field("event: ").unwrap_or("message").to_owned();
                return Some((name, serde_json::from_str(data).unwrap()));
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    pub async fn notice(&mut self) -> Value {
        let (name, data) = self.next().await.expect("the line goes on");
        assert_eq!(name, "message", "{data}");
        data
    }
}
