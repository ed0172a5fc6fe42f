//! Stamps a component of any language with the contract's version and its manifest, as the SDK does for Rust.
//!
//! It moves bytes and judges nothing: whether the outcome is a plugin, `package` finds out.

use crate::plugin::package::{CONTRACT, CONTRACT_SECTION, MANIFEST_SECTION};
use crate::plugin::sections::{self, Broken};
use crate::plugin::signature;

/// The component with these two sections instead of those that it had. A signature, which would not fit any more,
/// is left out.
pub fn pack(component: &[u8], manifest: &str) -> Result<Vec<u8>, Broken> {
    const REPLACED: [&str; 3] = [CONTRACT_SECTION, MANIFEST_SECTION, signature::SECTION];
    let sections = sections::outermost(component)?;
    let begin = sections.first().map_or(component.len(), |section| section.range.start);
    let mut packed = component[..begin].to_vec();
    for section in sections {
        if !section.name.is_some_and(|name| REPLACED.contains(&name)) {
            packed.extend_from_slice(&component[section.range]);
        }
    }
    packed.extend(sections::custom(CONTRACT_SECTION, CONTRACT.as_bytes()));
    packed.extend(sections::custom(MANIFEST_SECTION, manifest.as_bytes()));
    Ok(packed)
}
