//! A real registry of the OCI distribution specification, Debian's `docker-registry`, on a folder of its own, and the
//! few calls by which something is pushed there.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::support::client;
use super::until;

pub const USER: &str = "robot";
pub const PASSWORD: &str = "secret-canary-registry";
/// Of the password, as `htpasswd -B` writes it.
const PASSWORD_HASH: &str = "$2y$04$VlOQ1xdUk/H7BXGds89POu/axeHRlG419tQm9nKY2X8Z8CR0vvkdy";
pub const WASM: &str = "application/wasm";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Ends with the test process, however that ends: a shell waits beside it for its standard input to be closed.
pub struct Registry {
    shell: Child,
    folder: TempDir,
    address: String,
    is_closed: bool,
}

/// What a manifest says of bytes.
#[derive(Debug, Clone)]
pub struct Blob {
    pub media_type: &'static str,
    pub digest: String,
    pub size: usize,
}

impl Registry {
    pub async fn start() -> Registry {
        Registry::start_with(false).await
    }

    /// One that lets nobody in but who knows the password.
    pub async fn start_closed() -> Registry {
        Registry::start_with(true).await
    }

    async fn start_with(is_closed: bool) -> Registry {
        const ENDS_WITH_ME: &str = r#""$@" >"$LOG" 2>&1 & server=$!; cat >/dev/null; kill -9 $server; wait"#;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let users = folder.path().join("users");
        std::fs::write(&users, format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
        let mut config = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": folder.path() } },
            "http": { "addr": address },
        });
        if is_closed {
            config["auth"] = json!({ "htpasswd": { "realm": "ours", "path": users } });
        }
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let program = std::env::var_os("PARLOR_TEST_REGISTRY");
        let program = program.expect(
            "`PARLOR_TEST_REGISTRY` is the path of `docker-registry`; `cargo xtask clients` gets one",
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", ENDS_WITH_ME, "sh"]).arg(program).arg("serve").arg(&file);
        shell.env("LOG", folder.path().join("log")).stdin(Stdio::piped());
        let registry = Registry { shell: shell.spawn().unwrap(), folder, address, is_closed };
        let url = registry.url("");
        until("the registry answers", async || client().get(&url).send().await.ok().map(drop)).await;
        registry
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.address)
    }

    /// As `plugins.sources` names it.
    pub fn source(&self, repository: &str, digest: &str) -> String {
        format!("oci://{}/{repository}@{digest}", self.address)
    }

    fn ask(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        let request = client().request(method, url);
        if self.is_closed { request.basic_auth(USER, Some(PASSWORD)) } else { request }
    }

    pub async fn push_blob(&self, repository: &str, media_type: &'static str, bytes: &[u8]) -> Blob {
        let begun = self.ask(Method::POST, &self.url(&format!("{repository}/blobs/uploads/")));
        let begun = begun.header("content-length", 0).send().await.unwrap();
        assert_eq!(begun.status(), 202);
        let place = begun.headers()["location"].to_str().unwrap();
        let mut place = url::Url::parse(&self.url("")).unwrap().join(place).unwrap();
        let digest = digest_of(bytes);
        place.query_pairs_mut().append_pair("digest", &digest);
        let pushed = self.ask(Method::PUT, place.as_str());
        let pushed = pushed.header("content-type", "application/octet-stream").body(bytes.to_vec());
        assert_eq!(pushed.send().await.unwrap().status(), 201);
        Blob { media_type, digest, size: bytes.len() }
    }

    /// A manifest of these layers; its digest comes back.
    pub async fn push_manifest(&self, repository: &str, layers: &[Blob]) -> String {
        let config = self.push_blob(repository, "application/vnd.wasm.config.v0+json", b"{}").await;
        let describe =
            |blob: &Blob| json!({ "mediaType": blob.media_type, "digest": blob.digest, "size": blob.size });
        let layers: Vec<Value> = layers.iter().map(describe).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": describe(&config), "layers": layers,
        });
        let manifest = manifest.to_string();
        let digest = digest_of(manifest.as_bytes());
        let pushed = self.ask(Method::PUT, &self.url(&format!("{repository}/manifests/{digest}")));
        let pushed = pushed.header("content-type", MANIFEST).body(manifest).send().await.unwrap();
        let (status, said) = (pushed.status(), pushed.text().await.unwrap());
        assert_eq!(status, 201, "{said}");
        digest
    }

    /// A plugin as it is to be pushed: the digest of its manifest comes back.
    pub async fn push(&self, repository: &str, plugin: &[u8]) -> String {
        let layer = self.push_blob(repository, WASM, plugin).await;
        self.push_manifest(repository, &[layer]).await
    }

    /// Where the registry keeps what has this digest.
    pub fn file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.folder.path().join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().ok();
    }
}

pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
