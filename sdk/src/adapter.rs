//! What an adapter answers: the trait to write and the types it speaks.
//!
//! An adapter keeps nothing between calls: each may run in a fresh instance, on another node, in
//! another release. What a later call needs goes into a message's address, an inquiry's context or
//! a delivery's checkpoint. See `wit/0.1/adapter.wit` for the contract's own words.

use crate::{
    fault::Fault,
    http::{HttpRequest, HttpResponse, Outbound},
    message::{Message, Reply},
    secrets::KeyForm,
};

/// A chat platform, spoken by webhook.
pub trait Adapter: Default {
    /// Verifies and reads one request, within milliseconds: no HTTP, no store.
    ///
    /// # Errors
    /// A fault refuses the request: not from the platform, or not understood.
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault>;

    /// After the commit and before the turn, at each attempt: what takes HTTP to find out. `id`,
    /// `conversation`, `sender.id` and `address` stay as they were received.
    ///
    /// # Errors
    /// The attempt at the answer has failed: hand the message on as it is where you can do without.
    fn enrich(&self, message: Message) -> Result<Message, Fault> {
        Ok(message)
    }

    /// The response to an [`Inquiry`]; no snapshot if no such reply is known. May call HTTP, within the
    /// time that the platform waits.
    fn present(&self, context: &[u8], snapshot: Option<Snapshot>) -> Presentation {
        let _ = context;
        let text = snapshot.map(|snapshot| snapshot.reply.text).unwrap_or_default();
        Presentation::complete(HttpResponse::text(200, text))
    }

    /// Shows the text so far, in one place that grows, and returns the next checkpoint: it tells
    /// where that place is, and is empty as long as nothing is shown. Called only with
    /// `update-interval` in the manifest, so that this default is never heard of.
    ///
    /// Empty text shows that work has begun; hand the checkpoint back to open nothing without
    /// text. Where it takes several requests to open something, each is a call: say how many by
    /// `opening-calls` in the manifest. Once there is a checkpoint, [`Adapter::finish`] is called
    /// sooner or later, whatever becomes of the answer. See `wit/0.1/adapter.wit` for when the text begins anew.
    ///
    /// # Errors
    /// What the platform said; it costs the answer nothing. `throttled` waits for its
    /// `retry_after_ms`, `unavailable` is tried again a few times, `invalid`, `unauthorized` and
    /// `gone` end the updates of this reply. `uncertain` is tried again only once something is
    /// shown: an opening that the platform takes once by `key` is `unavailable` instead.
    fn update(&self, address: &[u8], key: &str, checkpoint: Vec<u8>, text: &str) -> Result<Vec<u8>, Fault> {
        let _ = (address, key, text);
        Ok(checkpoint)
    }

    /// Sends the reply, one outward effect a call: [`Delivered::More`] is saved and handed back as
    /// `checkpoint`. An empty `address` is the channel's default destination; `key` is 32 hex digits, the
    /// same at each call and attempt for one message. The reply has text or attachments.
    ///
    /// # Errors
    /// What the platform said.
    fn finish(
        &self,
        address: &[u8],
        key: &str,
        checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Delivered, Fault> {
        let _ = (address, key, checkpoint, reply);
        Err(Fault::gone("this adapter answers in the response alone"))
    }

    /// Where an attachment's bytes are. May call HTTP. A host that keeps attachments downloads them,
    /// within its limits.
    ///
    /// # Errors
    /// No such attachment, or what the platform said.
    fn locate(&self, reference: &str) -> Result<Download, Fault> {
        let _ = reference;
        Err(Fault::gone("this adapter has no attachments"))
    }
}

/// What became of a request that was not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Reception {
    /// Nothing to process: a challenge, a ping, an event the bot ignores.
    Answer(HttpResponse),
    /// Messages to store; the response goes out once they are stored safely.
    Accept(Acceptance),
    /// The platform waits for the reply in the response to this very request.
    Inquire(Inquiry),
}

impl Reception {
    /// One message, acknowledged by an empty 200.
    pub fn accept(message: Message) -> Self {
        Self::Accept(Acceptance { messages: vec![message], ..Acceptance::default() })
    }

    /// One message whose reply is waited for, `wait_ms` at most; `context` goes to
    /// [`Adapter::present`].
    pub fn inquire(message: Message, wait_ms: u32, context: Vec<u8>) -> Self {
        let message_id = message.id.clone();
        Self::Inquire(Inquiry { messages: vec![message], message_id, wait_ms, context })
    }
}

/// Messages taken in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acceptance {
    /// Sent to the platform once every message below is stored safely.
    pub response: HttpResponse,
    /// What people wrote.
    pub messages: Vec<Message>,
    /// Ids of messages that the person took back or stopped: their turns are cancelled.
    pub withdrawn: Vec<String>,
}

/// A request that is answered with the reply itself, or with the text so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inquiry {
    /// New messages in this request; empty when the platform only asks again.
    pub messages: Vec<Message>,
    /// The message whose reply is asked for.
    pub message_id: String,
    /// How long the host may wait for a finished reply before it presents what there is; a minute at most.
    pub wait_ms: u32,
    /// Handed to [`Adapter::present`].
    pub context: Vec<u8>,
}

/// A reply as far as it got.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Its text alone as long as it is not finished; then without any if nothing came.
    pub reply: Reply,
    /// Nothing more comes.
    pub finished: bool,
    /// How often this message was asked for, this time included.
    pub asked: u32,
}

/// How an inquiry is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presentation {
    /// None holds the line until the platform hangs up and asks again, for ten seconds at most.
    pub response: Option<HttpResponse>,
    /// This response hands over the whole reply; it counts with a finished snapshot alone.
    pub complete: bool,
    /// For the delivery that sends the rest.
    pub checkpoint: Vec<u8>,
    /// If no response hands over the rest within it, a delivery sends it; none: at once. The wait of who
    /// asks again is part of it.
    pub again_within_ms: Option<u32>,
}

impl Presentation {
    /// `response` hands over the whole reply.
    pub fn complete(response: HttpResponse) -> Self {
        Self { response: Some(response), complete: true, ..Self::default() }
    }
}

/// How far a delivery got.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivered {
    /// One outward effect is done and this checkpoint tells of it: save it and call again.
    More(Vec<u8>),
    /// All is sent; the platform's ids of what was sent, one a part.
    Done(Vec<String>),
}

impl Delivered {
    /// All is sent, and the platform gave no id.
    pub fn done() -> Self {
        Self::Done(Vec::new())
    }
}

/// Where an attachment's bytes are, and how to open them.
#[derive(Clone, Debug, PartialEq)]
pub struct Download {
    /// What the host sends to get them.
    pub request: Outbound,
    /// AES-256-CBC, vector = the key's first 16 bytes, PKCS#7 to 32; none: as they are.
    pub key: Option<FileKey>,
}

/// What opens a downloaded file.
#[derive(Clone, Debug, PartialEq)]
pub enum FileKey {
    /// A secret of the channel.
    Secret(String, KeyForm),
    /// A key that came with the message.
    Bytes(Vec<u8>),
}
