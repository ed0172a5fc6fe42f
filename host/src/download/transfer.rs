//! The bytes themselves, over as many connections as it takes.
//!
//! A dropped line is taken up where it broke: `Range` with `If-Range` (RFC 9110, sections 13.1.5 and 14.2), so that a
//! file that changed meanwhile begins anew instead of being mixed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use secrecy::ExposeSecret as _;

use super::part::Part;
use super::pause::{Pauses, retry_after};
use super::{Clients, DownloadError, Order, Progress, hub, reason};
use crate::space;

/// What is shown of a file that is another one.
const SHOWN_BYTES_MAX: usize = 60;

/// Why one connection did not bring the end.
enum Broken {
    Lasting(DownloadError),
    Passing { why: String, after: Option<Duration> },
}

impl From<DownloadError> for Broken {
    fn from(error: DownloadError) -> Self {
        Broken::Lasting(error)
    }
}

fn passing(why: impl Into<String>) -> Broken {
    Broken::Passing { why: why.into(), after: None }
}

/// Fetches what is missing. `is_checked`: a checksum will tell if parts of two files were mixed.
pub async fn run(
    clients: &Clients,
    order: &Order<'_>,
    is_checked: bool,
    part: &mut Part,
    progress: &dyn Progress,
) -> Result<(), DownloadError> {
    let mut pauses = Pauses::new(part.bytes > 0);
    loop {
        let before = part.bytes;
        let outcome = attempt(clients, order, is_checked, part, progress).await;
        part.flush().await?;
        let (why, after) = match outcome {
            Ok(()) => return Ok(()),
            Err(Broken::Lasting(error)) => return Err(told(error, part)),
            Err(Broken::Passing { why, after }) => (why, after),
        };
        if part.bytes > before {
            pauses = Pauses::new(true);
        }
        let Some(wait) = pauses.next(after) else {
            let asked = after.map_or(String::new(), |after| format!(", asks to wait {} s", after.as_secs()));
            let gave_up = DownloadError::GaveUp { tries: pauses.tries, last: format!("{why}{asked}") };
            return Err(told(gave_up, part));
        };
        progress.says(&format!("{why}; trying again in {:.1} s", wait.as_secs_f64()));
        tokio::time::sleep(wait).await;
    }
}

/// What is another file altogether, or nothing yet, is not worth keeping.
fn told(error: DownloadError, part: &Part) -> DownloadError {
    if matches!(error, DownloadError::OtherFile { .. }) || part.bytes == 0 {
        part.discard();
    }
    error
}

async fn attempt(
    clients: &Clients,
    order: &Order<'_>,
    is_checked: bool,
    part: &mut Part,
    progress: &dyn Progress,
) -> Result<(), Broken> {
    let source = &order.source;
    let mut request = clients.following.get(source.url.clone()).header(ACCEPT_ENCODING, "identity");
    if let Some(token) = &source.token {
        request = request.bearer_auth(token.expose_secret());
    }
    if part.bytes > 0 && part.validator().is_none() && !is_checked {
        part.restart().await?;
    }
    if part.bytes > 0 {
        request = request.header(RANGE, format!("bytes={}-", part.bytes));
        if let Some(validator) = part.validator() {
            request = request.header(IF_RANGE, validator);
        }
    }
    let response = request.send().await.map_err(|error| passing(unreached(order, error)))?;
    let Some(total) = begin(order, &response, part, progress).await? else { return Ok(()) };
    room(part, total)?;
    progress.begins(part.bytes, total);
    receive(order, response, part, progress).await?;
    match total {
        Some(total) if part.bytes < total => Err(passing(format!(
            "the line dropped at {} of {}",
            space::shown(part.bytes),
            space::shown(total)
        ))),
        Some(total) if part.bytes > total => {
            part.restart().await?;
            Err(passing("the server sent more than it said"))
        }
        _ => Ok(()),
    }
}

fn unreached(order: &Order<'_>, error: reqwest::Error) -> String {
    format!("`{}` cannot be reached: {}", order.source.url.host_str().unwrap_or_default(), reason(error))
}

/// Judges the head of the answer: the size of the whole file, if it is told; no answer is needed if all is there.
async fn begin(
    order: &Order<'_>,
    response: &Response,
    part: &mut Part,
    progress: &dyn Progress,
) -> Result<Option<Option<u64>>, Broken> {
    let (status, headers) = (response.status(), response.headers());
    match status {
        StatusCode::PARTIAL_CONTENT => match range(headers) {
            Some((from, total)) if from == part.bytes => Ok(Some(total)),
            _ => {
                part.restart().await?;
                Err(passing("the server sent another part than the one that was asked for"))
            }
        },
        StatusCode::RANGE_NOT_SATISFIABLE => match range_total(headers) {
            Some(total) if total == part.bytes => Ok(None),
            _ => {
                part.restart().await?;
                Err(passing("what is there is no part of the server's file; beginning anew"))
            }
        },
        status if status.is_success() => {
            if part.bytes > 0 {
                progress.says("the server has another file now, or sends no parts; beginning anew");
                part.restart().await?;
            }
            part.remember(validator(headers))?;
            Ok(Some(response.content_length()))
        }
        status => Err(refused(order, status, headers)),
    }
}

fn refused(order: &Order<'_>, status: StatusCode, headers: &HeaderMap) -> Broken {
    let host = order.source.url.host_str().unwrap_or_default();
    if let Some(error) = hub::judged(&order.source, status, headers) {
        return Broken::Lasting(error);
    }
    let why = format!("`{host}` answers with status {}", status.as_u16());
    match status.as_u16() {
        408 | 425 | 429 | 500.. => Broken::Passing { why, after: retry_after(headers) },
        _ => Broken::Lasting(DownloadError::Refused(why)),
    }
}

/// `bytes 100-199/200`: where the part begins, and the size of the whole.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (span, total) = content_range(headers)?.split_once('/')?;
    let (from, _) = span.split_once('-')?;
    Some((from.trim().parse().ok()?, total.parse().ok()))
}

/// `bytes */200`
fn range_total(headers: &HeaderMap) -> Option<u64> {
    content_range(headers)?.split_once('/')?.1.parse().ok()
}

fn content_range(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")
}

/// A strong entity tag, else a date; a weak tag proves nothing about bytes.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = text(ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| text(LAST_MODIFIED)).map(str::to_owned)
}

fn room(part: &Part, total: Option<u64>) -> Result<(), DownloadError> {
    let folder = part.folder();
    let (Some(total), Some(free)) = (total, space::free(&folder)) else { return Ok(()) };
    let needed = total.saturating_sub(part.bytes);
    if needed > free { Err(DownloadError::Space { needed, free, folder }) } else { Ok(()) }
}

async fn receive(
    order: &Order<'_>,
    mut response: Response,
    part: &mut Part,
    progress: &dyn Progress,
) -> Result<(), Broken> {
    let mut head = BytesMut::new();
    loop {
        let chunk =
            response.chunk().await.map_err(|error| passing(format!("the line dropped: {}", reason(error))));
        let Some(chunk) = chunk? else { break };
        let chunk = if part.bytes > 0 { chunk } else { held(&mut head, chunk, order.magic.len()) };
        if part.bytes == 0 && !chunk.is_empty() {
            check_magic(order, &chunk)?;
        }
        part.write(&chunk).await?;
        progress.has(part.bytes);
    }
    if part.bytes == 0 { Err(Broken::Lasting(other(order, &head))) } else { Ok(()) }
}

/// Nothing until so many bytes came that they can be judged.
fn held(head: &mut BytesMut, chunk: Bytes, bytes: usize) -> Bytes {
    head.extend_from_slice(&chunk);
    if head.len() < bytes { Bytes::new() } else { head.split().freeze() }
}

fn check_magic(order: &Order<'_>, beginning: &[u8]) -> Result<(), DownloadError> {
    if beginning.starts_with(order.magic) { Ok(()) } else { Err(other(order, beginning)) }
}

fn other(order: &Order<'_>, beginning: &[u8]) -> DownloadError {
    let text =
        String::from_utf8_lossy(&beginning[..beginning.len().min(SHOWN_BYTES_MAX)]).trim().to_lowercase();
    let gated = match order.source.hub {
        Some(super::source::Hub::HuggingFace) => {
            "; the repository may be gated: accept its licence on its page and set `HF_TOKEN`"
        }
        _ => "; the address may need a login, or be that of a page about the file",
    };
    let what = if text.is_empty() {
        "empty".to_owned()
    } else if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        format!("a web page and no model{gated}")
    } else if text.starts_with("version https://git-lfs") {
        "a pointer of Git LFS and no model; take the address with `resolve` in it".to_owned()
    } else if text.starts_with('{') {
        format!("JSON and no model{gated}")
    } else {
        format!("no {} file", order.kind)
    };
    DownloadError::OtherFile { host: order.source.url.host_str().unwrap_or_default().to_owned(), what }
}
