//! From a checked component to machine code: in a child process, once, into a cache that the host seals.
//!
//! The serving process never compiles. A `.cwasm` is native code, so it is loaded only if this host's own
//! MAC over it, its plugin's digest and the compiler's fingerprint holds; anything else is compiled anew. A build
//! without the compiler serves what another one of the same version has laid into its cache, under its key.

#[cfg(feature = "compile")]
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
#[cfg(feature = "compile")]
use std::process::Stdio;
use std::time::Duration;

use ring::hmac;
use wasmtime::Engine;

use crate::plugin::package::Package;

/// A plugin that brings an interpreter along takes tens of seconds of a busy core.
const TIME_MAX: Duration = Duration::from_secs(180);
/// Bound of the child's address space: the compiler maps little, an attack on it much.
#[cfg(feature = "compile")]
const CHILD_BYTES_MAX: u64 = 8 << 30;
/// The lowest: those who are served go before.
#[cfg(feature = "compile")]
const CHILD_NICENESS: i32 = 19;

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("the compiler cannot be started")]
    NotStarted(#[source] std::io::Error),
    #[error("compiling took longer than {} s", TIME_MAX.as_secs())]
    TimedOut,
    #[error("the compiler refuses it: {0}")]
    Refused(String),
    #[error("the cache of compiled plugins `{}` cannot be written; check its owner and free space", path.display())]
    Cache { path: PathBuf, source: std::io::Error },
    #[error(
        "this build has no compiler, and `{}` has nothing that was compiled of this file: run `parlor plugin compile FILE --into DATA` with a build that has one", folder.display()
    )]
    NoCompiler { folder: PathBuf },
    #[error(
        "`{}` is not sealed by this host's key, or it was changed: compile it anew, into the data folder whose `host.key` this host has", path.display()
    )]
    Foreign { path: PathBuf },
}

/// Where a data folder keeps what was compiled.
pub const FOLDER: &str = "compiled";
/// For what the host's key seals it.
pub const SEAL: &[u8] = b"cwasm";

/// Compiled plugins, known by the digest of what they were compiled from.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    key: hmac::Key,
    /// The `parlor` binary that compiles.
    #[cfg_attr(not(feature = "compile"), expect(dead_code, reason = "nobody compiles in this build"))]
    compiler: PathBuf,
}

impl Cache {
    /// A cache in `folder`, made if it is missing and readable by this user alone.
    pub fn open(folder: &Path, key: [u8; 32], compiler: PathBuf) -> Result<Cache, CompileError> {
        let failed = |source| CompileError::Cache { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        private(folder).map_err(failed)?;
        Ok(Cache { folder: folder.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &key), compiler })
    }

    /// Deletes what was compiled of this release. Who runs its code goes on: the file stays as long as it is mapped.
    pub fn forget(&self, digest: &str) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.split('-').next() == Some(digest)) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }

    /// The compiled file of this package: from the cache if its seal holds, else compiled now.
    #[cfg(feature = "compile")]
    pub async fn compiled(&self, engine: &Engine, package: &Package) -> Result<PathBuf, CompileError> {
        let fingerprint = fingerprint(engine);
        let path = self.folder.join(format!("{}-{fingerprint:016x}.cwasm", package.digest));
        if self.is_sealed(&path, package, fingerprint) {
            return Ok(path);
        }
        tracing::info!(plugin = %package.manifest.name, digest = %package.digest, "compiling");
        self.compile(package, &path).await?;
        self.seal(&path, package, fingerprint)
            .map_err(|source| CompileError::Cache { path: path.clone(), source })?;
        Ok(path)
    }

    /// Lays machine code into the cache that was made for a host without a compiler.
    #[cfg(feature = "compile")]
    pub fn lay(&self, package: &Package, compiled: &Compiled) -> Result<PathBuf, CompileError> {
        let path = self.folder.join(format!("{}-{:016x}.cwasm", package.digest, compiled.fingerprint));
        let failed = |source| CompileError::Cache { path: path.clone(), source };
        let draft = path.with_extension("draft");
        std::fs::write(&draft, &compiled.code).map_err(failed)?;
        std::fs::rename(&draft, &path).map_err(failed)?;
        self.seal(&path, package, compiled.fingerprint).map_err(failed)?;
        Ok(path)
    }

    /// The compiled file of this package, which another build of this host left in the cache.
    #[cfg(not(feature = "compile"))]
    pub async fn compiled(&self, _engine: &Engine, package: &Package) -> Result<PathBuf, CompileError> {
        let unread = |source| CompileError::Cache { path: self.folder.clone(), source };
        let mut foreign = None;
        for entry in std::fs::read_dir(&self.folder).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let rest = name.strip_prefix(&package.digest).and_then(|rest| rest.strip_prefix('-'));
            let fingerprint =
                rest.and_then(|rest| u64::from_str_radix(rest.strip_suffix(".cwasm")?, 16).ok());
            match fingerprint {
                Some(fingerprint) if self.is_sealed(&path, package, fingerprint) => return Ok(path),
                Some(_) => foreign = Some(path),
                None => {}
            }
        }
        Err(match foreign {
            Some(path) => CompileError::Foreign { path },
            None => CompileError::NoCompiler { folder: self.folder.clone() },
        })
    }

    #[cfg(feature = "compile")]
    async fn compile(&self, package: &Package, path: &Path) -> Result<(), CompileError> {
        let draft = path.with_extension("draft");
        let mut command = tokio::process::Command::new(&self.compiler);
        command.args(["plugin", "compile"]).arg(&package.path);
        command.args(["--expect", &package.digest, "--output"]).arg(&draft);
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(all(feature = "failpoints", target_os = "linux"))]
        super::memories::hand_on(&mut command);
        let child = command.spawn().map_err(CompileError::NotStarted)?;
        let output = tokio::time::timeout(TIME_MAX, child.wait_with_output()).await;
        let output = output.map_err(|_| CompileError::TimedOut)?.map_err(CompileError::NotStarted)?;
        if !output.status.success() {
            return Err(CompileError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        std::fs::rename(&draft, path).map_err(|source| CompileError::Cache { path: path.to_owned(), source })
    }

    fn is_sealed(&self, path: &Path, package: &Package, fingerprint: u64) -> bool {
        let (Ok(code), Ok(seal)) = (std::fs::read(path), std::fs::read(path.with_extension("mac"))) else {
            return false;
        };
        let holds = hmac::verify(&self.key, &sealed_text(&code, package, fingerprint), &seal).is_ok();
        if !holds {
            tracing::warn!(plugin = %package.manifest.name, "the seal of its compiled file does not hold");
        }
        holds
    }

    #[cfg(feature = "compile")]
    fn seal(&self, path: &Path, package: &Package, fingerprint: u64) -> std::io::Result<()> {
        let code = std::fs::read(path)?;
        let seal = hmac::sign(&self.key, &sealed_text(&code, package, fingerprint));
        let draft = path.with_extension("mac-draft");
        std::fs::write(&draft, seal.as_ref())?;
        std::fs::rename(draft, path.with_extension("mac"))
    }
}

fn sealed_text(code: &[u8], package: &Package, fingerprint: u64) -> Vec<u8> {
    let code = ring::digest::digest(&ring::digest::SHA256, code);
    let mut text = Vec::with_capacity(128);
    text.extend_from_slice(package.digest.as_bytes());
    text.extend_from_slice(code.as_ref());
    text.extend_from_slice(&fingerprint.to_be_bytes());
    text
}

/// Compiler version, target and tunables in one number.
#[cfg(feature = "compile")]
fn fingerprint(engine: &Engine) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[cfg(unix)]
fn private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn private(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Machine code of one plugin.
#[cfg(feature = "compile")]
pub struct Compiled {
    pub code: Vec<u8>,
    fingerprint: u64,
}

/// The child's side: compiles one file at low priority. Runs in a process of its own, which then exits.
///
/// For a named target the code keeps to what every processor of that kind can do; else it may use all that this
/// machine's can.
#[cfg(feature = "compile")]
pub fn compile_here(package: &Package, target: Option<&str>) -> anyhow::Result<Compiled> {
    lower_priority();
    let refused = |error: wasmtime::Error| anyhow::anyhow!("{error:#}");
    let mut settings = crate::plugin::engine::settings();
    if let Some(target) = target {
        settings.target(target).map_err(refused)?;
    }
    let engine = Engine::new(&settings).map_err(refused)?;
    let code = engine.precompile_component(&package.bytes).map_err(refused)?;
    Ok(Compiled { code, fingerprint: fingerprint(&engine) })
}

#[cfg(all(feature = "compile", unix))]
fn lower_priority() {
    let _ = rustix::process::setpriority_process(None, CHILD_NICENESS);
    let bound = rustix::process::Rlimit { current: Some(CHILD_BYTES_MAX), maximum: Some(CHILD_BYTES_MAX) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::As, bound);
}

#[cfg(all(feature = "compile", not(unix)))]
fn lower_priority() {}
