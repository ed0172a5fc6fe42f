//! Releases of the guest `fickle`, packed out of one built file: which of them made a reply stands in the reply.

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
    let name = b"parlor:manifest";
    let mut section = leb128(name.len());
    section.extend(name);
    section.extend(manifest.as_bytes());
    bytes.push(0);
    bytes.extend(leb128(section.len()));
    bytes.extend(section);
    bytes
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
