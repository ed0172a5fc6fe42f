//! What a `Cargo.toml` depends on, and why it says that it does.
//!
//! Reads lines, as people write them here; it is no parser of TOML.

use crate::finding::Finding;

/// What a crate of ours may name of the others, by where its manifest lies.
pub fn own_crates_allowed(manifest: &str) -> &'static [&'static str] {
    match manifest {
        "host/Cargo.toml" => &["parlor-gguf"],
        // It compares the two, and nothing stands on it.
        "deploy/bench/Cargo.toml" => &["parlor", "parlor-sdk"],
        _ if ["plugins/", "host/tests/guests/"].iter().any(|folder| manifest.starts_with(folder)) => {
            &["parlor-sdk"]
        }
        _ => &[],
    }
}

pub fn own_crates(manifest: &str, allowed: &[&str]) -> Vec<Finding> {
    let entries = dependencies(manifest).into_iter();
    let foreign =
        entries.filter(|entry| ["parlor", "parlor-gguf", "parlor-sdk"].contains(&entry.package.as_str()));
    foreign
        .filter(|entry| !allowed.contains(&entry.package.as_str()))
        .map(|entry| (entry.line, entry.text))
        .collect()
}

pub fn dependencies_without_reason(manifest: &str, root: &str) -> Vec<Finding> {
    let reasoned_at_root = |package: &str| {
        let mut entries = dependencies(root).into_iter();
        entries.any(|entry| entry.package == package && (entry.has_reason || entry.text.contains("path =")))
    };
    let entries = dependencies(manifest).into_iter().filter(|entry| !entry.is_for_tests && !entry.has_reason);
    let bare = entries.filter(|entry| !(entry.is_inherited() && reasoned_at_root(&entry.package)));
    bare.map(|entry| (entry.line, entry.text)).collect()
}

struct Dependency {
    line: usize,
    text: String,
    /// The crate's name, also where it goes by another one here.
    package: String,
    has_reason: bool,
    is_for_tests: bool,
}

impl Dependency {
    fn is_inherited(&self) -> bool {
        self.text.contains("workspace = true")
    }
}

/// The entries of all dependency tables. A comment holds for the lines below it up to an empty one.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut table = "";
    let mut has_reason = false;
    let mut depth = 0;
    for (index, line) in manifest.lines().enumerate() {
        let inside_value = depth > 0;
        depth += brackets(line);
        let trimmed = line.trim();
        if inside_value {
            continue;
        }
        match trimmed.chars().next() {
            None => has_reason = false,
            Some('#') => has_reason = true,
            Some('[') => {
                table = trimmed.trim_matches(['[', ']']);
                // `[dependencies.name]` is an entry by itself, and the lines below it are not.
                if let Some((_, name)) = table.split_once("dependencies.") {
                    found.push(dependency(index + 1, name, trimmed, has_reason, table));
                }
                // A comment right above `[dependencies]` is one for the first lines below it.
                has_reason &= table.ends_with("dependencies");
            }
            Some(_) if table.ends_with("dependencies") => {
                let name = trimmed.split(['=', '.', ' ']).next().unwrap_or(trimmed);
                found.push(dependency(
                    index + 1,
                    name,
                    trimmed,
                    has_reason || trimmed.contains(" # "),
                    table,
                ));
            }
            Some(_) => {}
        }
    }
    found
}

fn dependency(line: usize, name: &str, text: &str, has_reason: bool, table: &str) -> Dependency {
    let renamed = text.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
    Dependency {
        line,
        text: text.to_owned(),
        package: renamed.unwrap_or(name).trim_matches('"').to_owned(),
        has_reason,
        is_for_tests: table.contains("dev-dependencies"),
    }
}

/// How many more brackets a line opens than it closes.
fn brackets(line: &str) -> i32 {
    let code = line.split(" #").next().unwrap_or(line);
    code.chars().map(|c| i32::from("[{".contains(c)) - i32::from("]}".contains(c))).sum()
}
