//! The database file: who may open it, its settings, its version, whether it is whole.
//!
//! `user_version` holds two numbers, `version * 1000 + oldest version that reads and writes it`, so that a
//! rollback to an earlier binary opens what it can read and refuses the rest. It does not know the rows.

pub mod examine;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;
use crate::store::vault::{self, Vault};

pub const DATABASE_FILE: &str = "parlor.db";
const LOCK_FILE: &str = "parlor.lock";
/// "prlr": tells the file from other people's.
const APPLICATION_ID: i64 = 0x7072_6c72;
const PAGE_BYTES: u64 = 4096;
/// An operator's own tools may hold the file for as long as this.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A log that a burst made longer is cut to this at the next checkpoint.
const LOG_BYTES_KEPT: i64 = 16 << 20;
/// Files up to here are checked whole at the start, in well under a second; in larger ones damage is found
/// when it is read.
const CHECKED_BYTES_MAX: u64 = 64 << 20;
/// More statements than the store has.
const STATEMENTS_CACHED: usize = 64;

struct Migration {
    sql: &'static str,
    /// The oldest version that reads and writes the file afterwards. The previous one always must.
    readable_by: i64,
}

const MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("schema.sql"), readable_by: 1 },
    Migration { sql: include_str!("oversight.sql"), readable_by: 1 },
    Migration { sql: include_str!("addresses.sql"), readable_by: 1 },
    Migration { sql: include_str!("unseen.sql"), readable_by: 1 },
];

/// Holds the data folder for this process, until it is dropped.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "open is all it needs to be")] File);

/// Makes the folder if it is missing, and takes it for this process.
pub fn lock_folder(folder: &Path) -> Result<FolderLock, StoreError> {
    let path = folder.join(LOCK_FILE);
    fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))?;
    let file = vault::private().create(true).truncate(false).open(&path);
    let file = file.map_err(|error| cannot("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
            "another parlor serves from this folder, `{}`: stop it, or set `data` to another one",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot("lock", &path, &error)),
    }
}

fn cannot(act: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unusable(format!("cannot {act} `{}` ({error})", path.display()))
}

/// Opens the file for the writer: whole, of a version that this binary knows, sealed by this vault's key.
pub fn open_writer(folder: &Path, vault: &Vault, bytes_max: Option<u64>) -> Result<Connection, StoreError> {
    let path = make_private(folder)?;
    let mut db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    configure(&db)?;
    refuse_foreign(&db, &path)?;
    refuse_damaged(&db, &path)?;
    require_wal(&db, &path)?;
    set_bytes_max(&db, bytes_max)?;
    migrate(&mut db)?;
    prove_key(&db, vault, &path)?;
    // The folder is ours, so whoever held a lease is gone.
    db.execute("UPDATE inbox SET lease_until = NULL WHERE lease_until IS NOT NULL", [])?;
    Ok(db)
}

/// Opens the file for reading alone, beside a writer.
pub fn open_reader(folder: &Path) -> Result<Connection, StoreError> {
    let path = folder.join(DATABASE_FILE);
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(db)
}

const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Bounds the file; none takes the bound away. A file over it keeps its size.
pub fn set_bytes_max(db: &Connection, bytes_max: Option<u64>) -> Result<(), StoreError> {
    let pages =
        bytes_max.map_or(u32::MAX - 1, |bytes| u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX - 1));
    Ok(db.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))?)
}

/// SQLite gives its side files the permissions of this one.
fn make_private(folder: &Path) -> Result<PathBuf, StoreError> {
    let path = folder.join(DATABASE_FILE);
    let made = vault::private().create(true).truncate(false).open(&path);
    let made = made.and_then(|file| restrict(&file)).and_then(|()| vault::sync_folder(folder));
    made.map_err(|error| cannot("open", &path, &error))?;
    Ok(path)
}

#[cfg(unix)]
fn restrict(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_file: &File) -> std::io::Result<()> {
    Ok(())
}

fn configure(db: &Connection) -> Result<(), StoreError> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // A commit is on the disk when it returns; on macOS past the disk's own cache.
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "fullfsync", true)?;
    db.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten: forgotten talk does not stay readable in the file.
    db.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    db.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
    Ok(())
}

fn require_wal(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    let reason =
        format!("the disk of `{}` bears no write-ahead log: put `data` on a local one", path.display());
    Err(StoreError::Unusable(reason))
}

fn number(db: &Connection, pragma: &str) -> Result<i64, StoreError> {
    Ok(db.pragma_query_value(None, pragma, |row| row.get(0))?)
}

fn refuse_foreign(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && number(db, "application_id")? != APPLICATION_ID {
        let reason = format!("`{}` is another program's: move it away", path.display());
        return Err(StoreError::Unusable(reason));
    }
    let (version, readable_by) = version(db)?;
    let known = MIGRATIONS.len() as i64;
    if version > known && !(1..=known).contains(&readable_by) {
        return Err(StoreError::Unusable(format!(
            "`{}` was written by a newer parlor (form {version}, this one knows {known}): \
             run that one, or restore a backup",
            path.display()
        )));
    }
    Ok(())
}

/// The file's version, and the oldest one that can use it.
fn version(db: &Connection) -> Result<(i64, i64), StoreError> {
    let stamp = number(db, "user_version")?;
    Ok(if (1..1000).contains(&stamp) { (stamp, stamp) } else { (stamp / 1000, stamp % 1000) })
}

fn refuse_damaged(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let bytes = fs::metadata(path).map_err(|error| cannot("read", path, &error))?.len();
    if bytes > CHECKED_BYTES_MAX {
        return Ok(());
    }
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged()) }
}

/// What to say when the file's bytes make no sense.
pub fn damaged() -> StoreError {
    StoreError::Unusable(format!("`{DATABASE_FILE}` is damaged: stop parlor and restore a backup"))
}

fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let (version, _) = version(db)?;
    let first = usize::try_from(version).unwrap_or(usize::MAX);
    for (done, migration) in MIGRATIONS.iter().enumerate().skip(first) {
        let transaction = db.transaction()?;
        transaction.execute_batch(migration.sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", (done as i64 + 1) * 1000 + migration.readable_by)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The first open seals a known text; a later one that cannot unseal it has the wrong key.
fn prove_key(db: &Connection, vault: &Vault, path: &Path) -> Result<(), StoreError> {
    let proof =
        db.query_row("SELECT value FROM proof WHERE name = 'seal'", [], |row| row.get::<_, Vec<u8>>(0));
    match proof {
        Ok(sealed) => vault.unseal(b"proof", &sealed).map(|_| ()).map_err(|_| other_key(path)),
        Err(rusqlite::Error::QueryReturnedNoRows) => {
            let sealed = vault.seal(b"proof", b"parlor")?;
            db.execute("INSERT INTO proof (name, value) VALUES ('seal', ?1)", [sealed])?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn other_key(path: &Path) -> StoreError {
    let key = vault::KEY_FILE;
    StoreError::Unusable(format!("`{}` was sealed by another key: restore its `{key}`", path.display()))
}
