//! The host's log: plain words, values as fields; never a secret or what people wrote.

use crate::seam;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Each small step.
    Trace,
    /// For the one who writes the plugin.
    Debug,
    /// For the operator.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
    /// Somebody tried something.
    Security,
}

/// Writes one line.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    seam::log(level, message, fields);
}

/// For the one who writes the plugin.
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    write(Level::Debug, message, fields);
}

/// For the operator.
pub fn info(message: &str, fields: &[(&str, &str)]) {
    write(Level::Info, message, fields);
}

/// Something is odd.
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    write(Level::Warn, message, fields);
}

/// Something failed.
pub fn error(message: &str, fields: &[(&str, &str)]) {
    write(Level::Error, message, fields);
}

/// Somebody tried something.
pub fn security(message: &str, fields: &[(&str, &str)]) {
    write(Level::Security, message, fields);
}
