//! What an operator sees: log lines, figures, and the ids that tie them together.
//!
//! It does not know what is logged or counted, nor by whom. People's ids pass through [`person`] on their way
//! into a log; message text and secrets never set out. Next: `log`, `metrics`, `request_id`.

pub mod log;
pub mod metrics;
pub mod request_id;

use std::sync::OnceLock;

use ring::hmac;
use ring::rand::SystemRandom;

pub use log::{Format, init};
pub use metrics::Metrics;
pub use request_id::request_id;

/// Bytes of a person's hash that reach a log: enough to tell people apart, too few to be sure of a guess.
const PERSON_BYTES: usize = 8;

static SALT: OnceLock<hmac::Key> = OnceLock::new();

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log filter `{filter}` is not valid; write `info`, or `info,parlor=debug`")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("the log is set up already")]
    Twice,
}

/// Sets the installation's salt, so that one person keeps one hash across restarts. The first call counts;
/// without one each process makes its own.
pub fn set_salt(salt: &[u8]) {
    let _ = SALT.set(hmac::Key::new(hmac::HMAC_SHA256, salt));
}

/// A person's id as it may stand in a log: the same person, the same word, and no way back.
pub fn person(id: &str) -> String {
    let key = SALT.get_or_init(|| {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random bytes to give")
    });
    hex::encode(&hmac::sign(key, id.as_bytes()).as_ref()[..PERSON_BYTES])
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
