//! The other side of a chat socket: a library's client for those who speak the protocol, bytes for those who
//! do not.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Far more than any step takes on a busy machine, and far less than a person waits for a hanging test. Also far
/// more than those tests step that hold the time.
const PATIENCE: Duration = Duration::from_secs(600);

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// A line with the token in the query, as browsers open it.
    pub async fn open(address: SocketAddr, token: &str) -> Client {
        Self::try_open(address, &format!("/chat?token={token}"), &[]).await.expect("the line opens")
    }

    pub async fn try_open(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Error> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let opening = tokio::time::timeout(PATIENCE, client_async(request, stream));
        opening.await.expect("the host answers").map(|(socket, _)| Client { socket })
    }

    pub async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends what waits: the pong that the library has put together for a ping.
    pub async fn flush(&mut self) {
        self.socket.flush().await.unwrap();
    }

    pub async fn ask(&mut self, id: &str, query: &str) {
        self.say(json!({ "type": "ask", "id": id, "query": query })).await;
    }

    /// The next frame, of whatever kind.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something comes, or the end")
    }

    /// The next message.
    pub async fn hear(&mut self) -> Value {
        loop {
            match self.next().await.expect("the line is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no text: {other:?}"),
            }
        }
    }

    /// The next message, which must be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let told = self.hear().await;
        assert_eq!(told["type"], kind, "{told}");
        told
    }

    /// All messages up to the last one of a question, that one included.
    pub async fn answer(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            told.push(self.hear().await);
            let is_last = |kind: &Value| ["done", "stopped", "error"].iter().any(|last| kind == last);
            if told.last().is_some_and(|told| is_last(&told["type"])) {
                return told;
            }
        }
    }

    /// The code and the reason that the line is closed with; whatever comes before is passed over.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    return (code.into(), reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Ends the connection as a network does that has gone: without a word.
    pub fn drop_hard(self) {
        self.socket.get_ref().set_zero_linger().unwrap();
    }
}

/// The text that the steps of an answer add up to, as a client shows it.
pub fn shown(steps: &[Value]) -> String {
    let mut shown = String::new();
    for step in steps {
        match step["type"].as_str().unwrap() {
            "snapshot" => shown = step["text"].as_str().unwrap().to_owned(),
            "delta" => shown.push_str(step["text"].as_str().unwrap()),
            _ => {}
        }
    }
    shown
}
