//! `parlor check`: the configuration, looked through without starting anything.

use std::path::Path;

pub fn run(path: &Path) -> anyhow::Result<()> {
    let config = super::load(path)?;
    println!(
        "{}: no problems; {} channels, {} models",
        path.display(),
        config.channels.len(),
        config.models.len()
    );
    Ok(())
}
