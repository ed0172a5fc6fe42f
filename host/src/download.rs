//! A large file from the network onto the disk: whole and checked, or not there at all.
//!
//! `source` reads addresses, `hub` asks a hub what the file must be, `transfer` fetches it over as many
//! connections as it takes, `part` keeps what is there meanwhile. It does not know configurations, and what a
//! file must be inside only by the check that the caller hands in.

mod hub;
mod part;
mod pause;
mod source;
mod transfer;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use source::{Environment, Source, SourceError};

use crate::space;
use part::Part;

/// A server that does not take a connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A line on which nothing comes for so long is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What is wanted.
pub struct Order<'a> {
    pub source: Source,
    /// Where the whole file goes. The unfinished one lies beside it, as `<file>.part`.
    pub to: PathBuf,
    /// What the file must be, in lower-case hex; none: what the hub says.
    pub sha256: Option<String>,
    /// What such a file is called, such as `GGUF`.
    pub kind: &'static str,
    /// What its first bytes are, so that a web page is not stored for hours.
    pub magic: &'static [u8],
    /// A last look at the whole file before it takes its name; what is wrong with it comes back in words.
    pub accept: &'a (dyn Fn(&Path) -> Result<(), String> + Sync),
}

/// Told how far a download is.
pub trait Progress: Send + Sync {
    /// From now on so many bytes are there, out of so many if the server tells.
    fn begins(&self, have: u64, total: Option<u64>);
    fn has(&self, bytes: u64);
    /// Something that a person should know, in one line.
    fn says(&self, line: &str);
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub path: PathBuf,
    pub bytes: u64,
    /// Of the whole file, in lower-case hex.
    pub sha256: String,
    pub checked: Checked,
    /// It lay there already, and nothing was downloaded.
    pub was_there: bool,
}

/// Who said what the checksum must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    Caller,
    Hub,
    Nobody,
}

#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("{0}")]
    Refused(String),
    #[error(
        "there is no such file: {host} answers {status} for `{path}`; look at the repository's list of files"
    )]
    NotFound { host: String, status: u16, path: String },
    #[error("what {host} sends is {what}")]
    OtherFile { host: String, what: String },
    #[error(
        "the file needs {} and `{folder}` has {} free; free some space, or name another place with `--to`",
        space::shown(*.needed),
        space::shown(*.free),
        folder = .folder.display()
    )]
    Space { needed: u64, free: u64, folder: PathBuf },
    #[error(
        "the download has SHA-256 `{found}` and must have `{expected}`; it was deleted. \
         Try again; if it comes out the same, the checksum or the address is that of another file"
    )]
    Mismatch { expected: String, found: String },
    #[error("the download cannot be used and was deleted: {0}")]
    Unfit(String),
    #[error("another download of `{}` is under way; wait for its end", .0.display())]
    Busy(PathBuf),
    #[error("`{path}` is there already and {why}; move it away, or name another file with `--to`", path = .path.display())]
    Occupied { path: PathBuf, why: String },
    #[error(
        "gave up after {tries} tries without progress: {last}; run the same command again to go on from where it stopped"
    )]
    GaveUp { tries: usize, last: String },
    #[error("cannot {act} `{}`", .path.display())]
    File { act: &'static str, path: PathBuf, source: std::io::Error },
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

/// Downloads what was ordered, going on from an unfinished download of the same file.
///
/// # Errors
/// What could not be mended by trying again. What came until then is kept, unless it proved wrong.
pub async fn pull(order: Order<'_>, progress: &dyn Progress) -> Result<Pulled, DownloadError> {
    let clients = Clients::new()?;
    let facts = hub::facts(&clients, &order.source, progress).await?;
    let (expected, checked) = match (order.sha256.clone(), facts.sha256.clone()) {
        (Some(given), _) => (Some(given), Checked::Caller),
        (None, Some(told)) => (Some(told), Checked::Hub),
        (None, None) => (None, Checked::Nobody),
    };
    if let Some(bytes) = part::occupied(&order.to)? {
        return is_the_same(&order.to, bytes, expected, checked, facts.bytes).await;
    }
    let mut part = Part::open(&order.to, &order.source.url, progress).await?;
    transfer::run(&clients, &order, expected.is_some(), &mut part, progress).await?;
    let (bytes, sha256) = part.finish(expected.as_deref(), order.accept).await?;
    Ok(Pulled { path: order.to, bytes, sha256, checked, was_there: false })
}

/// A file that lies where this one would go is left alone: it is the same, or it is in the way.
async fn is_the_same(
    path: &Path,
    bytes: u64,
    expected: Option<String>,
    checked: Checked,
    bytes_told: Option<u64>,
) -> Result<Pulled, DownloadError> {
    let occupied = |why: String| DownloadError::Occupied { path: path.to_owned(), why };
    if let Some(told) = bytes_told.filter(|told| *told != bytes) {
        return Err(occupied(format!("has {bytes} bytes instead of {told}")));
    }
    let sha256 = part::sha256_of(path.to_owned()).await?;
    match expected {
        Some(expected) if expected != sha256 => Err(occupied(format!("has another SHA-256, `{sha256}`"))),
        None if bytes_told.is_none() => Err(occupied("there is no checksum to compare it with".to_owned())),
        _ => Ok(Pulled { path: path.to_owned(), bytes, sha256, checked, was_there: true }),
    }
}

/// Proxies come from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
struct Clients {
    /// For what a hub says before it sends the reader on.
    direct: reqwest::Client,
    /// Follows redirects, and leaves the token behind when one leads to another host.
    following: reqwest::Client,
}

impl Clients {
    fn new() -> Result<Clients, DownloadError> {
        // A second call finds the first one's provider, which is the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("parlor/", env!("CARGO_PKG_VERSION")))
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
        };
        let direct = builder().redirect(reqwest::redirect::Policy::none()).build();
        Ok(Clients {
            direct: direct.map_err(DownloadError::Client)?,
            following: builder().build().map_err(DownloadError::Client)?,
        })
    }
}

/// The innermost cause, without the address: a signature may stand in it.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
