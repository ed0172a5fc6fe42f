//! The store on one node: SQLite in the data folder.
//!
//! One thread writes, in groups (`writer`); a few connections read. What the rows mean is in `inbox`,
//! `queue`, `addresses`, `history` and `memory`, what the file must be in `file`, what its log may take in `log`, and
//! what becomes of its times when the clock is set in `clock`. Message text lies readable in the file, so that
//! operators may use their tools; reply addresses are sealed by the vault. It does not know plugins or HTTP.

mod addresses;
mod audit;
mod clock;
mod file;
mod history;
mod inbox;
mod log;
mod memory;
mod oversight;
mod queue;
mod readers;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring::hmac;
use rusqlite::{Connection, ErrorCode};

use crate::clock::Millis;
use crate::message::{Message, Reply, Utterance};
use crate::store::allowance::Buckets;
use crate::store::letter::{Letter, to_json};
use crate::store::vault::{Vault, VaultError};
use crate::store::{
    Acceptance, Allowance, Bound, Claim, Delivery, EndedAs, Ending, HandOver, Incoming, Lease, Outcome,
    Queue, Store, StoreError, Verdict, Waiting,
};

pub use file::DATABASE_FILE;
pub use file::examine::{examine, is_in_use};
pub use history::EXCHANGES_MAX;
pub use memory::{KEY_BYTES_MAX, KEYS_MAX, VALUE_BYTES_MAX, check_size};
pub use writer::WriterStats;

/// Reads are short; more connections would wait for the same disk.
const READERS: usize = 2;

/// What an operator may choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The file grows to this and no further; writes then fail as on a full disk. None: the disk is the bound.
    pub bytes_max: Option<u64>,
    /// For tests that pause tokio's clock: it stands still while a write is under way.
    pub holds_paused_time: bool,
}

/// A `Store` in one file. Dropping it writes what waits, closes the file and frees the folder.
#[derive(Debug)]
pub struct SqliteStore {
    // Before the writer, so that the last connection to close is the one that may tidy the log away.
    readers: readers::Readers,
    writer: writer::Writer,
    vault: Arc<Vault>,
    audit_key: hmac::Key,
    /// In memory alone: a limit that cost a commit would be a way to stop the disk.
    buckets: Buckets,
}

impl SqliteStore {
    /// Takes the folder for this process and opens the store in it. Blocks for some file operations.
    pub fn open(folder: &Path, vault: Vault) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(folder, vault, Options::default())
    }

    pub fn open_with(folder: &Path, vault: Vault, options: Options) -> Result<SqliteStore, StoreError> {
        let lock = file::lock_folder(folder)?;
        let db = file::open_writer(folder, &vault, options.bytes_max)?;
        let readers = (0..READERS).map(|_| file::open_reader(folder)).collect::<Result<_, _>>()?;
        let readers = readers::Readers::new(readers);
        let writer = writer::Writer::start(db, lock, log::Log::of(folder), options.holds_paused_time)?;
        let audit_key = oversight::audit_key(&vault);
        Ok(SqliteStore { readers, writer, vault: Arc::new(vault), audit_key, buckets: Buckets::default() })
    }

    /// Changes the bound of the file while it is in use.
    pub async fn set_bytes_max(&self, bytes_max: Option<u64>) -> Result<(), StoreError> {
        self.writer.write(move |db| file::set_bytes_max(db, bytes_max)).await
    }

    /// The host starts at this time by its clock, which may have been set while it was stopped. Before anything is
    /// claimed.
    pub async fn wake(&self, now: Millis) -> Result<(), StoreError> {
        self.writer.write(move |db| clock::wake(db, now)).await
    }

    /// How many writes shared how many commits.
    pub fn stats(&self) -> WriterStats {
        self.writer.stats()
    }
}

/// SQLite has no unsigned numbers. A time past its range means never.
fn stamp(time: Millis) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn millis(stamp: i64) -> Millis {
    u64::try_from(stamp).unwrap_or(0)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        use ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => file::damaged(),
            Some(Code::DiskFull) => {
                StoreError::Unavailable("the disk or the file's bound is full: free space".to_owned())
            }
            Some(
                Code::SystemIoFailure
                | Code::ReadOnly
                | Code::CannotOpen
                | Code::PermissionDenied
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::FileLockingProtocolFailed
                | Code::OutOfMemory
                | Code::OperationInterrupted,
            ) => StoreError::Unavailable(format!("{error}: mend the disk")),
            _ => StoreError::Unusable(error.to_string()),
        }
    }
}

impl From<VaultError> for StoreError {
    fn from(error: VaultError) -> StoreError {
        StoreError::Unusable(error.to_string())
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(
        &self,
        channel: &str,
        now: Millis,
        messages: Vec<Incoming>,
    ) -> Result<Vec<Acceptance>, StoreError> {
        let letters = messages.into_iter().map(|message| Letter::new(&self.vault, channel, message));
        let letters = letters.collect::<Result<Vec<_>, _>>()?;
        let channel = channel.to_owned();
        self.writer.write(move |db| inbox::accept(db, &channel, now, &letters)).await
    }

    async fn withdraw(&self, channel: &str, now: Millis, ids: &[String]) -> Result<Vec<String>, StoreError> {
        let (channel, ids) = (channel.to_owned(), ids.to_vec());
        self.writer.write(move |db| inbox::withdraw(db, &channel, now, &ids)).await
    }

    async fn clock_was_set(&self, now: Millis, by: i64) -> Result<(), StoreError> {
        self.writer.write(move |db| clock::move_times(db, now, by)).await
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        bounds: &[Bound],
    ) -> Result<Option<Claim>, StoreError> {
        let (vault, bounds) = (self.vault.clone(), inbox::pairs(bounds));
        let until = now.saturating_add(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        self.writer.write(move |db| inbox::claim(db, &vault, now, until, &bounds)).await
    }

    async fn renew(&self, lease: Lease, until: Millis) -> Result<(), StoreError> {
        self.writer.write(move |db| inbox::renew(db, lease, until)).await
    }

    async fn behind(&self, lease: Lease) -> Result<Vec<Waiting>, StoreError> {
        let vault = self.vault.clone();
        self.readers.read(move |db| queue::behind(db, &vault, lease)).await
    }

    async fn gather(&self, lease: Lease, ids: &[String]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.writer.write(move |db| queue::gather(db, lease, &ids)).await
    }

    async fn answer(&self, lease: Lease, now: Millis, reply: &Reply) -> Result<Delivery, StoreError> {
        let reply = to_json(reply)?;
        self.writer.write(move |db| inbox::answer(db, lease, now, &reply)).await
    }

    async fn checkpoint(&self, lease: Lease, _now: Millis, checkpoint: &[u8]) -> Result<(), StoreError> {
        let checkpoint = checkpoint.to_vec();
        self.writer.write(move |db| inbox::checkpoint(db, lease, &checkpoint)).await
    }

    async fn give_up(&self, lease: Lease) -> Result<(), StoreError> {
        self.writer.write(move |db| inbox::give_up(db, lease)).await
    }

    async fn postpone(
        &self,
        lease: Lease,
        until: Millis,
        failure: Option<&str>,
        may_be_seen: bool,
    ) -> Result<(), StoreError> {
        let failure = failure.map(str::to_owned);
        self.writer.write(move |db| inbox::postpone(db, lease, until, failure.as_deref(), may_be_seen)).await
    }

    async fn finish(
        &self,
        lease: Lease,
        now: Millis,
        ending: &Ending,
        said: &[Utterance],
    ) -> Result<(), StoreError> {
        let (ending, said) = (ending.clone(), said.to_vec());
        self.writer.write(move |db| inbox::finish(db, lease, now, &ending, &said)).await
    }

    async fn ended(&self, channel: &str, message_id: &str) -> Result<Option<EndedAs>, StoreError> {
        let (channel, message_id) = (channel.to_owned(), message_id.to_owned());
        self.readers.read(move |db| inbox::ended(db, &channel, &message_id)).await
    }

    async fn discard(&self, channel: &str, message_id: &str) -> Result<bool, StoreError> {
        let (channel, message_id) = (channel.to_owned(), message_id.to_owned());
        self.writer.write(move |db| inbox::discard(db, &channel, &message_id)).await
    }

    async fn message(&self, channel: &str, message_id: &str) -> Result<Option<Message>, StoreError> {
        let (channel, message_id) = (channel.to_owned(), message_id.to_owned());
        self.readers.read(move |db| inbox::message(db, &channel, &message_id)).await
    }

    async fn address(&self, channel: &str, conversation: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (vault, channel, conversation) =
            (self.vault.clone(), channel.to_owned(), conversation.to_owned());
        self.readers.read(move |db| addresses::last(db, &vault, &channel, &conversation)).await
    }

    async fn outcome(&self, channel: &str, message_id: &str) -> Result<Option<Outcome>, StoreError> {
        let (channel, message_id) = (channel.to_owned(), message_id.to_owned());
        self.readers.read(move |db| inbox::outcome(db, &channel, &message_id)).await
    }

    async fn hand_over(
        &self,
        channel: &str,
        message_id: &str,
        now: Millis,
        said: &[Utterance],
    ) -> Result<HandOver, StoreError> {
        let (channel, message_id, said) = (channel.to_owned(), message_id.to_owned(), said.to_vec());
        self.writer.write(move |db| inbox::hand_over(db, &channel, &message_id, now, &said)).await
    }

    async fn release_hold(
        &self,
        channel: &str,
        message_id: &str,
        due: Millis,
        checkpoint: &[u8],
    ) -> Result<(), StoreError> {
        let (channel, message_id, checkpoint) =
            (channel.to_owned(), message_id.to_owned(), checkpoint.to_vec());
        self.writer.write(move |db| inbox::release_hold(db, &channel, &message_id, due, &checkpoint)).await
    }

    async fn history(
        &self,
        channel: &str,
        conversation: &str,
        turns: u32,
    ) -> Result<Vec<Utterance>, StoreError> {
        let (channel, conversation) = (channel.to_owned(), conversation.to_owned());
        self.readers.read(move |db| history::last(db, &channel, &conversation, turns)).await
    }

    async fn forget(&self, channel: &str, conversation: &str) -> Result<bool, StoreError> {
        let (channel, conversation) = (channel.to_owned(), conversation.to_owned());
        self.writer.write(move |db| history::forget(db, &channel, &conversation)).await
    }

    async fn next_due(&self, bounds: &[Bound]) -> Result<Option<Millis>, StoreError> {
        let bounds = inbox::pairs(bounds);
        self.readers.read(move |db| inbox::next_due(db, &bounds)).await
    }

    async fn queue(&self) -> Result<Queue, StoreError> {
        self.readers.read(inbox::queue).await
    }

    async fn sweep(&self, now: Millis, before: Millis) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let sweep_some = move |db: &Connection| {
                let (turns, keys) = (inbox::sweep(db, now, before)?, memory::sweep(db, now)?);
                Ok((turns, keys, addresses::sweep(db, now)?))
            };
            let (turns, keys, addresses) = self.writer.write(sweep_some).await?;
            deleted += (turns + keys + addresses) as u64;
            let is_done = turns < inbox::SWEEP_MAX && keys < memory::SWEEP_MAX;
            if is_done && addresses < addresses::SWEEP_MAX {
                return Ok(deleted);
            }
        }
    }

    async fn get(&self, space: &str, now: Millis, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (space, key) = (space.to_owned(), key.to_owned());
        self.readers.read(move |db| memory::get(db, &space, now, &key)).await
    }

    async fn set(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<(), StoreError> {
        memory::check_size(key, value)?;
        let (space, key, value) = (space.to_owned(), key.to_owned(), value.to_vec());
        self.writer.write(move |db| memory::set(db, &space, now, &key, &value, ttl)).await
    }

    async fn delete(&self, space: &str, key: &str) -> Result<(), StoreError> {
        let (space, key) = (space.to_owned(), key.to_owned());
        self.writer.write(move |db| memory::delete(db, &space, &key)).await
    }

    async fn increment(
        &self,
        space: &str,
        now: Millis,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StoreError> {
        memory::check_size(key, &[])?;
        let (space, key) = (space.to_owned(), key.to_owned());
        self.writer.write(move |db| memory::increment(db, &space, now, &key, by, ttl)).await
    }

    async fn take(&self, now: Millis, allowances: &[Allowance]) -> Result<Verdict, StoreError> {
        Ok(self.buckets.take(now, allowances))
    }
}
