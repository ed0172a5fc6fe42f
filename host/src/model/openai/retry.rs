//! Whether a failed try is worth another one, and when.
//!
//! It does not know HTTP's statuses (`refusal` judges them) nor how a request is sent. The deadline is the
//! whole request's: waiting spends it.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use super::date;
use crate::clock::{Clock, SystemClock};
use crate::model::ModelError;
use crate::model::breaker::Permission;

/// Tries after the first one. A fourth would wait longer than most people do.
const RETRIES_MAX: u32 = 3;
/// The span that the first wait is drawn from; it doubles with each try.
const BACKOFF: Duration = Duration::from_millis(500);
/// No span grows beyond this: a turn lasts two minutes by default.
const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// What went wrong, whether it may pass, and what it tells of the server.
#[derive(Debug)]
pub struct Failure {
    pub error: ModelError,
    pub retry: Retry,
    pub health: Health,
}

/// What a try tells of the server, whatever the caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is not there, too slow, says 5xx, or breaks off.
    Ill,
    /// It answered, if only that it is busy or refuses.
    Well,
    Unknown,
}

impl Health {
    fn told_by(error: &ModelError) -> Health {
        match error {
            ModelError::TimedOut | ModelError::Unavailable(_) | ModelError::Broken(_) => Health::Ill,
            ModelError::Resting { .. } => Health::Unknown,
            ModelError::Busy { .. }
            | ModelError::ContextExceeded { .. }
            | ModelError::Refused(_)
            | ModelError::Denied(_) => Health::Well,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// `after`: what the server asked for.
    Later {
        after: Option<Duration>,
    },
}

impl Failure {
    pub fn lasting(error: ModelError) -> Self {
        Self { health: Health::told_by(&error), error, retry: Retry::Never }
    }

    pub fn passing(error: ModelError) -> Self {
        Self { retry: Retry::Later { after: None }, ..Self::lasting(error) }
    }

    /// To the breaker that let the try through.
    pub fn tell(&self, permission: Permission) {
        match self.health {
            Health::Ill => permission.failed(),
            Health::Well => permission.succeeded(),
            Health::Unknown => {}
        }
    }

    pub fn that_tells(self, health: Health) -> Self {
        Self { health, ..self }
    }
}

/// How long to wait before the next try, or the error to give up with. `tries` counts those behind us.
pub fn pause(failure: Failure, tries: u32, deadline: Instant) -> Result<Duration, ModelError> {
    let Failure { error, retry, .. } = failure;
    let Retry::Later { after } = retry else {
        return Err(error);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if let Some(retry_after) = after.filter(|after| *after >= left) {
        return Err(ModelError::Busy { retry_after });
    }
    let wait = after.unwrap_or_default().saturating_add(jitter(tries));
    if tries > RETRIES_MAX || wait >= left {
        return Err(error);
    }
    Ok(wait)
}

/// Anything between nothing and the span of this try, so that clients which failed together do not come
/// back together.
fn jitter(tries: u32) -> Duration {
    let span = BACKOFF.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    let mut bytes = [0; 4];
    // without randomness the whole span is a fair wait too
    let drawn = SystemRandom::new().fill(&mut bytes).map_or(u32::MAX, |()| u32::from_le_bytes(bytes));
    span.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
}

/// `retry-after-ms`, else `retry-after` in seconds or as an HTTP date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let value = text(RETRY_AFTER.as_str())?;
    match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => Some(until(date::parse(value)?, text(DATE.as_str()))),
    }
}

/// From the server's own idea of now, if it says so: its clock made the date.
fn until(date: i64, server_now: Option<&str>) -> Duration {
    let now = server_now.and_then(date::parse).unwrap_or_else(|| (SystemClock.now() / 1000).cast_signed());
    Duration::from_secs(u64::try_from(date - now).unwrap_or_default())
}
