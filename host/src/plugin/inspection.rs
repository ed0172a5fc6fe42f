//! What a plugin's file says of itself, as far as it can be read, and why it would be refused.
//!
//! `Package` is for files that may serve; this is for people who want to know what a file is, whatever is wrong
//! with it.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::plugin::manifest::Manifest;
use crate::plugin::package::{self, Package, PackageError, Sections};
use crate::plugin::signature::{Provenance, SignatureError, Trust};

#[derive(Debug)]
pub struct Inspection {
    pub bytes: usize,
    /// SHA-256 of the file, lower-case hex.
    pub digest: String,
    pub provenance: Result<Provenance, SignatureError>,
    /// The contract that it says to be built for.
    pub contract: Option<String>,
    /// None: there is none, or it has problems.
    pub manifest: Option<Manifest>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// The package that it makes, or why it is refused.
    pub package: Result<Package, PackageError>,
}

impl Inspection {
    /// Looks at a file with these keys.
    pub fn of(path: &Path, trust: &Trust) -> Result<Inspection, PackageError> {
        let bytes = package::load(path)?;
        let sections = Sections::scan(&bytes).unwrap_or_default();
        let text = |section: Option<Vec<u8>>| section.map(|data| String::from_utf8_lossy(&data).into_owned());
        Ok(Inspection {
            bytes: bytes.len(),
            digest: hex::encode(Sha256::digest(&bytes)),
            provenance: trust.verify(&bytes),
            contract: text(sections.contract),
            manifest: text(sections.manifest).and_then(|text| Manifest::parse(&text).ok()),
            imports: sections.imports,
            exports: sections.exports,
            package: Package::check(path.to_owned(), bytes, trust),
        })
    }
}
