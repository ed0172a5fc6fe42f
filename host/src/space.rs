//! How much room a disk has, and amounts as people read them.

use std::path::Path;

/// Bytes that this user may still write where `folder` lies; none where the system does not tell.
#[cfg(unix)]
pub fn free(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub fn free(_folder: &Path) -> Option<u64> {
    None
}

/// `93.8 MB`, in powers of ten, as disks and hubs count.
pub fn shown(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let unit = UNITS[unit];
    if unit == "B" || amount >= 99.95 { format!("{amount:.0} {unit}") } else { format!("{amount:.1} {unit}") }
}
