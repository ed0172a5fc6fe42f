//! Plugins without number, made out of one: each does what that one does, under a name of its own, and has code in it
//! that no other one has. A cache that knows files by their digest finds none of them twice.

use std::path::Path;

use parlor::plugin::pack::pack;
use parlor::plugin::sections::outermost;
use wasmparser::BinaryReader;

use super::leb128::unsigned;

/// Sections by their numbers: a core module in a component, and within it the types of its functions and their code.
const MODULE: u8 = 1;
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;
const PREAMBLE_BYTES: usize = 8;
/// Stores in the function that is added.
const STORES: u32 = 64;

/// A built plugin, and its manifest.
pub struct Original {
    component: Vec<u8>,
    manifest: String,
}

impl Original {
    /// The plugin of this name in a folder of built ones.
    pub fn read(folder: &Path, name: &str, manifest: &str) -> Original {
        let component = std::fs::read(folder.join(name).with_extension("wasm")).unwrap();
        Original { component, manifest: manifest.to_owned() }
    }

    /// The same plugin with other values in its manifest.
    pub fn release(&self, changes: &[(&str, &str)]) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        for (before, after) in changes {
            assert!(manifest.contains(before), "the manifest has `{before}`");
            manifest = manifest.replacen(before, after, 1);
        }
        pack(&self.component, &manifest).unwrap()
    }

    /// A plugin of another name, with code that comes of the number.
    pub fn sibling(&self, own_name: &str, name: &str, number: u32) -> Vec<u8> {
        let names = [own_name, name].map(|name| format!("name = \"{name}\""));
        let packed = self.release(&[(&names[0], &names[1])]);
        with_function(&packed, &function(number))
    }
}

/// The component with one more function in the largest of its modules. It comes last, so that nothing else moves.
fn with_function(component: &[u8], function: &[u8]) -> Vec<u8> {
    let sections = outermost(component).unwrap();
    let modules = sections.iter().filter(|section| component[section.range.start] == MODULE);
    let largest = modules.max_by_key(|section| section.data.len()).expect("a component has a module");
    let module = section(MODULE, &longer(largest.data, function));
    [&component[..largest.range.start], &module, &component[largest.range.end..]].concat()
}

fn longer(module: &[u8], function: &[u8]) -> Vec<u8> {
    let mut longer = module[..PREAMBLE_BYTES].to_vec();
    for old in outermost(module).unwrap() {
        match module[old.range.start] {
            // Whatever its first type is: the function never returns.
            FUNCTIONS => longer.extend(section(FUNCTIONS, &one_more(old.data, &[0]))),
            CODE => longer.extend(section(CODE, &one_more(old.data, function))),
            _ => longer.extend(&module[old.range]),
        }
    }
    longer
}

/// A list with one more entry at its end.
fn one_more(list: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut reader = BinaryReader::new(list, 0);
    let count = reader.read_var_u32().unwrap();
    [&unsigned(count as usize + 1)[..], &list[reader.original_position()..], entry].concat()
}

/// Stores numbers that hang on this one, which no compiler leaves out, and then gives up. Nobody calls it.
fn function(number: u32) -> Vec<u8> {
    let mut body = vec![0]; // no locals
    for at in 0..STORES {
        let value = number.wrapping_mul(0x9e37_79b9).wrapping_add(at.wrapping_mul(0x85eb_ca6b)) >> 4;
        // i32.const ADDRESS, i32.const VALUE, i32.store align=4 offset=0
        body.extend([&[0x41][..], &signed(4 * at), &[0x41], &signed(value), &[0x36, 2, 0]].concat());
    }
    body.extend([0x00, 0x0b]); // unreachable, end
    [unsigned(body.len()), body].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &unsigned(content.len()), content].concat()
}

/// LEB128 of a signed number that is none below zero: its highest bit is no sign.
fn signed(number: u32) -> Vec<u8> {
    let mut bytes = unsigned(number as usize);
    let last = bytes.last_mut().expect("a number has a byte");
    if *last & 0x40 != 0 {
        *last |= 0x80;
        bytes.push(0);
    }
    bytes
}
