//! An HTTP event, answered by the router that a server's connections go to.
//!
//! Payload format 2.0: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.

use std::net::{IpAddr, SocketAddr};

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt as _;
use lambda_runtime::tower::ServiceExt as _;
use serde_json::Value;

use super::EventError;
use crate::doors::server::Peer;
use crate::doors::webhook::Origin;

pub async fn answer(router: &Router, event: ApiGatewayV2httpRequest) -> Result<Value, EventError> {
    let request = request(event)?;
    let response = router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
    Ok(written(response).await)
}

fn request(event: ApiGatewayV2httpRequest) -> Result<Request<Body>, EventError> {
    let context = &event.request_context;
    let mut request = Request::builder().method(context.http.method.clone()).uri(path_and_query(&event));
    if let Some(headers) = request.headers_mut() {
        *headers = with_cookies(event.headers, event.cookies.unwrap_or_default());
    }
    if let Some(ip) = context.http.source_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) {
        request = request.extension(Peer(SocketAddr::new(ip, 0)));
    }
    if let Some(domain) = &context.domain_name {
        request = request.extension(Origin(format!("https://{domain}")));
    }
    let body = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded {
        STANDARD.decode(body).map_err(|_| malformed("the body is not base64"))?
    } else {
        body.into_bytes()
    };
    request.body(Body::from(body)).map_err(|_| malformed("the request is not HTTP"))
}

/// The path below the stage that an HTTP API may be published under.
fn path_and_query(event: &ApiGatewayV2httpRequest) -> String {
    let path = event.raw_path.as_deref().unwrap_or("/");
    let stage = event.request_context.stage.as_deref().filter(|stage| *stage != "$default");
    let below = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    let path = below.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    let path = if path.is_empty() { "/" } else { path };
    match event.raw_query_string.as_deref().filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

fn with_cookies(mut headers: HeaderMap, cookies: Vec<String>) -> HeaderMap {
    if let Ok(cookies) = HeaderValue::from_str(&cookies.join("; ")).map_err(drop)
        && !cookies.is_empty()
    {
        headers.insert(COOKIE, cookies);
    }
    headers
}

fn malformed(what: &str) -> EventError {
    EventError { kind: "MalformedEvent", message: what.to_owned() }
}

/// Whole: the platform gets one JSON object. What is not text travels as base64.
async fn written(response: Response) -> Value {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = (!parts.headers.contains_key(CONTENT_ENCODING) && is_text(&parts.headers))
        .then(|| std::str::from_utf8(&bytes).ok())
        .flatten();
    let cookies = parts.headers.get_all(SET_COOKIE).iter();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = i64::from(parts.status.as_u16());
    answer.cookies = cookies.filter_map(|cookie| Some(cookie.to_str().ok()?.to_owned())).collect();
    answer.is_base64_encoded = text.is_none();
    answer.body = Some(text.map_or_else(|| STANDARD.encode(&bytes), str::to_owned).into());
    answer.headers = parts.headers;
    answer.headers.remove(SET_COOKIE);
    serde_json::to_value(answer).expect("a response of texts and numbers is JSON")
}

fn is_text(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_none_or(|media_type| {
        media_type.starts_with("text/") || media_type.contains("json") || media_type.contains("xml")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_has_all_that_the_event_tells() {
        let event = json!({
            "version": "2.0", "rawPath": "/prod/webhook/team", "rawQueryString": "a=1&b=%20",
            "cookies": ["x=1", "y=2"], "headers": { "sign": "s" }, "body": "aGk=", "isBase64Encoded": true,
            "requestContext": {
                "stage": "prod", "domainName": "api.example.com",
                "http": { "method": "PUT", "path": "/prod/webhook/team", "sourceIp": "2001:db8::1" },
            },
        });
        let request = request(serde_json::from_value(event).unwrap()).unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("PUT", "/webhook/team?a=1&b=%20")
        );
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!((header("cookie"), header("sign")), ("x=1; y=2", "s"));
        let peer = request.extensions().get::<Peer>().unwrap();
        assert_eq!(peer.0.ip().to_string(), "2001:db8::1");
        let origin = request.extensions().get::<Origin>().unwrap();
        assert_eq!(origin.0, "https://api.example.com");
    }

    #[tokio::test]
    async fn a_response_keeps_each_cookie_apart_and_bytes_as_they_are() {
        let response = Response::builder().header(SET_COOKIE, "x=1").header(SET_COOKIE, "y=2; Secure");
        let text =
            response.status(401).header(CONTENT_TYPE, "application/json").body(Body::from("{}")).unwrap();
        let answer = written(text).await;
        assert_eq!(
            (&answer["statusCode"], &answer["cookies"]),
            (&json!(401), &json!(["x=1", "y=2; Secure"]))
        );
        assert_eq!((&answer["body"], &answer["isBase64Encoded"]), (&json!("{}"), &json!(false)));
        assert!(answer["headers"].get("set-cookie").is_none(), "{answer}");
        let bytes =
            Response::builder().header(CONTENT_TYPE, "image/png").body(Body::from(vec![0xff, 0])).unwrap();
        let answer = written(bytes).await;
        assert_eq!((&answer["body"], &answer["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
    }
}
