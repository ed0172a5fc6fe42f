//! Components that are sound by themselves and pass for plugins until they are compiled, or until they are linked.
//!
//! Binary format: <https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>.

use crate::support::leb128::unsigned;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// One memory with pages of one byte: a proposal that the engine does not speak.
const MEMORY_OF_BYTES: &[u8] = &[5, 4, 1, 0x08, 1, 0];
const MANIFEST: &str = r#"
name = "hollow"
version = "0.1.0"
kind = "pipeline"
contract = "0.1"
license = "Apache-2.0"
description = "Has the outside of a plugin and nothing in it"
"#;

pub fn that_does_not_compile() -> Vec<u8> {
    with(&[CORE_MODULE, MEMORY_OF_BYTES].concat())
}

/// It exports the pipeline's interface without a function in it.
pub fn that_does_not_link() -> Vec<u8> {
    with(CORE_MODULE)
}

fn with(core: &[u8]) -> Vec<u8> {
    let mut bytes = COMPONENT.to_vec();
    custom(&mut bytes, "parlor:contract", b"0.1");
    custom(&mut bytes, "parlor:manifest", MANIFEST.as_bytes());
    section(&mut bytes, 1, core);
    // One instance, made of no exports.
    section(&mut bytes, 5, &[1, 1, 0]);
    let name = text("parlor:plugin/pipeline@0.1.0");
    section(&mut bytes, 11, &[&[1, 0], name.as_slice(), &[5, 0, 0]].concat());
    bytes
}

fn custom(bytes: &mut Vec<u8>, name: &str, data: &[u8]) {
    section(bytes, 0, &[&text(name), data].concat());
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    bytes.extend(unsigned(content.len()));
    bytes.extend(content);
}

fn text(text: &str) -> Vec<u8> {
    [unsigned(text.len()), text.as_bytes().to_vec()].concat()
}
