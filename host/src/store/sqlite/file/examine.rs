//! The database looked through without changing a byte of it, also beside the host that writes it.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::{DATABASE_FILE, LOCK_FILE, damaged, open_reader, other_key, refuse_foreign};
use crate::store::StoreError;
use crate::store::vault::Vault;

/// Whether another process serves from this folder.
pub fn is_in_use(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(LOCK_FILE)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether the database of a folder is whole, of a form that this binary knows, and sealed by this vault's key.
///
/// # Errors
/// What is wrong and what to do. A folder without a database is sound: the first start makes it.
pub fn examine(folder: &Path, vault: &Vault) -> Result<(), StoreError> {
    let path = folder.join(DATABASE_FILE);
    if !path.exists() {
        return Ok(());
    }
    let db = open_reader(folder)?;
    refuse_foreign(&db, &path)?;
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(damaged());
    }
    let proof =
        db.query_row("SELECT value FROM proof WHERE name = 'seal'", [], |row| row.get::<_, Vec<u8>>(0));
    match proof {
        Ok(sealed) => vault.unseal(b"proof", &sealed).map(drop).map_err(|_| other_key(&path)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
