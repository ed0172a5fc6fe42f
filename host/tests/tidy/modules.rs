//! Which top-level module of the host names which other, and where.
//!
//! It sees paths (`crate::a`, `super::a`), not what they resolve to; `code` takes away what is not code.

use crate::code::{code_of, is_name};
use crate::tree::{files, read};
use std::collections::{BTreeMap, BTreeSet};

/// A place where one top-level module of the host names another.
pub struct Reference {
    pub from: String,
    pub to: String,
    pub file: String,
    pub line: usize,
}

impl Reference {
    pub fn show(&self) -> String {
        format!("{}:{}: `{}` names `{}`", self.file, self.line, self.from, self.to)
    }
}

pub fn host_references() -> Vec<Reference> {
    let sources = host_sources();
    let modules: BTreeSet<String> =
        sources.iter().filter_map(|file| module_path(file).into_iter().next()).collect();
    let found = sources.iter().flat_map(|file| references(file, &code_of(&read(file)), &modules));
    found.collect()
}

/// The sources of the host but for test files.
pub fn host_sources() -> Vec<String> {
    let is_test = |file: &str| {
        file.ends_with("/tests.rs")
            || file.ends_with("_test.rs")
            || file.contains("/tests/")
            || file.contains("/bin/")
    };
    files(&["rs"]).into_iter().filter(|file| file.starts_with("host/src/") && !is_test(file)).collect()
}

/// `host/src/plugin/bindings.rs` is `[plugin, bindings]`; the roots of the crate are empty.
pub fn module_path(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("host/src/").trim_end_matches(".rs");
    let is_root = inner == "lib" || inner == "main";
    if is_root { Vec::new() } else { inner.split('/').map(str::to_owned).collect() }
}

pub fn references(file: &str, code: &str, modules: &BTreeSet<String>) -> Vec<Reference> {
    let path = module_path(file);
    let Some(from) = path.first() else { return Vec::new() };
    let mut places = heads_after(code, "crate::");
    places.extend(heads_after(code, &"super::".repeat(path.len())));
    let others = places.into_iter().filter(|(to, _)| to != from && modules.contains(to));
    others
        .map(|(to, offset)| {
            let line = 1 + code[..offset].matches('\n').count();
            Reference { from: from.clone(), to, file: file.to_owned(), line }
        })
        .collect()
}

/// The names that follow `prefix`, alone (`crate::a::b`) or as a list (`crate::{a, b::{c, d}}`), and their offsets.
fn heads_after(code: &str, prefix: &str) -> Vec<(String, usize)> {
    let mut heads = Vec::new();
    for (index, _) in code.match_indices(prefix) {
        // `super::super::a` is one level higher than `super::a`.
        if code[..index].ends_with(|c: char| is_name(c) || c == ':') {
            continue;
        }
        let start = index + prefix.len();
        match code[start..].strip_prefix('{') {
            Some(list) => heads.extend(list_heads(list, start + 1)),
            None => heads.push((name_at(&code[start..]), start)),
        }
    }
    heads
}

fn list_heads(list: &str, start: usize) -> Vec<(String, usize)> {
    let mut heads = Vec::new();
    let (mut depth, mut begins) = (1, true);
    for (index, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' => begins = depth == 1,
            _ if begins && is_name(c) => {
                heads.push((name_at(&list[index..]), start + index));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn name_at(code: &str) -> String {
    code.chars().take_while(|c| is_name(*c)).collect()
}

pub fn reaches(edges: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        if module == to {
            return true;
        }
        let next = edges.get(module).into_iter().flatten();
        open.extend(next.filter(|next| seen.insert(**next)));
    }
    false
}
