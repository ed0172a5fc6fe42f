//! Releases of the guests `fickle` and `fitful`, each packed out of one built file: which release of `fickle` made a
//! reply stands in the reply.

use parlor::plugin::sections::custom;

use super::guests;

/// Its manifest, as it was built.
pub const MANIFEST: &str = include_str!("../guests/fickle/plugin.toml");

/// A release of the plugin `fickle`: its label, and what is wrong with it.
pub fn release(label: &str, mood: &str) -> Vec<u8> {
    packed(&MANIFEST.replace("\"sound\"", &format!("{mood:?}")).replace("\"first\"", &format!("{label:?}")))
}

/// The built plugin under another manifest.
pub fn packed(manifest: &str) -> Vec<u8> {
    packed_of("fickle", manifest)
}

/// A release of the pipeline `fitful`: its version, and what it does as it begins a turn.
pub fn pipeline(version: &str, mood: &str) -> Vec<u8> {
    const MANIFEST: &str = include_str!("../guests/fitful/plugin.toml");
    let manifest = MANIFEST.replace("\"0.1.0\"", &format!("{version:?}"));
    packed_of("fitful", &manifest.replace("\"sound\"", &format!("{mood:?}")))
}

/// The last section of the name counts.
fn packed_of(guest: &str, manifest: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(guests().join(format!("{guest}.wasm"))).unwrap();
    bytes.extend(custom("parlor:manifest", manifest.as_bytes()));
    bytes
}
