//! The page's files as they are sent: each under a name that holds a hash of what is in it, so that a browser may
//! keep it for good, and compressed once.
//!
//! It knows files, not the page's policy. The files are in this binary; nothing is read or loaded from elsewhere.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

/// A name never stands for other bytes: nobody need ask again.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// To be asked for each time, and answered by 304: an upgrade shows at once.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");

macro_rules! sources {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!($name))),*] };
}

/// In this order: a file is named by those below it alone, whose texts get its full name.
const SOURCES: &[(&str, &str)] = sources![
    "icon.svg",
    "page.css",
    "prose.css",
    "vendor/markdown-it.js",
    "vendor/purify.js",
    "first.js",
    "storage.js",
    "texts.js",
    "choices.js",
    "clipboard.js",
    "markdown.js",
    "prose.js",
    "messages.js",
    "composer.js",
    "dialogs.js",
    "list.js",
    "notice.js",
    "pass.js",
    "line.js",
    "post.js",
    "scroll.js",
    "shelf.js",
    "conversations.js",
    "viewport.js",
    "page.js",
    "index.html",
];

/// Made when the page is first asked for, not when the host starts.
static FILES: LazyLock<Files> = LazyLock::new(Files::make);

struct Files {
    index: File,
    /// The others by their full names, such as `vendor/purify.0123456789abcdef.js`.
    named: HashMap<String, File>,
}

struct File {
    media_type: &'static str,
    caching: HeaderValue,
    plain: Form,
    gzip: Form,
}

/// One form of a file, with a tag of its own (RFC 9110 §8.8.3.3).
struct Form {
    etag: HeaderValue,
    bytes: Bytes,
}

/// The page itself.
pub fn index(headers: &HeaderMap) -> Response {
    FILES.index.answer(headers)
}

/// A file by its full name; none has another.
pub fn named(name: &str, headers: &HeaderMap) -> Option<Response> {
    FILES.named.get(name).map(|file| file.answer(headers))
}

impl Files {
    fn make() -> Self {
        let mut full_names: Vec<(&str, String)> = Vec::new();
        let mut named = HashMap::new();
        for (name, text) in SOURCES {
            let text = with_full_names(text, &full_names);
            let hash = hash(text.as_bytes());
            if *name == "index.html" {
                return Self { index: File::new(name, &text, &hash, ASK_EACH_TIME), named };
            }
            let full_name = full_name(name, &hash);
            named.insert(full_name.clone(), File::new(name, &text, &hash, FOR_GOOD));
            full_names.push((name, full_name));
        }
        unreachable!("`index.html` is the last source")
    }
}

impl File {
    fn new(name: &str, text: &str, hash: &str, caching: HeaderValue) -> Self {
        let form = |tag: String, bytes: Bytes| Form {
            etag: HeaderValue::try_from(tag).expect("hex digits in quotes make a header value"),
            bytes,
        };
        Self {
            media_type: media_type(name),
            caching,
            plain: form(format!("\"{hash}\""), Bytes::copy_from_slice(text.as_bytes())),
            gzip: form(format!("\"{hash}-gz\""), gzip(text.as_bytes())),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let is_gzip = takes_gzip(headers);
        let form = if is_gzip { &self.gzip } else { &self.plain };
        let mut head = HeaderMap::new();
        head.insert(ETAG, form.etag.clone());
        head.insert(CACHE_CONTROL, self.caching.clone());
        head.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if knows(headers, &form.etag) {
            return (StatusCode::NOT_MODIFIED, head).into_response();
        }
        head.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        if is_gzip {
            head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        (head, form.bytes.clone()).into_response()
    }
}

/// Puts the full names where a text names other files: `"./storage.js"` in modules, `"/page/storage.js"` in HTML.
fn with_full_names<'a>(text: &'a str, full_names: &[(&str, String)]) -> Cow<'a, str> {
    full_names.iter().fold(Cow::Borrowed(text), |text, (name, full_name)| {
        let text = text.replace(&format!("\"./{name}\""), &format!("\"./{full_name}\""));
        Cow::Owned(text.replace(&format!("\"/page/{name}\""), &format!("\"/page/{full_name}\"")))
    })
}

fn full_name(name: &str, hash: &str) -> String {
    let (stem, end) = name.rsplit_once('.').expect("each source has an extension");
    format!("{stem}.{hash}.{end}")
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory takes every byte").into()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => unreachable!("no source ends otherwise"),
    }
}

/// Whether the browser's copy is this very file (RFC 9110 §13.1.2).
fn knows(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Some(known) = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    known.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == *etag)
}

/// Whether gzip is named and not refused (RFC 9110 §12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}
