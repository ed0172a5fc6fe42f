//! The id that follows one request through every stage: the caller's own if it is well formed, else ours.
//!
//! It does not know where the id goes; `doors` puts it into the response and into the log's span.

use http::HeaderMap;
use uuid::Uuid;

/// The longest id that is taken over from a caller; proxies make them of 16 to 64.
const ID_CHARS_MAX: usize = 128;

/// `x-request-id`, else the trace id of W3C `traceparent`, else a new UUID that sorts by time.
pub fn request_id(headers: &HeaderMap) -> String {
    let given = header(headers, "x-request-id").filter(|id| is_well_formed(id));
    let given = given.or_else(|| header(headers, "traceparent").and_then(trace_id));
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// The one value of a header that came once.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_well_formed(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_plain)
}

/// `version-traceid-parentid-flags`, all in lower-case hex: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn trace_id(traceparent: &str) -> Option<&str> {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let [version, trace, parent, flags, more @ ..] = parts.as_slice() else { return None };
    let is_known = *version != "ff" && (*version != "00" || more.is_empty());
    let is_whole = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let is_set = trace.bytes().any(|byte| byte != b'0') && parent.bytes().any(|byte| byte != b'0');
    (is_known && is_whole && is_set).then_some(*trace)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
