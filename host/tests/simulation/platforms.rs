//! The platforms of a run: one whose robots have no key for repeats, one whose messages have a key and whose cards
//! grow, one made up for growing cards, and a receiver of signed pushes.
//!
//! They are the fakes of the other tests, reached without sockets, on the run's clock. They verify what they get.

use axum::body::to_bytes;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use parlor::egress::Request;
use parlor::message::HttpResponse;
use serde_json::Value;
use std::sync::Arc;

use super::ledger::Key;
use super::world::PausedClock;
use crate::support::{OpenPlatform, Platform, Slate};

pub const TEAM: &str = "team";
pub const LARK: &str = "lark";
pub const BOARD: &str = "board";
pub const HOOK: &str = "hook";
/// The same receiver, who also takes the answer in the response.
pub const DESK: &str = "desk";

const BODY_BYTES_MAX: usize = 1 << 20;
const NOWHERE: &str = "http://platform.invalid";

/// One message as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    pub to: Key,
    pub conversation: String,
    pub text: String,
    /// It says that there is more to come.
    pub is_open: bool,
}

#[derive(Debug)]
pub struct Platforms {
    pub robots: Platform,
    pub open: OpenPlatform,
    pub slate: Slate,
}

impl Platforms {
    pub fn new(clock: PausedClock) -> Platforms {
        let clock = Arc::new(clock);
        Platforms {
            robots: Platform::without_socket(NOWHERE.to_owned(), clock.clone()),
            open: OpenPlatform::without_socket(NOWHERE.to_owned(), clock),
            slate: Slate::without_socket(NOWHERE.to_owned()),
        }
    }

    /// What the platform that the request goes to makes of it.
    pub async fn respond(&self, request: Request) -> HttpResponse {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let method: Method = request.method.parse().expect("a plugin's method is one of HTTP");
        let uri: Uri = request.url.as_str().parse().expect("a URL is a URI");
        let (headers, body) = (headers(&request.headers), request.body);
        let response = match host.as_str() {
            "open.feishu.cn" => self.open.respond(method, uri, headers, body).await,
            "slate.example.com" => self.slate.respond(method, uri, body).await,
            _ => self.robots.respond(uri, headers, body).await,
        };
        whole(response).await
    }

    /// The message that a request wants answered, where the request itself says it.
    pub fn about(request: &Request) -> Option<Key> {
        let path: Vec<&str> = request.url.path().trim_matches('/').split('/').collect();
        let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
        let (channel, id) = match path[..] {
            ["open-apis", "im", "v1", "messages", id, "reply"] => (LARK, id.to_owned()),
            ["messages"] | ["cards"] => (BOARD, body()["to"].as_str()?.to_owned()),
            ["pushed"] => {
                let body = body();
                let id = body["message_id"].as_str()?;
                (pushed_by(id), id.to_owned())
            }
            _ => return None,
        };
        Some((channel.to_owned(), id))
    }

    /// All that people see of the host.
    pub fn sights(&self) -> Vec<Sight> {
        let mut sights = Vec::new();
        for seen in self.robots.everything_seen() {
            let id = seen.to.unwrap_or_default();
            let channel = if seen.way == crate::support::Way::Pushed { pushed_by(&id) } else { TEAM };
            let to = (channel.to_owned(), id);
            sights.push(Sight { to, conversation: seen.conversation, text: seen.text, is_open: false });
        }
        for (to, conversation, seen) in self.open.everything_seen() {
            let to = (LARK.to_owned(), to);
            sights.push(Sight { to, conversation, text: seen.text, is_open: seen.grows });
        }
        let (cards, plain) = self.slate.everything_seen();
        for card in cards {
            let (to, text) = ((BOARD.to_owned(), card.to.clone()), card.text().to_owned());
            sights.push(Sight { to, conversation: card.conversation, text, is_open: !card.is_closed });
        }
        for plain in plain {
            let to = (BOARD.to_owned(), plain.to);
            sights.push(Sight { to, conversation: plain.conversation, text: plain.text, is_open: false });
        }
        sights
    }
}

/// Both push to the same receiver.
fn pushed_by(id: &str) -> &'static str {
    if id.starts_with(DESK) { DESK } else { HOOK }
}

fn headers(pairs: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a plugin's header has a name");
        map.append(name, HeaderValue::from_str(value).expect("a plugin's header is text"));
    }
    map
}

async fn whole(response: Response) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    let body = to_bytes(body, BODY_BYTES_MAX).await.expect("a fake's body is at hand");
    HttpResponse { status: parts.status.as_u16(), headers: headers.collect(), body }
}
