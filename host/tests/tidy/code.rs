//! Rust without what is not code: comments, literals and test items blanked, line for line.
//!
//! Enough of a lexer for that and no more.

/// The text with comments, literals and test items blanked, line for line.
pub fn code_of(text: &str) -> String {
    without_tests(&without_literals(text))
}

fn without_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let follows_name = code.ends_with(is_name);
        let length = literal_length(rest, follows_name);
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The bytes of the comment or literal that `rest` begins with; 0 where it begins with neither.
fn literal_length(rest: &str, follows_name: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if let Some(hashes) = raw_string_hashes(rest).filter(|_| !follows_name) {
        let close = format!("\"{}", "#".repeat(hashes));
        let open = hashes + 2;
        return rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len());
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    if rest.starts_with('\'') && is_char_literal(rest) {
        return quoted_length(rest, '\'');
    }
    0
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut index) = (0, 0);
    while index < rest.len() {
        if rest[index..].starts_with("/*") {
            depth += 1;
            index += 2;
        } else if rest[index..].starts_with("*/") {
            depth -= 1;
            index += 2;
            if depth == 0 {
                return index;
            }
        } else {
            index += rest[index..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Of `r"…"` and `r##"…"##`; the `b` or `c` before it is left as code.
fn raw_string_hashes(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return index + c.len_utf8();
        }
    }
    rest.len()
}

/// `'x'` and `'\n'`, as against the lifetime `'x`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// Blanks each item under `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    for start in
        ["#[cfg(test", "#[cfg(all(test"].iter().flat_map(|mark| code.match_indices(mark)).map(|m| m.0)
    {
        let end = start + item_length(&code[start..]);
        let blank: String = code[start..end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        kept.replace_range(start..end, &blank);
    }
    kept
}

/// Up to the brace that closes the item, or the semicolon of one without a body.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (index, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 1 => return index + 1,
            '}' | ')' | ']' => depth -= 1,
            ';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
