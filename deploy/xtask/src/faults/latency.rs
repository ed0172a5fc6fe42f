//! How long honest requests take: whole questions to the chat door, each on a connection of its own.

use super::host::Host;
use anyhow::{Result, ensure};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between one request and the next, so that the asker is no load itself.
const PAUSE: Duration = Duration::from_millis(20);

/// The times of requests that were all answered.
#[derive(Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Asks for as long as `goes_on` says, and once at least.
    pub fn measure(host: &Host, mut goes_on: impl FnMut() -> Result<bool>) -> Result<Latencies> {
        let mut times = Vec::new();
        loop {
            times.push(ask(host)?);
            if !goes_on()? {
                return Ok(Latencies(times));
            }
            sleep(PAUSE);
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn at(&self, share: f64) -> Duration {
        let mut times = self.0.clone();
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
        let latencies = Latencies(times);
        assert_eq!((latencies.count(), latencies.p99()), (200, Duration::from_millis(199)));
        assert_eq!(latencies.at(0.0), Duration::from_millis(1));
        assert_eq!(Latencies(vec![Duration::from_millis(7)]).p99(), Duration::from_millis(7));
    }
}
