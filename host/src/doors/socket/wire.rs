//! Frames on the wire, within bounds: what a message may weigh, how long a client may take to read one, and how a
//! socket is closed so that the last word arrives.
//!
//! Ten thousand quiet sockets are to cost little, so buffers are small and no message is buffered whole. It does
//! not know what the frames say.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The longest message of a client: the longest question, 32 KiB, also where each of its characters is escaped. Of
/// those that people type an emoji grows most, from 4 bytes to 12.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// A longer message of ours goes out in frames of this size, so that a long answer leaves no long buffer behind.
const FRAME_BYTES_MAX: usize = 16 * 1024;
/// Taken for as long as a socket lives. Most questions fit; a longer one takes more reads.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// One of our frames, its head, and a pong that came in between.
const WRITE_BUFFER_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// A client that does not take one frame within this time has gone, or reads too slowly for a conversation.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// How long a client may take to say goodbye.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// The token's end, out of the range for applications (RFC 6455 §7.4.2).
pub const TOKEN_EXPIRED: CloseCode = CloseCode::Library(4401);

/// Why a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The other side closed it, or is not there any more.
    Gone(&'static str),
    /// We close it, with a code and a reason for who reads logs over there.
    Close(CloseCode, &'static str),
}

pub struct Wire {
    socket: WebSocketStream<TokioIo<Upgraded>>,
}

impl Wire {
    pub async fn new(io: Upgraded) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
        Self { socket }
    }

    /// The next text; none for another sign of life. May be dropped before it returns.
    pub async fn next(&mut self) -> Result<Option<Utf8Bytes>, Ending> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Some(text)),
                Some(Ok(Message::Binary(_))) => {
                    return Err(Ending::Close(CloseCode::Unsupported, "only text is understood here"));
                }
                // Asked once more it sends our half of the goodbye, and then there is nothing more.
                Some(Ok(Message::Close(_))) => {}
                Some(Ok(_)) => return Ok(None),
                Some(Err(error)) => return Err(ending(&error)),
                None => return Err(Ending::Gone("the client closed it")),
            }
        }
    }

    /// Sends one text and waits until the system has taken it.
    pub async fn tell(&mut self, text: String) -> Result<(), Ending> {
        let mut rest = Bytes::from(text);
        let mut opcode = OpCode::Data(Data::Text);
        loop {
            let part = rest.split_to(rest.len().min(FRAME_BYTES_MAX));
            self.send(Message::Frame(Frame::message(part, opcode, rest.is_empty()))).await?;
            if rest.is_empty() {
                return Ok(());
            }
            opcode = OpCode::Data(Data::Continue);
        }
    }

    pub async fn ping(&mut self) -> Result<(), Ending> {
        self.send(Message::Ping(Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ending> {
        match timeout(WRITE_MAX, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ending::Gone("the connection broke")),
            Err(_) => Err(Ending::Gone("the client takes nothing")),
        }
    }

    /// Says goodbye. What comes in meanwhile is read and dropped: unread, it would make the system reset the
    /// connection and take the goodbye along.
    pub async fn close(mut self, code: CloseCode, reason: &'static str) {
        let farewell = async {
            self.socket.close(Some(CloseFrame { code, reason: reason.into() })).await.ok()?;
            let io = self.socket.get_mut();
            io.shutdown().await.ok()?;
            let mut unread = vec![0; READ_BUFFER_BYTES];
            while io.read(&mut unread).await.ok()? > 0 {}
            Some(())
        };
        let _ = timeout(FAREWELL_MAX, Box::pin(farewell)).await;
    }
}

fn ending(error: &Error) -> Ending {
    match error {
        Error::Capacity(_) => Ending::Close(CloseCode::Size, "a message takes 131072 bytes at most"),
        Error::Utf8(_) => Ending::Close(CloseCode::Invalid, "a text is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ending::Gone("the line dropped"),
        Error::Protocol(_) => Ending::Close(CloseCode::Protocol, "this is not the WebSocket protocol"),
        _ => Ending::Gone("the connection broke"),
    }
}
