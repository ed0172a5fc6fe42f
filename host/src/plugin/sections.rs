//! The outermost sections of a component, byte for byte: what stands where, and how one is written.
//!
//! It reads headers alone and believes nothing that is inside of a section; whether a component is sound,
//! `package` finds out. `signature` and `pack` stand on it.

use std::ops::Range;

use wasmparser::BinaryReader;

/// The four letters and the version that a component begins with.
const PREAMBLE_BYTES: usize = 8;
const CUSTOM: u8 = 0;

/// A file that does not divide into sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("not a WebAssembly file")]
    NotWasm,
    #[error("damaged or cut off at byte {offset}; copy the file again")]
    At { offset: usize },
}

/// One outermost section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section<'a> {
    /// Where it lies in the file, with its header.
    pub range: Range<usize>,
    /// The name of a custom section.
    pub name: Option<&'a str>,
    /// What is in it, without that name.
    pub data: &'a [u8],
}

/// The outermost sections in their order.
pub fn outermost(bytes: &[u8]) -> Result<Vec<Section<'_>>, Broken> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Broken::NotWasm);
    }
    let body = bytes.get(PREAMBLE_BYTES..).ok_or(Broken::At { offset: bytes.len() })?;
    let mut reader = BinaryReader::new(body, PREAMBLE_BYTES);
    let mut sections = Vec::new();
    while !reader.eof() {
        let offset = reader.original_position();
        sections.push(read(&mut reader).map_err(|_| Broken::At { offset })?);
    }
    Ok(sections)
}

fn read<'a>(reader: &mut BinaryReader<'a>) -> wasmparser::Result<Section<'a>> {
    let start = reader.original_position();
    let id = reader.read_u8()?;
    let mut content = reader.read_reader()?;
    let name = if id == CUSTOM { Some(content.read_string()?) } else { None };
    let data = content.read_bytes(content.bytes_remaining())?;
    Ok(Section { range: start..reader.original_position(), name, data })
}

/// A custom section, in the shortest way to write it.
pub fn custom(name: &str, data: &[u8]) -> Vec<u8> {
    let mut content = length(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    let mut section = vec![CUSTOM];
    section.extend(length(content.len()));
    section.extend(content);
    section
}

/// Seven bits a byte, the lowest first.
fn length(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
