//! One `.wasm` file, read but not yet compiled: who signed it, its digest, contract, manifest and world.
//!
//! A `Package` exists only for a whole component that the operator's `Trust` lets in, that was built for this
//! contract and asks for nothing that this host does not offer. Whether its code behaves is found out later, by
//! `selftest`.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::signature::{Provenance, SignatureError, Trust};

/// The contract of `wit/` that this host speaks.
pub const CONTRACT: &str = "0.1";
/// A plugin in an interpreted language brings its interpreter along; more is a mistake.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
pub const CONTRACT_SECTION: &str = "parlor:contract";
pub const MANIFEST_SECTION: &str = "parlor:manifest";
/// Interfaces of the contract that a plugin may import.
const OFFERED: [&str; 7] = ["types", "settings", "secrets", "http", "store", "log", "clock"];

#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("a link to `{}`, outside of its folder: put the file itself there", target.display())]
    Outside { target: PathBuf },
    #[error("`{}` has {bytes} bytes, more than a plugin may have ({FILE_BYTES_MAX})", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("not a WebAssembly file")]
    NotWasm,
    #[error("a core module, not a component; build it for `wasm32-wasip2`")]
    NotComponent,
    #[error("damaged or cut off at byte {offset}: {reason}; copy the file again")]
    Damaged { offset: usize, reason: String },
    #[error(
        "no Parlor plugin: the section `{0}` is missing; build it with the SDK, or add it by `parlor plugin pack`"
    )]
    Foreign(&'static str),
    #[error("built for contract `{found}`, this host speaks `{CONTRACT}`; rebuild it with SDK {CONTRACT}")]
    OtherContract { found: String },
    #[error("its manifest has problems:\n{}", .0.join("\n"))]
    Manifest(Vec<String>),
    #[error("it imports `{0}`, which this host does not offer")]
    Import(String),
    #[error("its manifest calls it {kind}, but it does not export `{wanted}`")]
    World { kind: &'static str, wanted: String },
}

/// A component that may be compiled.
#[derive(Debug, Clone)]
pub struct Package {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    /// SHA-256 of the file with its signature, lower-case hex: what a release is known by.
    pub digest: String,
    pub provenance: Provenance,
    pub manifest: Manifest,
}

impl Package {
    /// Reads a plugin's file, verifies it and then checks what it is. A link may lead to another place in its folder,
    /// as mounted configurations have it, and nowhere else.
    pub fn read(path: &Path, trust: &Trust) -> Result<Package, PackageError> {
        refuse_outside(path)?;
        Self::check(path.to_owned(), load(path)?, trust)
    }

    /// The same of bytes that were read before, or that are going to be written to `path`.
    pub fn check(path: PathBuf, bytes: Vec<u8>, trust: &Trust) -> Result<Package, PackageError> {
        let provenance = trust.verify(&bytes)?;
        let sections = Sections::scan(&bytes)?;
        let contract = sections.contract.ok_or(PackageError::Foreign(CONTRACT_SECTION))?;
        if contract != CONTRACT.as_bytes() {
            return Err(PackageError::OtherContract {
                found: String::from_utf8_lossy(&contract).into_owned(),
            });
        }
        let text = sections.manifest.ok_or(PackageError::Foreign(MANIFEST_SECTION))?;
        let manifest = parse_manifest(&text)?;
        check_imports(&sections.imports)?;
        check_exports(manifest.kind, &sections.exports)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        Ok(Package { path, bytes, digest, provenance, manifest })
    }
}

/// The bytes of a plugin's file, if they are not too many.
pub fn load(path: &Path) -> Result<Vec<u8>, PackageError> {
    let unreadable = |source| PackageError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(PackageError::TooLarge { path: path.to_owned(), bytes });
    }
    std::fs::read(path).map_err(unreadable)
}

fn refuse_outside(path: &Path) -> Result<(), PackageError> {
    let unreadable = |source| PackageError::Unreadable { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let (target, folder) =
        (path.canonicalize().map_err(unreadable)?, folder.canonicalize().map_err(unreadable)?);
    if target.starts_with(folder) { Ok(()) } else { Err(PackageError::Outside { target }) }
}

fn parse_manifest(text: &[u8]) -> Result<Manifest, PackageError> {
    let text = std::str::from_utf8(text).map_err(|_| PackageError::Manifest(vec!["not UTF-8".to_owned()]))?;
    Manifest::parse(text)
        .map_err(|problems| PackageError::Manifest(problems.iter().map(ToString::to_string).collect()))
}

fn check_imports(imports: &[String]) -> Result<(), PackageError> {
    let refused = |name: &&String| {
        !name.starts_with("wasi:") && !OFFERED.iter().any(|word| **name == contract_name(word))
    };
    imports.iter().find(refused).map_or(Ok(()), |name| Err(PackageError::Import(name.clone())))
}

fn check_exports(kind: Kind, exports: &[String]) -> Result<(), PackageError> {
    let (kind, interface) = match kind {
        Kind::Adapter => ("an adapter", "adapter"),
        Kind::Pipeline => ("a pipeline", "pipeline"),
    };
    let wanted = contract_name(interface);
    if exports.contains(&wanted) { Ok(()) } else { Err(PackageError::World { kind, wanted }) }
}

fn contract_name(interface: &str) -> String {
    format!("parlor:plugin/{interface}@{CONTRACT}.0")
}

/// What the outside of a component tells. The outermost section of a name wins: a packer's over the SDK's.
#[derive(Default)]
pub(super) struct Sections {
    pub contract: Option<Vec<u8>>,
    pub manifest: Option<Vec<u8>>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

impl Sections {
    pub fn scan(bytes: &[u8]) -> Result<Self, PackageError> {
        if !bytes.starts_with(b"\0asm") {
            return Err(PackageError::NotWasm);
        }
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(bytes)
            .map_err(damaged)?;
        let mut found = Sections::default();
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(bytes) {
            found.note(payload.map_err(damaged)?, &mut depth)?;
        }
        Ok(found)
    }

    fn note(&mut self, payload: Payload<'_>, depth: &mut usize) -> Result<(), PackageError> {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if *depth == 0 => {
                return Err(PackageError::NotComponent);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => *depth += 1,
            Payload::End(_) => *depth = depth.saturating_sub(1),
            Payload::CustomSection(section) => self.note_custom(section.name(), section.data(), *depth),
            Payload::ComponentImportSection(section) if *depth == 0 => {
                for import in section {
                    self.imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if *depth == 0 => {
                for export in section {
                    self.exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_custom(&mut self, name: &str, data: &[u8], depth: usize) {
        let slot = match name {
            CONTRACT_SECTION => &mut self.contract,
            MANIFEST_SECTION => &mut self.manifest,
            _ => return,
        };
        if slot.is_none() || depth == 0 {
            *slot = Some(data.to_vec());
        }
    }
}

fn damaged(error: wasmparser::BinaryReaderError) -> PackageError {
    PackageError::Damaged { offset: error.offset(), reason: error.message().to_owned() }
}
