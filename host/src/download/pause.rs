//! How long to wait before the next try, and when to give up.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use http::HeaderMap;
use http::header::RETRY_AFTER;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// Tries in a row that bring nothing, once something came: some two minutes.
const TRIES_MAX: usize = 8;
/// The same before anything came: an address that is never reached is soon given up.
const TRIES_AT_FIRST: usize = 4;
/// A server that wants more patience than this is asked another day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Growing pauses with jitter, from the start again after each progress.
pub struct Pauses {
    waits: ExponentialBackoff,
    /// Behind us.
    pub tries: usize,
}

impl Pauses {
    pub fn new(has_something: bool) -> Self {
        let tries_max = if has_something { TRIES_MAX } else { TRIES_AT_FIRST };
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_max_times(tries_max)
            .with_jitter();
        Pauses { waits: waits.build(), tries: 0 }
    }

    /// The next pause, no shorter than what the server asks for; none when it is time to give up.
    pub fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.tries += 1;
        let wait = self.waits.next()?;
        match asked {
            Some(asked) if asked > RETRY_AFTER_MAX => None,
            Some(asked) => Some(wait.max(asked)),
            None => Some(wait),
        }
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}
