//! A file of lines, read for a plugin: plugins have no files.
//!
//! What the lines mean, the plugin knows. An entry keeps the number of its line, so that a plugin can name it
//! to the operator: lines that say nothing become empty and stay.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A hundred thousand words and more; each turn hands the lines to the plugin once.
const BYTES_MAX: u64 = 2 << 20;

/// The lines of a UTF-8 file, joined by line feeds: trimmed, without a byte order mark; comments, which begin
/// with `#`, are emptied.
///
/// # Errors
/// One sentence for the operator.
pub fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let unreadable =
        |error| format!("the file `{shown}` cannot be read ({error}): put it there, or correct the path");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("the file `{shown}` has more than {} MiB: shorten it", BYTES_MAX >> 20));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("the file `{shown}` is not UTF-8 in line {line}: save it as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.lines().map(entry).collect::<Vec<_>>().join("\n"))
}

fn entry(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}
