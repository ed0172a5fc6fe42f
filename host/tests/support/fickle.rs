//! Releases of the guest `fickle`, packed out of one built file: which of them made a reply stands in the reply.

use parlor::plugin::sections::custom;

use super::guests;

/// Its manifest, as it was built.
pub const MANIFEST: &str = include_str!("../guests/fickle/plugin.toml");

/// A release of the plugin `fickle`: its label, and what is wrong with it.
pub fn release(label: &str, mood: &str) -> Vec<u8> {
    packed(&MANIFEST.replace("\"sound\"", &format!("{mood:?}")).replace("\"first\"", &format!("{label:?}")))
}

/// The built plugin under another manifest: the last section of the name counts.
pub fn packed(manifest: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(guests().join("fickle.wasm")).unwrap();
    bytes.extend(custom("parlor:manifest", manifest.as_bytes()));
    bytes
}
