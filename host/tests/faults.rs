//! Faults that are brought about from outside: kills, disks, clocks, models, networks, people of ill will. Each test is
//! one row of the table that `cargo xtask faults` prints, and fails where the fault could not be brought about. Some are
//! figures rather than faults: `cargo xtask bench` asks for those alone.
//!
//! `PARLOR_TEST_FAULTS=long` asks for the rounds of that command, else there are few: the code is the same. Times are
//! judged in the long form alone, since this machine may be busy with other tests. What the rows have in common is in
//! `row`, who knocks at the host in `knock`. F11 and F12 are in `slow_clients.rs` and in xtask itself.
#![cfg(target_os = "linux")]

#[path = "faults/bodies.rs"]
mod bodies;
#[path = "faults/breaker.rs"]
mod breaker;
#[path = "faults/clocks.rs"]
mod clocks;
#[path = "store/conformance.rs"]
#[allow(dead_code, unused_macros, clippy::unwrap_used, reason = "messages for the store are made there")]
mod conformance;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/egress.rs"]
mod egress;
#[path = "faults/flood.rs"]
mod flood;
#[path = "faults/forgeries.rs"]
mod forgeries;
#[path = "faults/guests.rs"]
mod guests;
#[path = "faults/holdings.rs"]
mod holdings;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/knock.rs"]
mod knock;
#[path = "faults/lines.rs"]
mod lines;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/models.rs"]
mod models;
#[path = "faults/names.rs"]
mod names;
#[path = "faults/neighbour.rs"]
mod neighbour;
#[path = "faults/nodes.rs"]
mod nodes;
#[path = "faults/rate.rs"]
mod rate;
#[path = "faults/row.rs"]
mod row;
#[path = "faults/scale.rs"]
mod scale;
#[path = "redis/server.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "each binary of tests uses its part of what they share")]
mod server;
#[path = "support/parts.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part of what they share")]
mod support;
#[path = "faults/swap.rs"]
mod swap;
#[path = "faults/swaps.rs"]
mod swaps;
#[path = "faults/sync.rs"]
mod sync;
#[path = "faults/term.rs"]
mod term;
#[path = "faults/upgrade.rs"]
mod upgrade;
