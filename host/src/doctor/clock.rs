//! Whether this machine's clock is right, by what servers say in `Date`.
//!
//! Platforms sign with the time and refuse what is minutes old; tokens expire by it.

use std::time::{Duration, SystemTime};

use super::Finding;
use super::client::Told;

/// Less is the age of an answer, or a server's own fault; platforms forgive it.
const OFF_MAX: Duration = Duration::from_secs(30);
const CHECK: &str = "clock";

/// Goes by the server in the middle, so that one wrong one decides nothing.
pub fn finding(told: &[Told]) -> Finding {
    let mut sorted: Vec<&Told> = told.iter().collect();
    sorted.sort_by_key(|told| lead(told));
    let Some(middle) = sorted.get(sorted.len() / 2) else {
        return Finding::skip(CHECK, "", "no server was reached that tells the time");
    };
    let lead_ms = lead(middle);
    if lead_ms.unsigned_abs() <= OFF_MAX.as_millis() {
        return Finding::ok(CHECK, "", format!("agrees with `{}`", middle.host));
    }
    let (seconds, way) = (lead_ms.unsigned_abs() / 1000, if lead_ms > 0 { "ahead of" } else { "behind" });
    Finding::fail(
        CHECK,
        "",
        format!("this machine's clock is {seconds} s {way} that of `{}`", middle.host),
        "set it by NTP, such as `timedatectl set-ntp true`: signatures and tokens are judged by the time",
    )
}

/// How many milliseconds our clock is ahead.
fn lead(told: &Told) -> i128 {
    let since =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    since(told.ours).cast_signed() - since(told.theirs).cast_signed()
}
