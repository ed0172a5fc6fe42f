//! What a host holds at a moment, as the kernel counts it: memory, threads, descriptors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::Host;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// All memory that is mapped and there.
    pub resident_bytes: u64,
    /// Of that, what no other process has and no file holds.
    pub private_bytes: u64,
    /// Of that, what is mapped of files that nobody else maps, such as machine code: the kernel may take it away, and
    /// reads it again.
    pub mapped_bytes: u64,
    pub threads: usize,
    pub descriptors: usize,
    /// Of those, connections: how many are kept for later depends on how many there were at a time.
    pub sockets: usize,
}

impl Holdings {
    pub fn of(host: &Host) -> Holdings {
        let folder = Path::new("/proc").join(host.process_id().to_string());
        let smaps = std::fs::read_to_string(folder.join("smaps_rollup")).unwrap();
        let descriptors = entries(&folder.join("fd"));
        let own = bytes(&smaps, "Private_Clean") + bytes(&smaps, "Private_Dirty");
        let private_bytes = bytes(&smaps, "Anonymous");
        Holdings {
            resident_bytes: bytes(&smaps, "Rss"),
            private_bytes,
            mapped_bytes: own.saturating_sub(private_bytes),
            threads: entries(&folder.join("task")).len(),
            descriptors: descriptors.len(),
            sockets: descriptors.iter().filter(|path| is_socket(path)).count(),
        }
    }

    /// The same after a while in which nothing is asked: threads that wait for work have ended by then.
    pub async fn at_rest(host: &Host, rest: Duration) -> Holdings {
        tokio::time::sleep(rest).await;
        Holdings::of(host)
    }
}

/// CPU time that a host has used, all its threads together.
pub fn cpu(host: &Host) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", host.process_id())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap());
    // Hundredths of a second on every architecture.
    Duration::from_millis(10) * ticks.sum::<u32>()
}

fn bytes(smaps: &str, name: &str) -> u64 {
    let line = smaps.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn is_socket(descriptor: &Path) -> bool {
    // It may be closed by now.
    std::fs::read_link(descriptor).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
}
