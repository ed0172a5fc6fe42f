//! The data folder: may it be written, is there room, are key and database sound, and does nobody else hold it.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::space;
use crate::store::sqlite::{self, DATABASE_FILE};
use crate::store::vault::{KEY_FILE, Vault, VaultError};
use crate::telemetry;

/// Below this messages are soon refused.
const FREE_BYTES_MIN: u64 = 100 << 20;
/// A busy day's talk.
const FREE_BYTES_LOW: u64 = 1 << 30;
const CHECK: &str = "data";

pub fn findings(folder: &Path, is_serving: bool) -> Vec<Finding> {
    // As people write it: without the dots that come of joining paths.
    let folder = &folder.components().collect::<PathBuf>();
    let about = folder.display().to_string();
    let Some(standing) = folder.ancestors().find(|path| path.exists()) else {
        return vec![Finding::fail(CHECK, &about, "no part of this path exists", "set `data` to a folder")];
    };
    let mut findings = vec![writable(folder, standing)];
    findings.extend(room(standing, &about));
    if standing == folder {
        if !is_serving && sqlite::is_in_use(folder) {
            findings.push(Finding::fail(
                CHECK,
                &about,
                "another parlor holds this folder, and does not answer at `listen`",
                "stop it, or set `data` to another folder",
            ));
        }
        findings.push(sound(folder));
    }
    findings
}

fn writable(folder: &Path, standing: &Path) -> Finding {
    let about = folder.display().to_string();
    let shown = standing.display();
    if !standing.is_dir() {
        return Finding::fail(CHECK, &about, format!("`{shown}` is no folder"), "set `data` to a folder");
    }
    if !may_write(standing) {
        let remedy = format!("give `{shown}` to the user that runs parlor, or set `data` to another folder");
        return Finding::fail(CHECK, &about, format!("this user may not write into `{shown}`"), remedy);
    }
    let what = if standing == folder { "may be written" } else { "is made by the first start" };
    Finding::ok(CHECK, &about, what)
}

#[cfg(unix)]
fn may_write(folder: &Path) -> bool {
    use rustix::fs::Access;
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn may_write(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|found| !found.permissions().readonly())
}

fn room(standing: &Path, about: &str) -> Option<Finding> {
    let free = space::free(standing)?;
    let what = format!("{} are free", indicatif::DecimalBytes(free));
    let remedy = "free some space, or move `data` to a larger disk: without space no message is taken";
    Some(match free {
        0..FREE_BYTES_MIN => Finding::fail("disk", about, format!("only {what}"), remedy),
        FREE_BYTES_MIN..FREE_BYTES_LOW => Finding::warn("disk", about, format!("only {what}"), remedy),
        _ => Finding::ok("disk", about, what),
    })
}

/// Key and database, read and left as they are.
fn sound(folder: &Path) -> Finding {
    let about = folder.join(DATABASE_FILE).display().to_string();
    let (key, database) = (folder.join(KEY_FILE), folder.join(DATABASE_FILE));
    match (key.exists(), database.exists()) {
        (false, false) => return Finding::ok("store", &about, "is made by the first start"),
        (false, true) => {
            let what = format!("`{}` is missing, and the database was sealed with it", key.display());
            return Finding::fail("store", &about, what, "restore it from a backup; a new one opens nothing");
        }
        _ => {}
    }
    let vault = match Vault::open(folder) {
        Ok(vault) => vault,
        Err(error @ VaultError::File { .. }) => {
            let remedy = "run parlor, and this command, as the user that owns it";
            return Finding::fail("store", &about, telemetry::chain(&error), remedy);
        }
        Err(error) => return told(&about, &error.to_string()),
    };
    match sqlite::examine(folder, &vault) {
        Ok(()) => Finding::ok("store", &about, "key and database belong together and are whole"),
        Err(error) => told(&about, &error.to_string()),
    }
}

/// These errors say behind their last colon what to do.
fn told(about: &str, text: &str) -> Finding {
    let (what, remedy) = text.rsplit_once(": ").unwrap_or((text, "restore a backup"));
    Finding::fail("store", about, what, remedy)
}
