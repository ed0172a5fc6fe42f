//! Placeholder.

/// The secrets that one plugin on one channel may compute with.
#[derive(Debug, Default)]
pub struct Secrets {}
