//! Forgeries by the million: a few lines on which requests follow each other without waiting for answers.
//!
//! Each has a signature of the right form, drawn by lot or one bit off the right one. It does not know what a door
//! should say.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::knock::Knock;
use crate::row::Dice;

const LINES: usize = 8;
/// Requests on their way on one line.
const AHEAD: usize = 32;

/// Sends so many requests like this one, each with another value of that header; their statuses, counted.
pub async fn send(
    honest: &Knock,
    header: &str,
    count: usize,
    address: SocketAddr,
    dice: &mut Dice,
) -> BTreeMap<u16, usize> {
    let lines = (0..LINES).map(|line| {
        let of_line = count / LINES + usize::from(line < count % LINES);
        one_line(honest, header, of_line, address, dice.split())
    });
    let mut all = BTreeMap::new();
    for (status, times) in join_all(lines).await.into_iter().flatten() {
        *all.entry(status).or_default() += times;
    }
    all
}

async fn one_line(
    honest: &Knock,
    header: &str,
    mut count: usize,
    address: SocketAddr,
    mut dice: Dice,
) -> BTreeMap<u16, usize> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut statuses, mut unread) = (BTreeMap::new(), Vec::new());
    while count > 0 {
        let now = count.min(AHEAD);
        let requests: Vec<u8> = (0..now).flat_map(|_| request(honest, header, &mut dice)).collect();
        stream.write_all(&requests).await.unwrap();
        for _ in 0..now {
            *statuses.entry(status(&mut stream, &mut unread).await).or_default() += 1;
        }
        count -= now;
    }
    statuses
}

fn request(honest: &Knock, header: &str, dice: &mut Dice) -> Vec<u8> {
    let mut request = format!("POST {} HTTP/1.1\r\nhost: x\r\n", honest.path);
    for (name, value) in &honest.headers {
        let forged = (name == header).then(|| forged(value, dice));
        request.push_str(&format!("{name}: {}\r\n", forged.as_ref().unwrap_or(value)));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{}", honest.body.len(), honest.body));
    request.into_bytes()
}

/// Another signature of the same form: hex, or base64 with or without a version before it.
fn forged(honest: &str, dice: &mut Dice) -> String {
    let (version, encoded) = honest
        .split_once(',')
        .map_or((String::new(), honest), |(version, rest)| (format!("{version},"), rest));
    let (mut bytes, is_hex) = match hex::decode(encoded) {
        Ok(bytes) => (bytes, true),
        Err(_) => (STANDARD.decode(encoded).expect("a signature is hex or base64"), false),
    };
    if dice.next().is_multiple_of(2) {
        let bit = dice.next() as usize % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    } else {
        bytes.iter_mut().for_each(|byte| *byte = dice.next() as u8);
    }
    format!("{version}{}", if is_hex { hex::encode(bytes) } else { STANDARD.encode(bytes) })
}

/// Reads one response to its end.
async fn status(stream: &mut TcpStream, unread: &mut Vec<u8>) -> u16 {
    loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&unread[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
            if unread.len() >= whole {
                unread.drain(..whole);
                return head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
            }
        }
        assert_ne!(stream.read_buf(unread).await.unwrap(), 0, "the host broke off");
    }
}

/// The forging forges.
#[test]
fn a_forgery_has_the_form_of_what_it_is_not() {
    let mut dice = Dice::thrown();
    for honest in [hex::encode([7; 32]), STANDARD.encode([7; 32]), format!("v1,{}", STANDARD.encode([7; 32]))]
    {
        for _ in 0..100 {
            let forged = forged(&honest, &mut dice);
            assert!(forged != honest && forged.len() == honest.len(), "{forged}");
            assert_eq!(forged.starts_with("v1,"), honest.starts_with("v1,"));
        }
    }
}
