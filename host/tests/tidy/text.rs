//! Rules over the text of one file, line by line: vendors, generated types, crates, paths, things left to do.
//!
//! It does not know which files a rule is for; `tidy` does.

use crate::code::is_name;
use crate::finding::{Finding, lines_where};

pub fn vendors(text: &str) -> Vec<Finding> {
    // Long names are found inside of others; the short ones are parts of ordinary words.
    const ANYWHERE: [&str; 6] = ["dingtalk", "feishu", "wecom", "wechat", "telegram", "discord"];
    const WORDS: [&str; 3] = ["lark", "qq", "slack"];
    lines_where(text, |line| {
        let line = line.to_lowercase();
        ANYWHERE.iter().any(|name| line.contains(name))
            || line.split(|c: char| !c.is_alphanumeric()).any(|word| WORDS.contains(&word))
    })
}

pub fn binding_names(code: &str) -> Vec<Finding> {
    lines_where(code, |line| line.split(|c: char| !is_name(c)).any(|word| word == "bindings"))
}

pub fn unwanted_crates(lock: &str) -> Vec<Finding> {
    const UNWANTED: [&str; 7] =
        ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "serde_yaml", "serde_yml"];
    lines_where(lock, |line| UNWANTED.iter().any(|name| line == format!("name = \"{name}\"")))
}

pub fn machine_paths(text: &str, checkout: &str) -> Vec<Finding> {
    const HOMES: [&str; 6] = ["/home/", "/Users/", "/root/", "/work/", "/workspaces/", "/builds/"];
    // A path begins where the character before it does not belong to one.
    let begins = |line: &str, path: &str| {
        line.match_indices(path).any(|(index, _)| {
            !line[..index].ends_with(|c: char| c.is_alphanumeric() || "_-./~}>)$*".contains(c))
        })
    };
    // A checkout right below `/` would be found in every route of that name.
    let checkout = Some(checkout).filter(|path| path.matches('/').count() > 1);
    lines_where(text, |line| HOMES.into_iter().chain(checkout).any(|path| begins(line, path)))
}

pub fn bare_todos(text: &str) -> Vec<Finding> {
    const REASON_WORDS_MIN: usize = 3;
    lines_where(text, |line| {
        ["TODO", "FIXME"].iter().any(|mark| {
            line.split_once(mark).is_some_and(|(before, after)| {
                let is_word = !before.ends_with(is_name) && !after.starts_with(is_name);
                let reason = after.strip_prefix(':').unwrap_or_default();
                is_word && reason.split_whitespace().count() < REASON_WORDS_MIN
            })
        })
    })
}
