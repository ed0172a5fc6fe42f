//! F13: bodies and heads that are too much. Each is refused by a status of its own, soon, and costs little memory.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::row::{Row, ms, rounds};
use crate::support::{Envelope, Host, Model, PATIENCE, Platform, Settings, robot_sign};

const TIME_MAX: Duration = Duration::from_secs(1);
const MEMORY_MAX: u64 = 8 << 20;
const BODY_MAX: usize = 1 << 20;
const DEPTH: usize = 100_000;
const HEADERS: usize = 100_000;
const CHUNKED_BYTES: usize = 1 << 30;
/// A thousand bytes of zeros for each byte of it.
const BOMB_BYTES: usize = 1 << 29;

/// What an attack sends, piece by piece.
type Pieces = Box<dyn Iterator<Item = Vec<u8>> + Send>;

fn proc_file(host: &Host, name: &str) -> String {
    format!("/proc/{}/{name}", host.process_id())
}

/// The most memory that it had since the last reset.
pub fn peak_bytes(host: &Host) -> u64 {
    let status = std::fs::read_to_string(proc_file(host, "status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

pub fn reset_peak(host: &Host) {
    std::fs::write(proc_file(host, "clear_refs"), "5").unwrap();
}

/// Sends bytes for as long as the host takes them; the status that it gives.
async fn push(host: &Host, pieces: impl Iterator<Item = Vec<u8>>) -> u16 {
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for piece in pieces {
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut said = vec![0; 64];
    let reading = reader.read(&mut said);
    let read = tokio::select! {
        read = reading => read.unwrap_or_default(),
        () = writing => 0,
        () = tokio::time::sleep(PATIENCE) => panic!("no answer"),
    };
    let said = String::from_utf8_lossy(&said[..read]).into_owned();
    said.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// A POST that is signed as the platform of the channel `team` signs, which does not cover the body.
fn head(more: &str) -> Vec<u8> {
    let now = crate::support::now_ms().to_string();
    let sign = robot_sign("secret-canary-app", &now);
    format!("POST /webhook/team HTTP/1.1\r\nhost: x\r\ntimestamp: {now}\r\nsign: {sign}\r\ncontent-type: application/json\r\n{more}\r\n")
        .into_bytes()
}

fn whole(more: &str, body: Vec<u8>) -> Vec<Vec<u8>> {
    vec![head(&format!("{more}content-length: {}\r\n", body.len())), body]
}

fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..BOMB_BYTES / zeros.len() {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

fn chunked() -> impl Iterator<Item = Vec<u8>> {
    let piece = [b"10000\r\n".as_slice(), &[b'a'; 1 << 16], b"\r\n"].concat();
    std::iter::once(head("transfer-encoding: chunked\r\n"))
        .chain(std::iter::repeat_n(piece, CHUNKED_BYTES >> 16))
}

fn many_headers() -> impl Iterator<Item = Vec<u8>> {
    let begin = b"POST /webhook/team HTTP/1.1\r\nhost: x\r\n".to_vec();
    let lines = (0..HEADERS).map(|number| format!("x-{number}: y\r\n").into_bytes());
    std::iter::once(begin).chain(lines).chain(std::iter::once(b"\r\n".to_vec()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_what_is_too_much_is_refused_soon_and_costs_little() {
    let mut row = Row::new("F13", "bodies of 1 MB + 1, 1 GB in chunks, gzip, depth, 10^5 headers");
    row.rounds = rounds(2, 40);
    let (platform, model) = (Platform::start().await, Model::start().await);
    let settings = platform.join_webhook(platform.join(Settings::new()), serde_json::json!({}), false);
    let host = Host::start(&model.join(settings)).await;
    let process = host.process_id();
    let (bomb, deep) = (bomb(), format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)).into_bytes());
    assert!(bomb.len() < BODY_MAX && bomb.len() * 900 < BOMB_BYTES, "{}", bomb.len());
    let (mut longest, mut grown) = (Duration::ZERO, 0);
    for round in 0..=row.rounds {
        reset_peak(&host);
        let before = peak_bytes(&host);
        let gzip = "content-encoding: gzip\r\n";
        let attacks: [(&str, Pieces, &[u16]); 5] = [
            ("1 MB + 1", Box::new(whole("", vec![b'a'; BODY_MAX + 1]).into_iter()), &[413]),
            ("1 GB in chunks", Box::new(chunked()), &[413]),
            ("gzip", Box::new(whole(gzip, bomb.clone()).into_iter()), &[400, 413, 415]),
            ("depth", Box::new(whole("", deep.clone()).into_iter()), &[400]),
            ("headers", Box::new(many_headers()), &[400, 431]),
        ];
        for (name, pieces, allowed) in attacks {
            let began = Instant::now();
            let status = push(&host, pieces).await;
            longest = longest.max(began.elapsed());
            row.holds(allowed.contains(&status), format!("{name}: {status}"));
        }
        // The first time also pays for what all later ones share.
        if round > 0 {
            grown = grown.max(peak_bytes(&host).saturating_sub(before));
        }
    }
    row.in_time(longest <= TIME_MAX, format!("refused within {}", ms(longest)));
    row.in_time(grown <= MEMORY_MAX, format!("memory +{:.1} MB", grown as f64 / 1e6));
    let envelope = Envelope::new("m", "ann", "canary after it");
    let (status, answer) = envelope.post(&host.url("/webhook/hook")).await.unwrap();
    row.holds(
        status == 200 && answer["reply"] == Model::answer_to("canary after it"),
        "nobody is served after it",
    );
    row.holds(host.process_id() == process && model.asked().len() == 1, "something was let in");
    row.close();
}
