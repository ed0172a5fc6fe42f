//! The small texts of a manifest: durations, sizes, rates, versions, names. It knows no key.

use std::time::Duration;

use super::Rate;

/// `500ms`, `1s`, `5m`, `2h` or `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write one like `500ms`, `2s`, `5m` or `2h`");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let milliseconds = number.checked_mul(factor).filter(|milliseconds| *milliseconds > 0);
    milliseconds.map(Duration::from_millis).ok_or_else(wrong)
}

/// `512KiB` or `16MiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: write one like `512KiB` or `16MiB`");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// Each request within the span is remembered.
const RATE_COUNT_MAX: u32 = 10_000;

/// `20/1m`: so many in such a span.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is no rate: write one like `20/1m`");
    let (count, per) = text.split_once('/').ok_or_else(wrong)?;
    let count = count.parse::<u32>().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
    if count > RATE_COUNT_MAX {
        return Err(format!("`{text}`: at most {RATE_COUNT_MAX} in a span, so name a shorter span"));
    }
    Ok(Rate { count, per: duration(per)? })
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

/// `0.1`.
pub(super) fn contract(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let fits = parts.len() == 2 && parts.iter().all(|part| part.parse::<u16>().is_ok());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "write the contract's major and minor, such as `0.1`".to_owned())
}

/// `1.2.3`, or with what semantic versioning allows behind it.
pub(super) fn version(text: &str) -> Result<String, String> {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let fits = parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()) && text.len() <= 64;
    fits.then(|| text.to_owned()).ok_or_else(|| "write a version such as `1.2.3`".to_owned())
}

/// One line of text that is not empty.
pub(super) fn line(text: &str) -> Result<String, String> {
    let fits = !text.trim().is_empty() && !text.contains(['\n', '\r']) && text.len() <= 512;
    fits.then(|| text.to_owned()).ok_or_else(|| "write one line of at most 512 bytes".to_owned())
}

/// No platform divides by more.
const MARK_BYTES_MAX: usize = 4;

/// What divides a text: a few signs, and no letters or digits, which stand anywhere in it.
pub(super) fn mark(text: &str) -> Result<String, String> {
    let fits = (1..=MARK_BYTES_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_punctuation());
    fits.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "`{text}` is no mark: write 1 to {MARK_BYTES_MAX} ASCII signs, no letters or digits, such as `:`"
        )
    })
}

/// A name that may stand in a placeholder.
pub(super) fn word(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(is_word);
    fits.then(|| text.to_owned()).ok_or_else(|| "use 1 to 64 of a-z, A-Z, 0-9, `_`, `-` and `.`".to_owned())
}

/// Whether a name in a placeholder may hold this character.
pub(super) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A JSON pointer: empty, or steps that begin with a slash.
pub(super) fn pointer(text: &str) -> Result<String, String> {
    let fits = text.is_empty() || text.starts_with('/');
    fits.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no JSON pointer: begin with `/`"))
}

/// An HTTP method in capitals.
pub(super) fn method(text: &str) -> Result<String, String> {
    let fits = matches!(text, "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD");
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is none of `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD`"))
}

/// The name of a header, in lower case.
pub(super) fn header(text: &str) -> Result<String, String> {
    http::HeaderName::from_bytes(text.as_bytes())
        .map(|name| name.as_str().to_owned())
        .map_err(|_| format!("`{text}` is no header name"))
}
