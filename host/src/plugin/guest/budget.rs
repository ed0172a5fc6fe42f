//! What one call into a plugin may take of the host, beside memory and time.
//!
//! It is counted for each call alone, so that a plugin which takes too much hurts that call. What nobody waits for
//! (the log) is cut off, what has an answer is refused by it, and a storm is a trap.

/// Host calls; a storm of them is a defect.
const HOST_CALLS_MAX: u32 = 100_000;
/// Operations on secrets: a request needs a handful, and who guesses a secret or measures times needs very many.
const SECRET_CALLS_MAX: u32 = 1_000;
/// HTTP requests: a delivery has one outward effect, and some questions around it.
const REQUESTS_MAX: u32 = 256;
/// Operations on the plugin's own memory; each that writes costs the host a commit.
const STORE_CALLS_MAX: u32 = 1_000;
/// Bytes written into it.
const STORE_BYTES_MAX: usize = 4 << 20;
/// Log lines and the bytes in them; the rest is dropped.
const LOG_LINES_MAX: u32 = 100;
const LOG_BYTES_MAX: usize = 64 << 10;

/// What is left of each for one call.
#[derive(Debug)]
pub struct Budget {
    host_calls: u32,
    secret_calls: u32,
    requests: u32,
    store_calls: u32,
    store_bytes: usize,
    log_lines: u32,
    log_bytes: usize,
}

/// Nothing is left of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    #[error("more than {HOST_CALLS_MAX} host calls in one call")]
    HostCalls,
    #[error("more than {SECRET_CALLS_MAX} operations on secrets in one call")]
    SecretCalls,
    #[error("more than {REQUESTS_MAX} HTTP requests in one call: do less in one")]
    Requests,
    #[error(
        "more than {STORE_CALLS_MAX} operations on the plugin's memory, or {STORE_BYTES_MAX} bytes into it, in one call"
    )]
    Store,
}

/// What becomes of a line for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Written,
    /// The first that finds no room: who reads the log is told that there is more.
    Last,
    Dropped,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            host_calls: HOST_CALLS_MAX,
            secret_calls: SECRET_CALLS_MAX,
            requests: REQUESTS_MAX,
            store_calls: STORE_CALLS_MAX,
            store_bytes: STORE_BYTES_MAX,
            log_lines: LOG_LINES_MAX,
            log_bytes: LOG_BYTES_MAX,
        }
    }
}

impl Budget {
    pub fn host_call(&mut self) -> Result<(), Spent> {
        take(&mut self.host_calls, Spent::HostCalls)
    }

    pub fn secret_call(&mut self) -> Result<(), Spent> {
        take(&mut self.secret_calls, Spent::SecretCalls)
    }

    pub fn request(&mut self) -> Result<(), Spent> {
        take(&mut self.requests, Spent::Requests)
    }

    /// An operation that writes so many bytes.
    pub fn store_call(&mut self, bytes: usize) -> Result<(), Spent> {
        take(&mut self.store_calls, Spent::Store)?;
        self.store_bytes = self.store_bytes.checked_sub(bytes).ok_or(Spent::Store)?;
        Ok(())
    }

    /// A line with so many bytes in it. After one that found no room none is written, however short.
    pub fn log_line(&mut self, bytes: usize) -> Line {
        if self.log_lines == 0 {
            return Line::Dropped;
        }
        match self.log_bytes.checked_sub(bytes) {
            Some(left) if self.log_lines > 1 => (self.log_lines, self.log_bytes) = (self.log_lines - 1, left),
            _ => {
                self.log_lines = 0;
                return Line::Last;
            }
        }
        Line::Written
    }
}

fn take(left: &mut u32, spent: Spent) -> Result<(), Spent> {
    *left = left.checked_sub(1).ok_or(spent)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is granted.
    fn granted(mut one: impl FnMut() -> bool) -> usize {
        (0..1_000_000).take_while(|_| one()).count()
    }

    #[test]
    fn each_thing_ends_by_itself() {
        let mut budget = Budget::default();
        assert_eq!(granted(|| budget.request().is_ok()), REQUESTS_MAX as usize);
        assert_eq!(granted(|| budget.secret_call().is_ok()), SECRET_CALLS_MAX as usize);
        assert_eq!(granted(|| budget.store_call(1 << 16).is_ok()), STORE_BYTES_MAX >> 16);
        assert_eq!(granted(|| budget.store_call(0).is_ok()), STORE_CALLS_MAX as usize - 65);
        assert_eq!(granted(|| budget.host_call().is_ok()), HOST_CALLS_MAX as usize);
    }

    #[test]
    fn a_log_ends_by_lines_or_by_bytes_and_says_so_once() {
        for (bytes, written) in
            [(1, LOG_LINES_MAX as usize - 1), (LOG_BYTES_MAX / 4, 4), (LOG_BYTES_MAX + 1, 0)]
        {
            let mut budget = Budget::default();
            let lines: Vec<Line> = (0..1000).map(|_| budget.log_line(bytes)).collect();
            assert!(lines[..written].iter().all(|line| *line == Line::Written), "{bytes}");
            assert_eq!(lines[written], Line::Last);
            assert!(lines[written + 1..].iter().all(|line| *line == Line::Dropped));
            assert_eq!(budget.log_line(0), Line::Dropped, "however short");
        }
    }
}
