//! The write-ahead log, kept shorter than the room that is left on its disk.
//!
//! All of the log goes into the database file one day, which may have to grow by as much. A log that has taken the
//! last of a disk can neither grow nor be emptied: then nothing is stored any more although next to nothing is
//! stored. SQLite by itself empties it at a thousand pages, whatever the disk has. This does not know the rows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::file::{BUSY_TIMEOUT, DATABASE_FILE};
use crate::space;

#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    file: PathBuf,
}

impl Log {
    /// Of the database in this folder.
    pub fn of(folder: &Path) -> Log {
        Log { folder: folder.to_owned(), file: folder.join(format!("{DATABASE_FILE}-wal")) }
    }

    /// After a commit: empties a log that would not fit a second time.
    pub fn keep_short(&self, db: &Connection) {
        if space::free(&self.folder).is_some_and(|free| self.bytes() > free) {
            self.empty(db);
        }
    }

    /// Writes it into the file and gives its room back. What a reader still looks at stays for the next time, and so
    /// does all of it where the file has no room to grow.
    pub fn empty(&self, db: &Connection) {
        if self.bytes() == 0 {
            return;
        }
        // Nobody who writes shall wait for a reader here.
        let emptied = db
            .busy_timeout(Duration::ZERO)
            .and_then(|()| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)));
        let restored = db.busy_timeout(BUSY_TIMEOUT);
        if let Err(error) = emptied.and(restored) {
            tracing::debug!(%error, "the store's log cannot be emptied yet");
        }
    }

    fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }
}
