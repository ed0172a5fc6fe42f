//! `parlor check`: the configuration, looked through without starting anything.

use std::path::Path;

use super::paint;

pub fn run(path: &Path) -> anyhow::Result<()> {
    let config = super::load(path)?;
    println!(
        "{}: no problems; {} channels, {} models",
        path.display(),
        config.channels.len(),
        config.models.len()
    );
    paint::caution(&config.plugins);
    Ok(())
}
