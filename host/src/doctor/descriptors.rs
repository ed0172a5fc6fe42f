//! Whether the system lets this process open as many files as the configuration wants connections.

use super::Finding;

/// What the host opens besides: the database, the caches, its own requests to models and platforms.
const OTHERS: u64 = 128;

/// The hard limit counts: `serve` raises the soft one to it.
#[cfg(unix)]
pub fn findings(connections_max: usize) -> Option<Finding> {
    use rustix::process::{Resource, getrlimit};
    let needed = connections_max as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit >= needed {
        return Some(Finding::ok("descriptors", "", format!("{needed} open files are allowed")));
    }
    Some(Finding::warn(
        "descriptors",
        "",
        format!("`limits.connections` is {connections_max}, and this process may open {limit} files"),
        format!(
            "raise the limit (`LimitNOFILE={needed}` in systemd, `ulimit -n`), or lower `limits.connections`"
        ),
    ))
}

#[cfg(not(unix))]
pub fn findings(_connections_max: usize) -> Option<Finding> {
    None
}
