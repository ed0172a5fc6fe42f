//! File descriptors: as many as the connections that were asked for, and the rest of the host beside them.
//!
//! Without enough of them it is not the connection too many that fails, but whatever opens a file next: a
//! database, a model's socket. So the connections are held below what the system allows.

/// For everything that is no connection to the doors: the database, plugins, models, platforms, farewells.
const KEPT: u64 = 512;
/// Of those the ones that may be open before the doors are. Where there are more, they are kept besides: each plugin
/// keeps the file of its machine code open.
const OPEN_BEFORE: u64 = 64;
/// For a host with very many plugins.
const PLUGINS: u64 = 8192;
/// A host with few descriptors keeps this share of them: it has some thirty open when it has nothing to do.
const KEPT_SHARE: u64 = 2;

/// Raises the process's own limit before plugins are loaded, as far as very many of them need it.
pub fn make_room_for_plugins() {
    raise(PLUGINS);
}

/// Raises the process's own limit as far as `connections_max` needs it. Returns how many connections there may
/// be: fewer, and the log says so, where the system allows no more.
pub fn make_room(connections_max: usize) -> usize {
    let besides = open().saturating_sub(OPEN_BEFORE);
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(KEPT + besides);
    let allowed = raise(wanted);
    let room = room(allowed.saturating_sub(besides));
    if room >= connections_max {
        return connections_max;
    }
    tracing::warn!(
        wanted = connections_max,
        connections = room,
        descriptors = allowed,
        "the system allows fewer file descriptors than `limits.connections` needs; raise its hard limit \
         (`ulimit -Hn`, `LimitNOFILE=`) or lower the key"
    );
    room
}

/// Descriptors that are open; none are known of where the system does not show them.
fn open() -> u64 {
    let shown = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    shown.map_or(0, |shown| u64::try_from(shown).unwrap_or(0))
}

/// How many connections fit into so many descriptors.
fn room(allowed: u64) -> usize {
    let kept = KEPT.min(allowed / KEPT_SHARE);
    usize::try_from(allowed - kept).unwrap_or(usize::MAX).max(1)
}

/// The limit as it is afterwards.
#[cfg(unix)]
fn raise(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let soft = before.current.unwrap_or(u64::MAX);
    if soft >= wanted {
        return soft;
    }
    let current = before.maximum.map_or(wanted, |hard| wanted.min(hard));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: before.maximum }) {
        Ok(()) => current,
        Err(error) => {
            tracing::warn!(error = %error, "the limit of file descriptors cannot be raised");
            soft
        }
    }
}

#[cfg(not(unix))]
fn raise(_wanted: u64) -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn the_rest_of_the_host_keeps_its_descriptors() {
        assert_eq!(room(1536), 1024);
        assert_eq!(room(65_536), 65_024);
        assert_eq!(room(256), 128);
        assert_eq!(room(1), 1);
    }
}
