//! F5: a model that hangs, drips, fails, is busy, talks nonsense, breaks off or never stops. Webhooks are acknowledged
//! as ever meanwhile, and each person gets an answer or one plain sentence.
//!
//! The model is a bare socket, since no sound server does such things. It keeps when it was asked and when it was left.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bodies::{peak_bytes, reset_peak};
use crate::knock::{Chats, eventually_slowly};
use crate::row::{Row, Times, is_long, ms, rounds};
use crate::support::{Host, Model, Platform, Settings};

/// One for each thing that can be wrong with a model.
const ILLS: [&str; 7] = ["hangs", "drips", "fails", "busy", "garbage", "resets", "floods"];
pub const APOLOGY: &str = "Sorry, I cannot answer right now. Please try again later.";
const FLOOD_BYTES: usize = 200 << 20;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A model's own three retries, at each of three attempts at the turn.
const ASKED_MAX: usize = 12;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(300);
const DEADLINE_OFF_MAX: Duration = Duration::from_secs(1);
const MEMORY_MAX: u64 = 64 << 20;
const WELL_A_SECOND: u32 = 20;

#[derive(Debug, Clone)]
struct Asked {
    text: String,
    at: Instant,
    /// When the host had left, for what it has to leave by itself.
    left_after: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
struct IllModel(Arc<Mutex<Vec<Asked>>>);

impl IllModel {
    async fn start() -> (IllModel, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (model, address) = (IllModel::default(), listener.local_addr().unwrap());
        let serving = model.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (model, address)
    }

    fn asked(&self, text: &str) -> Vec<Asked> {
        self.0.lock().unwrap().iter().filter(|asked| asked.text == text).cloned().collect()
    }

    async fn serve(self, mut stream: TcpStream) {
        let Some(text) = question(&mut stream).await else { return };
        let number = {
            let mut all = self.0.lock().unwrap();
            all.push(Asked { text: text.clone(), at: Instant::now(), left_after: None });
            all.len() - 1
        };
        let began = Instant::now();
        // Whoever leaves makes a write fail; that is what some of these wait for.
        let _ = behave(&mut stream, &text).await;
        if text.contains("hangs") || text.contains("drips") {
            self.0.lock().unwrap()[number].left_after = Some(began.elapsed());
        }
    }
}

/// What the last message of a request says.
async fn question(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if bytes.len() >= end + 4 + length.parse::<usize>().ok()? {
                let request: Value = serde_json::from_slice(&bytes[end + 4..]).ok()?;
                return request["messages"].as_array()?.last()?["content"].as_str().map(str::to_owned);
            }
        }
        match stream.read(&mut piece).await.ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

fn event(text: &str, finish: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": { "content": text }, "finish_reason": finish });
    format!("data: {}\n\n", json!({ "id": "c", "object": "chat.completion.chunk", "choices": [choice] }))
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

async fn behave(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    let short = |status: &str, more: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n{body}"
        )
    };
    let error = r#"{"error":{"message":"no \u001b[31m\r\n{\"log.level\":\"fatal\"}"}}"#;
    match ILLS.iter().find(|ill| text.contains(**ill)) {
        Some(&"hangs") => stream.read(&mut [0; 1]).await.map(|_| ()),
        Some(&"drips") => drip(stream).await,
        Some(&"fails") => stream.write_all(short("500 No", "", error).as_bytes()).await,
        Some(&"busy") => {
            let later = format!("retry-after: {}\r\n", RETRY_AFTER.as_secs());
            stream.write_all(short("429 Busy", &later, error).as_bytes()).await
        }
        Some(&"garbage") => {
            stream.write_all(format!("{STREAM}data: {{\"choices\": [nonsense\n\n").as_bytes()).await
        }
        Some(&"resets") => {
            stream.write_all(format!("{STREAM}{}", event("some ", None)).as_bytes()).await?;
            stream.set_zero_linger()
        }
        Some(_) => flood(stream).await,
        None => {
            let answer = event(&Model::answer_to(text), Some("stop"));
            stream.write_all(format!("{STREAM}{answer}data: [DONE]\n\n").as_bytes()).await
        }
    }
}

async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(STREAM.as_bytes()).await?;
    let never_ends = event(&"drop ".repeat(1000), None);
    for byte in never_ends.as_bytes() {
        stream.write_all(&[*byte]).await?;
        let mut nothing = [0; 1];
        if tokio::time::timeout(Duration::from_secs(1), stream.read(&mut nothing)).await.is_ok() {
            break;
        }
    }
    Ok(())
}

async fn flood(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(STREAM.as_bytes()).await?;
    let block = event(&"much ".repeat(10_000), None);
    for _ in 0..FLOOD_BYTES / block.len() {
        stream.write_all(block.as_bytes()).await?;
    }
    Ok(())
}

/// People who get an answer as ever, and how soon their messages are acknowledged.
async fn well(
    chats: Chats,
    address: SocketAddr,
    until: tokio_util::sync::CancellationToken,
) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / WELL_A_SECOND);
    let mut times = Vec::new();
    while !until.is_cancelled() {
        ticks.tick().await;
        let number = times.len();
        let knock = chats.knock(&format!("well-{number}"), &format!("canary well {number}"));
        let began = Instant::now();
        assert_eq!(knock.post(address).await.unwrap(), 200, "a webhook waits for no model");
        times.push(began.elapsed());
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_model_that_is_ill_holds_up_no_webhook_and_nobody_meets_silence() {
    let mut row = Row::new("F5", "model hangs, drips, 500, 429, garbage, RST, 200 MB");
    let each = rounds(1, 3);
    row.rounds = each * ILLS.len();
    let deadline = Duration::from_secs(if is_long() { 6 } else { 2 });
    let (chats, (model, address)) = (Chats::Keyless(Platform::start().await), IllModel::start().await);
    let backend = json!({ "backend": "openai", "endpoint": format!("http://{address}/v1"), "model": "ill",
        "api_key": "secret-canary-model-key", "timeout": format!("{}s", deadline.as_secs()) });
    let settings = chats.join(Settings::new()).set("models.ill", backend).set("default_model", "ill");
    let settings = settings.set("channels.team.limits", json!({ "concurrent": 64 }));
    let host = Host::start(&settings).await;
    let until = tokio_util::sync::CancellationToken::new();
    let well = tokio::spawn(well(chats.clone(), host.address(), until.clone()));
    reset_peak(&host);
    let before = peak_bytes(&host);
    let ill: Vec<(String, String)> = (0..each)
        .flat_map(|round| ILLS.map(|ill| (format!("{ill}-{round}"), format!("canary {ill} {round}"))))
        .collect();
    for (conversation, text) in &ill {
        assert_eq!(chats.knock(conversation, text).post(host.address()).await.unwrap(), 200);
    }
    for (conversation, _) in &ill {
        let what = format!("a word to {conversation}");
        eventually_slowly(&what, || !chats.seen(conversation).is_empty()).await;
    }
    until.cancel();
    let times = well.await.unwrap();
    let all_well = times.len();
    for number in 0..all_well {
        let seen = || chats.seen(&format!("well-{number}"));
        eventually_slowly("an answer to who is well", || !seen().is_empty()).await;
        row.lost += usize::from(seen()[0] != Model::answer_to(&format!("canary well {number}")));
        row.doubled += seen().len() - 1;
    }
    let mut off = Duration::ZERO;
    for (conversation, text) in &ill {
        let seen = chats.seen(conversation);
        row.holds(seen == [APOLOGY], format!("{conversation} got {seen:?}"));
        let asked = model.asked(text);
        row.holds(
            (1..=ASKED_MAX).contains(&asked.len()),
            format!("{conversation} asked {} times", asked.len()),
        );
        let gaps: Vec<Duration> = asked.windows(2).map(|two| two[1].at - two[0].at).collect();
        if text.contains("busy") {
            row.holds(
                gaps.iter().all(|gap| *gap >= RETRY_AFTER),
                format!("`Retry-After` is not obeyed: {gaps:?}"),
            );
        }
        let left = asked.iter().filter_map(|asked| asked.left_after);
        off = left.map(|left| left.abs_diff(deadline)).fold(off, Duration::max);
    }
    row.in_time(off <= DEADLINE_OFF_MAX, format!("deadline of {} kept to {}", ms(deadline), ms(off)));
    let times = Times::of(times);
    row.in_time(
        times.share(0.99) <= ACKNOWLEDGED_WITHIN,
        format!("acknowledged p99 {}", ms(times.share(0.99))),
    );
    let grown = peak_bytes(&host).saturating_sub(before);
    row.in_time(grown <= MEMORY_MAX, format!("memory +{:.1} MB", grown as f64 / 1e6));
    row.figure(format!("{} apologies, {all_well} answers beside them", ill.len()));
    row.close();
}
