//! The files of the checkout.
//!
//! Knows what is ours and what is built, not what a file says.

use std::fs;
use std::path::{Path, PathBuf};

/// What people write and read; the rest is data.
pub const TEXT: [&str; 14] =
    ["rs", "toml", "md", "wit", "html", "js", "css", "yaml", "yml", "json", "sh", "py", "sql", "run"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ lies in the workspace")
}

pub fn read(file: &str) -> String {
    let path = root().join(file);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn manifests() -> Vec<String> {
    files(&["toml"]).into_iter().filter(|file| file.ends_with("/Cargo.toml")).collect()
}

/// All files of the tree with one of these ends, from its root, in order.
pub fn files(ends: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the tree can be listed") {
            let entry = entry.expect("a folder of the tree can be listed");
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().expect("what was listed has a type");
            if kind.is_dir() && is_ours(&entry.file_name().to_string_lossy()) {
                open.push(path);
            } else if kind.is_file() && ends.iter().any(|end| has_end(&path, end)) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    assert!(!found.is_empty(), "no file ends in one of {ends:?}: the rules would hold for nothing");
    found.sort();
    found
}

fn has_end(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|found| found == end) || path.file_name().is_some_and(|name| name == end)
}

/// Not what is built, and of the hidden folders only those with settings of the project.
fn is_ours(folder: &str) -> bool {
    let is_setting = [".cargo", ".ci", ".config"].contains(&folder);
    is_setting || !(folder.starts_with('.') || ["target", "node_modules", "data"].contains(&folder))
}
