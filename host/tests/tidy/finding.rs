//! What a rule found, and how a test says it.
//!
//! Knows no rule.

/// A line, counted from 1, and what was found there.
pub type Finding = (usize, String);

pub fn at(file: &str, findings: Vec<Finding>) -> Vec<String> {
    findings.into_iter().map(|(line, text)| format!("{file}:{line}: {}", text.trim())).collect()
}

pub fn lines(findings: Vec<Finding>) -> Vec<usize> {
    findings.into_iter().map(|(line, _)| line).collect()
}

pub fn none(findings: Vec<String>, rule: &str) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}

pub fn lines_where(text: &str, is_bad: impl Fn(&str) -> bool) -> Vec<Finding> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| is_bad(line)).map(|(number, line)| (number, line.to_owned())).collect()
}
