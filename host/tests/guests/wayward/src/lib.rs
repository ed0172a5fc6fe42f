//! An adapter that keeps the contract, but for the one thing that the setting `sin` names.
//!
//! Each sin is what one case of the conformance suite looks for. It speaks a platform of its own: a word in a
//! header, JSON with a text, replies of at most 4,000 characters.

use parlor_sdk::{
    Adapter, Delivered, Fault, FaultKind, HttpRequest, HttpResponse, Message, Outbound, Presentation,
    Reception, Reply, Snapshot,
    adapter::{Download, Inquiry},
    clock, http,
    json::{Value, object},
    register_adapter, secrets, settings, text,
};

const URL: &str = "https://wayward.invalid/send";
const PART_BYTES_MAX: usize = 4_000;
/// What the golden request is signed with, as if the guest had worked it out.
const LEAKED: &str = "the word of the day";

#[derive(Default)]
struct Wayward;

fn sins(sin: &str) -> bool {
    settings::get::<String>("sin").ok().flatten().as_deref() == Some(sin)
}

impl Adapter for Wayward {
    fn receive(&self, request: &HttpRequest) -> Result<Reception, Fault> {
        let word = request.header("x-word").unwrap_or_default();
        if !sins("believes everybody") && !secrets::equals("word", word.as_bytes())? {
            return Err(Fault::unauthorized("not with the word of this channel"));
        }
        if sins("chokes on other methods") {
            assert_eq!(request.method, "POST");
        }
        if sins("waits for others") {
            Outbound::post(URL).send().ok();
        }
        if sins("dawdles") {
            while request.body.len() > 1 << 19 {
                std::hint::spin_loop();
            }
        }
        accept(request)
    }

    fn enrich(&self, message: Message) -> Result<Message, Fault> {
        Ok(if sins("changes ids") { Message { id: "another".into(), ..message } } else { message })
    }

    fn present(&self, _context: &[u8], snapshot: Option<Snapshot>) -> Presentation {
        let mut text = snapshot.map(|snapshot| snapshot.reply.text).unwrap_or_default();
        if sins("presents a half") {
            text.truncate(text.len() / 2);
        }
        Presentation::complete(HttpResponse::text(200, text))
    }

    fn update(&self, _address: &[u8], _key: &str, checkpoint: Vec<u8>, text: &str) -> Result<Vec<u8>, Fault> {
        let Some(part) = text::split(text, PART_BYTES_MAX).into_iter().next() else { return Ok(checkpoint) };
        send(&part)?;
        Ok(b"0 shown".to_vec())
    }

    fn finish(
        &self,
        _address: &[u8],
        _key: &str,
        checkpoint: &[u8],
        reply: &Reply,
    ) -> Result<Delivered, Fault> {
        let parts = parts(reply, checkpoint);
        let sent = sent(checkpoint)?;
        let Some(part) = parts.get(sent) else { return Ok(Delivered::done()) };
        send(part)?;
        if sins("sends two at once") {
            send(part)?;
        }
        if sins("sends all but once more") && sent == 0 {
            send(&parts[0])?;
        }
        let next = sent + 1;
        if next == parts.len() { Ok(Delivered::done()) } else { Ok(Delivered::More(next.to_string().into())) }
    }

    fn locate(&self, reference: &str) -> Result<Download, Fault> {
        match sins("locates anything") {
            true => Ok(Download { request: Outbound::new("GET", reference), key: None }),
            false => Err(Fault::gone("there are no files here")),
        }
    }
}

fn accept(request: &HttpRequest) -> Result<Reception, Fault> {
    let said = read(request)?;
    let id = match sins("takes ids from the clock") {
        true => clock::now_ms().to_string(),
        false => request.header("x-id").unwrap_or("m-0").to_owned(),
    };
    let said = match sins("reads headers that nobody signs") {
        true => request.header("x-id").unwrap_or_default().to_owned(),
        false => said,
    };
    if sins("brings nothing") {
        return Ok(Reception::Answer(HttpResponse::new(200)));
    }
    let message = Message::new("m-1", "c-1", "u-1", said);
    let message = if sins("takes ids from the clock") { Message { id, ..message } } else { message };
    let context = if sins("keeps secrets badly") { LEAKED.as_bytes().to_vec() } else { Vec::new() };
    let (message_id, messages) = (message.id.clone(), vec![message]);
    Ok(Reception::Inquire(Inquiry { messages, message_id, wait_ms: 1000, context }))
}

fn read(request: &HttpRequest) -> Result<String, Fault> {
    if sins("believes that all is JSON") {
        return Ok(Value::read(request.text()?).expect("it is JSON").text("text").unwrap_or("?").to_owned());
    }
    if sins("takes anything") {
        return Ok("anything".into());
    }
    let body = request.json()?;
    let said = body.text("text").filter(|text| !text.is_empty());
    said.map(str::to_owned).ok_or_else(|| Fault::invalid("the request has no `text`"))
}

fn parts(reply: &Reply, checkpoint: &[u8]) -> Vec<String> {
    if sins("cuts bytes") {
        return vec![reply.text.get(..reply.text.len().min(10)).expect("a character ends there").to_owned()];
    }
    if sins("sends one part") {
        return vec![reply.text.clone()];
    }
    let mut parts = text::split(&reply.text, PART_BYTES_MAX);
    if sins("loses the end") {
        parts.pop();
    }
    if sins("sends the end first") {
        parts.reverse();
    }
    if sins("leaves out what was shown") && checkpoint.ends_with(b"shown") {
        parts.truncate(1);
    }
    if sins("says a short thing twice") && parts.len() == 1 {
        parts.push(parts[0].clone());
    }
    parts
}

/// How many parts are sent.
fn sent(checkpoint: &[u8]) -> Result<usize, Fault> {
    if sins("trusts checkpoints") && !checkpoint.is_empty() {
        let first = std::str::from_utf8(checkpoint).expect("it is ours");
        return Ok(first.split(' ').next().and_then(|text| text.parse().ok()).expect("it is ours"));
    }
    let text = std::str::from_utf8(checkpoint).unwrap_or_default();
    let sent: usize = text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(if sins("goes one back") {
        sent.saturating_sub(usize::from(sent == 3 && clock::now_ms() > 0))
    } else {
        sent
    })
}

fn send(part: &str) -> Result<(), Fault> {
    let request = Outbound::post(URL).header("x-word", "${secret:word}");
    let response = request.json(&object([("text", part.into())])).send().map_err(unsent)?;
    if sins("believes the platform") {
        response.parse().expect("it answers with JSON");
    }
    match response.status {
        200..=299 => Ok(()),
        429 if sins("does not wait") => Err(Fault::throttled("too fast", 1_000)),
        429 => Err(Fault::throttled("too fast", response.retry_after_ms().unwrap_or(1_000))),
        status => Err(Fault::unavailable(format!("it answered {status}"))),
    }
}

fn unsent(failure: http::Failure) -> Fault {
    if sins("gives up unreached") && !failure.request_sent {
        return Fault::gone("nobody is there");
    }
    if sins("gives up a broken line") && failure.request_sent {
        return Fault::new(FaultKind::Invalid, "the line broke");
    }
    failure.into()
}

register_adapter!(Wayward);
