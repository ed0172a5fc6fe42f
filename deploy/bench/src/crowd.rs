//! Clients that keep their connections and send one request after the other, as fast as they are answered.
//!
//! They are threads with plain sockets, which cost little beside what the server does, and are not in its CPU.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::door::Case;
use crate::sample::Sample;

/// As many as keep the server busy while some wait for the disk.
const CLIENTS: u32 = 16;
/// Each message is another one, for as long as the process lives.
static SENT: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// The server's.
    pub cpu: Duration,
    pub wall: Duration,
}

/// A sound request is taken, and one that is not signed so is not.
pub fn check(address: SocketAddr, case: Case, sample: &Sample) -> Result<()> {
    let mut client = Client::connect(address)?;
    let sound = sample.request(&case.path(), SENT.fetch_add(1, Ordering::Relaxed));
    let forged = sound.replacen("sign: ", "sign: A", 1);
    ensure!(forged != sound, "the sample is not signed");
    let told = (client.ask(&sound)?, client.ask(&forged)?);
    ensure!(told == (200, 401), "{case:?} answers {told:?} to a sound request and to a forged one");
    Ok(())
}

/// Sends so many, by all clients together; all must be taken. Clients are threads that are gone when CPU is counted.
pub fn send(address: SocketAddr, case: Case, sample: &Sample, requests: u32) -> Result<Spent> {
    let clients = (0..CLIENTS).map(|_| Client::connect(address)).collect::<Result<Vec<_>>>()?;
    let each = requests.div_ceil(CLIENTS);
    let (began, before) = (Instant::now(), cpu_of_all()?);
    thread::scope(|scope| {
        let send = |mut client: Client| scope.spawn(move || client.send(case, sample, each));
        let sending: Vec<_> = clients.into_iter().map(send).collect();
        sending.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    let wall = began.elapsed();
    Ok(Spent { cpu: cpu_of_all()?.saturating_sub(before), wall })
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::new(stream)))
    }

    fn send(&mut self, case: Case, sample: &Sample, requests: u32) -> Result<()> {
        let path = case.path();
        for _ in 0..requests {
            let request = sample.request(&path, SENT.fetch_add(1, Ordering::Relaxed));
            let status = self.ask(&request)?;
            ensure!(status == 200, "{case:?} answered {status}");
        }
        Ok(())
    }

    fn ask(&mut self, request: &str) -> Result<u16> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (0, 0);
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line)? > 0, "the server closed the connection");
            let text = line.trim_end();
            if text.is_empty() {
                break;
            } else if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).context("no status")?;
            } else if let Some(value) = text.strip_prefix("content-length: ") {
                length = value.parse().context("no length")?;
            }
        }
        self.0.by_ref().take(length).read_to_end(&mut Vec::new())?;
        Ok(status)
    }
}

/// CPU of all threads that live, by the scheduler's exact count.
fn cpu_of_all() -> Result<Duration> {
    let mut all = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").context("no `/proc`: this needs Linux")? {
        // A thread may end meanwhile.
        let counts = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let spent = counts.split(' ').next().and_then(|ns| ns.parse().ok());
        all += spent.map_or(Duration::ZERO, Duration::from_nanos);
    }
    Ok(all)
}
