//! F3: no 200 before the commit of what it acknowledges is on the disk, as the kernel saw it.
//!
//! `strace` writes down what the host asks of the kernel, in order. Each message is written into the log of the
//! database under its own name, and each response has the request's id, so that the two are told from all others.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::knock::{Chats, scene};
use crate::row::{Row, rounds};
use crate::support::{Host, Platform};

/// Webhooks under way at a time, so that commits are shared as they are in life.
const AT_ONCE: usize = 8;
/// More than a page of the database, escaped.
const SHOWN_BYTES: &str = "20000";

pub fn strace() -> Command {
    Command::new(std::env::var_os("PARLOR_TEST_STRACE").unwrap_or_else(|| "strace".into()))
}

/// The host below `strace`, which leaves the process to its parent.
pub fn traced(host: &Host, options: &[&str], output: &Path) -> Command {
    let serve = host.command(&["serve"]);
    let mut command = strace();
    command
        .args(["-D", "-f", "-q", "-o"])
        .arg(output)
        .args(options)
        .arg(serve.get_program())
        .args(serve.get_args());
    command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// What one thread asked of the kernel, once it was granted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    acknowledged: usize,
    /// Of these, before what they acknowledge was synced.
    too_early: usize,
}

/// The name of a call and the rest of its line: `pwrite64(7, "…", 4096, 0) = 4096`.
fn call(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let rest = rest.trim_start();
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (name, rest) = resumed.split_once(' ')?;
        return Some((thread, name, rest));
    }
    let (name, rest) = rest.split_once('(')?;
    Some((thread, name, rest))
}

/// Follows each name from its first write into the database through a sync that succeeds to its 200.
fn count<'a>(trace: impl Iterator<Item = &'a str>, names: &[String]) -> Count {
    const WRITTEN: u8 = 1;
    const SYNCED: u8 = 2;
    let mut stages: BTreeMap<&str, u8> = BTreeMap::new();
    // What was written when a thread asked for its sync: that one alone is on the disk when it is over.
    let mut syncs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut count = Count::default();
    for line in trace {
        let Some((thread, name, rest)) = call(line) else { continue };
        match name {
            "pwrite64" => {
                for name in names.iter().filter(|name| rest.contains(&format!("<{name}>"))) {
                    stages.entry(name).or_insert(WRITTEN);
                }
            }
            "fdatasync" | "fsync" => {
                if !rest.starts_with("resumed") {
                    let written =
                        stages.iter().filter(|(_, stage)| **stage == WRITTEN).map(|(name, _)| *name);
                    syncs.insert(thread, written.collect());
                }
                if rest.ends_with("= 0") {
                    for name in syncs.remove(thread).unwrap_or_default() {
                        stages.insert(name, SYNCED);
                    }
                }
            }
            _ if rest.contains("HTTP/1.1 200 ") => {
                for name in names.iter().filter(|name| rest.contains(&format!("x-request-id: {name}\\r"))) {
                    count.acknowledged += 1;
                    count.too_early += usize::from(stages.get(name.as_str()) != Some(&SYNCED));
                }
            }
            _ => {}
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_every_200_comes_after_the_sync_of_its_commit() {
    let mut row = Row::new("F3", "order of sync and response (strace)");
    row.rounds = rounds(24, 100);
    let chats = Chats::Keyless(Platform::start().await);
    let (mut host, _model) = scene(&chats).await;
    let output = host.folder().join("trace");
    let calls = "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg";
    let command = traced(&host, &["-s", SHOWN_BYTES, "-e", calls], &output);
    host.begin_with(command);
    host.serves().await;
    let names: Vec<String> = (0..row.rounds).map(|number| format!("knock-{number}-of-f3")).collect();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let posting = names.iter().enumerate().map(|(number, name)| {
        let knock = chats.knock(&format!("f3-{number}"), &format!("canary <{name}>"));
        let (knock, address, room) = (knock.with("x-request-id", name), host.address(), room.clone());
        tokio::spawn(async move {
            let _room = room.acquire().await.unwrap();
            assert_eq!(knock.post(address).await.unwrap(), 200);
        })
    });
    for posting in posting.collect::<Vec<_>>() {
        posting.await.unwrap();
    }
    host.terminate();
    assert!(host.ended().await.success());
    let trace = String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned();
    let counted = count(trace.lines(), &names);
    row.holds(counted.acknowledged == row.rounds, format!("{} responses in the trace", counted.acknowledged));
    row.holds(counted.too_early == 0, format!("{} acknowledged before they were synced", counted.too_early));
    row.figure(format!("{} of {} after the sync", counted.acknowledged - counted.too_early, row.rounds));
    // The text in it is what people said; it goes with the folder.
    row.close();
}

/// The counting counts.
#[test]
fn a_response_before_its_sync_is_counted() {
    let names = ["a".to_owned(), "b".to_owned()];
    let written = |name: &str| format!("7 pwrite64(9, \"canary <{name}>\", 4096, 32) = 4096");
    let said = |name: &str| {
        format!("8 sendto(12, \"HTTP/1.1 200 OK\\r\\nx-request-id: {name}\\r\\n\", 99, 0, NULL, 0) = 99")
    };
    let counted = |trace: &[String]| {
        let Count { acknowledged, too_early } = count(trace.iter().map(String::as_str), &names);
        (acknowledged, too_early)
    };
    let sync = "7 fdatasync(9) = 0".to_owned();
    let (begun, over) =
        ("7 fdatasync(9 <unfinished ...>".to_owned(), "7 <... fdatasync resumed>) = 0".to_owned());
    let failed = "7 fdatasync(9) = -1 EIO (Input/output error)".to_owned();
    assert_eq!(counted(&[written("a"), sync.clone(), said("a")]), (1, 0));
    assert_eq!(counted(&[written("a"), begun.clone(), over.clone(), said("a")]), (1, 0));
    assert_eq!(counted(&[written("a"), said("a"), sync.clone()]), (1, 1));
    assert_eq!(counted(&[written("a"), begun.clone(), said("a"), over.clone()]), (1, 1));
    assert_eq!(counted(&[sync.clone(), said("a")]), (1, 1), "another's sync");
    assert_eq!(counted(&[begun, written("b"), over, said("b")]), (1, 1), "it was begun before the write");
    assert_eq!(counted(&[written("a"), failed, said("a")]), (1, 1));
}
