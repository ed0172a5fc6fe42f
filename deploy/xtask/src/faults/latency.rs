//! How long honest requests take: whole questions to the chat door, each on a connection of its own.

use super::host::Host;
use anyhow::{Result, ensure};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between one request and the next, so that the asker is no load itself.
const PAUSE: Duration = Duration::from_millis(20);

/// How honest requests fared.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Of those that were answered.
    times: Vec<Duration>,
    failed: usize,
}

impl Latencies {
    /// Asks for as long as `goes_on` says, and once at least.
    pub fn measure(host: &Host, mut goes_on: impl FnMut() -> Result<bool>) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        loop {
            match ask(host) {
                Ok(time) => latencies.times.push(time),
                Err(error) => {
                    eprintln!("{error:#}");
                    latencies.failed += 1;
                }
            }
            if !goes_on()? {
                return Ok(latencies);
            }
            sleep(PAUSE);
        }
    }

    pub fn answered(&self) -> usize {
        self.times.len()
    }

    pub fn sent(&self) -> usize {
        self.times.len() + self.failed
    }

    pub fn at(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        times.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
    }

    pub fn p99(&self) -> Duration {
        self.at(0.99)
    }
}

fn ask(host: &Host) -> Result<Duration> {
    const QUESTION: &str = r#"{"query":"Is anybody there?"}"#;
    let request = format!(
        "POST /api/v1/chat HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n{QUESTION}",
        host.token,
        QUESTION.len()
    );
    let began = Instant::now();
    let said = host.says(&request)?;
    ensure!(said.starts_with("HTTP/1.1 200"), "an honest request was answered: {said}");
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let latencies = Latencies { times, failed: 3 };
        assert_eq!((latencies.answered(), latencies.sent()), (200, 203));
        assert_eq!((latencies.answered(), latencies.p99()), (200, Duration::from_millis(199)));
        assert_eq!(latencies.at(0.0), Duration::from_millis(1));
        assert_eq!(
            Latencies { times: vec![Duration::from_millis(7)], failed: 0 }.p99(),
            Duration::from_millis(7)
        );
    }
}
