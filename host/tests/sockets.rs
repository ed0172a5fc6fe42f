//! A plugin's long-lived sockets on their way out, against real listeners: only where the manifest says, to public
//! addresses, and with a ticket that the plugin never sees and that serves once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::{SinkExt as _, StreamExt as _};
use parlor::egress::{Egress, Gate, NotOpened, Resolver};
use parlor::plugin::Endpoint;
use parlor::plugin::manifest::Manifest;
use parlor::plugin::secrets::Secrets;
use parlor::plugin::services::{FailureKind, Http, Outbound};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use url::Url;

const MANIFEST: &str = r#"
name = "sample"
version = "0.1.0"
kind = "adapter"
contract = "0.1"
license = "Apache-2.0"
description = "a sample"
connects = {}

[[egress]]
host = "api.example.com"
methods = ["POST"]
tickets = ["entry@/data/ticket"]

[[sockets]]
host = "events.example.com"
path = "/connect"
places = ["ticket:entry@query:ticket", "ticket:entry@header:x-ticket"]
"#;

/// Letters that a query has to escape.
const TICKET: &str = "t1cket+/=&";
const URL: &str = "wss://events.example.com:443/connect?ticket=${ticket:entry}&v=1";
const TOO_LARGE: usize = (1 << 20) + 1;

/// A platform that gives tickets and opens sockets; what its handshakes asked for.
struct Platform {
    api: SocketAddr,
    sockets: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Platform {
    /// With this answer to a registration.
    async fn start(answer: &'static str) -> Platform {
        let (api, sockets) = (listener().await, listener().await);
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let platform = Platform {
            api: api.local_addr().unwrap(),
            sockets: sockets.local_addr().unwrap(),
            asked: asked.clone(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = api.accept().await {
                tokio::spawn(respond(
                    stream,
                    format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
                        answer.len()
                    ),
                ));
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = sockets.accept().await {
                tokio::spawn(echo(stream, asked.clone()));
            }
        });
        platform
    }

    fn gate(&self) -> Arc<Gate> {
        gate([("https://api.example.com", self.api), ("https://events.example.com", self.sockets)])
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Answers whatever is asked with these bytes.
async fn respond(mut stream: TcpStream, answer: String) {
    let mut request = vec![0; 4096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.read(&mut request).await;
}

/// Opens a socket and says back what it hears; `big` for a message that is too large.
async fn echo(stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    #[allow(clippy::result_large_err, reason = "the library wants it so")]
    let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let header = request.headers().get("x-ticket").map(|ticket| format!(" {}", ticket.to_str().unwrap()));
        asked.lock().unwrap().push(format!("{}{}", request.uri(), header.unwrap_or_default()));
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, note).await else { return };
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let said = if text == "big" { "x".repeat(TOO_LARGE) } else { text.to_string() };
        if socket.send(Message::text(said)).await.is_err() {
            return;
        }
    }
}

fn gate<const N: usize>(stand_ins: [(&str, SocketAddr); N]) -> Arc<Gate> {
    let stand_ins = stand_ins
        .map(|(origin, address)| (origin.to_owned(), Url::parse(&format!("http://{address}")).unwrap()));
    of(&Egress::new(BTreeMap::from(stand_ins)).unwrap())
}

fn of(egress: &Egress) -> Arc<Gate> {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    egress.gate(&manifest, &BTreeMap::new(), Arc::new(Secrets::new(&manifest, &BTreeMap::new())))
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint { url: url.to_owned(), headers: Vec::new(), context: Vec::new() }
}

/// What a plugin sees of the answer to its registration.
async fn register(gate: &Gate) -> String {
    let (method, url) = ("POST".to_owned(), "https://api.example.com/open".to_owned());
    let response = gate.send(Outbound { method, url, ..Outbound::default() }).await.unwrap();
    String::from_utf8(response.body.to_vec()).unwrap()
}

fn denied(outcome: Result<parlor::egress::Socket, NotOpened>) -> String {
    match outcome.map(drop) {
        Err(NotOpened::Failed(failure)) if failure.kind == FailureKind::Denied => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ticket_is_kept_from_the_plugin_and_put_into_the_handshake_once() {
    let platform =
        Platform::start(r#"{"data":{"ticket":"t1cket+/=&","url":"wss://events.example.com"}}"#).await;
    let gate = platform.gate();
    let seen = register(&gate).await;
    assert_eq!(seen, r#"{"data":{"ticket":"${ticket:entry}","url":"wss://events.example.com"}}"#);
    let mut socket = gate.open(endpoint(URL)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(platform.asked(), ["/connect?ticket=t1cket%2B%2F%3D%26&v=1"]);
    let again = denied(gate.open(endpoint(URL)).await);
    assert!(again.contains("serves once"), "{again}");
    register(&gate).await;
    let headers = vec![("x-ticket".to_owned(), "${ticket:entry}".to_owned())];
    gate.open(Endpoint { headers, ..endpoint("wss://events.example.com/connect") }).await.unwrap();
    assert_eq!(platform.asked()[1], format!("/connect {TICKET}"));
}

#[tokio::test]
async fn an_answer_in_another_form_shows_nothing_of_a_ticket() {
    let platform = Platform::start("<ticket>t1cket+/=&</ticket>").await;
    assert_eq!(register(&platform.gate()).await, "");
}

#[tokio::test]
async fn what_no_rule_names_never_connects() {
    let platform = Platform::start("{}").await;
    let gate = platform.gate();
    for url in [
        "wss://evil.example.com/connect",
        "wss://events.example.com.evil.example/connect",
        "wss://events.example.com:8443/connect",
        "wss://events.example.com/other",
        "wss://events.example.com/connected",
        "wss://events.example.com/connect/../other",
        "wss://user@events.example.com/connect",
        "wss://events.example.com/connect#f",
        "ws://events.example.com/connect",
        "https://events.example.com/connect",
        "wss:/events.example.com/connect",
        "wss://api.example.com/open",
        "",
    ] {
        denied(gate.open(endpoint(url)).await);
    }
    for (name, value) in [("Upgrade", "h2c"), ("sec-websocket-key", "x"), ("host", "x"), ("x", "a\r\nb: c")] {
        let headers = vec![(name.to_owned(), value.to_owned())];
        denied(gate.open(Endpoint { headers, ..endpoint("wss://events.example.com/connect") }).await);
    }
    assert!(platform.asked().is_empty());
}

#[derive(Debug)]
struct Everywhere(IpAddr);

#[async_trait]
impl Resolver for Everywhere {
    async fn resolve(&self, _host: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(vec![self.0])
    }
}

#[tokio::test]
async fn a_name_that_leads_to_the_house_opens_nothing() {
    for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"] {
        let resolver = Arc::new(Everywhere(address.parse().unwrap()));
        let gate = of(&Egress::with_resolver(BTreeMap::new(), resolver).unwrap());
        let reason = denied(gate.open(endpoint("wss://events.example.com/connect")).await);
        assert!(reason.contains("no public address"), "{address}: {reason}");
    }
}

#[tokio::test]
async fn a_refused_handshake_is_told_without_the_ticket() {
    let (sockets, platform) =
        (listener().await, Platform::start(r#"{"data":{"ticket":"t1cket+/=&"}}"#).await);
    let gate = gate([
        ("https://api.example.com", platform.api),
        ("https://events.example.com", sockets.local_addr().unwrap()),
    ]);
    tokio::spawn(async move {
        let (stream, _) = sockets.accept().await.unwrap();
        let body = format!("no such ticket: {TICKET}");
        let head = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n", body.len());
        respond(stream, head + &body).await;
    });
    register(&gate).await;
    match gate.open(endpoint(URL)).await.map(drop) {
        Err(NotOpened::Refused(response)) => {
            assert_eq!((response.status, &response.body[..]), (401, b"no such ticket: ***".as_slice()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_cannot_prove_that_he_speaks_the_protocol_is_no_platform() {
    let sockets = listener().await;
    let gate = gate([("https://events.example.com", sockets.local_addr().unwrap())]);
    tokio::spawn(async move {
        let (stream, _) = sockets.accept().await.unwrap();
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
        respond(stream, format!("{head}sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")).await;
    });
    match gate.open(endpoint("wss://events.example.com/connect")).await.map(drop) {
        Err(NotOpened::Failed(failure)) => assert_eq!(failure.kind, FailureKind::Broken),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_over_the_bound_is_not_read() {
    let platform = Platform::start("{}").await;
    let mut socket = platform.gate().open(endpoint("wss://events.example.com/connect")).await.unwrap();
    socket.send(Message::text("big")).await.unwrap();
    assert!(socket.next().await.unwrap().is_err());
}
