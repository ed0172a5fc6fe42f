//! What calls where it may not: the URL is the test's, and so is what must not answer.

use parlor_sdk::{HttpResponse, Outbound};

/// Sends to `url` in the way that is named; what came of it, in words.
pub fn call(how: &str, url: &str) -> String {
    match how {
        "get" => told(get(url)),
        "redirect" => follow(url),
        other => format!("there is no way `{other}`"),
    }
}

fn get(url: &str) -> Result<HttpResponse, String> {
    Outbound::get(url)
        .send()
        .map_err(|failure| format!("{:?}, sent: {}: {}", failure.kind, failure.request_sent, failure.reason))
}

fn told(outcome: Result<HttpResponse, String>) -> String {
    outcome.map_or_else(|failure| failure, |response| format!("answered {}", response.status))
}

/// Goes where the answer points, as a browser would.
fn follow(url: &str) -> String {
    match get(url) {
        Ok(response) => match response.header("location") {
            Some(location) => format!("redirected; {}", told(get(location))),
            None => format!("answered {}", response.status),
        },
        Err(failure) => failure,
    }
}
