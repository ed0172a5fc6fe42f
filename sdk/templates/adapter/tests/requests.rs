//! Requests through the trait, with a double of the host. The real host is `parlor plugin test`.

use my_plugin::MyPlugin;
use parlor_sdk::{FaultKind, HttpRequest, Reception, testing::Host};

fn request(token: &str, body: &str) -> HttpRequest {
    HttpRequest::post(body).with_header("x-token", token)
}

#[test]
fn a_message_with_the_token_is_taken_in() {
    let host = Host::new().secret("token", "s3cret");
    let body = r#"{"id":"m-1","from":"ada","text":"hello"}"#;
    let reception = host.receive(&MyPlugin, &request("s3cret", body));
    let Ok(Reception::Inquire(inquiry)) = reception else {
        panic!("{reception:?}")
    };
    assert_eq!(inquiry.messages[0].text, "hello");
}

#[test]
fn another_token_and_a_message_without_text_are_refused() {
    let host = Host::new().secret("token", "s3cret");
    let refused = |token, body| {
        host.receive(&MyPlugin, &request(token, body))
            .map(drop)
            .unwrap_err()
            .kind
    };
    assert_eq!(refused("a guess", "{}"), FaultKind::Unauthorized);
    assert_eq!(
        refused("s3cret", r#"{"id":"m-1","from":"ada"}"#),
        FaultKind::Invalid
    );
}
