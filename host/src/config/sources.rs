//! The addresses under `plugins.sources`: a file by HTTPS, or an artifact in a registry by the digest of its manifest.

use serde_json::{Value, json};
use url::{Host, Url};

use super::kinds::{Read, web_url};
use super::reader::Reader;
use super::tree::Node;

const A_SOURCE: &str =
    "a URL such as `https://example.com/x.wasm` or `oci://registry.example.com/x@sha256:…`";
const AN_ARTIFACT: &str = "expected `oci://registry/repository@sha256:…`";
/// A repository's name in full, as registries take it.
const REPOSITORY_CHARS_MAX: usize = 255;

/// What a registry keeps under a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Host, and perhaps port.
    pub registry: String,
    pub repository: String,
    /// Of its manifest: `sha256:` and 64 hex digits in lower case.
    pub digest: String,
}

impl Artifact {
    /// Without the digest: what stays when another release is named.
    pub fn name(&self) -> String {
        format!("oci://{}/{}", self.registry, self.repository)
    }
}

pub(super) enum SourceUrl {
    Web(Url),
    Registry(Artifact),
}

impl SourceUrl {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("oci://") {
            Some(rest) => artifact(rest).map(SourceUrl::Registry),
            None => file(text).map(SourceUrl::Web),
        }
    }

    /// What no two sources may have in common.
    pub fn name(&self) -> String {
        match self {
            SourceUrl::Web(url) => url.to_string(),
            SourceUrl::Registry(artifact) => artifact.name(),
        }
    }
}

impl Read for SourceUrl {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        // Not shown: a URL may have a password in it.
        let scalar = reader.text(node, A_SOURCE, "")?;
        SourceUrl::parse(&scalar.text).map_err(|reason| reader.problem(node.place, reason)).ok()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^(https?|oci)://|\$\{"})
    }
}

fn file(text: &str) -> Result<Url, String> {
    let url = web_url(text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err("`http://` is for this machine alone: from another one a plugin comes by `https://`, \
                    so that nobody on the way reads or withholds it"
            .to_owned());
    }
    Ok(url)
}

fn artifact(text: &str) -> Result<Artifact, String> {
    let Some((name, digest)) = text.rsplit_once('@').filter(|(name, _)| name.contains('/')) else {
        return Err(
            "a tag is whatever its owner makes of it tomorrow, and so is none: name the release by its \
                    manifest's digest, `oci://registry/repository@sha256:…`"
                .to_owned(),
        );
    };
    let (registry, path) = name.split_once('/').ok_or_else(|| AN_ARTIFACT.to_owned())?;
    if registry.contains('@') {
        return Err(
            "a URL here has no user and password in it; write `user` and `password` beside it".to_owned()
        );
    }
    // A tag before the digest is for people.
    let (repository, _tag) = path.split_once(':').unwrap_or((path, ""));
    let is_host = Url::parse(&format!("https://{registry}/"))
        .is_ok_and(|url| url.has_host() && url.path() == "/" && url.query().is_none());
    if !is_host || !is_repository(repository) {
        return Err(format!("{AN_ARTIFACT}, a repository in lower case"));
    }
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("behind `@` stands `sha256:` and 64 hex digits in lower case".to_owned());
    }
    let (registry, repository, digest) = (registry.to_owned(), repository.to_owned(), digest.to_owned());
    Ok(Artifact { registry, repository, digest })
}

/// Parts of letters and digits in lower case, with `.`, `_` and `-` between them (OCI distribution, "Pulling manifests").
fn is_repository(text: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(is_letter)
            && bytes.last().is_some_and(is_letter)
            && bytes.iter().all(|byte| is_letter(byte) || b"._-".contains(byte))
    };
    text.len() <= REPOSITORY_CHARS_MAX && text.split('/').all(is_part)
}

/// Whether a URL leads to this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
