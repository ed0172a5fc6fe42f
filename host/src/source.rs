//! Where a plugin's releases come from over the network: a file by HTTPS, or an artifact in a registry by digest.
//!
//! A look brings bytes, bounded in size and time, or says that they are still those of the last one. It does not know
//! what the bytes are, nor what becomes of them: `deployment` does. Read on in `https` and `oci`, which differ in what
//! they ask for, and in `wire`, by which both ask.

mod https;
mod oci;
mod wire;

use std::time::Duration;

use crate::config::{self, Whereabouts};
use wire::Wire;

/// The whole of a look: at 64 MiB a line of one megabit.
const LOOK_TIMEOUT: Duration = Duration::from_secs(600);
/// A person waits in front of the terminal.
const EXAMINATION_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a look brings nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("it is not reached: {0}")]
    Unreached(String),
    #[error("nothing whole came from it within {} s", .0.as_secs())]
    Late(Duration),
    #[error("it answers with status {status}; {}", advice(*status))]
    Refused { status: u16 },
    #[error("the registry lets nobody in: {0}; check `user` and `password` of the source")]
    NoEntry(String),
    #[error("it has more than {bytes_max} bytes, which is more than a plugin may have")]
    TooLarge { bytes_max: u64 },
    #[error(
        "its {what} has the digest `{found}` instead of `{expected}`: somebody changed it; take it from where its \
         author keeps it"
    )]
    OtherBytes { what: &'static str, expected: String, found: String },
    #[error("the registry has no plugin there: {0}")]
    NoPlugin(String),
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "check the source's credentials, and what they may read",
        404 | 410 => "check the source's address: there is nothing",
        429 => "it is asked again later; a longer `every` may do",
        _ => "it is asked again later",
    }
}

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// What the mark is of.
    Same,
    Brought(Brought),
}

#[derive(Debug)]
pub struct Brought {
    pub bytes: Vec<u8>,
    /// For the next look, which brings nothing then unless there is something else. None: the server has no such thing.
    pub mark: Option<String>,
}

/// One plugin's source.
#[derive(Debug)]
pub struct Source {
    /// For people; there is no secret in it.
    pub address: String,
    /// What stays when another release is named there.
    pub name: String,
    /// Between two looks.
    pub every: Duration,
    way: Way,
}

#[derive(Debug)]
enum Way {
    File(https::File),
    Artifact(Box<oci::Artifact>),
}

impl Source {
    /// The configured ones. No look brings more than so many bytes.
    ///
    /// # Errors
    /// If the system has no root certificates.
    pub fn all(configured: &[config::Source], bytes_max: u64) -> Result<Vec<Source>, SourceError> {
        if configured.is_empty() {
            return Ok(Vec::new());
        }
        let wire = Wire::new()?;
        configured.iter().map(|source| Source::new(source, &wire, bytes_max)).collect()
    }

    fn new(configured: &config::Source, wire: &Wire, bytes_max: u64) -> Result<Source, SourceError> {
        let every = configured.every;
        Ok(match &configured.at {
            Whereabouts::Web { url, token } => {
                let file = https::File::new(url.clone(), token.clone(), wire.clone(), bytes_max);
                Source { address: url.to_string(), name: url.to_string(), every, way: Way::File(file) }
            }
            Whereabouts::Registry { artifact, login } => {
                let address = format!("{}@{}", artifact.name(), artifact.digest);
                let way = oci::Artifact::new(artifact, login.as_ref(), wire.clone(), bytes_max)?;
                Source { address, name: artifact.name(), every, way: Way::Artifact(Box::new(way)) }
            }
        })
    }

    /// Whether its address names one release for good, so that there is nothing more to come once it is had.
    pub fn is_pinned(&self) -> bool {
        matches!(self.way, Way::Artifact(_))
    }

    /// What is there, unless it is what the mark is of.
    ///
    /// # Errors
    /// Why nothing could be had.
    pub async fn look(&self, mark: Option<&str>) -> Result<Look, SourceError> {
        let look = async {
            match &self.way {
                Way::File(file) => file.look(mark).await,
                Way::Artifact(artifact) => artifact.look(mark).await,
            }
        };
        tokio::time::timeout(LOOK_TIMEOUT, look).await.map_err(|_| SourceError::Late(LOOK_TIMEOUT))?
    }

    /// Whether something is there, without fetching it.
    ///
    /// # Errors
    /// Why nothing could be had.
    pub async fn examine(&self) -> Result<(), SourceError> {
        let examine = async {
            match &self.way {
                Way::File(file) => file.examine().await,
                Way::Artifact(artifact) => artifact.examine().await,
            }
        };
        let examined = tokio::time::timeout(EXAMINATION_TIMEOUT, examine).await;
        examined.map_err(|_| SourceError::Late(EXAMINATION_TIMEOUT))?
    }
}
