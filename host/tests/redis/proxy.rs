//! A way to a server that can be cut, or swallow what is sent: a proxy on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Nothing gets through, either way, and nobody is told; it gets through once the way is open again.
    Stuck,
    /// What is asked gets through, and no answer comes back.
    Deaf,
}

pub struct Proxy {
    pub url: String,
    way: watch::Sender<Way>,
    /// Connections that have ended, from their beginning to their end.
    ended: watch::Sender<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// In front of a server on a socket, such as `redis+unix:///path`.
    pub async fn start(url: &str) -> Proxy {
        let socket = url.strip_prefix("redis+unix://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (way, ended) = (watch::Sender::new(Way::Open), watch::Sender::new(0));
        let task = tokio::spawn(accept(listener, socket.into(), way.clone(), ended.clone()));
        Proxy { url: format!("redis://{address}"), way, ended, task }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Waits until so many connections have been worked off.
    pub async fn ended(&self, count: usize) {
        self.ended.subscribe().wait_for(|ended| *ended >= count).await.unwrap();
    }
}

async fn accept(
    listener: TcpListener,
    socket: Arc<str>,
    way: watch::Sender<Way>,
    ended: watch::Sender<usize>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (socket, way, ended) = (socket.clone(), way.subscribe(), ended.clone());
        connections.spawn(async move {
            carry(client, &socket, way).await;
            ended.send_modify(|ended| *ended += 1);
        });
    }
}

async fn carry(client: TcpStream, socket: &str, way: watch::Receiver<Way>) {
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks = pipe(&mut from_client, &mut to_server, way.clone(), &[Way::Open, Way::Deaf]);
    let answers = pipe(&mut from_server, &mut to_client, way, &[Way::Open]);
    tokio::join!(asks, answers);
}

/// Carries on while the way lets it, until one side has ended.
async fn pipe(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut way: watch::Receiver<Way>,
    open: &[Way],
) {
    let mut bytes = vec![0; 64 << 10];
    while way.wait_for(|way| open.contains(way)).await.is_ok() {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { break };
        if way.wait_for(|way| open.contains(way)).await.is_err()
            || to.write_all(&bytes[..count]).await.is_err()
        {
            break;
        }
    }
    to.shutdown().await.ok();
}
