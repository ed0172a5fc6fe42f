//! How much memory this process may have: the machine's, or less by a control group.

use std::path::{Path, PathBuf};

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub total: u64,
    /// What could be taken now without pushing others out.
    pub available: u64,
}

/// None where the system does not tell in a way that is known here.
pub fn memory() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine =
        Memory { total: kilobytes(&text, "MemTotal:")?, available: kilobytes(&text, "MemAvailable:")? };
    Some(match group() {
        Some((limit, used)) if limit < machine.total => {
            Memory { total: limit, available: limit.saturating_sub(used).min(machine.available) }
        }
        _ => machine,
    })
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Limit and use of the tightest control group (version 2) around this process.
fn group() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let folder: PathBuf = root.join(own);
    let groups = folder.ancestors().take_while(|path| path.starts_with(root));
    let limits = groups.filter_map(|path| {
        let number = |name: &str| std::fs::read_to_string(path.join(name)).ok()?.trim().parse::<u64>().ok();
        Some((number("memory.max")?, number("memory.current").unwrap_or(0)))
    });
    limits.min()
}
