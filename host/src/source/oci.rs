//! A plugin in a registry of the OCI distribution specification, by the digest of its manifest.
//!
//! The manifest is that of a WebAssembly artifact: one layer of type [`WASM`], which is the plugin's file. Its
//! configuration (`application/vnd.wasm.config.v0+json` by convention) says nothing that the file does not, and is not
//! read. Manifest and layer are held against their digests here, whatever the registry says of them. The library
//! knows names and how one is let in; it bounds neither the size of what it reads nor where a redirect leads, so what
//! is large comes by `wire`. The mark is the manifest's digest.

use http::header::ACCEPT;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::RequestBuilder;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::wire::{self, CONNECT_TIMEOUT, READ_TIMEOUT, USER_AGENT, Wire};
use super::{Brought, Look, SourceError};
use crate::config::{self, Login, is_loopback};

/// What a plugin's layer is.
const WASM: &str = "application/wasm";
/// An index is asked for, too, so that it can be told from nothing.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json";
/// What registries take, as the specification asks of them.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

pub struct Artifact {
    reference: Reference,
    digest: String,
    base: Url,
    login: RegistryAuth,
    client: Client,
    wire: Wire,
    bytes_max: u64,
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Artifact({})", self.reference)
    }
}

impl Artifact {
    pub fn new(
        artifact: &config::Artifact,
        login: Option<&Login>,
        wire: Wire,
        bytes_max: u64,
    ) -> Result<Artifact, SourceError> {
        let config::Artifact { registry, repository, digest } = artifact.clone();
        let reference = Reference::with_digest(registry, repository, digest.clone());
        let base = base(reference.resolve_registry());
        let config = ClientConfig {
            protocol: if base.scheme() == "http" { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| SourceError::Unreached(error.to_string()))?;
        let login = login.map_or(RegistryAuth::Anonymous, |login| {
            RegistryAuth::Basic(login.user.clone(), login.password.expose_secret().to_owned())
        });
        Ok(Artifact { reference, digest, base, login, client, wire, bytes_max })
    }

    pub async fn look(&self, mark: Option<&str>) -> Result<Look, SourceError> {
        if mark == Some(self.digest.as_str()) {
            return Ok(Look::Same);
        }
        let entry = self.enter().await?;
        let layer = self.layer(&entry).await?;
        let bytes = self.fetch(&entry, &["blobs", &layer], "", self.bytes_max).await?;
        verify("layer", &bytes, &layer)?;
        Ok(Look::Brought(Brought { bytes, mark: Some(self.digest.clone()) }))
    }

    pub async fn examine(&self) -> Result<(), SourceError> {
        let entry = self.enter().await?;
        self.layer(&entry).await.map(drop)
    }

    async fn enter(&self) -> Result<Entry, SourceError> {
        let token = self.client.auth(&self.reference, &self.login, RegistryOperation::Pull).await;
        let token = token.map_err(|error| match error {
            oci_client::errors::OciDistributionError::RequestError(error) => wire::unreached(error),
            // What the registry says may be a page, or repeat what it was sent.
            _ => SourceError::NoEntry("it gives no token".to_owned()),
        })?;
        Ok(match (token, &self.login) {
            (Some(token), _) => Entry::Token(token),
            (None, RegistryAuth::Basic(user, password)) => Entry::Login(user.clone(), password.clone()),
            (None, _) => Entry::Open,
        })
    }

    /// The digest of the plugin's file.
    async fn layer(&self, entry: &Entry) -> Result<String, SourceError> {
        let parts = ["manifests", &self.digest];
        let manifest = self.fetch(entry, &parts, MANIFESTS, MANIFEST_BYTES_MAX).await?;
        verify("manifest", &manifest, &self.digest)?;
        match serde_json::from_slice(&manifest) {
            Ok(OciManifest::Image(manifest)) => layer_of(&manifest, self.bytes_max),
            Ok(OciManifest::ImageIndex(_)) => {
                Err(no_plugin("this is the digest of an index; take that of one manifest in it"))
            }
            Err(_) => Err(no_plugin("what the digest names is no manifest")),
        }
    }

    async fn fetch(
        &self,
        entry: &Entry,
        parts: &[&str],
        accept: &str,
        bytes_max: u64,
    ) -> Result<Vec<u8>, SourceError> {
        let mut url = self.base.clone();
        let mut path = url.path_segments_mut().expect("a URL with a host has a path");
        path.pop_if_empty().push("v2").extend(self.reference.repository().split('/')).extend(parts);
        drop(path);
        let mut request = entry.apply(self.wire.get(url));
        if !accept.is_empty() {
            request = request.header(ACCEPT, accept);
        }
        wire::body(wire::send(request).await?, bytes_max).await
    }
}

/// By what the registry lets one read.
enum Entry {
    Open,
    Token(String),
    Login(String, String),
}

impl Entry {
    fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Entry::Open => request,
            Entry::Token(token) => request.bearer_auth(token),
            Entry::Login(user, password) => request.basic_auth(user, Some(password)),
        }
    }
}

/// The digest of the one layer of a WebAssembly artifact.
fn layer_of(manifest: &OciImageManifest, bytes_max: u64) -> Result<String, SourceError> {
    let [OciDescriptor { media_type, digest, size, .. }] = &manifest.layers[..] else {
        let layers = manifest.layers.len();
        return Err(no_plugin(&format!("its manifest has {layers} layers instead of one of type `{WASM}`")));
    };
    if media_type != WASM {
        let found: String = media_type.chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(no_plugin(&format!(
            "its layer is of type `{found}` instead of `{WASM}`: push the plugin's file as it is, not an image or \
             an archive"
        )));
    }
    if u64::try_from(*size).is_ok_and(|size| size > bytes_max) {
        return Err(SourceError::TooLarge { bytes_max });
    }
    Ok(digest.clone())
}

/// On this machine a registry has no TLS.
fn base(registry: &str) -> Url {
    let parse = |scheme| Url::parse(&format!("{scheme}://{registry}/"));
    let url = parse("https").expect("a registry's name was read as the host of a URL");
    if is_loopback(&url) { parse("http").expect("the same with another scheme") } else { url }
}

fn verify(what: &'static str, bytes: &[u8], expected: &str) -> Result<(), SourceError> {
    let found = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    if found == expected {
        return Ok(());
    }
    let expected: String = expected.chars().filter(|c| !c.is_control()).take(found.len()).collect();
    Err(SourceError::OtherBytes { what, expected, found })
}

fn no_plugin(why: &str) -> SourceError {
    SourceError::NoPlugin(why.to_owned())
}
